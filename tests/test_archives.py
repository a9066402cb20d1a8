"""Compressed texts: every kind, told by its content; damaged and endless ones are refused."""

import bz2
import gzip
import lzma
import subprocess
import sys
import time
import zipfile

import pyarrow as pa
import pytest
from etils import epath

from dap_jax.data.readers import formats
from dap_jax.data.texts import text_files
from dap_jax.utils.errors import UserError

DE = [{"de": "ein Hund", "en": "a dog"}, {"de": "eine Katze", "en": "a cat"}]
TEXT = b"ein Hund\ta dog\neine Katze\ta cat\n"


def zstd(data):
  return pa.Codec("zstd").compress(data, asbytes=True)


COMPRESS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstd}


def rows(format, **arguments):
  return list(formats.read_rows(format, pivot="en", **arguments))


def zipped(path, members):
  with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
    for name, data in members.items():
      archive.writestr(name, data)
  return str(path)


@pytest.mark.parametrize("kind", COMPRESS)
def test_compressed(tmp_path, kind):
  compress = COMPRESS[kind]
  first, second = TEXT.splitlines(keepends=True)
  for name in (f"de-en.tsv.{kind}", "de-en.tsv", "de-en.tsv.gz"):  # whatever it is called
    path = tmp_path / name
    for data in (compress(TEXT), compress(first) + compress(second)):
      path.write_bytes(data)
      assert rows("tsv", paths=str(path)) == DE
    path.unlink()


@pytest.mark.parametrize("name", ["de-en.tsv.gz", "de-en.tsv.xz", "de-en.tsv.zip"])
def test_plain_text_of_another_name(tmp_path, name):
  (tmp_path / name).write_bytes(TEXT)
  assert rows("tsv", paths=str(tmp_path)) == DE


@pytest.mark.parametrize("kind", COMPRESS)
def test_damage(tmp_path, kind):
  path = tmp_path / f"de-en.tsv.{kind}"
  whole = COMPRESS[kind]("".join(f"Hund {n}\tdog {n * n}\n" for n in range(9999)).encode())
  damaged = [whole[: len(whole) // 2], whole[:-3]]
  if kind != "zst":  # Arrow writes no checksum
    damaged.append(whole[:200] + bytes(99) + whole[299:])
  for data in damaged:
    path.write_bytes(data)
    with pytest.raises(UserError, match=rf"cannot read .*de-en\.tsv\.{kind}"):
      rows("tsv", paths=str(path))


def test_xz_with_padding(tmp_path):
  path = tmp_path / "de-en.tsv.xz"
  path.write_bytes(
    lzma.compress(TEXT) + bytes(text_files.PIECE * 2) + lzma.compress(TEXT) + bytes(4)
  )
  assert rows("tsv", paths=str(path)) == DE * 2


def test_the_text_of_a_zip(tmp_path):
  others = {
    "README": "x",
    "LICENSE.txt": "x",
    "__MACOSX/._a": "x",
    "folder/": "",
    "a/.DS_Store": "",
  }
  path = zipped(tmp_path / "de-en.tsv.zip", {**others, "a/b.tsv": TEXT})
  assert rows("tsv", paths=path) == DE
  zipped(path, {"b.tsv": TEXT, "c.tsv": TEXT})
  with pytest.raises(
    UserError, match=r"expected one text in it, found 'b\.tsv', 'c\.tsv': unpack it"
  ):
    rows("tsv", paths=path)
  zipped(path, others)
  with pytest.raises(UserError, match="expected one text in it, found none"):
    rows("tsv", paths=path)


OPUS = {
  "README": "Corpus",
  "LICENSE": "free",
  "Tatoeba.de-en.de": "ein Hund\neine Katze\n",
  "Tatoeba.de-en.en": "a dog\na cat\n",
  "Tatoeba.de-en.scores": "1\n2\n",
}


def test_a_zip_of_opus(tmp_path):
  path = zipped(tmp_path / "de-en.txt.zip", OPUS)
  before = sorted(tmp_path.rglob("*"))
  assert rows("moses", paths=path) == DE
  assert rows("moses", paths=[str(tmp_path)], languages=["de"]) == DE
  assert next(formats.read_rows("moses", pivot="en", paths=path)).where.endswith(
    "de-en.txt.zip/Tatoeba.de-en.en:1"
  )
  (tmp_path / "c.en").write_text("a dog\n")
  (tmp_path / "c.de").write_text("ein Hund\n")
  assert rows("moses", paths=path, prefixes=f"{tmp_path}/c", languages="de") == [DE[0], *DE]
  assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "c.en", tmp_path / "c.de"])


@pytest.mark.parametrize(
  ("members", "arguments", "message"),
  [
    ({**OPUS, "Tatoeba.de-en.de": "ein Hund\n"}, {}, r"\.en has 2, .*\.de has 1"),
    ({"README": ""}, {}, r"expected files \*\.en and \*\.another language in it, found no text"),
    (OPUS, {"languages": ["fr"]}, r"expected files \*\.en and \*\.fr in it, found 'Tatoeba"),
    ({"a\nb.de": ""}, {}, r"found 'a\\nb\.de'"),
    ({**OPUS, "x.de": ""}, {}, r"'x\.de' and 'Tatoeba\.de-en\.de' are both of de"),
  ],
)
def test_mistakes_in_zips_of_opus(tmp_path, members, arguments, message):
  with pytest.raises(UserError, match=message):
    rows("moses", paths=zipped(tmp_path / "de-en.txt.zip", members), **arguments)


def test_moses_needs_files():
  with pytest.raises(UserError, match="needs prefixes or paths"):
    rows("moses")


def test_names_in_a_zip_are_no_paths(tmp_path):
  names = {"../../outside.de": "ein Hund\n", "/outside.en": "a dog\n"}
  (tmp_path / "in").mkdir()
  assert rows("moses", paths=zipped(tmp_path / "in" / "x.zip", names)) == DE[:1]
  assert sorted(path.name for path in tmp_path.rglob("*")) == ["in", "x.zip"]


def encrypted(path):
  """Marks the members of a zip as having a password."""
  data = bytearray(path.read_bytes())
  for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
    data[data.index(magic) + offset] |= 1
  path.write_bytes(bytes(data))


def test_a_zip_with_a_password(tmp_path):
  path = tmp_path / "de-en.tsv.zip"
  zipped(path, {"a.tsv": TEXT})
  encrypted(path)
  with pytest.raises(UserError, match=r"cannot read .*password"):
    rows("tsv", paths=str(path))


def peak_of_reading(path):
  """By how many bytes the memory of a process grows that reads a file's lines."""
  code = (
    "import sys, resource, pyarrow; from etils import epath; from dap_jax.data.texts import"
    " text_files\npeak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
    "before = peak()\nfor _ in text_files.lines(epath.Path(sys.argv[1])): pass\n"
    "print(peak() - before)"
  )
  command = [sys.executable, "-c", code, str(path)]
  done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
  return int(done.stdout) << 10


@pytest.mark.parametrize("kind", [*COMPRESS, "zip"])
@pytest.mark.parametrize("line", [b"a" * (1 << 20), b"ein Hund " * 99 + b"\ta dog\n"])
def test_a_bomb_costs_no_memory(tmp_path, kind, line):
  """200 MB: one line, which is refused, or short ones, which are read."""
  size = (20 if kind == "bz2" else 200) << 20  # bz2 takes a minute to write more
  data = line * (size // len(line))
  path = epath.Path(tmp_path / f"x.{kind}")
  if kind == "zip":
    zipped(path, {"x.txt": data})
  else:
    path.write_bytes(COMPRESS[kind](data))
  del data
  started = time.process_time()
  if line.endswith(b"\n"):
    assert peak_of_reading(path) < 64 << 20
  else:
    with pytest.raises(UserError, match="is no sentence"):
      next(text_files.lines(path))
    assert time.process_time() - started < 2


def test_xz_that_asks_for_much_memory(tmp_path):
  filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30}]
  path = tmp_path / "de-en.tsv.xz"
  path.write_bytes(lzma.compress(TEXT, filters=filters))
  with pytest.raises(UserError, match="limit exceeded: compress it anew, with `xz -9`"):
    rows("tsv", paths=str(path))


MAIN = b"http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def workbook_with(path, name, data):
  """A workbook of one sheet; one of its parts is `data` instead."""
  import openpyxl

  book = openpyxl.Workbook()
  for line in (["de", "en"], ["ein Hund", "a dog"]):
    book.active.append(line)
  book.save(path)
  with zipfile.ZipFile(path) as archive:
    parts = {part: archive.read(part) for part in archive.namelist()}
  return zipped(path, parts | {name: data})


@pytest.mark.parametrize(
  ("part", "data", "message"),
  [
    ("xl/sharedStrings.xml", bytes(200 << 20), "xml' unpacks to 209,715,200 bytes: a zip bomb"),
    ("xl/worksheets/sheet1.xml", b"<a>" * (50 << 20), "a zip bomb"),
    (
      "xl/worksheets/sheet1.xml",
      b'<worksheet xmlns="%s"><sheetData><row r="1"><c t="str"><v>de</v></c>'
      b'<c t="str"><v>en</v></c></row><row r="999999999999999"><c/></row></sheetData></worksheet>'
      % MAIN,
      "over 1,048,576 rows",
    ),
    (
      "xl/worksheets/sheet1.xml",
      b'<!DOCTYPE a [<!ENTITY a "%s">]><worksheet>%s</worksheet>' % (b"x" * 9999, b"&a;" * 99999),
      "cannot read .* as an Excel workbook",
    ),
  ],
)
def test_bombs_in_workbooks(tmp_path, part, data, message):
  path = workbook_with(tmp_path / "de-en.xlsx", part, data)
  started = time.process_time()
  with pytest.raises(UserError, match=message):
    rows("xlsx", paths=path)
  assert time.process_time() - started < 10
