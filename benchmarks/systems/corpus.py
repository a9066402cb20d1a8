"""The training corpus of the comparison of systems: short Bible verses and everyday sentences.

    python benchmarks/systems_corpus.py --data=../shared/data --output=runs/systems/corpus

Reads DATA/bible/LANG.tsv.gz (`VERSE<TAB>text`) and DATA/tatoeba_challenge/eng-XXX.tsv.gz
(`english<TAB>text<TAB>flag`); writes OUTPUT/LANG-en.tsv, which the `tsv` reader takes. A verse is
there in every language that has it, so the rows are multi-way parallel. Which verses and sentences
are taken is decided by a hash of their English text, so every run takes the same.
"""

from __future__ import annotations

import gzip
import hashlib
import pathlib
from collections import defaultdict

from absl import app, flags

DATA = flags.DEFINE_string("data", None, "The folder with bible/ and tatoeba_challenge/.")
OUTPUT = flags.DEFINE_string("output", None, "Where the files go.")
VERSES = flags.DEFINE_integer("verses", 4000, "Verses, the same in every language.")
WORDS = flags.DEFINE_integer("words", 18, "English words of a verse at most.")
SENTENCES = flags.DEFINE_integer("sentences", 4000, "Everyday sentences of a language at most.")

# DAP's 36 languages that one of the two sources has, and Romanian, which has gold word alignments:
# the Bible's code -> tatoeba_challenge's.
LANGUAGES = dict(
  pair.split(":")
  for pair in (  # noqa: SIM905 - as a list of strings it would not be read
    "af:afr ar:ara bg:bul bn:ben de:deu el:ell es:spa et:est eu:eus fa:fas fi:fin fr:fra he:heb"
    " hi:hin hu:hun id:ind it:ita ja:jpn ka:kat ko:kor mr:mar nl:nld pt:por ro:ron ru:rus sw:swa"
    " ta:tam te:tel th:tha tl:tgl tr:tur ur:urd vi:vie zh:zho"
  ).split()
)


def lines(path: pathlib.Path) -> list[list[str]]:
  """The columns of a file's lines; an absent file has none."""
  if not path.exists():
    return []
  with gzip.open(path, "rt", encoding="utf-8") as file:
    return [line.rstrip("\n").split("\t") for line in file]


def order(text: str) -> bytes:
  """A fixed order without meaning."""
  return hashlib.blake2b(text.encode(), digest_size=8).digest()


def main(_) -> None:
  data, output = pathlib.Path(DATA.value), pathlib.Path(OUTPUT.value)
  english = dict(lines(data / "bible" / "en.tsv.gz"))
  short = [key for key, text in english.items() if len(text.split()) <= WORDS.value]
  verses = sorted(short, key=lambda key: order(english[key]))[: VERSES.value]
  pairs = defaultdict(list)
  for code, other in LANGUAGES.items():
    bible = dict(lines(data / "bible" / f"{code}.tsv.gz"))
    pairs[code] += [(bible[key], english[key]) for key in verses if key in bible]
    everyday = lines(data / "tatoeba_challenge" / f"eng-{other}.tsv.gz")
    everyday = sorted(everyday, key=lambda columns: order(columns[0]))[: SENTENCES.value]
    pairs[code] += [(columns[1], columns[0]) for columns in everyday]
  output.mkdir(parents=True, exist_ok=True)
  for code, own in pairs.items():
    text = "".join(f"{translation}\t{pivot}\n" for translation, pivot in own)
    (output / f"{code}-en.tsv").write_text(text, encoding="utf-8")
  print(f"{sum(map(len, pairs.values())):,} pairs in {len(pairs)} languages")


if __name__ == "__main__":
  flags.mark_flags_as_required(["data", "output"])
  app.run(main)
