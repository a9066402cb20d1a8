"""The rules by which pairs are left out; `data.rules` names them.

The rules of DAP's clean-up (arXiv 2305.09148, released program) have the prefix `dap_`. That
program counts mBERT's word pieces; here `tokens` are counted, which needs no vocabulary.
"""

from __future__ import annotations

import itertools
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

from dap_jax.data.cleaning.filters.interface_strings import LEFT_OVER
from dap_jax.data.cleaning.filters.languages import other_language, other_script
from dap_jax.utils.errors import UserError

# Scripts in which there are far fewer words between spaces than word pieces. An ideograph is a
# token; in scripts without spaces (Thai, Lao, Tibetan, Burmese, Khmer, kana) and in dense ones
# (Hebrew, Arabic, Hangul) a token has up to four characters.
IDEOGRAPHS = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
DENSE = "\u0590-\u08ff\u0e00-\u109f\u1780-\u17ff\u3041-\u30ff\uac00-\ud7a3\u200c\u200d"
PUNCTUATION = re.escape(string.punctuation) + "¡-¿\u2010-\u205e\u3001-\u303f\uff01-\uff0f،؛؟۔।॥"
TOKEN = re.compile(
  rf"[{PUNCTUATION}]|[{IDEOGRAPHS}]|(?:(?![{PUNCTUATION}])[{DENSE}]){{1,4}}"
  rf"|[^\s{IDEOGRAPHS}{DENSE}{PUNCTUATION}]+"
)
MARKS_ALIKE = str.maketrans(string.punctuation, "." * len(string.punctuation))
NUMBER = re.compile(r"\d+")
ADDRESS = re.compile(r"(?:https?://|www\.)[^\s<>]+", re.I)


def tokens(text: str) -> list[str]:
  """Words and punctuation marks, roughly as many as word pieces; see `DENSE`."""
  return TOKEN.findall(text)


def count_tokens(text: str) -> int:
  """How many `tokens` a text has."""
  if text.isascii():  # where nothing is dense: several times faster
    text = text.translate(MARKS_ALIKE)
    return text.count(".") + len(text.replace(".", " ").split())
  return len(tokens(text))


def dap_length(pivot: str, translation: str) -> bool:
  """DAP's rule on lengths: max(l1, l2) > max(2 min(l1, l2), 32), or min(l1, l2) > 64."""
  short, long = sorted((count_tokens(pivot), count_tokens(translation)))
  return long > max(2 * short, 32) or short > 64


def dap_overlap(pivot: str, translation: str) -> bool:
  """Both sides have over 5 tokens, and at least half the tokens of one occur in the other."""
  a, b = tokens(pivot), tokens(translation)
  if min(len(a), len(b)) <= 5:
    return False
  sides = ((a, set(b)), (b, set(a)))
  return any(2 * sum(t in other for t in side) >= len(side) for side, other in sides)


def length_ratio(pivot: str, translation: str) -> bool:
  """One side has over 3 times as many tokens as the other, and over 14 more: no translation."""
  if max(len(pivot), len(translation)) <= 14:  # as many tokens at most
    return False
  short, long = sorted((count_tokens(pivot), count_tokens(translation)))
  return long > 3 * short and long - short > 14


def lacks_letters(text: str, wanted: int) -> bool:
  """Whether a text has fewer letters than that."""
  return next(itertools.islice(filter(str.isalpha, text), wanted - 1, None), None) is None


def either(test: Callable[[str], bool]) -> Callable[[str, str], bool]:
  """The rule that rejects a pair if `test` holds for one of its sides."""
  return lambda pivot, translation: test(pivot) or test(translation)


def numbers(text: str) -> Counter[str]:
  """The whole numbers of a text in ASCII digits, without leading zeros; 1.5 and 1,5 are two."""
  digits = ("".join(str(unicodedata.decimal(c)) for c in run) for run in NUMBER.findall(text))
  return Counter(each.lstrip("0") for each in digits)


def addresses(text: str) -> set[str]:
  """The web addresses of a text, without the punctuation after them."""
  return {each.rstrip(".,;:!?)]}»”’'\"").casefold() for each in ADDRESS.findall(text)}


def repetition(text: str) -> bool:
  """A word stands over three times in a row, or is over half of ten words or more."""
  words = [token.casefold() for token in tokens(text) if token[0].isalnum()]
  runs = zip(words, words[1:], words[2:], words[3:], strict=False)
  if any(len(set(run)) == 1 for run in runs):
    return True
  return len(words) >= 10 and 2 * max(Counter(words).values()) > len(words)


# name -> whether the rule rejects (pivot, translation)
RULES: dict[str, Callable[[str, str], bool]] = {
  "empty": either(lambda text: not text),
  # One letter can be a Chinese word, but no English one.
  "no_letters": lambda pivot, translation: lacks_letters(pivot, 2) or lacks_letters(translation, 1),
  "equal": lambda pivot, translation: pivot.casefold() == translation.casefold(),
  "markup": either(lambda text: LEFT_OVER.search(text) is not None),
  "length_ratio": length_ratio,
  "numbers": lambda pivot, translation: numbers(pivot) != numbers(translation),
  "addresses": lambda pivot, translation: addresses(pivot) != addresses(translation),
  "repetition": either(repetition),
  "dap_symbols": either(lambda text: "@" in text or "http" in text or text == "N/A"),
  "dap_short": either(lambda text: count_tokens(text) <= 3),
  "dap_length": dap_length,
  "dap_overlap": dap_overlap,
}
# name -> whether the rule rejects a pair for a text and the language that it should be in
TEXT_RULES: dict[str, Callable[[str, str], bool]] = {
  "script": other_script,
  "language": other_language,
}


# name -> the rules that it stands for
PRESETS = {"dap": ("empty", "equal", "dap_symbols", "dap_short", "dap_length", "dap_overlap")}


def expand_rules(names: Sequence[str]) -> tuple[str, ...]:
  """Names of rules and presets -> of rules. Raises UserError if one of them is neither."""
  rules: dict[str, None] = {}
  for name in names:
    if name not in {*RULES, *TEXT_RULES, *PRESETS}:
      known = ", ".join([*PRESETS, *RULES, *TEXT_RULES])
      raise UserError(f"data.rules names {name!r}; known are {known}")
    rules |= dict.fromkeys(PRESETS.get(name, (name,)))
  return tuple(rules)


def why_rejected(
  pivot: str, translation: str, *, rules: Sequence[str], languages: tuple[str, str]
) -> str | None:
  """The name of the first rule that rejects the pair; None if all accept it.

  Args:
    pivot, translation: the texts.
    rules: names in `RULES` or `TEXT_RULES`.
    languages: the codes of both sides.
  """
  for name in rules:
    if rule := RULES.get(name):
      rejects = rule(pivot, translation)
    else:
      rejects = any(map(TEXT_RULES[name], (pivot, translation), languages))
    if rejects:
      return name
  return None
