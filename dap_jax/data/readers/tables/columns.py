"""Which columns of a table hold the texts, and in which languages.

A column is recognised by its name:

- a language: its code in any standard (`de`, `deu_Latn`, `ita`) or its English name; all such
  columns are read, and the pivot's may be called by any code of its language;
- `english` and `non_english`, or a pair of `PAIRS` such as `source` and `target`: the languages
  come from `data.arguments.languages`, else from the name of the file or its folder (`de-en.tsv`);
- `translation`, whose values are texts by language;
- `src_lang`, `src_text`, `tgt_lang`, `tgt_text` and the like: each line names its languages.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
from collections.abc import Sequence
from typing import Any

from etils import epath

from dap_jax.data.readers.arguments import names
from dap_jax.data.readers.row import NEGATIVE, is_negative
from dap_jax.data.readers.tables.languages import code_of, named_pair
from dap_jax.utils.errors import UserError

# Columns of the two sides of a pair, whose names do not say which languages they are in.
PAIRS = (
  *(("source", "target"), ("src", "tgt"), ("src", "trg"), ("source_text", "target_text")),
  *(("sentence1", "sentence2"), ("anchor", "positive"), ("source", "translation")),
)
GENERIC = {name for pair in PAIRS for name in pair}
# Columns of lines that name their languages: language, text, language, text.
SPELLED = (
  ("src_lang", "src_text", "tgt_lang", "tgt_text"),
  ("source_lang", "source_text", "target_lang", "target_text"),
  ("source_language", "source_text", "target_language", "target_text"),
  ("source_lang", "source", "target_lang", "target"),
  ("sl", "src", "tl", "trg"),
)
NUMBERING = {"id", "no"}  # Indonesian and Norwegian, and what columns of numbers are called


@dataclasses.dataclass(frozen=True)
class Wanted:
  """What the config says of the columns.

  Attributes:
    pivot: the pivot's language code.
    languages: of the columns, or () for what the table says.
    columns: of the texts: numbers from 1, or names; or () for those that are recognised.
    negatives: how many columns of hard negatives follow the texts.
    pair: the languages of a pair whose columns do not name them; None for what the path says.
  """

  pivot: str
  languages: tuple[str, ...] = ()
  columns: tuple[int, ...] | tuple[str, ...] = ()
  negatives: int = 0
  pair: tuple[str, str] | None = None

  def has_names(self) -> bool:
    """Whether the columns are given by their names."""
    return bool(self.columns) and isinstance(self.columns[0], str)


@dataclasses.dataclass(frozen=True)
class Layout:
  """Where the texts of a table are; columns are counted from 0.

  Attributes:
    places: language, or key of a hard negative -> its column.
    spelled: columns of a language's code and of the text in it.
    nested: the column whose values are texts by language.
    header: whether the first line names the columns.
  """

  places: dict[str, int] = dataclasses.field(default_factory=dict)
  spelled: tuple[tuple[int, int], ...] = ()
  nested: int | None = None
  header: bool = True

  @functools.cached_property
  def last(self) -> int:
    """The last column that a line needs: hard negatives may be absent."""
    negatives = {place for key, place in self.places.items() if is_negative(key)}
    return max(set(self.columns()) - negatives)

  def columns(self) -> list[int]:
    """Those that are read."""
    nested = [] if self.nested is None else [self.nested]
    return list(dict.fromkeys([*self.places.values(), *itertools.chain(*self.spelled), *nested]))

  def at(self, columns: Sequence[int]) -> Layout:
    """The layout of a table of which this one is the part at `columns`."""
    return Layout(
      {key: columns[place] for key, place in self.places.items()},
      tuple((columns[code], columns[text]) for code, text in self.spelled),
      None if self.nested is None else columns[self.nested],
      self.header,
    )


def wanted(*, pivot: str, languages: Any, columns: Any, negatives: int = 0) -> Wanted:
  """The arguments of a reader, checked. Raises UserError for one of no use."""
  codes = names(languages, "languages") if languages else ()
  if codes and (len(set(codes)) < 2 or pivot not in codes):
    raise UserError(
      f"data.arguments.languages={codes}: expected two, one of them data.pivot={pivot!r}"
    )
  if type(negatives) is not int or negatives < 0:
    raise UserError(f"data.arguments.negatives={negatives!r}: expected 0 or more columns")
  chosen = () if columns is None else (columns,) if isinstance(columns, str | int) else columns
  kinds = {type(column) for column in chosen} if isinstance(chosen, Sequence) else {object}
  if (
    len(kinds) > 1
    or not kinds <= {int, str}
    or any(type(column) is int and column < 1 for column in chosen)
  ):
    raise UserError(
      f"data.arguments.columns={columns!r}: expected two numbers, counted from 1, or two names"
    )
  return Wanted(pivot, codes, tuple(chosen), negatives)


def find(
  heads: Sequence[str],
  sample: Sequence[Sequence[Any]],
  *,
  path: epath.Path,
  want: Wanted,
  named: bool,
  first_two: bool = False,
) -> Layout:
  """Where a table's texts are.

  Args:
    heads: the names of the columns, or the values of the first line, which may be a text.
    sample: the values of the first lines, that one included.
    path: the file, whose name may tell the languages.
    want: what the config says.
    named: `heads` are names for certain.
    first_two: where no names are recognised, the first two columns are the texts, of any number.

  Raises:
    UserError: the columns or their languages are not told.
  """
  places = places_of(heads, path=path, want=want) if want.columns else list(range(len(heads)))
  pair = want.languages or want.pair or named_pair(path, pivot=want.pivot)
  layout = None
  if max(places, default=0) < len(heads):
    values = [[row[p] if p < len(row) else None for p in places] for row in sample]
    layout = recognise([heads[p] for p in places], values, path=path, want=want, pair=pair)
  if layout is None and not want.columns:
    if named or (len(places) != 2 and not first_two):
      raise UserError(
        f"{path}: which columns hold the texts? Set data.arguments.columns to two of:"
        f" {', '.join(map(repr, heads))[:300]}"
      )
    places = [0, 1]
  if layout is None:
    if pair is None:
      raise UserError(unknown_languages(path, want.pivot))
    if len(places) != len(pair) or len(set(places)) < 2:
      raise UserError(
        f"{path}: {len(places)} columns of texts in the {len(pair)} languages {', '.join(pair)}:"
        " set data.arguments.columns and data.arguments.languages to equally many"
      )
    in_order = dict(zip(pair, range(len(pair)), strict=True))
    layout = Layout(in_order, header=named or want.has_names())
  layout = layout.at(places)
  after = max(layout.places.values(), default=0) + 1
  negatives = {f"{NEGATIVE}{i + 1}": after + i for i in range(want.negatives)}
  return dataclasses.replace(layout, places=layout.places | negatives)


def places_of(heads: Sequence[str], *, path: epath.Path, want: Wanted) -> list[int]:
  """The columns of `want`, from 0. Raises UserError if a name is not among the table's."""
  places = []
  for column in want.columns:
    if isinstance(column, int):
      places.append(column - 1)
    elif column in heads:
      places.append(list(heads).index(column))
    else:
      raise UserError(
        f"{path}: data.arguments.columns: no column {column!r}, the first line has"
        f" {', '.join(map(repr, heads))[:300]}"
      )
  return places


def recognise(
  heads: Sequence[str],
  sample: Sequence[Sequence[Any]],
  *,
  path: epath.Path,
  want: Wanted,
  pair: Sequence[str] | None,
) -> Layout | None:
  """The layout that the names of the columns tell; None if they tell nothing.

  Raises:
    UserError: they name the two sides of a pair, but its languages are unknown.
  """
  low = [head.strip().lower() for head in heads]
  for group in SPELLED:
    if set(group) <= set(low):
      a, b, c, d = map(low.index, group)
      return Layout(spelled=((a, b), (c, d)))
  if "translation" in low:
    nested = low.index("translation")
    if any(isinstance(values[nested], dict) for values in sample):
      return Layout(nested=nested)
  languages = language_columns(heads, sample, path=path, want=want)
  if want.pivot in languages and len(languages) > 1:
    return Layout(languages)
  return sides(low, languages, path=path, want=want, pair=pair)


def language_columns(
  heads: Sequence[str], sample: Sequence[Sequence[Any]], *, path: epath.Path, want: Wanted
) -> dict[str, int]:
  """The columns that are called by a language. Raises UserError if two are of the same one."""
  found: dict[str, list[int]] = {}
  for place, head in enumerate(heads):
    code = code_of(head, pivot=want.pivot, languages=want.languages)
    if code is None or head.strip().lower() in GENERIC:
      continue
    if head.strip().lower() in NUMBERING and code not in want.languages:
      texts = [str(values[place]) for values in sample if place < len(values)]
      if not any(re.search(r"[^\W\d]\s+[^\W\d]", text) for text in texts):
        continue
    found.setdefault(code, []).append(place)
  languages = {}
  for code, places in found.items():
    exact = [place for place in places if heads[place].strip() == code]
    if len(exact or places) > 1:
      two = " and ".join(repr(heads[place]) for place in places[:2])
      raise UserError(
        f"{path}: the columns {two} are both of {code}: set data.arguments.columns to those to read"
      )
    languages[code] = (exact or places)[0]
  return languages


def sides(
  low: Sequence[str],
  languages: dict[str, int],
  *,
  path: epath.Path,
  want: Wanted,
  pair: Sequence[str] | None,
) -> Layout | None:
  """The layout of two columns of which at most one is called by its language, as `recognise`."""
  generic = next((two for two in PAIRS if set(two) <= set(low)), None)
  single = [low.index(name) for name in low if name in GENERIC]
  if "non_english" in low and want.pivot in languages:
    places = [languages[want.pivot], low.index("non_english")]
  elif generic is not None:
    places = [low.index(generic[0]), low.index(generic[1])]
  elif len(single) == len(languages) == 1:
    places = [*languages.values(), *single]
  else:
    return None
  if pair is None or len(pair) != 2:
    raise UserError(unknown_languages(path, want.pivot))
  named = next((code for code, place in languages.items() if place in places), None)
  if named is not None:  # one name is enough: the DAP program's files have `source<TAB>en`
    if named not in pair:
      raise UserError(
        f"{path}: a column is called {named!r}, but the pair is {', '.join(pair)}: set"
        " data.arguments.languages"
      )
    pair = (named, next(code for code in pair if code != named))
  return Layout(dict(zip(pair, places, strict=True)))


def unknown_languages(path: epath.Path, pivot: str) -> str:
  """What to do about a pair whose languages nothing tells."""
  return (
    f"{path}: of which languages? Name it like de-{pivot}.tsv, let its first line be"
    f" 'de<TAB>{pivot}', or set data.arguments.languages"
  )
