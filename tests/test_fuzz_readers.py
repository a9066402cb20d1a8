"""Readers of users' files on damaged copies: rows or one line, never anything else."""

import gzip
import json
import struct

import pytest
from etils import epath

from dap_jax.data.cleaning.filters import rules
from dap_jax.data.readers import formats, gettext_catalogues
from dap_jax.data.texts import labelled_texts, question_answers, tagged_sentences
from dap_jax.data.texts.dictionaries import Lexicon
from dap_jax.evals import bucc, sts, tatoeba, word_alignment
from dap_jax.mining import inputs
from tests.fuzzing import damaged, damaged_json, fuzz
from tests.staged import clean_rows

LINES = [f"Haus {n} कि\thouse {n} of the town\t0.{n}\n" for n in range(12)]
TSV = "".join(LINES)
PLAIN = "".join(f"the <b>house</b> %s: {n} ... ปู\n" for n in range(12))
KEYED = "".join(f"k{n}\tthe house {n}\n" for n in range(12))
LABELLED = "split\tlabel\ttext\n" + "".join(
  f"{split}\t{'ab'[n % 2]}\ttext {n}\n" for split in ("train", "dev", "test") for n in range(4)
)
SCORES = "".join(f"{n}.5\tthe house {n}\ta house {n}\n" for n in range(6))
WORDS = "".join(f"das Haus {n} ||| the house {n}\n" for n in range(6))
GOLD = "1-1 2p2 3-3\n" * 6
BLANKS = "\t_" * 5
TREEBANK = "".join(
  f"# sent_id = {n}\n1-2\tdel{BLANKS}\t_\t_\t_\n1\tde\t_\tADP\t_\t_\t{n % 2 + 2}\tcase\t2:case\t_\n"
  f"2\tel\t_\tDET\t_\t_\t3\tdet\t_\t_\n3\tmar\t_\tNOUN\t_\t_\t0\troot\t0:root\t_\n"
  f"3.1\tva\t_\tVERB\t_\t_\t_\t_\t0:root\t_\n\n"
  for n in range(6)
)
ENTITIES = "".join(
  f"# sent_id = {n}\n1\tAnna\tB-PER\t-\t-\n2\tSo\tI-PER\t-\t-\n3\tsings\tO\t-\t-\n\n"
  for n in range(6)
)
ANSWER = {"text": "red", "answer_start": 4}
QUESTIONS = json.dumps(
  {
    "data": [
      {
        "paragraphs": [
          {
            "context": f"the red house {n}",
            "qas": [{"id": str(n), "question": "who?", "answers": [ANSWER]}],
          }
        ]
      }
      for n in range(6)
    ]
  }
)
WIKIANN = "".join(f"en:Anna{n}\tB-PER\nen:So\tI-PER\nen::\tO\n\n" for n in range(6))


def rows(format, **arguments):
  """Reads and cleans, as `train` does."""
  return clean_rows(
    formats.read_rows(format, pivot="en", **arguments), rules=tuple(rules.RULES), markup=True
  )


def tagged(folder):
  """Reads a folder of tagged sentences."""
  return tagged_sentences.read_tagged_sentences(str(folder), train_language="en")


def asked(folder):
  """Reads a folder of questions."""
  return question_answers.read_question_answers(str(folder), train_language="en")


def lexicon(folder):
  """Reads a folder of dictionaries."""
  words = Lexicon(pivot="en")
  words.add_path(str(folder))
  return words


def catalogue(messages):
  """The bytes of a .mo file: header, two tables of (length, offset), texts that end in NUL."""
  pairs = sorted((a.encode(), b.encode()) for a, b in messages.items())
  start, texts, tables = 28 + 16 * len(pairs), b"", []
  for side in range(2):
    for pair in pairs:
      tables.append(struct.pack("<II", len(pair[side]), start + len(texts)))
      texts += pair[side] + b"\0"
  head = struct.pack("<7I", 0x950412DE, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, 28)
  return head + b"".join(tables) + texts


HEADER = "Content-Type: text/plain; charset=UTF-8\nPlural-Forms: nplurals=2; plural=n!=1;\n"
MESSAGES = {f"the house {n}": f"das Haus {n}" for n in range(6)}
MO = catalogue({"": HEADER, "a page\0%d pages": "Seite\0Seiten", **MESSAGES})

# name -> (the damaged file, other files beside it, what reads the folder, the file's contents)
READERS = {
  "tsv": ("de-en.tsv", {}, lambda d: rows("tsv", paths=f"{d}/de-en.tsv", negatives=1), TSV),
  "tsv.gz": ("de-en.tsv.gz", {}, lambda d: rows("tsv", paths=str(d)), TSV),
  "moses": (
    *("c.en", {"c.de": PLAIN}),
    *(lambda d: rows("moses", prefixes=f"{d}/c", languages="de"), PLAIN),
  ),
  "multiway": ("de.txt", {"en.txt": PLAIN}, lambda d: rows("multiway", folder=str(d)), PLAIN),
  "keyed": ("de.tsv", {"en.tsv": KEYED}, lambda d: rows("multiway", folder=str(d)), KEYED),
  "labelled": (
    *("eng_Latn.tsv", {"deu_Latn.tsv": LABELLED}),
    lambda d: labelled_texts.read_labelled_texts(str(d), train_language="eng_Latn"),
    LABELLED,
  ),
  "treebank": ("en_x-ud-test.conllu", {"en-train.conllu": TREEBANK}, tagged, TREEBANK),
  "entities": ("en_x-ud-test.iob2", {"en_x-ud-train.iob2": ENTITIES}, tagged, ENTITIES),
  "wikiann": ("en-test.tsv", {"en-train.tsv": WIKIANN}, tagged, WIKIANN),
  "questions": ("en-test.json", {"en-train.json": QUESTIONS}, asked, QUESTIONS),
  "sts": ("en.tsv", {}, sts.read_tracks, SCORES),
  "alignment": (
    *("x.src-tgt", {"x.gold": GOLD}),
    *(lambda d: word_alignment.read_alignments(d, first_index=1), WORDS),
  ),
  "gold": (
    *("x.gold", {"x.src-tgt": WORDS}),
    *(lambda d: word_alignment.read_alignments(d, first_index=1), GOLD),
  ),
  "tatoeba": ("tatoeba.deu-eng.deu", {"tatoeba.deu-eng.eng": PLAIN}, tatoeba.read_pairs, PLAIN),
  "bucc": (
    *("de-en.training.de", {"de-en.training.en": KEYED, "de-en.training.gold": "k1\tk1\n"}),
    *(bucc.read_corpora, KEYED),
  ),
  "dictionary": ("en-de.txt", {}, lexicon, "house Haus\npage\tSeite\n" * 4),
  "keyed dictionary": ("de.tsv", {"en.tsv": KEYED}, lexicon, KEYED),
  "catalogue": ("de.mo", {}, lambda d: list(gettext_catalogues.messages(d / "de.mo")), MO),
  "mine": ("a.txt", {}, lambda d: inputs.scan(str(d / "a.txt")), PLAIN),
}


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_rows_or_one_line(tmp_path, name):
  file, others, read_folder, original = READERS[name]
  for other, text in others.items():
    (tmp_path / other).write_text(text)
  folder = epath.Path(tmp_path)

  def read(data):
    (tmp_path / file).write_bytes(data)
    return read_folder(folder)

  read.__name__ = name
  data = original if isinstance(original, bytes) else original.encode()
  data = gzip.compress(data, mtime=0) if file.endswith(".gz") else data
  read(data)  # whole, it is read
  fuzz(read, data, count=100, mutate=damaged_json if file.endswith(".json") else damaged)
