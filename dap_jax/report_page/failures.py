"""The held-out translations that are found worst: weak spots of the model, errors in the data."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np

from dap_jax.report_page.heldout import Heldout

MOST, OF_LANGUAGE = 12, 2  # in all, and of one language


class Failure(NamedTuple):
  """A translation that is nearer to another sentence of the pivot than to its own.

  Attributes:
    language, text: the translation.
    own, own_cosine: the sentence that it translates, and how near it is.
    found, found_cosine: the nearest sentence.
  """

  language: str
  text: str
  own: str
  own_cosine: float
  found: str
  found_cosine: float


def failures(heldout: Heldout) -> list[Failure]:
  """The `MOST` that are most wrong by the difference of the cosines, the worst first."""
  queries = np.flatnonzero(heldout.languages != heldout.pivot)
  # Each row has the pivot, so its texts stand in the rows' order.
  cosines = heldout.vectors[queries] @ heldout.vectors[heldout.at(heldout.pivot)].T
  sentences, places = heldout.sentences[queries], np.arange(len(queries))
  own = cosines[places, sentences].copy()
  cosines[places, sentences] = -np.inf
  found = cosines.argmax(1)
  gaps = own - cosines[places, found]
  worst, seen = list[Failure](), Counter[str]()
  for place in np.argsort(gaps, kind="stable"):
    if gaps[place] >= 0 or len(worst) == MOST:
      break
    language, text = str(heldout.languages[queries[place]]), heldout.texts[queries[place]]
    seen[language] += 1
    if seen[language] <= OF_LANGUAGE:
      sides = (heldout.rows[row][heldout.pivot] for row in (sentences[place], found[place]))
      pairs = zip(sides, (own[place], cosines[place, found[place]]), strict=True)
      (own_text, own_cosine), (other, cosine) = ((side, float(value)) for side, value in pairs)
      worst.append(Failure(language, text, own_text, own_cosine, other, cosine))
  return worst
