"""The texts of the token alignment experiment: to train on, and a mining task in BUCC's form.

    python -m benchmarks.token_alignment.corpus --data=../shared/data --output=runs/alignment

Reads DATA/bible/LANG.tsv.gz (`KEY<TAB>text`) and DATA/tatoeba_challenge/eng-XXX.tsv.gz
(`english<TAB>text<TAB>flag`). Writes OUTPUT/corpus/LANG-en.tsv, which the `tsv` reader takes, with
the English sentence changed by rules in column 3, a hard negative; and
OUTPUT/bucc/LANG-en.{training,test}.{LANG,en,gold}: on both sides --lines lines, of which --gold are
translations of each other. The other lines have no translation on the other side; they are the same
in both splits. Which texts are taken is decided by a hash of the English one, so every run takes
the same. OUTPUT/gold/ has the gold lines alone, which `config.py` keeps from training. The other
lines may be trained on; without them few pairs of Chinese and French would be left. OUTPUT/tatoeba/
has copies of the eight languages of DATA/tatoeba_v1.
"""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Sequence

from absl import app, flags

from benchmarks import measuring
from benchmarks.texts import hash_of, read_columns, write_lines
from dap_jax.data.texts import altered_sentences

DATA = flags.DEFINE_string("data", None, "The folder of bible/ and tatoeba_challenge/.")
OUTPUT = flags.DEFINE_string("output", None, "Where the files go.")
WORDS = flags.DEFINE_integer("words", 24, "English words of a verse to train on at most.")
GOLD = flags.DEFINE_integer("gold", 2000, "Parallel lines of a split of the mining task.")
LINES = flags.DEFINE_integer("lines", 20_000, "Lines of a side of the mining task.")

# The languages with gold word alignments (fr hi ja ro zh), BUCC's (de fr ru zh), and Spanish: the
# Bible's code -> tatoeba_challenge's.
LANGUAGES = {
  "de": "deu",
  "es": "spa",
  "fr": "fra",
  "hi": "hin",
  "ja": "jpn",
  "ro": "ron",
  "ru": "rus",
  "zh": "zho",
}
TATOEBA = {"zho": "cmn"}  # codes of tatoeba_v1 that are not tatoeba_challenge's
MINED = ("de", "fr", "ru", "zh")
Pair = tuple[str, str]  # text, English


def sorted_verses(data: pathlib.Path) -> tuple[list[str], dict[str, str]]:
  """Keys of verses that the mined languages all have, in a fixed order; and the English texts."""
  english = dict(read_columns(data / "bible" / "en.tsv.gz"))
  keys = set(english)
  for code in MINED:
    keys &= {key for key, _ in read_columns(data / "bible" / f"{code}.tsv.gz")}
  return sorted(keys, key=lambda key: hash_of(english[key])), english


def write_mining_task(
  code: str, gold: Sequence[Pair], verses: Sequence[Pair], everyday: Sequence[Pair]
) -> int:
  """Writes both splits of a language; returns how many lines a side has."""
  folder, gold_of = pathlib.Path(OUTPUT.value) / "bucc", {}
  gold_of["training"], gold_of["test"] = gold[: GOLD.value], gold[GOLD.value :]
  others = sides_without_translation(verses, everyday, LINES.value - GOLD.value)
  for split, pairs in gold_of.items():
    for side, language in enumerate((code, "en")):
      rows = [pair[side] for pair in pairs] + others[side]
      ordered = sorted(enumerate(rows), key=lambda row: hash_of(row[1]))
      name = f"{code}-en.{split}.{language}"
      write_lines(folder / name, (f"{language}-{number:06}\t{text}" for number, text in ordered))
    rows = (f"{code}-{number:06}\ten-{number:06}" for number in range(len(pairs)))
    write_lines(folder / f"{code}-en.{split}.gold", rows)
  return GOLD.value + min(map(len, others))


def sides_without_translation(
  verses: Sequence[Pair], everyday: Sequence[Pair], count: int
) -> list[list[str]]:
  """At most `count` texts for each side; of a pair one text alone: verses first."""
  pairs = [*verses, *everyday]
  halves = [pairs[0::2], pairs[1::2]]
  return [[pair[side] for pair in half[:count]] for side, half in enumerate(halves)]


def with_negative(pair: Pair, names: altered_sentences.Names) -> str:
  """A line to train on: the pair, and its English changed, or nothing where no rule applies."""
  changed = altered_sentences.alter(pair[1], names, most=1)
  return "\t".join([*pair, *(altered.text for altered in changed)])


def copy_tatoeba(source: pathlib.Path, code: str, target: pathlib.Path) -> None:
  """Copies a language's two files of the benchmark."""
  target.mkdir(parents=True, exist_ok=True)
  for path in source.glob(f"tatoeba.{code}-eng.*"):
    shutil.copy(path, target)


def main(_) -> None:
  data, output = pathlib.Path(DATA.value), pathlib.Path(OUTPUT.value)
  keys, english = sorted_verses(data)
  held_out = keys[: 2 * GOLD.value]
  names = altered_sentences.names_of(english.values())
  measuring.print_header("language", "pairs to train on", "lines of the mining task")
  for code, other in LANGUAGES.items():
    bible = dict(read_columns(data / "bible" / f"{code}.tsv.gz"))
    everyday = [
      (columns[1], columns[0])
      for columns in read_columns(data / "tatoeba_challenge" / f"eng-{other}.tsv.gz")
    ]
    verses = [(bible[key], english[key]) for key in keys[2 * GOLD.value :] if key in bible]
    short = [pair for pair in verses if len(pair[1].split()) <= WORDS.value]
    rows = [with_negative(pair, names) for pair in short + everyday]
    write_lines(output / "corpus" / f"{code}-en.tsv", rows)
    lines = "-"
    if code in MINED:
      gold = [(bible[key], english[key]) for key in held_out]
      write_lines(output / "gold" / f"{code}-en.tsv", ("\t".join(pair) for pair in gold))
      lines = write_mining_task(code, gold, verses, everyday)
    copy_tatoeba(data / "tatoeba_v1", TATOEBA.get(other, other), output / "tatoeba")
    measuring.print_row(code, len(rows), lines)


if __name__ == "__main__":
  flags.mark_flags_as_required(["data", "output"])
  app.run(main)
