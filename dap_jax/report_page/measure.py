"""Loads a checkpoint, encodes the held-out texts, and measures all that the page shows of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from dap_jax.data import manifest, store
from dap_jax.evals import by_row
from dap_jax.inference import embedder
from dap_jax.report_page import heldout, tokens
from dap_jax.report_page.failures import Failure, failures
from dap_jax.report_page.runs import LoadedRun
from dap_jax.utils.errors import UserError


class Measured(NamedTuple):
  """A checkpoint on the held-out texts of its run.

  Attributes:
    step: of the checkpoint.
    parameters: of the encoder, a dense layer included.
    scores: of `evals.retrieval`.
    heldout: texts and vectors.
    pairs: see `pairs_to_show`.
    similarities: None with a single held-out sentence.
    failures: the worst, possibly none.
    alignments: of tokens, possibly none.
    plane: None where there is nothing to see.
  """

  step: int
  parameters: int
  scores: dict[str, float]
  heldout: heldout.Heldout
  pairs: heldout.Pairs | None
  similarities: heldout.Similarities | None
  failures: list[Failure]
  alignments: list[tokens.Alignment]
  plane: heldout.Plane | None

  def accuracy(self, direction: str) -> dict[str, float]:
    """Language -> accuracy; direction `to_pivot` or `from_pivot`."""
    return by_row(self.scores, f"{direction}_accuracy")

  def ranked(self) -> list[str]:
    """See `ranked`."""
    return ranked(self.scores)


def ranked(scores: Mapping[str, float]) -> list[str]:
  """The languages but the pivot, best first: to the pivot, and of equals from it."""
  to_pivot, from_pivot = (by_row(scores, f"{name}_accuracy") for name in ("to_pivot", "from_pivot"))
  return sorted(to_pivot, key=lambda code: (-to_pivot[code], -from_pivot[code], code))


def measure_run(run: LoadedRun, *, step: str) -> Measured:
  """Measures one checkpoint of a run.

  Args:
    run: the run.
    step: newest, best, or a number.

  Raises:
    UserError: there is no such checkpoint, no prepared data, nothing is held out, or the run has
      diverged.
  """
  folder = run.folder / "data"
  rows = store.heldout(folder) if manifest.complete(folder) else []
  if not any(len(row) > 1 for row in rows):
    raise UserError(f"{run.folder} holds no held-out translations")
  model = embedder.load(str(run.folder), step=step)
  texts = heldout.encoded(rows, model.encode, pivot=run.pivot)
  scores = texts.retrieval()
  assert model.step is not None, "a model of a workdir has a step"
  return Measured(
    step=model.step,
    parameters=sum(leaf.size for leaf in jax.tree.leaves(model.params)),
    scores=scores,
    heldout=texts,
    pairs=pairs_to_show(texts, ranked(scores)),
    similarities=heldout.similarities(texts) if len(rows) > 1 else None,
    failures=failures(texts),
    alignments=tokens.alignments(texts, model),
    plane=heldout.plane(texts),
  )


def pairs_to_show(texts: heldout.Heldout, languages: Sequence[str]) -> heldout.Pairs | None:
  """Retrieval between all languages: the pivot first, then script by script, the most common first.

  Languages without a pair to show are left out; None where fewer than three are left.
  """
  script_of = texts.scripts()
  scripts = list(script_of.values())
  order = sorted(languages, key=lambda code: (-scripts.count(script_of[code]), script_of[code]))
  pairs = heldout.pairs(texts, [texts.pivot, *order])
  shown = pairs.shown()
  with_pairs = np.flatnonzero(shown.any(0) | shown.any(1))
  if len(with_pairs) < 3:
    return None
  square = np.ix_(with_pairs, with_pairs)
  names = [pairs.languages[i] for i in with_pairs]
  return heldout.Pairs(names, pairs.accuracy[square], pairs.common[square])
