"""TMX 1.1 to 1.4: `tu > tuv[xml:lang] > seg`, as OPUS and CAT tools export it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from etils import epath

from dap_jax.data.readers.arguments import expand, names
from dap_jax.data.readers.memories.units import Unit, canonical, text_of, units
from dap_jax.data.readers.row import Row
from dap_jax.data.readers.tables.languages import code_of


def tmx(*, pivot: str, paths: Sequence[str], languages: Sequence[str] = ()) -> Iterator[Row]:
  """Translation memories; a unit with more than two languages is a row of all of them.

  A file's codes may be longer or shorter than yours: `EN-US` is `en`. Codes that `languages` does
  not name stay, spelled as in `pt-BR`. Of several texts in one language the first makes a
  row with the others' first, and each further one a row with the pivot.

  Args:
    pivot: the pivot's language code.
    paths: files, folders or glob patterns.
    languages: to keep beside the pivot's; all without.
  """
  asked = tuple(names(languages, "languages")) if languages else ()
  for path in expand(names(paths, "paths"), extension="tmx"):
    for unit in units(path, tags=frozenset({"tu"}), roots=frozenset({"tmx"})):
      yield from rows_of(unit, path=path, pivot=pivot, languages=asked)


def rows_of(
  unit: Unit, *, path: epath.Path, pivot: str, languages: tuple[str, ...]
) -> Iterator[Row]:
  """The rows of a unit; one with a reason where it has no pair."""
  where = f"{path}: tu {unit.number}"
  texts: dict[str, list[str]] = {}
  for variant in unit.element.iter("tuv"):
    written = canonical(variant.get("lang", ""))
    code = code_of(written, pivot=pivot, languages=languages, any_code=True) if written else None
    segment = variant.find("seg")
    text = "" if segment is None else text_of(segment)
    if code is not None and text.strip():
      texts.setdefault(code, []).append(text)
  first = {code: of_code[0] for code, of_code in texts.items()}
  if pivot not in texts or len(texts) == 1:
    yield Row(first, where=where, reason="no_target" if pivot in texts else "no_pivot")
    return
  yield Row(first, where=where)
  for code, (_, *others) in texts.items():
    for text in others:
      pair = {pivot: text, **without(first, pivot)} if code == pivot else {code: text}
      yield Row({pivot: first[pivot], **pair}, where=where)


def without(texts: dict[str, str], key: str) -> dict[str, str]:
  return {code: text for code, text in texts.items() if code != key}
