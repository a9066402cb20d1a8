"""Filters of pairs; each says why it rejects. The config names those it wants in `data.rules`.

The rules of DAP's clean-up (arXiv 2305.09148, released program) have the prefix `dap_`.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from dap_jax.errors import UserError

TAG = re.compile(r"<[^<>]*>")
# %s, %d, %(name)s, %%; {name}, {0}, {{ name }}; ${name}
PLACEHOLDER = re.compile(r"%\(\w+\)[sdrif]|%[-+ #0]*\d*(?:\.\d+)?[sdrif]|\$?\{+[^{}]*\}+")
ROLE = re.compile(r":[\w:.+-]+:`([^`]*)`|``([^`]*)``|`([^`]*)`")


def normalise(text: str) -> str:
  """Unicode NFC, control and format characters out, every run of white space one space."""
  text = unicodedata.normalize("NFC", re.sub(r"\s+", " ", text))
  # Zero-width joiners (Cf) carry meaning in Indic, Arabic and emoji sequences.
  kept = (c for c in text if unicodedata.category(c) != "Cc" or c == " ")
  return "".join(kept).strip()


def strip_markup(text: str) -> str:
  """An interface string without tags, placeholders, reST roles, accelerators and end dots."""
  text = ROLE.sub(lambda match: next(group for group in match.groups() if group is not None), text)
  text = PLACEHOLDER.sub(" ", TAG.sub(" ", text))
  text = re.sub(r"&(?:\w+|#\d+);", " ", text).replace("%%", "%").replace("*", "")
  text = re.sub(r"&(?=\w)", "", text)
  # What a placeholder leaves behind: empty quotes and brackets, a space before punctuation.
  text = re.sub(r"[\"'“”«»„‘’]\s*[\"'“”«»„‘’]|\(\s*\)|\[\s*\]", " ", text)
  text = re.sub(r"\s+", " ", text)
  text = re.sub(r" +([.,:;!?…])", r"\1", text)
  return text.strip(" :.…-–—>|\"'#/")


def letters(text: str) -> int:
  return sum(c.isalpha() for c in text)


def words(text: str) -> list[str]:
  """Words by white space. Scripts without spaces have few: the rules on counts judge English."""
  return text.split()


def ratio_is_off(pivot: str, translation: str) -> bool:
  """Lengths in characters that no translation explains: over 4 times and over 40 apart."""
  short, long = sorted((len(pivot), len(translation)))
  return long > 4 * short and long - short > 40


def dap_length(pivot: str, translation: str) -> bool:
  """max > max(2 min, 32) or min > 64, in words."""
  short, long = sorted((len(words(pivot)), len(words(translation))))
  return long > max(2 * short, 32) or short > 64


def dap_overlap(pivot: str, translation: str) -> bool:
  """Both over 5 words, and half the words of one side occur in the other."""
  a, b = words(pivot), words(translation)
  if min(len(a), len(b)) <= 5:
    return False
  return any(sum(w in other for w in side) >= len(side) / 2 for side, other in ((a, b), (b, a)))


def either(test: Callable[[str], bool]) -> Callable[[str, str], bool]:
  """The rule that rejects a pair if `test` holds for a side."""
  return lambda pivot, translation: test(pivot) or test(translation)


# name -> whether the rule rejects (pivot, translation)
RULES: dict[str, Callable[[str, str], bool]] = {
  "empty": either(lambda text: not text),
  "no_letters": either(lambda text: letters(text) < 2),
  "equal": lambda pivot, translation: pivot.casefold() == translation.casefold(),
  "length_ratio": ratio_is_off,
  "dap_symbols": either(lambda text: "@" in text or "http" in text or text == "N/A"),
  "dap_short": lambda pivot, translation: len(words(pivot)) <= 3,
  "dap_length": dap_length,
  "dap_overlap": dap_overlap,
}


def why_rejected(pivot: str, translation: str, *, rules: Sequence[str]) -> str | None:
  """The name of the first rule that rejects the pair, None if all accept it."""
  return next((name for name in rules if RULES[name](pivot, translation)), None)


def clean_rows(
  rows: Iterable[dict[str, str]],
  *,
  rules: Sequence[str],
  pivot: str,
  markup: bool,
  rejected: Counter,
) -> Iterator[dict[str, str]]:
  """Normalises texts, drops rejected and repeated pairs, then rows with no translation left.

  Args:
    rows: language -> text, with the pivot.
    rules: names in `RULES`, applied in order.
    pivot: the pivot's language code.
    markup: whether to `strip_markup` too.
    rejected: counts the pairs that were dropped, by rule, and `duplicate`.
  """
  unknown = [name for name in rules if name not in RULES]
  if unknown:
    raise UserError(f"data.rules names {unknown[0]!r}; known are {', '.join(RULES)}")
  seen = set()
  for row in rows:
    texts = {code: normalise(text) for code, text in row.items()}
    if markup:
      texts = {code: strip_markup(text) for code, text in texts.items()}
    kept = {}
    for code, text in texts.items():
      if code == pivot:
        continue
      reason = why_rejected(texts[pivot], text, rules=rules)
      pair = (code, texts[pivot], text)
      if reason is None and pair in seen:
        reason = "duplicate"
      if reason:
        rejected[reason] += 1
      else:
        seen.add(pair)
        kept[code] = text
    if kept:
      yield {pivot: texts[pivot], **kept}
