"""Text <-> ids, the same in training, in `embed`, and for users of the exported model.

Only the `tokenizers` library reads text, as in transformers, so ids are equal everywhere. A
vocabulary that is trained here (tokenizer_training.py) has the special tokens [PAD] 0, [UNK] 1,
[CLS] 2, [SEP] 3, [MASK] 4; a checkpoint's tokenizer has its own, named in tokenizer_config.json.

`Tokenizer` is the one place that adds [CLS] and [SEP] and cuts sequences to their length.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tokenizers
from etils import epath

from dap_jax.utils.errors import UserError, reading

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ROLES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
FILES = ("tokenizer.json", "tokenizer_config.json")
DAMAGED = "the tokenizer fails on a text, so its tokenizer.json is damaged; fetch it again"
SPACE = "\u2581"  # sentencepiece's visible space


class SpecialIds(NamedTuple):
  """The ids of the special tokens; a checkpoint's tokenizer may have no unknown and no mask one."""

  pad: int
  unk: int | None
  cls: int
  sep: int
  mask: int | None


class Marked(NamedTuple):
  """The ids of a text, int32, and whether it was cut."""

  ids: np.ndarray
  is_cut: bool


class Window(NamedTuple):
  """A question and a part of its context.

  Attributes:
    ids, types: of each token.
    spans: of each token of the context its characters [start, end) in it; of the others None.
  """

  ids: list[int]
  types: list[int]
  spans: list[tuple[int, int] | None]


def check_backend(backend: tokenizers.Tokenizer, *, where: str) -> None:
  """Raises UserError for an option of a tokenizer.json by which our ids or types would differ."""
  for name in ("truncation", "padding"):
    options = getattr(backend, name) or {}
    if str(options.get("direction", "right")).lower() != "right":
      raise UserError(
        f"{where}: {name} of its tokenizer.json is at the left; dap_jax's at the right"
      )
  if getattr(backend.model, "dropout", None):
    raise UserError(f"{where}: its tokenizer.json has dropout, so a text has no ids of its own")
  if any(backend.encode("a b").type_ids):
    raise UserError(f"{where}: its tokenizer gives a text token types other than 0")


class Tokenizer:
  """Text -> `[CLS] tokens [SEP]`, cut to `max_tokens` ids.

  As in transformers, a special token that is written in a text, "[MASK]" say, becomes that token.

  Attributes:
    size: one more than the largest id.
    max_tokens: to so many ids sequences are cut.
    special_ids: of the padding and so on.
    pad_id, unk_id, cls_id, sep_id, mask_id: the same; unk_id and mask_id are None where the
      tokenizer has no such token.
  """

  def __init__(self, backend: tokenizers.Tokenizer, *, special_ids: SpecialIds, max_tokens: int):
    backend.enable_truncation(max_tokens)
    self._backend, self.max_tokens = backend, max_tokens
    self.size = 1 + max(backend.get_vocab().values())
    self.special_ids = special_ids
    self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = special_ids

  @classmethod
  def load(cls, directory: epath.PathLike, *, max_tokens: int) -> Tokenizer:
    """Reads `FILES` of a folder.

    Args:
      directory: the folder.
      max_tokens: sequences are cut to so many ids, [CLS] and [SEP] included.

    Raises:
      UserError: a file is missing or damaged.
    """
    directory = epath.Path(directory)
    for name in FILES:
      if not (directory / name).exists():
        raise UserError(f"{directory} has no {name}: give a folder that train or export wrote")
    with reading(f"{directory}: its tokenizer cannot be read"):
      files = {name: (directory / name).read_text() for name in FILES}
    return cls.from_files(files, where=str(directory), max_tokens=max_tokens)

  @classmethod
  def from_files(cls, files: Mapping[str, str], *, where: str, max_tokens: int) -> Tokenizer:
    """From the contents of `FILES`; `where` names them in errors.

    Raises:
      UserError: they are damaged, or not those of an encoder's tokenizer.
    """
    with reading(f"{where}: its tokenizer cannot be read"):
      backend = tokenizers.Tokenizer.from_str(files["tokenizer.json"])
      config = json.loads(files["tokenizer_config.json"])
      pad, unk, _, _, mask = (backend.token_to_id(config.get(role) or "") for role in ROLES)
      check_backend(backend, where=where)
      backend.no_padding()  # some checkpoints' files ask for it
      ends = backend.encode("").ids  # cls and sep, under any name
    if pad is None:
      raise UserError(f"{where}: its tokenizer has no id for pad_token")
    if len(ends) != 2:
      raise UserError(
        f"{where}: the empty text becomes {ends}, expected two ids, those of cls and sep:"
        " its tokenizer is not one of an encoder"
      )
    special_ids = SpecialIds(pad, unk, ends[0], ends[1], mask)
    return cls(backend, special_ids=special_ids, max_tokens=max_tokens)

  def _encodings(self, texts: Sequence[str | tuple[str, str]]) -> list[tokenizers.Encoding]:
    """What the library makes of each text. Some damage to its file shows only here."""
    with reading(DAMAGED):
      return list(self._backend.encode_batch(list(texts)))

  def encode_ragged(self, texts: Sequence[str | tuple[str, str]]) -> list[list[int]]:
    """Texts, or pairs of texts that become one sequence -> ids, special ones included."""
    return [encoding.ids for encoding in self._encodings(texts)]

  def encode_typed(
    self, texts: Sequence[str | tuple[str, str]]
  ) -> tuple[list[list[int]], list[list[int]]]:
    """As `encode_ragged`, and the token type of each id: with BERT's, 1 in the second text."""
    encodings = self._encodings(texts)
    return [each.ids for each in encodings], [each.type_ids for each in encodings]

  def pieces(self, words: Sequence[str]) -> list[list[int]]:
    """The ids of words that are tokenised one by one, special ones left out; maybe none.

    Of a word of more than `max_tokens` ids the first are left.
    """
    with reading(DAMAGED):
      encodings = self._backend.encode_batch_fast(list(words), add_special_tokens=False)
    return [each.ids for each in encodings]

  def windows(
    self, question: str, context: str, *, step: int, most_of_question: int
  ) -> list[Window]:
    """A question before each part of a context, all of which is in some part.

    Args:
      question: cut to `most_of_question` ids.
      context: cut into windows that begin every `step` ids, each as long as `max_tokens` allows.
      step: at least 1.
      most_of_question: see there.
    """
    backend = self._backend
    with reading(DAMAGED):
      pieces = backend.encode(question, add_special_tokens=False)
      if len(pieces.ids) > most_of_question:
        question = question[: pieces.offsets[most_of_question - 1][1]]
      taken = len(backend.encode(question, "").ids)  # with the special ones of a pair
      room = self.max_tokens - taken
      if room < 1:
        raise UserError(f"a question of {taken} tokens leaves no room below {self.max_tokens}")
      overlap = max(room - step, 0)
      try:
        backend.enable_truncation(self.max_tokens, stride=overlap, strategy="only_second")
        first = backend.encode(question, context)
      finally:
        backend.enable_truncation(self.max_tokens)
    return [
      Window(
        each.ids,
        each.type_ids,
        [
          span if sequence == 1 else None
          for span, sequence in zip(each.offsets, each.sequence_ids, strict=True)
        ],
      )
      for each in [first, *first.overflowing]
    ]

  def encode_marked(self, texts: Sequence[str]) -> list[Marked]:
    """As `encode_ragged`, and of each text whether it lost its end."""
    with reading(DAMAGED):
      encodings = self._backend.encode_batch_fast(list(texts))  # without offsets: a tenth faster
    return [Marked(np.array(each.ids, np.int32), bool(each.overflowing)) for each in encodings]

  def encode_words(
    self, sentences: Sequence[Sequence[str]], *, prompt: str = ""
  ) -> list[tuple[list[int], list[int]]]:
    """Sentences as lists of words, joined by spaces -> the ids, and the number of each id's word.

    The number is -1 for [CLS], [SEP], the prompt and a space that has its own id. A piece that
    spans several words belongs to the first.
    """
    texts = [prompt + " ".join(words) for words in sentences]
    encoded = []
    for words, encoding in zip(sentences, self._encodings(texts), strict=True):
      of_character = [-1] * len(prompt)
      for number, word in enumerate(words):
        of_character += [number] * len(word) + [-1]
      spans = (of_character[start:end] for start, end in encoding.offsets)  # specials: empty
      of_pieces = [next((word for word in span if word >= 0), -1) for span in spans]
      encoded.append((encoding.ids, of_pieces))
    return encoded

  def encode_spans(
    self, texts: Sequence[str], *, prompt: str = ""
  ) -> list[tuple[list[int], list[tuple[int, int]]]]:
    """Texts -> the ids, and for each id the characters [start, end) of its text.

    The span is empty for [CLS], [SEP], the prompt and a space that has its own id.
    """
    encoded, before = [], len(prompt)
    for encoding in self._encodings([prompt + text for text in texts]):
      pieces = zip(encoding.tokens, encoding.offsets, strict=True)
      spans = [(start, start) if piece == SPACE else (start, end) for piece, (start, end) in pieces]
      spans = [(max(start - before, 0), max(end - before, 0)) for start, end in spans]
      encoded.append((encoding.ids, spans))
    return encoded

  def ids(self) -> dict[str, int]:
    """Every token, added ones included -> its id."""
    return dict(self._backend.get_vocab())

  def definition(self) -> str:
    """Everything that decides which ids a text becomes, as JSON."""
    return self._backend.to_str()

  def decode(self, ids: Iterable[int]) -> str:
    """Ids -> text, without the special tokens."""
    return self._backend.decode([int(i) for i in ids], skip_special_tokens=True)
