"""A corpus of any size for `measure.py`: the pairs of DATA, and copies that differ by a number.

    python -m benchmarks.scaling.corpus --data=../shared/data --output=runs/pairs --pairs=20000000

Reads DATA/bible/LANG.tsv.gz (`KEY<TAB>text`) and DATA/tatoeba_challenge/eng-XXX.tsv.gz
(`english<TAB>text<TAB>flag`), 1.4 million pairs. Writes OUTPUT/LANG-en.tsv. Copy c of a pair has
` c` behind both texts, so it is no duplicate of another.
"""

from __future__ import annotations

import argparse
import itertools
import pathlib
from collections.abc import Iterator

from benchmarks import measuring
from benchmarks.texts import read_columns
from dap_jax.data.texts.dictionaries import base_language


def pairs_of(data: pathlib.Path) -> dict[str, list[str]]:
  """Language -> the lines `text<TAB>english`."""
  english = dict(read_columns(data / "bible" / "en.tsv.gz"))
  lines: dict[str, list[str]] = {}
  for path in sorted((data / "bible").glob("*.tsv.gz")):
    if (code := path.name.split(".")[0]) != "en":
      verses = (f"{text}\t{english[key]}" for key, text in read_columns(path) if key in english)
      lines[code] = list(verses)
  for path in sorted((data / "tatoeba_challenge").glob("eng-*.tsv.gz")):
    everyday = (f"{columns[1]}\t{columns[0]}" for columns in read_columns(path))
    lines.setdefault(base_language(path.name[4:7]), []).extend(everyday)
  return lines


def copies(lines: list[str], count: int) -> Iterator[str]:
  """`count` lines: all of them, then all with 1 behind both texts, with 2, ..."""
  numbered = itertools.chain(
    (f"{line}\n" for line in lines),
    (
      "\t".join(f"{text} {copy}" for text in line.split("\t")) + "\n"
      for copy in itertools.count(1)
      for line in lines
    ),
  )
  return itertools.islice(numbered, count)


def main() -> None:
  parser = argparse.ArgumentParser(description="Writes a corpus of any size.")
  parser.add_argument("--data", type=pathlib.Path, required=True, help="folder of bible/, ...")
  parser.add_argument("--output", type=pathlib.Path, required=True, help="where the files go")
  parser.add_argument("--pairs", type=int, default=0, help="how many; 0 = all, once")
  flags = parser.parse_args()
  lines = pairs_of(flags.data)
  total = sum(map(len, lines.values()))
  flags.output.mkdir(parents=True, exist_ok=True)
  measuring.print_header("language", "pairs")
  for code, of_language in lines.items():
    count = round(len(of_language) * flags.pairs / total) if flags.pairs else len(of_language)
    with (flags.output / f"{code}-en.tsv").open("w", encoding="utf-8") as file:
      file.writelines(copies(of_language, count))
    measuring.print_row(code, count)


if __name__ == "__main__":
  main()
