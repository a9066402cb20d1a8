"""Dictionaries of many languages, joined by meaning: form -> concepts.

Two words of two languages are synonyms if they have a concept in common. The formats, plain or
`.gz`, which the file's name tells apart; columns beyond those named here are ignored:

- pairs (MUSE's format): `en-de.txt`, `de-en.0-5000.txt`, `en-pt-BR.tsv`; a line is
  `source<TAB>target`, or `source target` where neither has a space. Every source is a concept. Only
  pairs with the pivot's language are used.
- lists: `deu.tsv`, `zh-Hant.tsv`; a line is `key<TAB>word`. The lists of one folder share their
  keys, and every key of the pivot's list is a concept: synsets, codes of countries, emoji.
- tables: any other `.tsv` whose first line is `language<TAB>key<TAB>word|word`; all of its lines
  are. A table shares its keys with no other file.

Beside files there are CLDR's names of languages, countries, months and the like, from Babel.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import babel
from babel import localedata
from babel.core import get_global
from etils import epath

from dap_jax.data.texts.normal_forms import normalise
from dap_jax.data.texts.text_files import LANGUAGE, lines
from dap_jax.data.texts.words import phrase_key
from dap_jax.utils.errors import UserError

logger = logging.getLogger(__name__)

MOST_WORDS = 3  # of a form; longer ones are left out
MOST_WARNINGS = 5  # lines that do not parse of which the log warns
FILE = re.compile(r"([^.]+)(\.[^.]+)*\.(tsv|txt)(\.gz)?")  # the first part names languages

List = Iterable[tuple[str, str]]  # (key, form) of one language
RowT = TypeVar("RowT", bound=tuple[str, ...])  # the columns of a line


def base_language(code: str) -> str:
  """The language of a code in any standard: de for deu, de_DE, deu-000; zh for cmn, zh_Hant.

  Script, region and variant are dropped: words of another script do not match anyway. The rest goes
  through CLDR's table of aliases (ISO 639-3 and macrolanguages), which Babel contains.
  """
  language = re.split(r"[-_@.]", code)[0].lower()
  language = get_global("language_aliases").get(language, language).split("_")[0]
  return "no" if language == "nb" else language  # CLDR keeps Bokmål under the macrolanguage


def named_pair(name: str) -> tuple[str, str] | None:
  """`en-de` -> ("en", "de"), `en-pt-BR` -> ("en", "pt-BR"); None for one language, `pt-BR`."""
  for dash in re.finditer("-", name):
    pair = name[: dash.start()], name[dash.end() :]
    if all(map(LANGUAGE.fullmatch, pair)):
      return pair
  return None


class Lexicon:
  """Forms and their concepts.

  Attributes:
    pivot: the pivot's base language.
    concepts: base language -> key of a form (`words.phrase_key`) -> numbers of its concepts.
    unparsed: how many lines did not parse.
    unused: names of the files that share no concept with the pivot's language.
  """

  def __init__(self, *, pivot: str):
    self.pivot = base_language(pivot)
    self.concepts: dict[str, dict[str, tuple[int, ...]]] = defaultdict(dict)
    self.unparsed = 0
    self.unused: list[str] = []
    self._numbers = itertools.count()
    self._entered = 0  # forms of languages other than the pivot's
    self._pair_concepts: dict[str, int] = {}  # source -> concept, shared by all files of pairs
    self._cldr_concepts: dict[str, int] = {}
    self._cldr_languages: set[str] = set()

  def add_path(self, path: str) -> None:
    """Adds a file, or all files of a folder and its subfolders.

    Raises:
      UserError: there is no such path, or nothing in it has the pivot's language.
    """
    where = f"data.dictionaries.paths: {path}"
    if not epath.Path(path).exists():
      raise UserError(f"{where} does not exist")
    before = self._entered
    folders: dict[epath.Path, dict[str, list[epath.Path]]] = {}
    for file in walk(epath.Path(path)):
      match = FILE.fullmatch(file.name)
      if match is None:
        continue
      name, _, extension, _ = match.groups()
      if pair := named_pair(name):
        self._add_pairs(file, pair)
      elif LANGUAGE.fullmatch(name):
        folders.setdefault(file.parent, {}).setdefault(base_language(name), []).append(file)
      elif extension == "tsv":
        self._add_table(file)
    for files in folders.values():
      self._add_lists(files)
    if self._entered == before:
      raise UserError(
        f"{where} holds no dictionary with {self.pivot!r} (data.pivot): expected"
        f" {self.pivot}-xx.txt, or {self.pivot}.tsv beside xx.tsv; the formats are described in"
        " dap_jax/data/texts/dictionaries.py"
      )

  def add_cldr(self, language: str) -> None:
    """Adds CLDR's names in a language, if Babel has it; before the first one, the pivot's."""
    for base in (self.pivot, base_language(language)):
      if base not in self._cldr_languages:
        self._cldr_languages.add(base)
        self._join({base: cldr_names(base)}, self._cldr_concepts)

  def _add_pairs(self, file: epath.Path, pair: tuple[str, str]) -> None:
    bases = [base_language(code) for code in pair]
    if self.pivot not in bases:
      self.unused.append(file.name)
      return
    source = bases.index(self.pivot)
    rows = list(self._parsed(file, two_fields))
    lists: dict[str, List] = {self.pivot: [(row[source], row[source]) for row in rows]}
    if bases[1 - source] != self.pivot:
      lists[bases[1 - source]] = [(row[source], row[1 - source]) for row in rows]
    self._join(lists, self._pair_concepts)

  def _add_lists(self, files: dict[str, list[epath.Path]]) -> None:
    if self.pivot not in files:
      self.unused += [file.name for of_language in files.values() for file in of_language]
      return

    def rows_of(language: str) -> List:
      return itertools.chain(*(self._parsed(file, two_columns) for file in files[language]))

    self._join({language: rows_of(language) for language in files}, {})

  def _add_table(self, file: epath.Path) -> None:
    first = next(lines(file), "")
    if first.count("\t") != 2 or not three_columns(first):
      return  # not a table
    lists: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for language, key, forms in self._parsed(file, three_columns):
      lists[base_language(language)] += [(key, form) for form in forms.split("|")]
    if self.pivot in lists:
      self._join(lists, {})
    else:
      self.unused.append(file.name)

  def _parsed(self, file: epath.Path, parse: Callable[[str], RowT | None]) -> Iterator[RowT]:
    """The result of `parse` for each line; counts the lines, blank ones aside, where it is None."""
    for number, line in enumerate(lines(file), 1):
      if row := parse(line):
        yield row
      elif line.strip():
        self.unparsed += 1
        if self.unparsed <= MOST_WARNINGS:
          logger.warning("%s:%d does not parse: %.80r", file, number, line)

  def _join(self, lists: Mapping[str, List], numbers: dict[str, int]) -> None:
    """Enters lists that share their keys; the pivot's comes first and gives its keys a concept.

    Args:
      lists: base language -> its list.
      numbers: key -> number of its concept; gets those of new keys.
    """
    for key, form in lists.get(self.pivot, ()):
      if key not in numbers:
        numbers[key] = next(self._numbers)
      self._enter(self.pivot, form, numbers[key])
    for language, rows in lists.items():
      if language != self.pivot:
        for key, form in rows:
          if key in numbers:
            self._enter(language, form, numbers[key])

  def _enter(self, language: str, form: str, concept: int) -> None:
    """Adds a concept to a form, unless the form is too long or only punctuation."""
    form = normalise(form)
    key = phrase_key(form)
    if not key or form.count(" ") >= MOST_WORDS:
      return
    self._entered += language != self.pivot
    forms = self.concepts[language]
    concepts = forms.get(key, ())
    if concept not in concepts:
      forms[key] = (*concepts, concept)


def walk(path: epath.Path, above: frozenset[str] = frozenset()) -> Iterator[epath.Path]:
  """The file itself, or all files of a folder and its subfolders, sorted.

  A link to one of the folders `above` it, by their real paths, is not followed: it has no end.
  """
  if path.is_dir():
    real = os.path.realpath(path)
    if real not in above:
      for child in sorted(path.iterdir()):
        yield from walk(child, above | {real})
  else:
    yield path


def two_fields(line: str) -> tuple[str, str] | None:
  """A line of pairs; None if it does not parse."""
  if "\t" in line:
    return two_columns(line)
  fields = line.split()
  return (fields[0], fields[1]) if len(fields) == 2 else None


def two_columns(line: str) -> tuple[str, str] | None:
  """A line of a list, further columns ignored; None if it does not parse."""
  columns = [column.strip() for column in line.split("\t")[:2]]
  return (columns[0], columns[1]) if len(columns) == 2 and all(columns) else None


def three_columns(line: str) -> tuple[str, str, str] | None:
  """A line of a table: language, key, words; None if it does not parse."""
  columns = [column.strip() for column in line.split("\t")[:3]]
  if len(columns) != 3 or not all(columns) or not LANGUAGE.fullmatch(columns[0]):
    return None
  return columns[0], columns[1], columns[2]


def cldr_names(language: str) -> Iterator[tuple[str, str]]:
  """(code, name) of what CLDR names in a base language, in each of its scripts."""
  # A locale inherits what it lacks from the root: English words, or signs such as M01.
  inherited = set() if language == "en" else set(names_of("root"))
  for identifier in sorted(localedata.locale_identifiers()):
    parts = identifier.split("_")
    # Regional locales (two letters) repeat the language's names; a script has four letters.
    if base_language(identifier) == language and all(len(part) == 4 for part in parts[1:]):
      yield from (name for name in names_of(identifier) if name not in inherited)


def names_of(identifier: str) -> Iterator[tuple[str, str]]:
  """(code, name) of languages, countries, scripts, currencies, units, months, days, "and", "or"."""
  locale = babel.Locale.parse(identifier)
  for kind in ("languages", "territories", "scripts", "currencies"):
    yield from ((f"{kind}/{code}", name) for code, name in getattr(locale, kind).items())
  for kind, context in itertools.product(("months", "days"), ("format", "stand-alone")):
    names = getattr(locale, kind)[context]["wide"]
    yield from ((f"{kind}/{number}", name) for number, name in names.items())
  for unit, widths in locale.unit_display_names.items():
    if "long" in widths:
      yield f"units/{unit}", widths["long"]
  for kind in ("standard", "or"):
    yield f"lists/{kind}", locale.list_patterns[kind]["2"].format("", "")


def check_paths(value: str | Sequence[str]) -> tuple[str, ...]:
  """`data.dictionaries.paths`, one or several, as a tuple. Raises UserError for no strings."""
  paths = (value,) if isinstance(value, str) else value
  if not isinstance(paths, Sequence) or not all(isinstance(path, str) and path for path in paths):
    raise UserError(f"data.dictionaries.paths={value!r}: expected files and folders")
  return tuple(paths)
