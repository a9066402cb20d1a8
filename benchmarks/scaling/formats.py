"""How much memory a reader needs for a file of gigabytes, format by format.

    python -m benchmarks.scaling.formats --folder=runs/formats [--gigabytes=2] [tmx xliff ...]

Writes one file of a format at a time, of sentences that differ by a number, reads all its rows in a
process of its own as `prepare` does, and removes it. Memory is what the process holds at its peak
above what it held before it opened the file.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import resource
import sys
import time
from collections.abc import Callable, Iterator

from benchmarks import measuring

Pair = tuple[str, str]
BLOCK = 20_000  # pairs that are written at a time


def pairs(first: int, count: int) -> Iterator[Pair]:
  """German and English, no two alike."""
  for number in range(first, first + count):
    yield (
      f"Der Bericht Nummer {number} wurde gestern im Ausschuss ohne Gegenstimmen angenommen.",
      f"Report number {number} was adopted yesterday in the committee without votes against.",
    )


TMX = """<?xml version="1.0" encoding="UTF-8"?>
<tmx version="1.4"><header creationtool="x" creationtoolversion="1" segtype="sentence" o-tmf="x"
adminlang="en" srclang="de" datatype="plaintext"/><body>
"""
XLIFF = """<?xml version="1.0" encoding="UTF-8"?>
<xliff version="1.2" xmlns="urn:oasis:names:tc:xliff:document:1.2">
<file original="x" source-language="de" target-language="en" datatype="plaintext"><body>
"""
UNIT = '<trans-unit id="{2}"><source>{0}</source><target state="final">{1}</target></trans-unit>\n'
# Format -> the beginning of a file, what a pair becomes in it ({0} German, {1} English, {2} its
# number), and its end.
TEXTS = {
  "tsv": ("", "{0}\t{1}\n", ""),
  "csv": ("de,en\n", '"{0}","{1}"\n', ""),
  "jsonl": ("", '{{"translation": {{"de": "{0}", "en": "{1}"}}}}\n', ""),
  "tmx": (
    TMX,
    '<tu><tuv xml:lang="de"><seg>{0}</seg></tuv><tuv xml:lang="en"><seg>{1}</seg></tuv></tu>\n',
    "</body></tmx>\n",
  ),
  "xliff": (XLIFF, UNIT, "</body></file></xliff>\n"),
}


def write_text(kind: str, path: pathlib.Path, size: int) -> None:
  """A file of one of `TEXTS`, of at least so many bytes."""
  head, form, tail = TEXTS[kind]
  with path.open("w", encoding="utf-8") as file:
    file.write(head)
    first = 0
    while file.tell() < size:
      block = enumerate(pairs(first, BLOCK), first)
      file.write("".join(form.format(*pair, number) for number, pair in block))
      first += BLOCK
    file.write(tail)


def write_moses(path: pathlib.Path, size: int) -> None:
  """Two aligned files."""
  with path.with_suffix(".de").open("w") as german, path.with_suffix(".en").open("w") as english:
    first = 0
    while german.tell() + english.tell() < size:
      for de, en in pairs(first, BLOCK):
        german.write(f"{de}\n")
        english.write(f"{en}\n")
      first += BLOCK


def write_parquet(path: pathlib.Path, size: int) -> None:
  """Row groups of 20,000 pairs, not compressed."""
  import pyarrow as pa
  import pyarrow.parquet as pq

  schema, first = pa.schema([("de", pa.string()), ("en", pa.string())]), 0
  with pq.ParquetWriter(path, schema, compression="none") as writer:
    while path.stat().st_size < size:
      columns = zip(*pairs(first, BLOCK), strict=True)
      writer.write_table(pa.table([pa.array(column) for column in columns], schema=schema))
      first += BLOCK


# Format -> what writes it, how its files are called, and the arguments of its reader.
FORMATS: dict[str, tuple[Callable[[pathlib.Path, int], None], str, str]] = {
  **{
    kind: (lambda path, size, kind=kind: write_text(kind, path, size), f"x.de-en.{kind}", "paths")
    for kind in TEXTS
  },
  "moses": (write_moses, "x.moses", "prefixes"),
  "parquet": (write_parquet, "x.de-en.parquet", "paths"),
}


def read(kind: str, path: pathlib.Path) -> None:
  """Reads all rows, and prints what it took as JSON: the work of a process of its own."""
  from dap_jax.data.readers import formats

  arguments: dict[str, object] = {FORMATS[kind][2]: (str(path),)}
  if kind == "moses":
    arguments = {"prefixes": (str(path.with_suffix("")),), "languages": ("de",)}
  before, clock, rows = peak(), time.perf_counter(), 0
  for row in formats.read_rows(kind, pivot="en", **arguments):
    rows += 1
    assert len(row) >= 2, row
  result = {"rows": rows, "seconds": time.perf_counter() - clock, "bytes": peak() - before}
  print(json.dumps(result))


def peak() -> int:
  """Bytes that this process has held at most."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
  parser = argparse.ArgumentParser(description="Memory of the readers.")
  parser.add_argument("formats", nargs="*", help=f"of {sorted(FORMATS)}; all without")
  parser.add_argument("--folder", type=pathlib.Path, required=True, help="for the files")
  parser.add_argument("--gigabytes", type=float, default=2.0)
  parser.add_argument("--read", default="", help="reads the file of this format, and no more")
  flags = parser.parse_args()
  if flags.read:
    read(flags.read, flags.folder / FORMATS[flags.read][1])
    return
  print(f"{measuring.processor()}, Python {sys.version.split()[0]}")
  measuring.print_header("format", "GB", "rows", "seconds", "MB above the start")
  flags.folder.mkdir(parents=True, exist_ok=True)
  for kind in flags.formats or FORMATS:
    write, name, _ = FORMATS[kind]
    write(flags.folder / name, int(flags.gigabytes * 1e9))
    size = sum(path.stat().st_size for path in flags.folder.iterdir())
    arguments = ("--read", kind, "--folder", str(flags.folder))
    done = measuring.run_python("-m", "benchmarks.scaling.formats", *arguments)
    result = json.loads(done.output.splitlines()[-1])
    cells = f"{result['rows']:,}", f"{result['seconds']:.0f}", f"{result['bytes'] / 2**20:.0f}"
    measuring.print_row(kind, f"{size / 1e9:.1f}", *cells)
    for path in flags.folder.iterdir():
      path.unlink()


if __name__ == "__main__":
  main()
