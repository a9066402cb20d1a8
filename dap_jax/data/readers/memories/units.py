"""The units of an XML file, one after the other: of the rest of the file nothing is in memory.

An element is built only inside a unit, from expat's events. Namespaces are dropped from names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from xml.etree.ElementTree import Element
from xml.parsers import expat

from etils import epath

from dap_jax.data.texts.text_files import check_regular, damage_in, opened
from dap_jax.utils.errors import UserError

CHUNK = 1 << 16  # bytes that are parsed at a time
DEEPEST = 100  # elements in each other
LARGEST = 1 << 22  # characters of a unit
# Elements whose content is a code of the format, not text; only their `sub` elements hold text.
DELETED = "x-sdl-deleted"  # the `mtype` of such a `mrk`
CODES = frozenset({"bpt", "ept", "it", "ph", "ut", "x", "bx", "ex", "sc", "ec", "sm", "em"})


class Unit(NamedTuple):
  """A unit, and what it stands in.

  Attributes:
    element: the unit itself.
    number: in the file, counted from 1.
    around: the attributes of the elements around it, by their names; the innermost of each.
  """

  element: Element
  number: int
  around: Mapping[str, Mapping[str, str]]


def units(path: epath.Path, *, tags: frozenset[str], roots: frozenset[str]) -> Iterator[Unit]:
  """Streams the elements of some names.

  Args:
    path: the file; compressed, too.
    tags: the units' names.
    roots: the names that the outermost element may have.

  Raises:
    UserError: the file is none of XML or of these roots, declares entities, or has a unit that is
      larger or deeper than any text is.
  """
  check_regular(path)
  builder = Builder(path, tags=tags, roots=roots)
  with opened(path) as file, damage_in(path):
    while chunk := file.read(CHUNK):
      builder.feed(chunk, final=False)
      yield from builder.take()
    builder.feed(b"", final=True)
    yield from builder.take()


class Builder:
  """expat's handlers: they make elements of units, and remember what is around."""

  def __init__(self, path: epath.Path, *, tags: frozenset[str], roots: frozenset[str]):
    self._path, self._tags, self._roots = path, tags, roots
    self._around: list[tuple[str, dict[str, str]]] = []
    self._open: list[Element] = []
    self._ready: list[Unit] = []
    self._number = self._size = 0
    self._parser = expat.ParserCreate(namespace_separator=" ")
    self._parser.buffer_text = True
    self._parser.StartElementHandler = self._start
    self._parser.EndElementHandler = self._end
    self._parser.CharacterDataHandler = self._text
    self._parser.EntityDeclHandler = self._entity

  def feed(self, data: bytes, *, final: bool) -> None:
    try:
      self._parser.Parse(data, final)
    except (expat.ExpatError, ValueError, LookupError) as error:
      raise UserError(f"{self._path} is no well-formed XML: {error}") from error

  def take(self) -> list[Unit]:
    """The units that are complete, since the last call."""
    ready, self._ready = self._ready, []
    return ready

  def _start(self, name: str, attributes: dict[str, str]) -> None:
    name = local(name)
    attributes = {local(key): value for key, value in attributes.items()}
    if not self._around and not self._open and name not in self._roots:
      expected = " or ".join(f"<{root}>" for root in sorted(self._roots))
      raise UserError(f"{self._path} begins with <{name}>, expected {expected}")
    if len(self._around) + len(self._open) >= DEEPEST:
      raise self._too_large(f"over {DEEPEST} elements in each other")
    if self._open or name in self._tags:
      element = Element(name, attributes)
      if self._open:
        self._open[-1].append(element)
      self._open.append(element)
    else:
      self._around.append((name, attributes))

  def _end(self, _: str) -> None:
    if not self._open:
      self._around.pop()
      return
    element = self._open.pop()
    if not self._open:
      self._number += 1
      self._size = 0
      self._ready.append(Unit(element, self._number, dict(self._around)))

  def _text(self, text: str) -> None:
    if not self._open:
      return
    self._size += len(text)
    if self._size > LARGEST:
      raise self._too_large(f"a unit of over {LARGEST:,} characters")
    parent = self._open[-1]
    if len(parent):
      parent[-1].tail = (parent[-1].tail or "") + text
    else:
      parent.text = (parent.text or "") + text

  def _entity(self, name: str, *_: object) -> None:
    raise UserError(f"{self._path} declares the entity {name}: such files are not read")

  def _too_large(self, what: str) -> UserError:
    line = self._parser.CurrentLineNumber
    return UserError(f"{self._path}:{line}: {what}: it is damaged, or another kind of file")


def local(name: str) -> str:
  """A name without its namespace."""
  return name.rpartition(" ")[2]


def canonical(code: str) -> str:
  """A language code in BCP 47's spelling: `DE_at` -> `de-AT`, `zh-hant` -> `zh-Hant`."""
  first, *others = re.split("[-_]", code.strip())
  cases = {2: str.upper, 4: str.title}
  return "-".join([first.lower(), *(cases.get(len(part), str)(part) for part in others)])


def text_of(element: Element) -> str:
  """The text of an element without inline codes; that within `hi`, `g`, `pc`, `mrk` counts.

  What a translator deleted, and Trados keeps to show it, does not.
  """
  if element.get("mtype") == DELETED:
    return ""
  parts = [] if element.tag in CODES else [element.text or ""]
  for child in element:
    if child.tag == "cp":  # XLIFF 2: a character that XML cannot hold
      parts.append(character(child.get("hex", "")))
    elif element.tag not in CODES or child.tag == "sub":
      parts.append(text_of(child))
    if element.tag not in CODES:
      parts.append(child.tail or "")
  return "".join(parts)


def character(digits: str) -> str:
  """The character of a hexadecimal number; "" where there is none, or only half of one."""
  try:
    number = int(digits, 16)
  except ValueError:
    return ""
  is_one = 0 <= number < 0x110000 and not 0xD800 <= number < 0xE000
  return chr(number) if is_one else ""
