"""XLIFF 1.2, 2.0 and 2.1, and Trados' SDLXLIFF: source and target of each segment.

1.2: `file > trans-unit > source, seg-source?, target`; matches in `alt-trans` are not its target.
2: `unit > segment > source, target`. SDLXLIFF: 1.2, whose segments are `mrk[@mtype="seg"]` of
`seg-source` and `target` with one `mid`, and whose state is in `seg-defs > seg[@id][@conf]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element

from etils import epath

from dap_jax.data.readers.arguments import below, expand, names
from dap_jax.data.readers.memories.units import Unit, canonical, text_of, units
from dap_jax.data.readers.row import Row
from dap_jax.data.readers.tables.languages import code_of
from dap_jax.utils.errors import UserError

# States of what nobody has translated, or not yet; in SDLXLIFF it has none.
EXTENSIONS = ("xlf", "xliff", "sdlxliff")
UNTRANSLATED = frozenset({"new", "needs-translation", "initial"})


class Segment(NamedTuple):
  """source, target: the texts; state: "" where none is given; approved: yes, no or ""."""

  source: str
  target: str
  state: str
  approved: str


def xliff(
  *,
  pivot: str,
  paths: Sequence[str],
  states: Sequence[str] = (),
  approved_only: bool = False,
) -> Iterator[Row]:
  """XLIFF files. The pivot may be their source or their target.

  Args:
    pivot: the pivot's language code.
    paths: files, folders or glob patterns.
    states: those to keep: `translated`, `final`, `reviewed`, ..., for SDLXLIFF `Translated`,
      `ApprovedTranslation`, ...; without, all but `new`, `needs-translation` and `initial`.
    approved_only: keeps only units that are marked as approved (1.2).
  """
  if not isinstance(approved_only, bool):
    raise UserError(f"data.arguments.approved_only={approved_only!r}: expected True or False")
  kept = frozenset(names(states, "states")) if states else frozenset()
  for path in expand(below(names(paths, "paths"), EXTENSIONS), extension="xlf"):
    for unit in units(path, tags=frozenset({"trans-unit", "unit"}), roots=frozenset({"xliff"})):
      sides = languages_of(unit, path=path, pivot=pivot)
      for segment in segments(unit.element):
        if pivot not in sides:
          yield Row({}, where=f"{path}: unit {unit.number}", reason="no_pivot")
          continue
        texts = dict(zip(sides, (segment.source, segment.target), strict=True))
        reason = reason_against(segment, unit, states=kept, approved_only=approved_only)
        yield Row(texts, where=f"{path}: unit {unit.number}", reason=reason)


def languages_of(unit: Unit, *, path: epath.Path, pivot: str) -> tuple[str, str]:
  """The languages of source and target. Raises UserError where they are not two."""
  file, root = unit.around.get("file", {}), unit.around.get("xliff", {})
  written = (
    file.get("source-language") or root.get("srcLang") or "",
    file.get("target-language") or root.get("trgLang") or "",
  )
  codes = tuple(
    code_of(canonical(code), pivot=pivot, languages=(), any_code=True) if code else None
    for code in written
  )
  if None in codes or codes[0] == codes[1]:
    raise UserError(
      f"{path}: its languages are {written[0] or 'not given'} and {written[1] or 'not given'}:"
      " expected two"
    )
  return str(codes[0]), str(codes[1])


def segments(unit: Element) -> Iterator[Segment]:
  """The segments of a unit, of each version."""
  if unit.tag == "unit":
    for segment in unit.iter("segment"):
      source, target = segment.find("source"), segment.find("target")
      yield Segment(text(source), text(target), segment.get("state", ""), "")
    return
  source, parted, target = (unit.find(tag) for tag in ("source", "seg-source", "target"))
  approved = unit.get("approved", "")
  state = "" if target is None else target.get("state", "")
  sources, targets = marked(parted), marked(target)
  if not sources or (not targets and text(target).strip()):  # the target is not parted alike
    yield Segment(text(source), text(target), state, approved)
    return
  confirmed = confirmations(unit)
  for mid, element in sources.items():
    own = confirmed.get(mid, {})
    state_of_segment = own.get("conf", state)
    yield Segment(text(element), text(targets.get(mid)), state_of_segment, approved)


def text(element: Element | None) -> str:
  """Its text; "" where there is no element."""
  return "" if element is None else text_of(element)


def marked(element: Element | None) -> dict[str, Element]:
  """The segments that are marked in an element, by `mid`, wherever in it they are."""
  marks = [] if element is None else element.iter("mrk")
  return {mark.get("mid", ""): mark for mark in marks if mark.get("mtype") == "seg"}


def confirmations(unit: Element) -> dict[str, Mapping[str, str]]:
  """What SDLXLIFF says of each segment, by its id."""
  return {each.get("id", ""): each.attrib for each in unit.iter("seg") if "id" in each.attrib}


def reason_against(
  segment: Segment, unit: Unit, *, states: frozenset[str], approved_only: bool
) -> str:
  """Why a segment is left out; "" where it is not."""
  from_inside = [unit.element.attrib, *reversed(list(unit.around.values()))]
  if next((each["translate"] for each in from_inside if "translate" in each), "") == "no":
    return "no_translate"
  if not segment.source.strip():
    return "empty"
  if not segment.target.strip():
    return "no_target"
  if approved_only and segment.approved != "yes":
    return "not_approved"
  is_kept = segment.state in states if states else segment.state not in UNTRANSLATED
  return "" if is_kept else "state"
