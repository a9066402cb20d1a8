"""What the page shows of one checkpoint: it is loaded, and encodes the held-out texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from dap_jax.data import store
from dap_jax.evals import by_row
from dap_jax.inference import embedder
from dap_jax.report_page import heldout, tokens
from dap_jax.report_page.runs import Run
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
    alignments: of tokens, possibly none.
    plane: None where there is nothing to see.
  """

  step: int
  parameters: int
  scores: dict[str, float]
  heldout: heldout.Heldout
  pairs: heldout.Pairs | None
  similarities: heldout.Similarities | None
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


def measure(run: Run, *, step: str) -> Measured:
  """Loads and measures.

  Args:
    run: which.
    step: newest, best, or a number.

  Raises:
    UserError: there is no such checkpoint, no prepared data, nothing is held out, or the run has
      diverged.
  """
  folder = run.folder / "data"
  rows = store.heldout(folder) if store.complete(folder) else []
  if not any(len(row) > 1 for row in rows):
    raise UserError(f"{run.folder} holds no held-out translations")
  model = embedder.load(str(run.folder), step=step)
  held = heldout.encoded(rows, model.encode, pivot=run.pivot)
  scores = held.retrieval()
  return Measured(
    step=model.step,
    parameters=sum(leaf.size for leaf in jax.tree.leaves(model.params)),
    scores=scores,
    heldout=held,
    pairs=pairs_to_show(held, ranked(scores)),
    similarities=heldout.similarities(held) if len(rows) > 1 else None,
    alignments=tokens.alignments(held, model),
    plane=heldout.plane(held),
  )


def pairs_to_show(held: heldout.Heldout, languages: Sequence[str]) -> heldout.Pairs | None:
  """The pivot first, then by script, the one of most languages first, in their order.

  Languages without a pair to show are left out; None where fewer than three are left.
  """
  script_of = held.scripts()
  scripts = list(script_of.values())
  order = sorted(languages, key=lambda code: (-scripts.count(script_of[code]), script_of[code]))
  pairs = heldout.pairs(held, [held.pivot, *order])
  shown = pairs.shown()
  kept = np.flatnonzero(shown.any(0) | shown.any(1))
  if len(kept) < 3:
    return None
  square = np.ix_(kept, kept)
  names = [pairs.languages[i] for i in kept]
  return heldout.Pairs(names, pairs.accuracy[square], pairs.common[square])
