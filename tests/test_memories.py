"""TMX, XLIFF and gettext files, as tools write them; the expected texts by hand."""

import gzip

import polib
import pytest

from dap_jax.data.readers import formats
from dap_jax.utils.errors import UserError
from tests.fuzzing import damaged, fuzz

TMX = """<?xml version="1.0" encoding="{encoding}"?>
<!DOCTYPE tmx SYSTEM "tmx14.dtd">
<tmx version="1.4"><header srclang="*all*" datatype="plaintext"><note>not text</note></header>
<body>
<tu><tuv xml:lang="en-US"><seg>Press <bpt i="1">&lt;b&gt;</bpt>Save<ept i="1">&lt;/b&gt;</ept> now
</seg></tuv><tuv xml:lang="de-DE"><seg>Jetzt <hi>sichern</hi> &amp; gehen</seg></tuv></tu>
<tu><tuv lang="EN"><seg>one</seg></tuv><tuv lang="pt-BR"><seg>um</seg></tuv>
<tuv lang="de"><seg>eins</seg></tuv><tuv lang="DE-AT"><seg>ans</seg></tuv></tu>
<tu><tuv xml:lang="en"><seg>no target</seg></tuv><tuv xml:lang="de"/></tu>
<tu><tuv xml:lang="fr"><seg>sans</seg></tuv><tuv xml:lang="de"><seg>ohne</seg></tuv></tu>
<tu><tuv xml:lang="en"><seg>foot<ph>x<sub>note</sub>y</ph>s</seg></tuv>
<tuv xml:lang="de"><seg>Fu\u00df</seg></tuv></tu>
</body></tmx>"""


def rows(format, path, **arguments):
  return list(formats.read_rows(format, pivot="en", paths=str(path), **arguments))


def write(path, text, encoding="utf-8"):
  path.write_bytes(text.replace("{encoding}", encoding).encode(encoding))
  return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tmx(tmp_path, encoding):
  text = TMX.replace("{encoding}", encoding.removesuffix("-sig"))
  read = rows("tmx", write(tmp_path / "m.tmx", text.replace("\n", "\r\n"), encoding))
  assert [dict(row) for row in read] == [
    {"en": "Press Save now\n", "de-DE": "Jetzt sichern & gehen"},
    {"en": "one", "pt-BR": "um", "de": "eins", "de-AT": "ans"},
    {"en": "no target"},
    {"fr": "sans", "de": "ohne"},
    {"en": "footnotes", "de": "Fu\u00df"},
  ]
  assert [row.reason for row in read] == ["", "", "no_target", "no_pivot", ""]
  assert read[1].where.endswith("m.tmx: tu 2")


def test_tmx_with_languages_asked_for(tmp_path):
  """A file's codes become those that are asked for; a second text in German is a row of its own."""
  path = tmp_path / "m.tmx.gz"
  path.write_bytes(gzip.compress(TMX.replace("{encoding}", "utf-8").encode()))
  read = rows("tmx", path, languages=("de",))
  assert [dict(row) for row in read if not row.reason] == [
    {"en": "Press Save now\n", "de": "Jetzt sichern & gehen"},
    {"en": "one", "de": "eins"},
    {"en": "one", "de": "ans"},
    {"en": "footnotes", "de": "Fu\u00df"},
  ]


XLIFF = """<xliff version="1.2" xmlns="urn:oasis:names:tc:xliff:document:1.2">
<file original="a" source-language="en-GB" target-language="de"><header><skl><internal-file>
QUJD</internal-file></skl></header><body><group>
<trans-unit id="1" approved="yes"><source>Open <g id="1">the <x id="2"/>file</g></source>
<target state="final">Die Datei <g id="1">öffnen</g></target>
<alt-trans><target>Akte auf</target></alt-trans></trans-unit>
<trans-unit id="2"><source>new</source><target state="new">new</target></trans-unit>
<trans-unit id="3"><source>empty</source><target/></trans-unit>
<trans-unit id="4" translate="no"><source>X1</source><target>X1</target></trans-unit>
<group translate="no"><trans-unit id="7" translate="yes"><source>yes</source>
<target>ja</target></trans-unit></group>
<trans-unit id="8"><source>whole</source>
<seg-source><mrk mtype="seg" mid="0">whole</mrk></seg-source><target>ganz</target></trans-unit>
<trans-unit id="5"><source>plain</source><target>schlicht</target></trans-unit>
</group></body></file>
<file original="c" source-language="de" target-language="fr"><body>
<trans-unit id="9"><source>Weg</source><target>parti</target></trans-unit></body></file>
<file original="b" source-language="de" target-language="en"><body>
<trans-unit id="6"><source>Ende</source><target>end</target></trans-unit></body></file></xliff>"""


def test_xliff_1_2(tmp_path):
  """Two files in one, in both directions; text in codes, and matches in alt-trans, are no text."""
  path = write(tmp_path / "a.xlf", XLIFF)
  read = rows("xliff", tmp_path)
  assert [(dict(row), row.reason) for row in read] == [
    ({"en": "Open the file", "de": "Die Datei öffnen"}, ""),
    ({"en": "new", "de": "new"}, "state"),
    ({"en": "empty"}, "no_target"),
    ({"en": "X1", "de": "X1"}, "no_translate"),
    ({"en": "yes", "de": "ja"}, ""),
    ({"en": "whole", "de": "ganz"}, ""),
    ({"en": "plain", "de": "schlicht"}, ""),
    ({}, "no_pivot"),
    ({"de": "Ende", "en": "end"}, ""),
  ]
  approved = rows("xliff", path, approved_only=True)
  assert [row["en"] for row in approved if not row.reason] == ["Open the file"]
  final = rows("xliff", path, states=("final",))
  assert [row["en"] for row in final if not row.reason] == ["Open the file"]


def test_xliff_2(tmp_path):
  text = """<xliff xmlns="urn:oasis:names:tc:xliff:document:2.0" version="2.0" srcLang="en"
trgLang="de"><file id="f"><group id="g"><unit id="1">
<segment state="translated"><source>One <pc id="1">two</pc><ph id="2"/></source>
<target>Eins <pc id="1">zwei</pc></target></segment><ignorable><source> </source></ignorable>
<segment state="initial"><source>Three</source></segment>
<segment><source>A<cp hex="0042"/>C</source><target>ABC<sc id="1"/>!<ec/></target></segment>
</unit></group></file></xliff>"""
  assert [(dict(row), row.reason) for row in rows("xliff", write(tmp_path / "a.xlf", text))] == [
    ({"en": "One two", "de": "Eins zwei"}, ""),
    ({"en": "Three"}, "no_target"),
    ({"en": "ABC", "de": "ABC!"}, ""),
  ]


def test_sdlxliff(tmp_path):
  """Segments are paired by mid, wherever they are nested; one of tags alone moves none."""
  text = """<xliff version="1.2" xmlns:sdl="http://sdl.com/FileTypes/SdlXliff/1.0"
xmlns="urn:oasis:names:tc:xliff:document:1.2"><file source-language="en-US"
target-language="de-DE"><body><trans-unit id="1"><source>x</source>
<seg-source><mrk mtype="seg" mid="1">First.</mrk> <mrk mtype="seg" mid="2"><x id="1"/></mrk>
<g id="2"><mrk mtype="seg" mid="3">Third.<mrk mtype="x-sdl-deleted">gone</mrk></mrk></g>
<mrk mtype="seg" mid="4">Draft</mrk></seg-source>
<target><mrk mtype="seg" mid="1">Erstens.</mrk>
<g id="2"><mrk mtype="seg" mid="3">Drittens.</mrk></g>
<mrk mtype="seg" mid="4">Entwurf</mrk></target>
<sdl:seg-defs><sdl:seg id="1" conf="Translated"/>
<sdl:seg id="3" conf="ApprovedTranslation"/><sdl:seg id="4" conf="Draft"/>
</sdl:seg-defs></trans-unit>
<trans-unit id="2"><source>y</source><seg-source><mrk mtype="seg" mid="5">Untouched</mrk>
</seg-source></trans-unit></body></file></xliff>"""
  path = write(tmp_path / "a.sdlxliff", text)
  read = rows("xliff", path, states=("Translated", "ApprovedTranslation"))
  assert [(row.get("en", ""), row.get("de-DE", ""), row.reason) for row in read] == [
    ("First.", "Erstens.", ""),
    ("", "", "empty"),
    ("Third.", "Drittens.", ""),
    ("Draft", "Entwurf", "state"),
    ("Untouched", "", "no_target"),
  ]


def catalogue():
  file = polib.POFile()
  file.metadata = {"Language": "de", "Content-Type": "text/plain; charset=UTF-8"}
  entries = [
    {"msgid": "Save", "msgstr": "Sichern", "msgctxt": "menu"},
    {"msgid": "Fuzzy", "msgstr": "Unscharf", "flags": ["fuzzy"]},
    {"msgid": "Gone", "msgstr": "Weg", "obsolete": True},
    {"msgid": "a\u0085b", "msgstr": "c\u0085d"},
    {"msgid": "Untranslated", "msgstr": ""},
    {"msgid": "%d file", "msgid_plural": "%d files"}
    | {"msgstr_plural": {0: "%d Datei", 1: "%d Dateien"}},
  ]
  file.extend(polib.POEntry(**entry) for entry in entries)
  return file


def test_po_and_mo(tmp_path):
  catalogue().save(str(tmp_path / "app.po"))
  text = (tmp_path / "app.po").read_bytes()
  (tmp_path / "app.po").write_bytes(b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"))
  read = rows("po", tmp_path / "app.po")
  kept = [
    {"en": "Save", "de": "Sichern"},
    {"en": "a\u0085b", "de": "c\u0085d"},
    {"en": "%d file", "de": "%d Datei"},
    {"en": "%d files", "de": "%d Dateien"},
  ]
  assert [dict(row) for row in read if not row.reason] == kept
  assert [row.reason for row in read if row.reason] == ["fuzzy", "no_target", "obsolete"]
  folder = tmp_path / "fr" / "LC_MESSAGES"
  folder.mkdir(parents=True)
  file = catalogue()
  del file.metadata["Language"]
  file.save_as_mofile(str(folder / "app.mo"))
  of_folder = [{key.replace("de", "fr"): text for key, text in row.items()} for row in kept]
  read = sorted((dict(row) for row in rows("po", folder / "app.mo")), key=str)
  assert read == sorted(of_folder, key=str)


def test_the_singular_is_the_form_for_one(tmp_path):
  """Arabic's form 0 is for none, 1 for one; the last one goes with the plural."""
  header = 'msgid ""\nmsgstr "Plural-Forms: nplurals=3; plural=n==0 ? 0 : n==1 ? 1 : 2;\\n"\n\n'
  forms = "".join(f'msgstr[{number}] "form {number}"\n' for number in range(3))
  write(tmp_path / "ar.po", f'{header}msgid "a file"\nmsgid_plural "files"\n{forms}')
  assert rows("po", tmp_path / "ar.po") == [
    {"en": "a file", "ar": "form 1"},
    {"en": "files", "ar": "form 2"},
  ]


@pytest.mark.parametrize(
  ("format", "name", "text", "message"),
  [
    ("tmx", "a.tmx", "<xliff/>", "begins with <xliff>, expected <tmx>"),
    ("tmx", "a.tmx", "de\ten\n", "no well-formed XML"),
    ("tmx", "a.tmx", "<tmx><body><tu>", "no well-formed XML"),
    ("tmx", "a.tmx", '<!DOCTYPE t [<!ENTITY a "b">]><tmx>&a;</tmx>', "declares the entity a"),
    ("tmx", "a.tmx", "<tmx>" + "<a>" * 200, "over 100 elements in each other"),
    ("tmx", "a.tmx", f"<tmx><tu>{'x' * 5_000_000}</tu></tmx>", "a unit of over 4,194,304"),
    ("tmx", "a.tmx", "<tmx><tu/></tmx>", "gave no pair"),
    ("xliff", "a.xlf", "<xliff><file><unit/></file></xliff>", "its languages are not given"),
    ("po", "a.po", 'msgid "a"\nmsgstr "b"\n', "of which language"),
    ("po", "de.po", 'msgid "a\n', "gave no pair"),
    ("po", "de.mo", "no catalogue", "cannot read .* as a gettext catalogue"),
  ],
)
def test_mistakes(tmp_path, format, name, text, message):
  with pytest.raises(UserError, match=message):
    rows(format, write(tmp_path / name, text))


@pytest.mark.parametrize("format", ["tmx", "xliff", "po"])
def test_damaged_files(tmp_path, format):
  path = tmp_path / f"de.{ {'xliff': 'xlf'}.get(format, format) }"
  if format == "po":
    catalogue().save(str(path))
  else:
    write(path, {"tmx": TMX, "xliff": XLIFF}[format])

  def read(data):
    path.write_bytes(data)
    return rows(format, path)

  fuzz(read, path.read_bytes(), mutate=damaged, count=300)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path):
  """40 MB of units: expat and one unit at a time, at most 60 MB above the start."""
  import subprocess
  import sys

  from tests.commands import ROOT

  unit = TMX.partition("<body>")[2].partition("<tu><tuv lang")[0].strip()
  with (tmp_path / "m.tmx").open("w") as file:
    file.write("<tmx><body>" + unit * (40_000_000 // len(unit)) + "</body></tmx>")
  program = (
    "import resource, sys; from dap_jax.data.readers import formats\n"
    "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
    "before = peak(); rows = formats.read_rows('tmx', pivot='en', paths=sys.argv[1])\n"
    "print(sum(1 for _ in rows), peak() - before)"
  )
  command = [sys.executable, "-c", program, str(tmp_path / "m.tmx")]
  out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
  count, kilobytes = map(int, out.split())
  assert count == 40_000_000 // len(unit) and kilobytes < 60_000
