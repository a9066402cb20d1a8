"""Filters of pairs; each says why it rejects. The config names those it wants in `data.rules`.

The rules of DAP's clean-up (arXiv 2305.09148, released program) have the prefix `dap_`. That program
counts word pieces of mBERT; here `tokens` counts, which needs no vocabulary.
"""

from __future__ import annotations

import html
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from dap_jax.errors import UserError

# Scripts without spaces: ideographs stand alone; of kana, Thai, Lao, Tibetan, Burmese and Khmer
# three characters (vowel signs counted) stand for one token, about what word pieces hold there.
IDEOGRAPHS = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
UNSPACED = "\u0e00-\u109f\u1780-\u17ff\u3041-\u30ff"
PUNCTUATION = re.escape(string.punctuation) + "¡-¿\u2010-\u205e\u3001-\u303f\uff01-\uff0f،؛؟۔।॥"
TOKEN = re.compile(
  rf"[{IDEOGRAPHS}]|[{UNSPACED}]{{1,3}}|[{PUNCTUATION}]"
  rf"|[^\s{IDEOGRAPHS}{UNSPACED}{PUNCTUATION}]+"
)

# %s, %-5d, %.2f; %(name)s, also as translators break it: "%(name) s"; {}, {0}, {name}, ${name}
PLACEHOLDER = re.compile(
  r"%\([^()]*\) ?[-+#0]*\d*(?:\.\d+)?[a-zA-Z]|%[-+#0]*\d*(?:\.\d+)?[sdrifuxg]|\$?\{[^{}]*\}"
)
TAG = re.compile(r"</?([a-z][a-z0-9]*)(?:\s[^<>]*)?/?>", re.IGNORECASE)
BLOCK_TAGS = {"p", "br", "li", "ul", "ol", "div", "h1", "h2", "h3", "tr", "td"}
LITERAL = re.compile(r"(?::[\w:.+-]+:)?(`{1,2})([^`]+)\1_{0,2}")  # :role:`x`, ``x``, `x`, `x`_
# File &As, E&xit; 文件(&F). AT&T is none.
ACCELERATOR = re.compile(r"\(&\w\)|(?<!\w)&(?=\w)|&(?=[a-z])")
LEFT_OVER = re.compile(r"%[-.(a-zA-Z]|[{}<>`]|&#?\w+;")
SLOT = "\ue000"  # stands for a placeholder while its surroundings are tidied
QUOTE = "\"'“”„«»‘’‚‹›「」『』《》〈〉״׳"


def normalise(text: str) -> str:
  """Unicode NFC; every run of white space (tabs, line ends) one space; no invisible characters.

  Control and format characters go (byte-order marks, soft hyphens, bidi marks, zero-width spaces),
  but for the zero-width joiner and non-joiner, which spell words in Indic and Arabic scripts.
  """
  text = re.sub(r"\s", " ", text)
  kept = (c for c in text if c in "\u200c\u200d" or unicodedata.category(c) not in ("Cc", "Cf"))
  return re.sub(" {2,}", " ", unicodedata.normalize("NFC", "".join(kept))).strip()


def strip_interface_markup(text: str) -> str:
  """A normalised interface string as plain text.

  HTML tags, reST roles and backticks, accelerators, placeholders with the quotes around them, and
  what introduces a value at the end (": %s", "...") are taken out; sentence ends stay.
  """
  text = TAG.sub(lambda match: " " if match[1].lower() in BLOCK_TAGS else "", text)
  text = PLACEHOLDER.sub(SLOT, html.unescape(text)).replace("%%", "%")
  text = LITERAL.sub(r"\2", ACCELERATOR.sub("", text))
  text = re.sub(rf"[{QUOTE}`(（\[【]*\s*{SLOT}(?:\s*{SLOT})*\s*[{QUOTE}`)）\]】]*", SLOT, text)
  return tidy(text.replace(SLOT, " "))


def tidy(text: str) -> str:
  """Mends what a removed placeholder leaves: spaces and stray punctuation; cuts the ends."""
  text = re.sub(r"\s+", " ", text)
  text = re.sub(r"(?<=[(\[（]) | (?=[)\]）])", "", text)
  text = re.sub(r" +(?=[,.;:!?…，。：；！？،؟।])", "", text)
  text = re.sub(r"[,;:，：；、،]+(?=[,.;:!?。，：；！？])", "", text)
  text = re.sub(r"(?:\.{2,}|…)+(?=$| )", "", text)
  return text.strip(" :：;,，،、|-–—→…")


def tokens(text: str) -> list[str]:
  """Words and punctuation marks; scripts without spaces are cut as `TOKEN` says."""
  return TOKEN.findall(text)


def mostly_placeholders(text: str) -> bool:
  """Fewer than three words of a raw interface string for each of its placeholders."""
  slots = len(PLACEHOLDER.findall(text))
  return slots > 0 and len(strip_interface_markup(text).split()) < 3 * slots


def dap_ratio(pivot: str, translation: str) -> bool:
  """max(l1, l2) > max(2 min(l1, l2), 32)."""
  short, long = sorted((len(tokens(pivot)), len(tokens(translation))))
  return long > max(2 * short, 32)


def dap_overlap(pivot: str, translation: str) -> bool:
  """Both over 5 tokens, and at least half the tokens of one side occur in the other."""
  a, b = tokens(pivot), tokens(translation)
  if min(len(a), len(b)) <= 5:
    return False
  return any(2 * sum(t in other for t in side) >= len(side) for side, other in ((a, b), (b, a)))


def length_ratio(pivot: str, translation: str) -> bool:
  """Lengths that no translation explains: over 3 times and over 12 tokens apart."""
  short, long = sorted((len(tokens(pivot)), len(tokens(translation))))
  return long > 3 * short and long - short > 12


def either(test: Callable[[str], bool]) -> Callable[[str, str], bool]:
  """The rule that rejects a pair if `test` holds for a side."""
  return lambda pivot, translation: test(pivot) or test(translation)


# name -> whether the rule rejects (pivot, translation)
RULES: dict[str, Callable[[str, str], bool]] = {
  "empty": either(lambda text: not text),
  "no_letters": either(lambda text: sum(map(str.isalpha, text)) < 2),
  "equal": lambda pivot, translation: pivot.casefold() == translation.casefold(),
  "markup": either(lambda text: LEFT_OVER.search(text) is not None),
  "length_ratio": length_ratio,
  "dap_symbols": either(lambda text: "@" in text or "http" in text or text == "N/A"),
  "dap_short": either(lambda text: len(tokens(text)) <= 3),
  "dap_ratio": dap_ratio,
  "dap_long": lambda pivot, translation: min(len(tokens(pivot)), len(tokens(translation))) > 64,
  "dap_equal": lambda pivot, translation: pivot == translation,
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
  rejected: Counter,
) -> Iterator[dict[str, str]]:
  """Normalises texts, drops rejected and repeated pairs, then rows with no translation left.

  Args:
    rows: language -> text, with the pivot.
    rules: names in `RULES`, applied in order.
    pivot: the pivot's language code.
    markup: whether the texts are interface strings: they go through `strip_interface_markup`, and
      those whose pivot is `mostly_placeholders` are dropped.
    rejected: counts the pairs that were dropped, by rule, and as `duplicate` and `placeholders`.

  Raises:
    UserError: an unknown rule, at the first row asked for.
  """
  check_rules(rules)
  seen = set()
  for row in rows:
    texts = {code: normalise(text) for code, text in row.items()}
    if markup:
      if mostly_placeholders(texts[pivot]):
        rejected["placeholders"] += len(texts) - 1
        continue
      texts = {code: strip_interface_markup(text) for code, text in texts.items()}
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
