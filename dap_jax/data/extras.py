"""What an objective may need of the texts beside their ids: made once, when the data is prepared.

Word synonyms (`synonyms.Synonyms`) and a teacher's ids or vectors are extras.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from dap_jax.data.elements import Feature
from dap_jax.data.tokenizer import Tokenizer

# (side, name of a feature) -> its values: one flat array a pair, or int32 [pairs], rows of a table.
# The side is "pivot", "translation" or "pair".
FeatureValues = dict[tuple[str, str], list[np.ndarray] | np.ndarray]


class Extra(Protocol):
  """Makes features of the texts. Called in this order: open, compute by language, tables, report.

  Attributes:
    features: what it makes.
    sources: folders of the package beside data/ whose code its values depend on: a change there
      makes cached data stale.
  """

  @property
  def features(self) -> tuple[Feature, ...]: ...

  @property
  def sources(self) -> tuple[str, ...]: ...

  def open(self) -> None:
    """Reads its files, so that a mistake in them ends the run before the corpus is read."""
    ...

  def compute(
    self,
    language: str,
    texts: Sequence[tuple[str, str]],
    tokens: Tokenizer,
    *,
    advance: Callable[[int], None],
  ) -> FeatureValues:
    """The features of a language's pairs.

    Args:
      language: of the translations.
      texts: (pivot, translation) of every pair.
      tokens: the tokenizer that gives the pairs their ids.
      advance: is told how many more pairs are done, as often as there is news.
    """
    ...

  def tables(self) -> dict[str, np.ndarray]:
    """Name of a feature -> its distinct values [N, n], where `compute` gave rows of them."""
    ...

  def report(self) -> dict[str, Any]:
    """Statistics of what it made, for info.json."""
    ...
