"""Words of a pair that a dictionary calls synonyms."""

from __future__ import annotations


class Synonyms:
  """To be written; a `store.Extra`."""

  def __init__(self, *, pivot: str):
    raise NotImplementedError
