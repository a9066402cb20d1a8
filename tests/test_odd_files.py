"""Files that are odd but legal, or no text at all: read rightly, or refused in a line, in time."""

import gzip
import os
import random
import time

import pytest
from etils import epath

from dap_jax.data import tasks
from dap_jax.data.cleaning import clean
from dap_jax.data.cleaning.filters import interface_strings, rules
from dap_jax.data.readers import formats
from dap_jax.data.texts import text_files
from dap_jax.data.texts.normal_forms import key_of, normalise
from dap_jax.mining import inputs
from dap_jax.utils.errors import UserError
from tests.staged import read_pairs

LONG = 50_000


@pytest.mark.parametrize(
  "text",
  [
    *("." * LONG + "5", "…" * LONG + "x", "Introduction" + "." * 60 + "5", "-" * LONG + "%sx"),
    *(":" * LONG + "x", ":a" * LONG, ":a" * LONG + "`x`", "%" + "0" * LONG, "%s" * LONG + "x"),
    *("<a " * LONG, "<p>" * LONG + "%s", "`" * LONG, "` " * LONG, '"' * LONG, "&a" * LONG),
    *(", " * LONG + "x", ": %s" * LONG + "x", "(" * LONG + "%s", " ".join(map(str, range(LONG)))),
  ],
  ids=lambda text: f"{text[:6]}...{text[-4:]}",
)
def test_long_lines_take_no_time(text):
  """Each of these took minutes, or for ever, when a search could begin anywhere in a run."""
  started = time.process_time()
  cleaned = clean.strip_interface_markup(normalise(text))
  clean.mostly_placeholders(text)
  for rule in rules.RULES.values():
    rule(cleaned, cleaned + "y")
  for rule in rules.TEXT_RULES.values():
    rule(cleaned, "de")
  assert time.process_time() - started < 5


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    ("see :ref:`here`", "see here"),
    ("see:ref:`here`", "seehere"),
    ("a:b:c:`x`", "ax"),  # the role is all of ":b:c:"
    (":`x`", ":x"),  # no role: it has no letter
    ("Loading....", "Loading"),
    ("Wait….…", "Wait….".rstrip(" :：…,")),  # a single dot ends a sentence
    ("p. 5...6", "p. 5...6"),
    ("From - %s: %s.", "From."),
  ],
)
def test_markup_by_hand(text, expected):
  assert interface_strings.strip_interface_markup(text) == expected


@pytest.mark.parametrize(
  ("one", "other"),
  [
    ("की", "का"),  # Hindi: of, feminine and masculine, differ in a vowel sign
    ("มา", "มี"),  # Thai: come, have
    ("காலை", "கலை"),  # Tamil: morning, art
    ("पानी पीता", "पानी पीती"),
  ],
)
def test_vowel_signs_tell_sentences_apart(one, other):
  assert key_of(one) != key_of(other)


def test_equal_texts_are_equal_but_for_case_and_punctuation():
  assert key_of("Das Rezept, bitte!") == key_of("das rezept bitte")
  assert key_of("\u200b\ufeff …!?") == ""


def test_languages_of_any_code_have_a_task():
  names = tasks.task_names("bitext", ["zh-Hant", "de", "sr@latin", "pt_BR", "pt-BR"])
  assert list(names.values()) == ["de", "pt-BR", "pt_BR", "sr@latin", "zh-Hant"]
  assert list(names) == sorted(names) and len(names) == 5
  assert all(name.replace("_", "").isalnum() for name in names)


@pytest.mark.parametrize("code", ["de", "pt-BR", "zh_Hant", "sr@latin", "eng_Latn", "en-US"])
def test_language_codes(code):
  assert text_files.LANGUAGE.fullmatch(code)


@pytest.mark.parametrize("name", ["dev", "train", "dev-de", "en-train", "de-dev", "de_test", "Deu"])
def test_names_of_splits_are_no_languages(name):
  assert not text_files.LANGUAGE.fullmatch(name)


def read(tmp_path, name, content, **arguments):
  path = tmp_path / name
  path.write_bytes(content if isinstance(content, bytes) else content.encode())
  return list(formats.read_rows("tsv", pivot="en", paths=str(path), **arguments))


@pytest.mark.parametrize("name", ["en-de-train.tsv", "opus.en-de.dev.tsv", "en-de_test.tsv"])
def test_a_split_in_a_files_name(tmp_path, name):
  assert read(tmp_path, name, "a house\tein Haus\n") == [{"en": "a house", "de": "ein Haus"}]


def test_blank_lines_are_no_pairs(tmp_path):
  rows = read(tmp_path, "de-en.tsv", "ein Haus\ta house\n\n \t \neine Tür\ta door\n\n\n")
  assert [row["en"] for row in rows] == ["a house", "a door"]


PAIRS = [f"Satz Nummer {i}\tsentence number {i}" for i in range(12)]


@pytest.mark.parametrize(
  ("before", "column"), [("1.{}\t", 1), ("{}\t", 1), ("12:3{}\t", 1), ("-0.5e-{}\t", 1)]
)
def test_a_column_of_numbers_is_no_text(tmp_path, before, column):
  content = "".join(f"{before.format(i)}{pair}\n" for i, pair in enumerate(PAIRS, 10))
  with pytest.raises(UserError, match=f"column {column} holds numbers .*data.arguments.columns"):
    read(tmp_path, "de-en.tsv", content)
  rows = read(tmp_path, "de-en.tsv", content, columns=(2, 3))
  assert rows[0] == {"de": "Satz Nummer 0", "en": "sentence number 0"} and len(rows) == 12


def test_columns_with_hard_negatives(tmp_path):
  rows = read(
    tmp_path, "de-en.tsv", "7\tein Haus\tx\ta house\ta mouse\n", columns=(2, 4), negatives=1
  )
  assert rows == [{"de": "ein Haus", "en": "a house", "negative 1": "a mouse"}]


def test_numbers_among_texts_are_texts(tmp_path):
  lines = [*PAIRS, *(f"{i}\t{i}" for i in range(8))]
  assert len(read(tmp_path, "de-en.tsv", "".join(f"{line}\n" for line in lines))) == 20


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ({"columns": (0, 1)}, r"columns=\(0, 1\): expected two numbers, counted from 1"),
    ({"columns": (1, 9)}, ":1: 2 columns, expected texts in columns 1 and 9"),
    ({"negatives": "2"}, "negatives='2': expected 0 or more columns"),
  ],
)
def test_arguments(tmp_path, arguments, message):
  with pytest.raises(UserError, match=message):
    read(tmp_path, "de-en.tsv", "ein Haus\ta house\n", **arguments)


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"PK\x03\x04" + bytes(50), "File is not a zip file"),
    (b"PAR1" + bytes(50), "a Parquet file"),
    (gzip.compress(gzip.compress(b"a\tb\n", mtime=0), mtime=0), "it is compressed twice"),
    ("ein Haus\ta house\n".encode("utf-16"), "it is UTF-16"),
    (b"ein Haus\ta house\reine T\xc3\xbcr\ta door\r", "its lines end in .r alone"),
    (b"a" * (text_files.MAX_LINE + 1), "a line of over 1,048,576 bytes is no sentence"),
    ("Tür\ta door\n".encode("latin-1"), "not UTF-8"),
  ],
  ids=["zip", "parquet", "gzip", "utf-16", "old mac", "endless", "latin-1"],
)
def test_what_is_no_text(tmp_path, content, message):
  with pytest.raises(UserError, match=message):
    read(tmp_path, "de-en.tsv", content)


@pytest.mark.parametrize("limit", [11, 12])
def test_how_long_a_line_may_be_is_in_the_config(tmp_path, limit):
  """A line of 11 bytes and its end."""
  (tmp_path / "de-en.tsv").write_text("Haus\thouse.\n")
  settings = {"format": "tsv", "arguments": {"paths": str(tmp_path / "de-en.tsv")}}
  settings |= {"pivot": "en", "languages": (), "rules": (), "markup": False, "drop_characters": ""}
  if limit == 12:
    assert len(read_pairs(**settings, max_line_bytes=limit)) == 1
    return
  with pytest.raises(UserError, match=r"en.tsv:1: .* over 11 bytes .* raise data.max_line_bytes"):
    read_pairs(**settings, max_line_bytes=limit)


def test_a_bomb_is_not_unpacked(tmp_path):
  """Of 200 MB in one line no more than the longest line is held."""
  path = epath.Path(tmp_path / "bomb.txt.gz")
  path.write_bytes(gzip.compress(bytes(100 << 20)) * 2)
  started = time.process_time()
  with pytest.raises(UserError, match="is no sentence"):
    list(text_files.lines(path))
  assert time.process_time() - started < 1


def test_a_pipe_is_not_waited_for(tmp_path):
  os.mkfifo(tmp_path / "pipe")
  with pytest.raises(UserError, match="a pipe or a device: write it into a file first"):
    inputs.scan(str(tmp_path / "pipe"))
  with pytest.raises(UserError, match="a pipe or a device"):
    inputs.scan("/dev/zero")
  with pytest.raises(UserError, match="it is a folder"):
    inputs.scan(str(tmp_path))


def test_a_folder_that_links_to_itself(tmp_path):
  (tmp_path / "again").symlink_to(tmp_path)
  (tmp_path / "de-en.tsv").write_text("ein Haus\ta house\n")
  rows = list(formats.read_rows("tsv", pivot="en", paths=f"{tmp_path}/**/de-en.tsv"))
  assert rows == [{"en": "a house", "de": "ein Haus"}]


def test_lines_without_a_letter_take_no_part_in_mining(tmp_path):
  path = tmp_path / "a.txt"
  odd = ["\u00a0", "\u3000", "\u200b", "\ufeff", "\u200e\u200f", "…", ""]
  path.write_text("\n".join(["ein Haus", *odd, "7", "ไทย", "ein Haus "]) + "\n", encoding="utf-8")
  scanned = inputs.scan(str(path))
  assert scanned.used.tolist() == [0, 8, 9] and scanned.lines == 11


def test_no_placeholder_is_left():
  """Invariants of 3,000 drawn strings: no mark of a placeholder stays, and nothing is added."""
  pieces = [*".…:-`()&", "%s", "{0}", ", ", " ", "a", ":ref:", '"', "<p>"]
  rng = random.Random(0)
  for _ in range(3000):
    text = normalise("".join(rng.choices(pieces, k=rng.randint(1, 9))))
    cleaned = clean.strip_interface_markup(text)
    assert interface_strings.SLOT not in cleaned and len(cleaned) <= len(text), text
