"""Readers of tables and archives on damaged copies: rows or one line, never anything else."""

import bz2
import csv
import gzip
import io
import json
import lzma
import zipfile

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dap_jax.data.readers import formats
from tests.fuzzing import damaged_lines, fuzz
from tests.test_fuzz_readers import rows

PAIRS = [(f"Haus {n} कि", f"house {n},\tof the\ntown") for n in range(12)]
TSV = "".join(f"Haus {n} कि\thouse {n} of the town\n" for n in range(12)).encode()


OFFICE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def csv_bytes(**dialect):
  file = io.StringIO()
  csv.writer(file, **dialect).writerows([("de", "en"), *PAIRS])
  return file.getvalue().encode()


def zip_bytes(members):
  file = io.BytesIO()
  with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
    for name, data in members.items():
      archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
  return file.getvalue()


def json_lines(objects):
  return "\n".join(json.dumps(each) for each in objects).encode()


def parquet_bytes(columns, **options):
  file = io.BytesIO()
  pq.write_table(pa.table(columns), file, **options)
  return file.getvalue()


def workbook_bytes():
  file, book = io.BytesIO(), openpyxl.Workbook()
  for line in [("de", "en"), *PAIRS]:
    book.active.append(line)
  book.save(file)
  return file.getvalue()


def workbook_parts():
  """A workbook whose texts are shared, as Excel writes."""
  with zipfile.ZipFile(io.BytesIO(workbook_bytes())) as archive:
    parts = {name: archive.read(name) for name in archive.namelist()}
  kind = f"{OFFICE}.sharedStrings+xml"
  parts["[Content_Types].xml"] = parts["[Content_Types].xml"].replace(
    b"</Types>",
    f'<Override PartName="/xl/sharedStrings.xml" ContentType="{kind}"/></Types>'.encode(),
  )
  shared = "".join(f"<si><t>{text}</t></si>" for text in ("de", "en", "ein Hund", "a dog"))
  parts["xl/sharedStrings.xml"] = f'<sst xmlns="{MAIN}">{shared}</sst>'.encode()
  cells = '<row r="1"><c t="s"><v>0</v></c><c t="s"><v>1</v></c></row>'
  cells += '<row r="2"><c t="s"><v>2</v></c><c r="B2" t="s"><v>3</v></c></row>'
  sheet = f'<worksheet xmlns="{MAIN}"><sheetData>{cells}</sheetData></worksheet>'
  return parts | {"xl/worksheets/sheet1.xml": sheet.encode()}


TEXTS = [{"de": de, "en": en} for de, en in PAIRS]
SPELLED = [
  {"src_lang": "deu_Latn", "src_text": de, "tgt_lang": "eng_Latn", "tgt_text": en}
  for de, en in PAIRS
]
OPUS = {"a.de": "ein Haus\n" * 9, "a.en": "a house\n" * 9, "README": "x"}
HEAD = b"---\nconfigs:\n- config_name: a\n  data_files:\n  - split: train\n"
HEAD += b"    path: [x.*, '**/y.csv']\n---\n"

# name -> (the file, its format, its bytes[, how it is damaged])
FILES = {
  "header": (
    "x.tsv",
    "tsv",
    b"id\tde\ten\n" + b"\n".join(b"7\t" + line for line in TSV.splitlines()),
  ),
  "csv": ("x.csv", "csv", csv_bytes()),
  "semicolons": ("x.csv", "csv", csv_bytes(delimiter=";", quoting=csv.QUOTE_ALL)),
  "jsonl": ("x.jsonl", "jsonl", json_lines(TEXTS), damaged_lines),
  "translation": (
    *("x.jsonl", "jsonl", json_lines([{"translation": each} for each in TEXTS])),
    damaged_lines,
  ),
  "spelled": ("x.jsonl", "jsonl", json_lines(SPELLED), damaged_lines),
  "parquet": (
    *("x.parquet", "parquet"),
    parquet_bytes({"de": [de for de, _ in PAIRS], "en": [en for _, en in PAIRS]}),
  ),
  "parquet struct": (
    *("x.parquet", "parquet"),
    parquet_bytes({"translation": TEXTS, "id": list(range(12))}, compression="zstd"),
  ),
  "parquet plain": (
    *("x.parquet", "parquet"),
    parquet_bytes({"de": ["a"] * 9, "en": ["b"] * 9}, compression="none", use_dictionary=False),
  ),
  "xlsx": ("x.xlsx", "xlsx", workbook_bytes()),
  "tsv.gz": ("de-en.tsv", "tsv", gzip.compress(TSV, mtime=0)),
  "tsv.bz2": ("de-en.tsv.bz2", "tsv", bz2.compress(TSV)),
  "tsv.xz": ("de-en.tsv.xz", "tsv", lzma.compress(TSV)),
  "tsv.zst": ("de-en.tsv.zst", "tsv", pa.Codec("zstd").compress(TSV, asbytes=True)),
  "tsv.zip": ("de-en.tsv.zip", "tsv", zip_bytes({"a.tsv": TSV})),
  "moses.zip": ("x.zip", "moses", zip_bytes(OPUS)),
}


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_rows_or_one_line(tmp_path, name):
  file, format, original, *mutate = FILES[name]

  def read(data):
    (tmp_path / file).write_bytes(data)
    return rows(format, paths=str(tmp_path / file))

  read.__name__ = name
  read(original)
  assert list(formats.read_rows(format, pivot="en", paths=str(tmp_path)))  # whole, it is read
  fuzz(read, original, count=200, **({"mutate": mutate[0]} if mutate else {}))


def test_damaged_parts_of_a_workbook(tmp_path):
  """Damage inside the zip, which its checksums would hide."""
  parts = workbook_parts()
  (tmp_path / "x.xlsx").write_bytes(zip_bytes(parts))
  found = list(formats.read_rows("xlsx", pivot="en", paths=str(tmp_path)))
  assert found == [{"de": "ein Hund", "en": "a dog"}]
  for name in ("xl/worksheets/sheet1.xml", "xl/sharedStrings.xml", "xl/workbook.xml"):

    def read(data, name=name):
      (tmp_path / "x.xlsx").write_bytes(zip_bytes(parts | {name: data}))
      return rows("xlsx", paths=str(tmp_path / "x.xlsx"))

    read.__name__ = name
    fuzz(read, parts[name], count=100)


def test_a_damaged_readme(tmp_path):
  (tmp_path / "x.jsonl").write_bytes(json_lines(TEXTS))

  def read(data):
    (tmp_path / "README.md").write_bytes(data)
    return rows("hugging_face", name=str(tmp_path))

  read(HEAD)
  assert len(list(formats.read_rows("hugging_face", pivot="en", name=str(tmp_path)))) == 12
  fuzz(read, HEAD, count=200)


@pytest.mark.parametrize("format", ["tsv", "csv", "jsonl"])
@pytest.mark.parametrize("piece", [b"a", b"\0", b'"', b"[", b'{"a":', b"\t,;|", b"\r", b"1"])
def test_100_mb_of_one_thing(tmp_path, format, piece):
  def read(data):
    (tmp_path / f"de-en.{format}").write_bytes(data)
    return rows(format, paths=str(tmp_path / f"de-en.{format}"))

  data = piece * ((100 << 20) // len(piece))
  fuzz(read, b"", mutate=lambda _, rng: data, count=1)
  fuzz(read, b"", mutate=lambda _, rng: b"de\ten\n" + data, count=1)
