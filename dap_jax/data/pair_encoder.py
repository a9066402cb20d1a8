"""How the texts of pairs become ids, the same in every process that tokenises a part of them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from etils import epath

from dap_jax.data.cleaning.pairs import Pair, hash_of
from dap_jax.data.tokenizer import Marked, Tokenizer
from dap_jax.utils.prompts import Sides

REMEMBERED = 200_000  # pivots
UNCUT = 1 << 30  # no text has so many ids


class EncoderSettings(NamedTuple):
  """What `Encoder` is made of, in whatever process.

  Attributes:
    directory: of the tokenizer.
    max_tokens: of a sequence.
    prompts: what goes before the texts of each side.
    definition: a hash of `Tokenizer.definition`: it tells tokenizers apart that are in the same
      directory one after the other.
    ids: how many it has.
  """

  directory: str
  max_tokens: int
  prompts: Sides
  definition: int
  ids: int

  @classmethod
  def load(
    cls, directory: epath.PathLike, *, prompts: Sides, max_tokens: int = UNCUT
  ) -> EncoderSettings:
    """Of the tokenizer that is in a directory now."""
    tokens = Tokenizer.load(directory, max_tokens=max_tokens)
    return cls(str(directory), max_tokens, prompts, hash_of(tokens.definition()), tokens.size)

  def tokenizer(self) -> Tokenizer:
    """The one that is in the directory."""
    return Tokenizer.load(self.directory, max_tokens=self.max_tokens)


class Encoder:
  """Texts of pairs -> ids. It remembers pivots: many corpora have them again in each language."""

  def __init__(self, settings: EncoderSettings):
    self._tokens, self._prompts = settings.tokenizer(), settings.prompts
    self._pivots: dict[str, Marked] = {}

  def prompted(self, pairs: list[Pair]) -> list[Pair]:
    """The pairs, with the prompts before their texts."""
    pivot, translation = self._prompts
    if not pivot and not translation:
      return pairs
    return [
      pair._replace(
        pivot=pivot + pair.pivot,
        translation=translation + pair.translation,
        negatives=tuple(pivot + text for text in pair.negatives),
      )
      for pair in pairs
    ]

  def encode(self, pairs: Sequence[Pair]) -> dict[str, Marked]:
    """Every text of the pairs, hard negatives included -> its ids."""
    texts = dict.fromkeys(texts_of(pairs))
    encoded = {text: self._pivots[text] for text in texts if text in self._pivots}
    new = [text for text in texts if text not in encoded]
    encoded.update(zip(new, self._tokens.encode_marked(new), strict=True))
    if len(self._pivots) > REMEMBERED:
      self._pivots.clear()
    self._pivots.update({pair.pivot: encoded[pair.pivot] for pair in pairs})
    return encoded


encoder_of = functools.lru_cache(maxsize=1)(Encoder)  # one of a process


def texts_of(pairs: Iterable[Pair]) -> Iterator[str]:
  """All texts of some pairs."""
  for pair in pairs:
    yield pair.pivot
    yield pair.translation
    yield from pair.negatives
