"""Word alignment, AER: do the token states of translations match, word by word? numpy in and out.

Protocol (SimAlign's, arXiv 2004.08728): pieces i and j are linked if each is the other's nearest by
cosine in one layer and the cosine is at least a threshold; words are linked if any of their pieces
are (`word_links.py`, which has other methods too). Files: `NAME.src-tgt` with
`source words ||| target words` and `NAME.gold`, line by line, in Pharaoh's notation: `i-j` is a
sure link, `ipj` a possible one. With A the predicted links, S the sure gold links and P the sure
and possible ones (Och and Ney, 2003), over all sentences of a file, AER is the alignment error
rate:

    precision = |A n P| / |A|      recall = |A n S| / |S|
    AER = 1 - (|A n S| + |A n P|) / (|A| + |S|)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, Unpack

import numpy as np
from etils import epath

from dap_jax.data.texts import text_files
from dap_jax.evals import MEAN, Model, Pieces, Result, by_row, with_means
from dap_jax.evals.word_links import Link, Settings, align, check_layer, check_settings
from dap_jax.utils.errors import UserError

VERSION = 1
BLOCK_SENTENCES = 64  # whose states are in memory at a time


class Pair(NamedTuple):
  """source, target: words; sure, possible: gold links, where the sure ones are possible too."""

  source: list[str]
  target: list[str]
  sure: set[Link]
  possible: set[Link]


class Corpus(NamedTuple):
  """pairs: of sentences; ignored: how many gold links point beyond the end of a sentence."""

  pairs: list[Pair]
  ignored: int


class Counts(NamedTuple):
  """|A|, |S|, |A n S| and |A n P| of the module's docstring; they add up over sentences."""

  predicted: int
  sure: int
  predicted_sure: int
  predicted_possible: int

  def add(self, other: Counts) -> Counts:
    return Counts(*(a + b for a, b in zip(self, other, strict=True)))

  def scores(self) -> dict[str, float]:
    """AER, precision and recall; the precision of no link is 0."""
    right = self.predicted_sure + self.predicted_possible
    return {
      "aer": 1 - right / (self.predicted + self.sure),
      "precision": self.predicted_possible / self.predicted if self.predicted else 0.0,
      "recall": self.predicted_sure / self.sure,
    }


def evaluate(
  model: Model,
  data: str,
  *,
  layer: int = -1,
  method: str = "mutual",
  threshold: float = 0.0,
  unit_of_alignment: str = "piece",
  first_index: int = 1,
) -> Result:
  """Every file and layer.

  Args:
    model: the model.
    data: the folder.
    layer: which layer's AER, precision and recall are the result; negative ones count from the
      last. The AER of every layer is reported too.
    method: what links words, of `word_links.METHODS`.
    threshold: the least cosine of a link.
    unit_of_alignment: `piece`, or `word`, whose state is the mean of its pieces' states.
    first_index: the number of the first word in the gold links, 0 or 1.
  """
  check_settings(method, unit_of_alignment=unit_of_alignment, threshold=threshold)
  if first_index not in (0, 1):
    raise UserError(f"first_index={first_index}: expected 0 or 1")
  corpora = read_alignments(data, first_index=first_index)
  layers = len(model.word_states([["a"]])[0].states)
  layer = check_layer(layer, layers, name="layer")
  how = Settings(method=method, threshold=threshold, unit_of_alignment=unit_of_alignment)
  scores: dict[str, dict[str, float]] = {}
  words_without_state = 0
  for name, corpus in corpora.items():
    counts, without_state = count_links(model, corpus.pairs, **how)
    words_without_state += without_state
    for metric, value in scores_of_layers(counts, layer).items():
      scores.setdefault(metric, {})[name] = value
  named = with_means(scores)
  columns = {
    metric.removeprefix("aer_").replace("_", " "): by_row(named, metric) for metric in scores
  }
  protocol = {
    "split": "test",
    "files": ",".join(corpora),
    "sentences": sum(len(corpus.pairs) for corpus in corpora.values()),
    "gold_links_beyond_a_sentence_ignored": sum(corpus.ignored for corpus in corpora.values()),
    "words_without_state": words_without_state,
    "layer": layer,
    "pooling": f"none: the states of {unit_of_alignment}s",
  }
  return Result(protocol, named, columns, [MEAN, *corpora])


def scores_of_layers(counts: Sequence[Counts], layer: int) -> dict[str, float]:
  """AER, precision and recall of one layer, and `aer_layer_N` of each, the embeddings first."""
  return counts[layer].scores() | {
    f"aer_layer_{number}": of_layer.scores()["aer"] for number, of_layer in enumerate(counts)
  }


def count_links(
  model: Model, pairs: Sequence[Pair], **how: Unpack[Settings]
) -> tuple[list[Counts], int]:
  """Aligns all sentences in every layer; `how` goes to `word_links.align`.

  Returns:
    The counts of each layer, the embeddings first; and the number of words without a state, because
    they are beyond the model's limit or the tokenizer drops them.
  """
  totals: list[Counts] = []
  without_state = 0
  for start in range(0, len(pairs), BLOCK_SENTENCES):
    block = pairs[start : start + BLOCK_SENTENCES]
    sides = [pair.source for pair in block], [pair.target for pair in block]
    for pair, x, y in zip(block, *map(model.word_states, sides), strict=True):
      for words, pieces in ((pair.source, x), (pair.target, y)):
        without_state += len(words) - len(np.unique(pieces.words))
      totals = totals or [Counts(0, 0, 0, 0)] * len(x.states)
      for number, total in enumerate(totals):
        links = align(
          Pieces(x.states[number], x.words),
          Pieces(y.states[number], y.words),
          **how,
        )
        totals[number] = total.add(compare(set(links), pair))
  return totals, without_state


def compare(links: set[Link], pair: Pair) -> Counts:
  """Counts predicted links against the gold links of a pair."""
  return Counts(len(links), len(pair.sure), len(links & pair.sure), len(links & pair.possible))


def read_alignments(folder: epath.PathLike, *, first_index: int) -> dict[str, Corpus]:
  """`NAME` -> its sentences and gold links. Raises UserError that names the file and line."""
  corpora = {}
  for path in sorted(epath.Path(folder).glob("*.src-tgt")):
    name = path.name.removesuffix(".src-tgt")
    texts = list(text_files.lines(path))
    gold_path = path.with_name(f"{name}.gold")
    gold = list(text_files.lines(gold_path))
    if len(texts) != len(gold) or not texts:
      raise UserError(
        f"{path} has {len(texts)} lines, {gold_path.name} {len(gold)}: expected equally many"
      )
    pairs, ignored = [], 0
    for number, (text, links) in enumerate(zip(texts, gold, strict=True), 1):
      where = f"{path}:{number}"
      pair, beyond = parse_pair(text, links, first_index=first_index, where=where)
      pairs.append(pair)
      ignored += beyond
    if not any(pair.sure for pair in pairs):
      raise UserError(f"{gold_path} has no sure link (i-j)")
    corpora[name] = Corpus(pairs, ignored)
  if not corpora:
    raise UserError(f"{folder} has no files NAME.src-tgt with NAME.gold beside them")
  return corpora


def split_at_spaces(text: str) -> list[str]:
  """What is between spaces, as aligners count: U+00A0 and its kin are part of a word."""
  return [word for word in text.split(" ") if word]


def parse_pair(text: str, links: str, *, first_index: int, where: str) -> tuple[Pair, int]:
  """One line of each file -> the pair, and how many links point beyond the end of a sentence."""
  source_text, separator, target_text = text.partition(" ||| ")
  source, target = split_at_spaces(source_text), split_at_spaces(target_text)
  if not separator or not source or not target:
    raise UserError(f"{where}: expected `source words ||| target words`")
  sure: set[Link] = set()
  possible: set[Link] = set()
  beyond = 0
  for link in split_at_spaces(links):
    match = re.fullmatch(r"([0-9]+)([-p])([0-9]+)", link)
    if not match:
      raise UserError(f"{where}, its gold: {link!r} is neither i-j nor ipj")
    i, j = int(match[1]) - first_index, int(match[3]) - first_index
    if min(i, j) < 0:
      raise UserError(f"{where}, its gold: {link} counts words from 0; set first_index=0")
    if i >= len(source) or j >= len(target):
      beyond += 1
      continue
    possible.add((i, j))
    if match[2] == "-":
      sure.add((i, j))
  return Pair(source, target, sure, possible), beyond
