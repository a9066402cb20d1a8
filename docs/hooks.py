"""Hooks of mkdocs: links to files of the repository, and equations as MathML.

The pages link to configs and sources by their paths in the repository, as GitHub resolves them. The
site has a page for each file that is linked, `source/PATH`, so it is whole without the repository
and without a network. Equations are LaTeX between dollars; browsers show MathML without a script.
"""

from __future__ import annotations

import html
import posixpath
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES, SOURCES = "docs", "source"
FENCE = re.compile(r"\s*(`{3,}|~{3,})")
LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")
EQUATION = re.compile(r'<(div|span) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
CELL = re.compile(r"<(t[dh])\b.*?</\1>", re.DOTALL)
CODE = re.compile(r"(?<=<code>)[^<]+(?=</code>)")
LEXERS = {".py": "python", ".sh": "bash", ".yml": "yaml", ".toml": "toml", ".json": "json"}


def repository_path(src_uri: str) -> str:
  """A page's place in the site -> that of its file in the repository."""
  if src_uri.startswith(f"{SOURCES}/"):
    path = src_uri.removeprefix(f"{SOURCES}/")
    return path if (ROOT / path).is_file() else path.removesuffix(".md")
  return f"{PAGES}/{src_uri}"


def site_path(path: str) -> str:
  """A file's path in the repository -> its place in the site."""
  if path == "CHANGELOG.md":
    return "changelog.md"  # the page that includes it
  if path.startswith(f"{PAGES}/"):
    return path.removeprefix(f"{PAGES}/")
  return f"{SOURCES}/{path}" if path.endswith(".md") else f"{SOURCES}/{path}.md"


def linked_file(target: str, src_uri: str) -> str | None:
  """The path in the repository that a link of a page leads to; None of other links."""
  path = target.partition("#")[0]
  if not path or "://" in target or target.startswith(("mailto:", "/")):
    return None
  place = posixpath.dirname(repository_path(src_uri))
  path = posixpath.normpath(posixpath.join(place, path))
  return path if (ROOT / path).is_file() else None  # mkdocs tells of links that lead nowhere


def rewritten(markdown: str, src_uri: str) -> tuple[str, list[str]]:
  """A page with its links as the site needs them; and the files that they lead to."""
  lines, files, fence = [], [], ""

  def replace(match: re.Match[str]) -> str:
    target = match[1]
    path = linked_file(target, src_uri)
    if path is None:
      return target
    files.append(path)
    place = posixpath.relpath(site_path(path), posixpath.dirname(src_uri) or ".")
    anchor = target.partition("#")[2]
    return f"{place}#{anchor}" if anchor else place

  for line in markdown.splitlines():
    mark = FENCE.match(line)
    if mark and not fence:
      fence = mark[1]
    elif mark and mark[1].startswith(fence):
      fence = ""
    elif not fence:
      line = LINK.sub(replace, line)
    lines.append(line)
  return "\n".join(lines), files


def content_of(path: str) -> str:
  """The page of a file of the repository."""
  text = (ROOT / path).read_text(encoding="utf-8")
  if path.endswith(".md"):
    return text
  lexer = LEXERS.get(Path(path).suffix, "text")
  head = "---\nsearch:\n  exclude: true\n---\n"
  return f"{head}\n# {posixpath.basename(path)}\n\n`{path}`\n\n````{lexer}\n{text}````\n"


def on_files(files: Files, *, config: Any) -> Files:
  """Adds the pages of all files that pages link to, and that those link to in turn."""
  waiting = [(f.src_uri, f.content_string) for f in files.documentation_pages()]
  while waiting:
    src_uri, markdown = waiting.pop()
    for path in rewritten(markdown, src_uri)[1]:
      place = site_path(path)
      if files.get_file_from_path(place) is None and not path.startswith(f"{PAGES}/"):
        content = content_of(path)
        files.append(File.generated(config, place, content=content))
        waiting.append((place, content))
  return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
  """Rewrites the links of a page."""
  return rewritten(markdown, page.file.src_uri)[0]


def breakable(cell: str) -> str:
  """A cell of a table: long keys and paths may break after a dot or a dash, flags stay whole."""

  def replace(code: re.Match[str]) -> str:
    text = code[0]
    if text.startswith("-") and len(text) <= 24:
      return f'<span class="whole">{text}</span>'
    return re.sub(r"([._/=+])(?=\w)(?!py\b)", r"\1<wbr>", text)

  return CODE.sub(replace, cell)


def on_page_content(content: str, **_: Any) -> str:
  """Makes MathML of the equations of a page; lets keys in tables break where one would read on."""

  def replace(match: re.Match[str]) -> str:
    display = "block" if match[1] == "div" else "inline"
    mathml = convert(html.unescape(match[2]).strip(), display=display)
    return f'<div class="equation">{mathml}</div>' if match[1] == "div" else mathml

  content = CELL.sub(lambda cell: breakable(cell[0]), content)
  return EQUATION.sub(replace, content)
