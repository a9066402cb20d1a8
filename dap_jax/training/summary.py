"""The run summary: model, objectives, batch, data and devices, told at the start of every run."""

from __future__ import annotations

import logging

import jax

from dap_jax.data import loader
from dap_jax.training.build import TrainProgram
from dap_jax.training.run_data import RunData

logger = logging.getLogger(__name__)


def log_run_summary(train_program: TrainProgram, data: RunData, *, start: str) -> None:
  """Logs it as a block of lines.

  Args:
    train_program, data: what trains on what.
    start: where it begins, in words.
  """
  corpus, family = data.corpus, train_program.model.encoder.family
  sizes = {
    name: sum(leaf.size for leaf in jax.tree.leaves(tree))
    for name, tree in train_program.abstract_state.params.items()
  }
  parameters = ", ".join(f"{name} {size:,}" for name, size in sizes.items())
  rates = sorted(corpus.languages.items(), key=lambda item: -item[1])
  languages = ", ".join(f"{language} {rate:.1%}" for language, rate in rates[:12])
  axes = " x ".join(f"{axis} {size}" for axis, size in train_program.mesh.shape.items())
  devices = f"{jax.device_count()} {jax.devices()[0].platform}, {jax.process_count()} process(es)"
  lines = {
    "encoder": f"{family.layers} layers x {family.width}, {family.vocabulary_size:,} ids,"
    f" pooling {train_program.model.pooling}",
    "parameters": f"{sum(sizes.values()):,} ({parameters})",
    "objectives": describe_objectives(train_program),
    "batch": describe_batch(data),
    "data": describe_data(data),
    "languages": f"{len(rates)}: {languages}{', ...' if len(rates) > 12 else ''}",
    "mesh": f"{axes} on {devices}",
    "start": start,
  }
  logger.info("\n%s", "\n".join(f"  {name:<11} {text}" for name, text in lines.items()))


def describe_objectives(train_program: TrainProgram) -> str:
  """Each with its weight, then the temperatures that there are."""
  objectives = train_program.objectives
  weights = ", ".join(
    f"{name} x {entry.weight:g}" if isinstance(entry.weight, int | float) else f"{name} (scheduled)"
    for name, entry in objectives.items()
  )
  arguments = [getattr(entry.function, "keywords", {}) for entry in objectives.values()]
  temperatures = [each["temperature"] for each in arguments if "temperature" in each]
  return weights + "".join(f" (temperature {t:g} = scale {1 / t:g})" for t in temperatures)


def describe_data(data: RunData) -> str:
  """How much there is, and how many of the texts are too long for `max_tokens`."""
  info = data.corpus.info
  pairs, cut = sum(info["pairs"].values()), info.get("cut_texts")  # version 0.2 did not count them
  text = f"{pairs:,} pairs, {len(data.corpus.heldout)} sentences held out"
  if not cut:
    return text
  return f"{text}; {cut / (2 * pairs):.2%} of the texts are cut at max_tokens={info['max_tokens']}"


def describe_batch(data: RunData) -> str:
  """Its size and lengths, the negatives of an anchor, and how much of it is padding."""
  corpus, size = data.corpus, data.batch_size
  examples, negatives = "pairs", "negatives per anchor"
  if corpus.views > 2:
    examples, negatives = f"examples x {corpus.views} views", "other examples per anchor"
  lengths = " or ".join(map(str, data.bucket_tokens))
  padding = loader.padding_share(
    corpus.sources, rates=corpus.rates, bucket_tokens=data.bucket_tokens
  )
  pairs = sum(corpus.info["pairs"].values())
  different = min(size, pairs)  # the same pair again is no negative
  fewer = f" (there are {pairs} pairs)" if pairs < size else ""
  if corpus.hard_negatives:  # whose they are, the objectives say
    fewer = f"{fewer}, {corpus.hard_negatives} hard of each pair"
  text = f"{size} {examples} of {lengths} tokens, {different - 1} {negatives}{fewer}"
  return f"{text}, {padding:.0%} padding"
