"""Filters of pairs; each says why it rejects. The config names those it wants in `data.rules`.

The rules of DAP's clean-up (arXiv 2305.09148, released program) have the prefix `dap_`. That
program counts word pieces of mBERT; here `tokens` counts, which needs no vocabulary.
"""

from __future__ import annotations

import html
import itertools
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from dap_jax.data.readers.split import is_negative, key_of
from dap_jax.utils.errors import UserError

# Where words by white space would count far less than word pieces do: ideographs stand alone; of
# scripts without spaces (Thai, Lao, Tibetan, Burmese, Khmer, kana) and of dense ones (Hebrew,
# Arabic, Hangul) a token is up to four characters.
IDEOGRAPHS = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
DENSE = "\u0590-\u08ff\u0e00-\u109f\u1780-\u17ff\u3041-\u30ff\uac00-\ud7a3\u200c\u200d"
PUNCTUATION = re.escape(string.punctuation) + "¡-¿\u2010-\u205e\u3001-\u303f\uff01-\uff0f،؛؟۔।॥"
TOKEN = re.compile(
  rf"[{PUNCTUATION}]|[{IDEOGRAPHS}]|(?:(?![{PUNCTUATION}])[{DENSE}]){{1,4}}"
  rf"|[^\s{IDEOGRAPHS}{DENSE}{PUNCTUATION}]+"
)

# %s, %-5d, %.2f; %(name)s, also as translators break it: "%(name) s"; {}, {0}, {name}, ${name};
# a call's brackets: %s().
PLACEHOLDER = re.compile(
  r"(?:%\([^()]*\) ?[-+#0]*\d*(?:\.\d+)?[a-zA-Z]|%[-+#0]*\d*(?:\.\d+)?[sdrifuxg]"
  r"|\$?\{[^{}]*\})(?:\(\))?"
)
TAG = re.compile(r"</?([a-z][a-z0-9]*)(?:\s[^<>]*)?/?>")
BLOCK_TAGS = {"p", "br", "li", "ul", "ol", "div", "h1", "h2", "h3", "tr", "td"}
LITERAL = re.compile(r"(?::[\w:.+-]+:)?(`{1,2})([^`]+)\1_{0,2}")  # :role:`x`, ``x``, `x`, `x`_
# File &As, E&xit; 文件(&F). AT&T is none.
ACCELERATOR = re.compile(r"\(&\w\)|(?<!\w)&(?=\w)|&(?=[a-z])")
LEFT_OVER = re.compile(r"%[-.(a-zA-Z]|[{}<`\\]|(?<!-)>|&#?\w+;")
SLOT = "\ue000"  # stands for a placeholder while its surroundings are tidied
QUOTED_SLOT = re.compile(
  rf"[\"'“”„«»‘’‚‹›「」『』《》〈〉״׳`<]\s*{SLOT}\s*[\"'“”„«»‘’‚‹›「」『』《》〈〉״׳`>]"
  rf"|\(\s*{SLOT}\s*\)|\[\s*{SLOT}\s*\]|（\s*{SLOT}\s*）|【\s*{SLOT}\s*】"
)
# At the start or after "(", with what sets it off ("%s: "); before a sentence's end, with what
# introduces it (": %s."); elsewhere.
FIRST_SLOTS = re.compile(rf"(?:^|(?<=[(\[（]))(?:\s*{SLOT}[\s:,;–—-]*)+")
LAST_SLOTS = re.compile(rf"(?:[\s:,;：，、；=–—-]*{SLOT})+\s*(?=[.,;:!?…)\]。，；：！？）؟،।]|$)")
SLOTS = re.compile(rf"(?:\s*{SLOT}\s*)+")


def normalise(text: str) -> str:
  """Unicode NFC; every run of white space (tabs, line ends) one space; no invisible characters.

  Control and format characters go (byte-order marks, soft hyphens, bidi marks, zero-width spaces),
  but for the zero-width joiner and non-joiner, which spell words in Indic and Arabic scripts.
  """
  if not text.isprintable():  # it has control or format characters, or white space but " "
    text = re.sub(r"\s", " ", text)
    visible = (unicodedata.category(c) not in ("Cc", "Cf") or c in "\u200c\u200d" for c in text)
    text = "".join(itertools.compress(text, visible))
  return re.sub(" {2,}", " ", unicodedata.normalize("NFC", text)).strip()


def strip_interface_markup(text: str) -> str:
  """A normalised interface string as plain text.

  Taken out: HTML tags, reST roles and backticks, accelerators, placeholders with the quotes around
  them, and at the end the colon or dots of a label ("Name:", "Loading..."). Sentence ends stay.
  """
  text = TAG.sub(lambda match: " " if match[1] in BLOCK_TAGS else "", text)
  text = re.sub(r"\\(?=[\"'])", "", html.unescape(text))  # some translators escape quotes twice
  text = PLACEHOLDER.sub(SLOT, text).replace("%%", "%")
  text = LITERAL.sub(r"\2", ACCELERATOR.sub("", text))
  for _ in range(2):  # ("%s") is quoted twice
    text = QUOTED_SLOT.sub(SLOT, text)
  text = SLOTS.sub(" ", LAST_SLOTS.sub("", FIRST_SLOTS.sub("", text)))
  text = re.sub(r"(?:\.{2,}|…)+(?= |$)", "", re.sub(r"\s+", " ", text))
  return text.strip().rstrip(" :：…,")


def tokens(text: str) -> list[str]:
  """Words and punctuation marks, roughly as many as word pieces; see `DENSE`."""
  return TOKEN.findall(text)


def mostly_placeholders(text: str) -> bool:
  """Fewer than three words of a raw interface string for each of its placeholders."""
  slots = len(PLACEHOLDER.findall(text))
  return slots > 0 and len(strip_interface_markup(text).split()) < 3 * slots


def dap_length(pivot: str, translation: str) -> bool:
  """max(l1, l2) > max(2 min(l1, l2), 32), or min(l1, l2) > 64."""
  short, long = sorted((len(tokens(pivot)), len(tokens(translation))))
  return long > max(2 * short, 32) or short > 64


def dap_overlap(pivot: str, translation: str) -> bool:
  """Both over 5 tokens, and at least half the tokens of one side occur in the other."""
  a, b = tokens(pivot), tokens(translation)
  if min(len(a), len(b)) <= 5:
    return False
  return any(2 * sum(t in other for t in side) >= len(side) for side, other in ((a, b), (b, a)))


def length_ratio(pivot: str, translation: str) -> bool:
  """Lengths that no translation explains: over 3 times and over 14 tokens apart."""
  short, long = sorted((len(tokens(pivot)), len(tokens(translation))))
  return long > 3 * short and long - short > 14


def letters(text: str) -> int:
  return sum(map(str.isalpha, text))


def either(test: Callable[[str], bool]) -> Callable[[str, str], bool]:
  """The rule that rejects a pair if `test` holds for a side."""
  return lambda pivot, translation: test(pivot) or test(translation)


# name -> whether the rule rejects (pivot, translation)
RULES: dict[str, Callable[[str, str], bool]] = {
  "empty": either(lambda text: not text),
  # One letter can be a Chinese word, but no English one.
  "no_letters": lambda pivot, translation: letters(pivot) < 2 or letters(translation) < 1,
  "equal": lambda pivot, translation: pivot.casefold() == translation.casefold(),
  "markup": either(lambda text: LEFT_OVER.search(text) is not None),
  "length_ratio": length_ratio,
  "dap_symbols": either(lambda text: "@" in text or "http" in text or text == "N/A"),
  "dap_short": either(lambda text: len(tokens(text)) <= 3),
  "dap_length": dap_length,
  "dap_overlap": dap_overlap,
}


def check_rules(rules: Sequence[str]) -> None:
  """Raises UserError if one of the names is no rule."""
  for name in rules:
    if name not in RULES:
      raise UserError(f"data.rules names {name!r}; known are {', '.join(RULES)}")


def why_rejected(pivot: str, translation: str, *, rules: Sequence[str]) -> str | None:
  """The name of the first of the rules that rejects the pair, None if all accept it."""
  check_rules(rules)
  return next((name for name in rules if RULES[name](pivot, translation)), None)


def clean_rows(
  rows: Iterable[dict[str, str]],
  *,
  rules: Sequence[str],
  pivot: str,
  markup: bool,
  drop_characters: str,
  rejected: Counter,
) -> Iterator[dict[str, str]]:
  """Normalises texts, drops rejected and repeated pairs, then rows with no translation left.

  No rule reads hard negatives; one that has no letter or digit left, or says what the pivot says,
  is dropped alone.

  Args:
    rows: language -> text, with the pivot, and hard negatives.
    rules: names in `RULES`, applied in order.
    pivot: the pivot's language code.
    markup: whether the texts are interface strings: they go through `strip_interface_markup`, and
      those whose pivot is `mostly_placeholders` are dropped.
    drop_characters: taken out of every text first.
    rejected: counts the pairs that were dropped, by rule, and as `duplicate` and `placeholders`.

  Raises:
    UserError: an unknown rule, at the first row asked for.
  """
  check_rules(rules)
  seen, dropped = set(), str.maketrans("", "", drop_characters)
  for row in rows:
    texts = {code: normalise(text.translate(dropped)) for code, text in row.items()}
    translations = [code for code in texts if code != pivot and not is_negative(code)]
    if markup:
      if mostly_placeholders(texts[pivot]):
        rejected["placeholders"] += len(translations)
        continue
      texts = {code: strip_interface_markup(text) for code, text in texts.items()}
    kept = {}
    for code in translations:
      text = texts[code]
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
      refused = {"", key_of(texts[pivot])}
      negatives = {
        code: text
        for code, text in texts.items()
        if is_negative(code) and key_of(text) not in refused
      }
      yield {pivot: texts[pivot], **kept, **negatives}
