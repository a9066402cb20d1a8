"""The documentation as text: pages, their code blocks, commands, links and headings."""

import posixpath
import re
import shlex
import textwrap
import unicodedata
from typing import NamedTuple

from tests.commands import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^( *)(`{3,})(\w*)\n(.*?)^\1\2$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^`([^`\n]+)`:\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"")
SPAN = re.compile(r"`([^`\n]+)`")
OPERATOR = re.compile(r"[|&;]+")


class Block(NamedTuple):
  """A fenced block. language: as the fence names it, "" where it does not."""

  page: str
  language: str
  text: str


def name_of(path):
  return path.relative_to(ROOT).as_posix()


def blocks(*languages):
  """All blocks of these languages."""
  found = []
  for path in PAGES:
    for indent, _, language, text in FENCE.findall(path.read_text()):
      if language in languages:
        found.append(Block(name_of(path), language, textwrap.dedent(text) if indent else text))
  return found


def files_of_pages():
  """The files that pages tell readers to write: path -> content."""
  return {name: text for path in PAGES for name, text in FILE.findall(path.read_text())}


def prose(path):
  """A page without its fenced blocks."""
  return FENCE.sub("", path.read_text())


def spans(path):
  """What stands between single backticks."""
  return SPAN.findall(prose(path))


def simple_commands(text):
  """The commands of a bash block, as lists of words: without comments, variables and operators."""
  lexer = shlex.shlex(text.replace("\\\n", " "), posix=True, punctuation_chars="|&;")
  lexer.whitespace = " \t"
  lexer.whitespace_split = True
  commands, words = [], []
  for word in [*lexer, ";"]:
    parts = word.split("\n")
    for number, part in enumerate(parts):
      if number or OPERATOR.fullmatch(part):
        commands.append(words)
        words = []
      if part and not OPERATOR.fullmatch(part):
        words.append(part)
  cleaned = []
  for command in commands:
    while command and re.match(r"[A-Z_]+=", command[0]):
      command = command[1:]
    if command:
      cleaned.append(command)
  return cleaned


def commands():
  """(page, words) of every command in a bash block."""
  return [
    (block.page, words)
    for block in blocks("bash")
    for line in without_comments(block.text).splitlines()
    for words in simple_commands(line)
  ]


def without_comments(text):
  """A script, its continued lines joined, without comments."""
  joined = re.sub(r"\\\n\s*", " ", text)
  return "\n".join(re.sub(r"(^|\s)#.*", "", line) for line in joined.splitlines())


def links(path):
  """The targets of a page's links and images."""
  text = SPAN.sub("", prose(path))
  return [first or second for first, second in LINK.findall(text)]


def resolved(path, target):
  """(file, anchor) of a relative link; the file is ROOT's, as a path."""
  name, _, anchor = target.partition("#")
  here = name_of(path)
  place = posixpath.normpath(posixpath.join(posixpath.dirname(here), name)) if name else here
  return ROOT / place, anchor


def anchors(path):
  """The anchors of a page's headings, as Python-Markdown makes them."""
  found = []
  for heading in re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE):
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    plain = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
    found.append(re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower()))
  return found
