"""The languages that the names of columns, files and folders tell."""

from __future__ import annotations

import functools
import re

import babel
from babel.core import get_global
from etils import epath

from dap_jax.data.readers.arguments import stem
from dap_jax.data.texts.dictionaries import base_language
from dap_jax.data.texts.text_files import LANGUAGE, SPLIT_NAME

# pt-BR, pt-br, zh_Hant_TW, sr@latin, es-419; not what columns are called: is_id, no_text.
CODE = re.compile(
  r"([a-z]{2,3})([-_][A-Z][a-z]{3})?(?:[-_](?:[A-Z]{2}|\d{3})|-[a-z]{2})?(?:@[a-z]+)?"
)


@functools.lru_cache(maxsize=10_000)
def code_of(
  name: str, *, pivot: str, languages: tuple[str, ...], any_code: bool = False
) -> str | None:
  """The key in rows of a language's code or English name; None if it is none, or not asked for.

  Args:
    name: of a column, say.
    pivot: its code stays as it is, whatever standard `name` follows.
    languages: the only ones besides, if any; their codes stay as well.
    any_code: `name` is a code for certain, also one that CLDR lacks.
  """
  name = name.strip()
  asked = (pivot, *languages)
  code = next((code for code in asked if code.lower() == name.lower()), None)
  if code is not None:
    return code
  code = name if LANGUAGE.fullmatch(name) else name.lower()
  code = english_names().get(code, code)
  if not LANGUAGE.fullmatch(code):
    return None
  base = base_language(code)
  same = [each for each in asked if base_language(each) == base]
  if same:
    return same[0]
  if languages:
    return None
  return code if any_code or is_known(code) else None


@functools.cache
def english_names() -> dict[str, str]:
  """CLDR's English names of languages, in lower case -> their codes."""
  return {name.lower(): code for code, name in babel.Locale("en").languages.items()}


def is_known(code: str) -> bool:
  """Whether CLDR knows the language of a code, and what follows is a script, region or variant."""
  match = CODE.fullmatch(code)
  if match is None:
    return False
  language, script = match.groups()
  known = language in babel.Locale("en").languages or language in get_global("language_aliases")
  return known or script is not None


def named_pair(path: epath.Path, *, pivot: str) -> tuple[str, str] | None:
  """`corpus.de-en.tsv` -> ("de", "en"), else the folder's name; None where neither ends in one."""
  name = re.sub(rf"[-_.]{SPLIT_NAME}$", "", stem(path)).split(".")[-1]
  return pair_in(name, pivot=pivot) or pair_in(path.parent.name, pivot=pivot)


def pair_in(name: str, *, pivot: str) -> tuple[str, str] | None:
  """`de-en` -> ("de", "en"); of `deu_Latn-eng_Latn` the pivot's side is the pivot's code."""
  first, last = name.removesuffix(f"-{pivot}"), name.removeprefix(f"{pivot}-")
  if first != name and LANGUAGE.fullmatch(first):
    return first, pivot
  if last != name and LANGUAGE.fullmatch(last):
    return pivot, last
  first, dash, last = name.partition("-")
  if dash and LANGUAGE.fullmatch(first) and LANGUAGE.fullmatch(last):
    if base_language(first) == base_language(pivot) and is_known(last):
      return pivot, last
    if base_language(last) == base_language(pivot) and is_known(first):
      return first, pivot
  return None
