"""Interface strings as plain text: without tags, reST roles, accelerators and placeholders.

Every step takes time in proportion to the text, whatever is in it: quantifiers are possessive where
they could be tried in many ways, and no search begins in the middle of a run that the search at its
start has covered.
"""

from __future__ import annotations

import html
import re

# %s, %-5d, %.2f; %(name)s, also as translators break it: "%(name) s"; {}, {0}, {name}, ${name};
# a call's brackets: %s().
PLACEHOLDER = re.compile(
  r"(?:%\([^()]*\) ?[-+#0]*+\d*+(?:\.\d+)?[a-zA-Z]|%[-+#0]*+\d*+(?:\.\d+)?[sdrifuxg]"
  r"|\$?\{[^{}]*\})(?:\(\))?"
)
TAG = re.compile(r"</?([a-z][a-z0-9]*)(?:\s[^<>]*)?/?>")
BLOCK_TAGS = {"p", "br", "li", "ul", "ol", "div", "h1", "h2", "h3", "tr", "td"}
LITERAL = re.compile(r"(`{1,2})([^`]+)\1_{0,2}")  # ``x``, `x`, `x`_; a :role: may stand before it
ROLE = re.compile(r"[\w:.+-]*")
# File &As, E&xit; 文件(&F). AT&T has none.
ACCELERATOR = re.compile(r"\(&\w\)|(?<!\w)&(?=\w)|&(?=[a-z])")
LEFT_OVER = re.compile(r"%[-.(a-zA-Z]|[{}<`\\]|(?<!-)>|&#?\w+;")
SLOT = "\ue000"  # stands for a placeholder while its surroundings are tidied
QUOTED_SLOT = re.compile(
  rf"[\"'“”„«»‘’‚‹›「」『』《》〈〉״׳`<]\s*+{SLOT}\s*+[\"'“”„«»‘’‚‹›「」『』《》〈〉״׳`>]"
  rf"|\(\s*+{SLOT}\s*+\)|\[\s*+{SLOT}\s*+\]|（\s*+{SLOT}\s*+）|【\s*+{SLOT}\s*+】"
)
# At the start or after "(", with what sets it off ("%s: "); before a sentence's end, with what
# introduces it (": %s."); elsewhere.
FIRST_SLOTS = re.compile(rf"(?:^|(?<=[(\[（]))(?:\s*{SLOT}[\s:,;–—-]*)+")
SETS_OFF = r"\s:,;：，、；=–—-"
LAST_SLOTS = re.compile(
  rf"(?<![{SLOT}{SETS_OFF}])(?:[{SETS_OFF}]*+{SLOT})+\s*(?=[.,;:!?…)\]。，；：！？）؟،।]|$)"
)
SLOTS = re.compile(rf"(?<!\s)(?:\s*+{SLOT}\s*+)+")
DOTS = re.compile(r"[.…]+")
ENDLESS_REFERENCE = re.compile(r"&#\d{4000,}+;?")  # more digits than html.unescape reads
SINGLE_DOT = re.compile(r"(?:^|(?<=…))\.(?=…|$)")


def strip_interface_markup(text: str) -> str:
  """A normalised interface string as plain text.

  Removed are HTML tags, reST roles and backticks, accelerators, placeholders with the quotes around
  them, and the colon or dots at the end of a label ("Name:", "Loading..."). The punctuation that
  ends a sentence stays.
  """
  text = TAG.sub(lambda match: " " if match[1] in BLOCK_TAGS else "", text)
  text = html.unescape(ENDLESS_REFERENCE.sub("\ufffd", text))
  text = re.sub(r"\\(?=[\"'])", "", text)  # some translators escape quotes twice
  text = PLACEHOLDER.sub(SLOT, text).replace("%%", "%")
  text = strip_literals(ACCELERATOR.sub("", text))
  for _ in range(2):  # ("%s") is quoted twice
    text = QUOTED_SLOT.sub(SLOT, text)
  text = SLOTS.sub(" ", LAST_SLOTS.sub("", FIRST_SLOTS.sub("", text)))
  text = strip_dots(re.sub(r"\s+", " ", text))
  return text.strip().rstrip(" :：…,")


def strip_literals(text: str) -> str:
  """reST's literals and links without their backticks, and without the role before them."""
  pieces, position = [], 0
  for match in LITERAL.finditer(text):
    pieces += [without_role(text[position : match.start()]), match[2]]
    position = match.end()
  return "".join([*pieces, text[position:]])


def without_role(text: str) -> str:
  """A text less the role that it ends with: ":ref:" of "see :ref:"."""
  if not text.endswith(":"):
    return text
  match = ROLE.match(text[::-1])  # read from its end, so that it is read once
  assert match is not None, "an empty run matches"
  start = text.find(":", len(text) - match.end())
  return text[:start] if start < len(text) - 2 else text


def strip_dots(text: str) -> str:
  """A text without the dots of two or more, and the ellipses, at the end of a word."""

  def without(match: re.Match[str]) -> str:
    if text[match.end() : match.end() + 1] not in ("", " "):
      return match[0]
    single = [dot.end() for dot in SINGLE_DOT.finditer(match[0])]
    return match[0][: single[-1]] if single else ""

  return DOTS.sub(without, text)


def mostly_placeholders(text: str) -> bool:
  """Whether a raw interface string has fewer than three words for each of its placeholders."""
  slots = len(PLACEHOLDER.findall(text))
  return slots > 0 and len(strip_interface_markup(text).split()) < 3 * slots
