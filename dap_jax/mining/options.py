"""What `mine` does with the vectors of two texts."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Options:
  """Flags of `mine`, by their names.

  Attributes:
    mode: mine, score, search or negatives.
    margin: one of `margins.MARGINS`.
    retrieval: one of `pairing.RETRIEVALS`.
    neighbours: k.
    threshold, min_cosine: the lowest score and the lowest cosine to keep; -inf for all.
    negatives, rules: how many hard negatives of a pair to find, and to make by rules.
    max_share: the largest cosine of one that is found, as a share of the pair's own.
    index: flat, or faiss:FACTORY.
    save_seconds: between two saves of the exact search's state.
  """

  mode: str
  margin: str
  retrieval: str
  neighbours: int
  threshold: float
  min_cosine: float
  negatives: int
  rules: int
  max_share: float
  index: str
  save_seconds: float

  def searched_sides(self) -> int:
    """Whose neighbours the mode needs: 2 for both sides', 1 for the source's, 0 for none."""
    if self.mode == "negatives":
      return int(self.negatives > 0)
    if self.mode == "score" and self.margin == "absolute":
      return 0
    return 1 if self.mode == "search" else 2

  def describe(self) -> str:
    """One line for the log."""
    sides, said = self.searched_sides(), []
    if self.mode in ("mine", "score"):
      said.append(f"{self.margin} margin")
    if sides:
      said.append(f"{self.neighbours} neighbours{' on each side' if sides == 2 else ''}")
    if self.mode == "mine":
      said.append(f"candidates {self.retrieval}")
    if not sides:
      return ", ".join(said)
    factory = self.index.removeprefix("faiss:")
    approximate = f"APPROXIMATE search by FAISS, {factory}"
    return f"{', '.join(said)}; {'exact search' if self.index == 'flat' else approximate}"
