"""A part of a pretrained vocabulary: the ids that a corpus uses, and what keeps all texts readable.

Every piece of the corpus's texts is kept, so they have the same pieces as before:

WordPiece  takes the longest piece that fits, which is kept, and no longer one comes in between.
Unigram    takes the path of the best score. It is kept; no score changes, nor that of an unknown
           character, which the library computes from the lowest of all: one with that is kept.
BPE        merges by rank. What a piece was merged from is kept, and all merges of kept pieces.

Single characters and bytes are kept too, so a text with pieces that are gone falls to smaller ones
and is not unknown. That is sure where a vocabulary has the characters of its pieces as pieces, as
trained ones do; where it lacks one, all pieces with that character are kept.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np
import tokenizers

from dap_jax.data.tokenizer import Tokenizer
from dap_jax.utils.errors import UserError, reading

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]  # of a model with byte_fallback


def prune(definition: str, used: Collection[int], *, fixed_ids: int) -> str:
  """tokenizer.json -> that of a part of its vocabulary, numbered anew from 0 in the same order.

  Args:
    definition: the content of tokenizer.json.
    used: ids to keep. Added tokens and those that are put around texts are kept anyway.
    fixed_ids: so many first ids are kept with their numbers.

  Raises:
    UserError: it is of another kind, damaged, or has ids that cannot be numbered anew.
  """
  with reading("tokenizer.prune: the vocabulary of init_from cannot be pruned"):
    whole = tokenizers.Tokenizer.from_str(definition)
    content = json.loads(whole.to_str())
    model, places = content["model"], list(places_of_ids(content))
    if model["type"] not in NEEDED:
      raise ValueError(f"it is {model['type']}, expected {' or '.join(NEEDED)}")
    ids = whole.get_vocab()
    tokens = {number: token for token, number in ids.items()}
    named = {*used, *range(fixed_ids), *(holder[key] for holder, key in places)}
    if absent := sorted(named - tokens.keys()):
      raise ValueError(f"no token has the id {absent[0]}, which its tokenizer.json needs")
    keep = {tokens[number] for number in named} | {model.get("unk_token")} & ids.keys()
    keep |= NEEDED[model["type"]](model, keep)
    order = sorted(keep, key=ids.__getitem__)
    numbers = {ids[token]: number for number, token in enumerate(order)}
    for holder, key in places:
      holder[key] = numbers[holder[key]]
    take_part(model, {token: numbers[ids[token]] for token in order})
    part = tokenizers.Tokenizer.from_str(json.dumps(content, ensure_ascii=False))
    if part.get_vocab() != {token: number for number, token in enumerate(order)}:
      raise ValueError("some of its ids have no token, or more than one")
  return part.to_str()


def places_of_ids(content: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
  """Every place of a tokenizer.json, its vocabulary aside, that holds an id: a holder and a key."""
  for token in content["added_tokens"]:
    yield token, "id"
  if content["padding"]:
    yield content["padding"], "pad_id"
  if content["model"].get("unk_id") is not None:
    yield content["model"], "unk_id"
  processors = [content["post_processor"]]
  for processor in filter(None, processors):
    kind = processor["type"]
    if kind == "Sequence":
      processors += processor["processors"]
    elif kind in ("BertProcessing", "RobertaProcessing"):
      yield from ((processor[end], 1) for end in ("cls", "sep"))
    elif kind == "TemplateProcessing":
      for token in processor["special_tokens"].values():
        yield from ((token["ids"], place) for place in range(len(token["ids"])))
    elif kind != "ByteLevel":
      raise ValueError(f"its post-processor is {kind}, which is not known here")


def take_part(model: dict[str, Any], numbers: dict[str, int]) -> None:
  """Leaves only these tokens, with these ids, in the vocabulary of a tokenizer.json's `model`."""
  vocabulary = model["vocab"]
  if isinstance(vocabulary, list):  # of [piece, score]
    model["vocab"] = [entry for entry in vocabulary if entry[0] in numbers]
  else:
    model["vocab"] = {token: number for token, number in numbers.items() if token in vocabulary}
  if "merges" in model:
    together = merger(model)
    model["merges"] = [
      pair for pair in model["merges"] if numbers.keys() >= {*pair, together(*pair)}
    ]


def needed_word_pieces(model: dict[str, Any], keep: set[str]) -> set[str]:
  """What a WordPiece vocabulary needs beside the tokens to keep."""
  del keep
  prefix = model["continuing_subword_prefix"]

  def characters(piece: str) -> list[str]:
    first = [] if piece.startswith(prefix) else [piece[:1]]
    rest = piece[1:] if first else piece.removeprefix(prefix)
    return first + [prefix + character for character in rest]

  return pieces_of_one(model["vocab"], characters)


def needed_unigrams(model: dict[str, Any], keep: set[str]) -> set[str]:
  """What a Unigram vocabulary needs beside the tokens to keep."""
  del keep
  scores = dict(model["vocab"])
  if len(scores) < len(model["vocab"]):
    raise ValueError("it has a piece twice")
  bytes_ = scores.keys() & set(BYTES) if model.get("byte_fallback") else set()
  return pieces_of_one(scores, list) | {min(scores, key=scores.__getitem__)} | bytes_


def pieces_of_one(
  vocabulary: Collection[str], characters: Callable[[str], Sequence[str]]
) -> set[str]:
  """The pieces of one character, and those with a character that has no such piece.

  Args:
    vocabulary: all pieces.
    characters: a piece -> the pieces of one character that it could fall to.
  """
  return {
    piece
    for piece in vocabulary
    if len(parts := characters(piece)) < 2 or any(part not in vocabulary for part in parts)
  }


def needed_byte_pairs(model: dict[str, Any], keep: set[str]) -> set[str]:
  """What a BPE vocabulary needs beside the tokens to keep: what nothing is merged to, and parts."""
  together = merger(model)
  parts_of: dict[str, list[str]] = defaultdict(list)
  for pair in model["merges"]:
    parts_of[together(*pair)] += pair
  needed = model["vocab"].keys() - parts_of.keys()
  waiting = list(keep)
  while waiting:
    new = [part for part in parts_of.get(waiting.pop(), ()) if part not in needed]
    needed.update(new)
    waiting += new
  return needed


def merger(model: dict[str, Any]) -> Callable[[str, str], str]:
  """The function that gives what two pieces of a BPE model are merged to."""
  prefix = model["continuing_subword_prefix"] or ""
  return lambda first, second: first + second[len(prefix) :]


NEEDED = {
  "WordPiece": needed_word_pieces,
  "Unigram": needed_unigrams,
  "BPE": needed_byte_pairs,
}


def ids_in_whole(part: Tokenizer, whole: Tokenizer) -> np.ndarray:
  """The ids that the tokens of a part have in the whole vocabulary: int32 [part.size], rising.

  Raises:
    UserError: it is no part of this vocabulary.
  """
  ids, found = whole.ids(), np.zeros(part.size, np.int32)
  for token, number in part.ids().items():
    if token not in ids:
      raise UserError(
        f"init_from has no token {token!r}, which this run's data was prepared with: it is another"
        " checkpoint now; use another --workdir"
      )
    found[number] = ids[token]
  return found
