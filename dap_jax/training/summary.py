"""What a run says of itself at its start: model, objectives, batch, data, devices."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import jax

from dap_jax.data import loader, store
from dap_jax.training import build

logger = logging.getLogger(__name__)


def introduce(
  train_program: build.TrainProgram,
  corpus: store.Corpus,
  *,
  start: str,
  batch_size: int,
  bucket_tokens: Sequence[int],
) -> None:
  """The block at the start of every run, as lines.

  Args:
    train_program, corpus: what trains on what.
    start: where it begins, in words.
    batch_size, bucket_tokens: as in the config.
  """
  sizes = {
    name: sum(leaf.size for leaf in jax.tree.leaves(tree))
    for name, tree in train_program.abstract_state.params.items()
  }
  each = ", ".join(f"{name} {size:,}" for name, size in sizes.items())
  padding = loader.padding_share(corpus.sources, rates=corpus.rates, bucket_tokens=bucket_tokens)
  rates = sorted(corpus.languages.items(), key=lambda item: -item[1])
  shown = ", ".join(f"{language} {rate:.1%}" for language, rate in rates[:12])
  weights = ", ".join(
    f"{name} x {entry.weight:g}" if isinstance(entry.weight, int | float) else f"{name} (scheduled)"
    for name, entry in train_program.objectives.items()
  )
  held, others = "pairs", "negatives per anchor"
  if corpus.views > 2:
    held, others = f"examples x {corpus.views} views", "other examples per anchor"
  devices = f"{jax.device_count()} {jax.devices()[0].platform}, {jax.process_count()} process(es)"
  keywords = [
    getattr(entry.function, "keywords", {}) for entry in train_program.objectives.values()
  ]
  settings = [own["temperature"] for own in keywords if "temperature" in own]
  scale = "".join(f" (temperature {t:g} = scale {1 / t:g})" for t in settings)
  family = train_program.model.encoder.family
  axes = " x ".join(f"{axis} {size}" for axis, size in train_program.mesh.shape.items())
  lines = {
    "encoder": f"{family.layers} layers x {family.width}, {family.vocabulary_size:,} ids,"
    f" pooling {train_program.model.pooling}",
    "parameters": f"{sum(sizes.values()):,} ({each})",
    "objectives": f"{weights}{scale}",
    "batch": f"{batch_size} {held} of {' or '.join(map(str, bucket_tokens))} tokens,"
    f" {batch_size - 1 + batch_size * corpus.hard_negatives} {others}, {padding:.0%} padding",
    "data": f"{sum(corpus.info['pairs'].values()):,} pairs,"
    f" {len(corpus.heldout)} English sentences held out",
    "languages": f"{len(rates)}: {shown}{', ...' if len(rates) > 12 else ''}",
    "mesh": f"{axes} on {devices}",
    "start": start,
  }
  logger.info("\n%s", "\n".join(f"  {name:<11} {text}" for name, text in lines.items()))
