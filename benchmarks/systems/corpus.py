"""The texts of the comparison of systems: Bible verses, everyday sentences, and health texts.

    python -m benchmarks.systems.corpus --data=../shared/data --output=runs/systems

Reads DATA/bible/LANG.tsv.gz and DATA/tico19/LANG.tsv.gz (`KEY<TAB>text`) and
DATA/tatoeba_challenge/eng-XXX.tsv.gz (`english<TAB>text<TAB>flag`). Writes, to train on,
OUTPUT/corpus/LANG-en.tsv, which the `tsv` reader takes: short verses, each in every language that
has it, so that there are multi-way rows, and everyday sentences. Writes, for MEXA,
OUTPUT/mexa/LANG.txt: one health text a line; and copies of the 36 languages of DATA/tatoeba_v1 to
OUTPUT/tatoeba. Which verses and sentences are taken is decided by a hash of their English text, so
every run takes the same. --verses, --sentences and --rows make it smaller.
"""

from __future__ import annotations

import pathlib
import shutil

from absl import app, flags

from benchmarks import measuring
from benchmarks.texts import hash_of, read_columns, write_lines
from dap_jax.evals.tatoeba import SETS

DATA = flags.DEFINE_string("data", None, "The folder of bible/, tico19/, tatoeba_*/.")
OUTPUT = flags.DEFINE_string("output", None, "Where the files go.")
VERSES = flags.DEFINE_integer("verses", 4000, "Verses, the same in every language.")
WORDS = flags.DEFINE_integer("words", 18, "English words of a verse at most.")
ROWS = flags.DEFINE_integer("rows", 300, "Health texts, the same in every language.")
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
HEALTH = ("en", "ar", "bn", "es-LA", "fa", "fr", "hi", "id", "mr", "ru", "sw", "ta", "tl", "zh")


def training_pairs(data: pathlib.Path) -> dict[str, list[tuple[str, str]]]:
  """Language -> (text, English)."""
  english = dict(read_columns(data / "bible" / "en.tsv.gz"))
  short = [key for key, text in english.items() if len(text.split()) <= WORDS.value]
  verses = sorted(short, key=lambda key: hash_of(english[key]))[: VERSES.value]
  pairs = {}
  for code, other in LANGUAGES.items():
    bible = dict(read_columns(data / "bible" / f"{code}.tsv.gz"))
    pairs[code] = [(bible[key], english[key]) for key in verses if key in bible]
    everyday = read_columns(data / "tatoeba_challenge" / f"eng-{other}.tsv.gz")
    everyday = sorted(everyday, key=lambda columns: hash_of(columns[0]))[: SENTENCES.value]
    pairs[code] += [(columns[1], columns[0]) for columns in everyday]
  return pairs


def main(_) -> None:
  data, output = pathlib.Path(DATA.value), pathlib.Path(OUTPUT.value)
  pairs = training_pairs(data)
  measuring.print_header("language", "pairs")
  for code, of_language in pairs.items():
    write_lines(output / "corpus" / f"{code}-en.tsv", ["\t".join(pair) for pair in of_language])
    measuring.print_row(code, len(of_language))
  health = {code: dict(read_columns(data / "tico19" / f"{code}.tsv.gz")) for code in HEALTH}
  rows = sorted(health["en"], key=lambda key: hash_of(health["en"][key]))[: ROWS.value]
  for code, texts in health.items():
    write_lines(output / "mexa" / f"{code}.txt", [texts[key] for key in rows])
  (output / "tatoeba").mkdir(exist_ok=True)
  for code in SETS["36"]:
    for path in (data / "tatoeba_v1").glob(f"tatoeba.{code}-eng.*"):
      shutil.copy(path, output / "tatoeba")
  measuring.print_row("all", sum(map(len, pairs.values())))


if __name__ == "__main__":
  flags.mark_flags_as_required(["data", "output"])
  app.run(main)
