"""CoNLL-U: the words and part-of-speech tags of treebanks, as XTREME takes them.

Universal Dependencies' format; the library `conllu` parses the lines. A multiword token such as
Spanish "del" (de + el) is one word, in its fused form; its tag is that of its head: the part with
the fewest ancestors in the graph of basic and enhanced dependencies; of several the first in a
precedence list (`PRECEDENCE`). Empty nodes are left out, and so are the invisible U+200C and blanks
inside words. A sentence whose forms are nearly all withheld ("_", as in treebanks without their
texts) is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import conllu.parser
from etils import epath

from dap_jax.data.texts import text_files
from dap_jax.utils.errors import UserError, reading

UPOS = (
  *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART", "PRON", "PROPN"),
  *("PUNCT", "SCONJ", "SYM", "VERB", "X"),
)
UNKNOWN = "X"  # of a word without a tag
# Language -> which tag is a multiword token's, of parts equally near to the root; "" = the others.
PRECEDENCE = {
  "": "VERB NOUN PROPN PRON ADJ NUM ADV INTJ AUX ADP DET PART CCONJ SCONJ X PUNCT",
  "es": "VERB AUX PRON ADP DET",
  "fr": "VERB AUX PRON NOUN ADJ ADV ADP DET PART SCONJ CONJ",
  "it": "VERB AUX ADV PRON ADP DET INTJ",
}
COLUMNS = 10
PARSERS = {
  name: conllu.parser.DEFAULT_FIELD_PARSERS[name] for name in ("id", "head", "deps")
}  # the other columns stay text


class Tagged(NamedTuple):
  """A sentence. words, tags: as many of each; lines: of the file, where each word stands."""

  words: list[str]
  tags: list[str]
  lines: list[int]


class Node(NamedTuple):
  """A line. id: an int, or (first, "-", last) or (n, ".", m); parents: of the graph."""

  id: Any
  form: str
  tag: str
  parents: list[int]
  line: int


def read_treebank(path: epath.Path, *, language: str) -> Iterator[Tagged]:
  """The sentences of a file.

  Raises:
    UserError: a line that does not fit, by its number; or a sentence id that occurs twice.
  """
  for nodes in sentences(path):
    tagged = fused(nodes, language=language, where=str(path))
    withheld = sum(word == "_" for word in tagged.words)
    if withheld == 0 or withheld < len(tagged.words) - 1:
      yield tagged


def sentences(path: epath.Path) -> Iterator[list[Node]]:
  """The lines of each sentence, parsed; errors as above."""
  nodes: list[Node] = []
  first_lines: dict[str, int] = {}
  for number, line in enumerate(text_files.lines(path), 1):
    where = f"{path}:{number}"
    if not line.strip():
      if nodes:
        yield nodes
      nodes = []
    elif line.startswith("#"):
      refuse_twice(line, number, first_lines, where=where)
    else:
      nodes.append(parse(line, number, where=where))
  if nodes:
    yield nodes


def refuse_twice(line: str, number: int, first_lines: dict[str, int], *, where: str) -> None:
  """Raises UserError for a comment with a `sent_id` that the file has had already.

  Args:
    line, number: the comment, and where it stands.
    first_lines: sent_id -> its line; the new one is added.
    where: file and line, for the message.
  """
  key, equals, value = line[1:].partition("=")
  if key.strip() != "sent_id" or not equals:
    return
  first = first_lines.setdefault(value.strip(), number)
  if first != number:
    raise UserError(f"{where}: the sent_id {value.strip()[:60]!r} is that of line {first} too")


def parse(line: str, number: int, *, where: str) -> Node:
  """One line of ten columns. Raises UserError that begins with `where`."""
  columns = line.split("\t")
  if len(columns) != COLUMNS:
    raise UserError(f"{where}: {len(columns)} columns with tabs between, expected {COLUMNS}")
  # The library takes two blanks for a tab too.
  columns = [" ".join(column.split()) for column in columns]
  with reading(f"{where}: no line of CoNLL-U"):
    token = conllu.parser.parse_line("\t".join(columns), conllu.parser.DEFAULT_FIELDS, PARSERS)
  form, tag = columns[1], columns[3]
  if token["id"] is None:
    raise UserError(f"{where}: the line has no id")
  if tag not in (*UPOS, "_", ""):
    raise UserError(f"{where}: {tag[:60]!r} is none of the tags {', '.join(UPOS)}")
  deps = token["deps"] if isinstance(token["deps"], list) else []
  parents = [parent for _, parent in deps if isinstance(parent, int)]
  parents += [] if token["head"] is None else [token["head"]]
  word = form.replace(" ", "").replace("\u200c", "")
  return Node(token["id"], word, UNKNOWN if tag in ("_", "") else tag, parents, number)


def fused(nodes: Sequence[Node], *, language: str, where: str) -> Tagged:
  """A sentence whose multiword tokens are one word each.

  Args:
    nodes: its lines.
    language: code, for the precedence of tags.
    where: the file, for errors.

  Raises:
    UserError: ids or ranges that are not in order, or a head that is no word.
  """
  words = [node for node in nodes if isinstance(node.id, int)]
  for place, node in enumerate(words, 1):
    if node.id != place:
      raise UserError(f"{where}:{node.line}: the word's id is {node.id}, expected {place}")
    if not all(0 <= parent <= len(words) for parent in node.parents):
      raise UserError(f"{where}:{node.line}: its head is none of the {len(words)} words")
  tagged, until = Tagged([], [], []), 0
  ranges = [node for node in nodes if isinstance(node.id, tuple) and node.id[1] == "-"]
  starts: dict[int, Node] = {}
  for node in ranges:
    first, _, last = node.id
    if not until < first <= last <= len(words):
      raise UserError(
        f"{where}:{node.line}: the range {first}-{last} overlaps another, or has no words"
      )
    starts[first], until = node, last
  place = 1
  while place <= len(words):
    node, last = starts.get(place, words[place - 1]), place
    tag = node.tag
    if place in starts:
      last = node.id[2]
      tag = tag_of_range(words, first=place, last=last, language=language)
    tagged.words.append(node.form)
    tagged.tags.append(tag)
    tagged.lines.append(node.line)
    place = last + 1
  return tagged


def tag_of_range(words: Sequence[Node], *, first: int, last: int, language: str) -> str:
  """The tag of the head among words `first` to `last`, from 1; see the module."""
  ancestors = {place: count_ancestors(words, place) for place in range(first, last + 1)}
  least = min(ancestors.values())
  nearest = [words[place - 1].tag for place, count in ancestors.items() if count == least]
  order = PRECEDENCE.get(language, PRECEDENCE[""]).split()
  return min(nearest, key=lambda tag: order.index(tag) if tag in order else len(order))


def count_ancestors(words: Sequence[Node], place: int) -> int:
  """How many nodes, the root 0 among them, lead to a word; the word itself does not count."""
  found, waiting = {place}, [place]
  while waiting:
    node = waiting.pop()
    parents = words[node - 1].parents if node else []
    waiting += [parent for parent in parents if parent not in found]
    found.update(parents)
  return len(found) - 1
