"""The warning about swapped columns or files; texts are the translations in Django's catalogues."""

import itertools
import logging

import pytest

from dap_jax.data.cleaning import swapped_sides
from dap_jax.data.readers import formats
from dap_jax.data.readers.row import Row


@pytest.fixture(scope="module")
def catalogue():
  return list(formats.read_rows("gettext", pivot="en", packages=["django"]))


def pairs(catalogue, pivot, language, *, swapped=False, origins=None):
  """Rows of a pair, in the catalogue's order."""
  sides = (language, pivot) if swapped else (pivot, language)
  there = (row for row in catalogue if pivot in row and language in row)
  for number, row in enumerate(there):
    texts = dict(zip((pivot, language), (row[side] for side in sides), strict=True))
    yield Row(texts, where=f"a.tsv:{number}", origins=origins or {})


def warnings(rows, caplog, *, pivot):
  with caplog.at_level(logging.WARNING, logger="dap_jax"):
    list(swapped_sides.warn_of_swapped(iter(rows), pivot=pivot))
  return [record.getMessage() for record in caplog.records]


def test_swapped_columns_are_told_once_with_the_cure(catalogue, caplog, monkeypatch):
  monkeypatch.setattr(logging.getLogger("dap_jax"), "propagate", True)
  rows = pairs(catalogue, "en", "de", swapped=True, origins={"de": 2, "en": 3})
  assert warnings(rows, caplog, pivot="en") == [
    "a.tsv: column 2 looks like en, column 3 like de: swapped? If so, set"
    " data.arguments.columns=(3, 2)"
  ]


def test_each_language_of_a_file_counts_alone(catalogue, caplog, monkeypatch):
  monkeypatch.setattr(logging.getLogger("dap_jax"), "propagate", True)
  origins = {"fr": "fr.txt", "en": "en.txt"}
  french = pairs(catalogue, "en", "fr", swapped=True, origins=origins)
  rows = itertools.chain(french, pairs(catalogue, "en", "de"))
  assert warnings(rows, caplog, pivot="en") == [
    "a.tsv: fr.txt looks like en, en.txt like fr: swapped? If so, name them the other way round"
  ]


@pytest.mark.parametrize(
  ("pivot", "language"),
  [("en", "de"), ("nb", "da"), ("nb", "nn"), ("hr", "sr_Latn"), ("hr", "bs"), ("id", "ms")]
  + [("cs", "sk"), ("es", "gl"), ("pt", "pt_BR"), ("zh_Hans", "zh_Hant"), ("ru", "uk")],
)  # fmt: skip
def test_right_and_close_languages_give_no_alarm(catalogue, caplog, monkeypatch, pivot, language):
  monkeypatch.setattr(logging.getLogger("dap_jax"), "propagate", True)
  rows = list(pairs(catalogue, pivot, language))
  assert len(rows) > 100
  assert warnings(rows, caplog, pivot=pivot) == []


def test_short_and_few_texts_tell_nothing(catalogue, caplog, monkeypatch):
  monkeypatch.setattr(logging.getLogger("dap_jax"), "propagate", True)
  swapped = list(pairs(catalogue, "en", "de", swapped=True))
  short = [row for row in swapped if max(map(len, row.values())) < swapped_sides.FEWEST]
  few = [row for row in swapped if min(map(len, row.values())) > 40][: swapped_sides.FEWEST - 1]
  assert short and few
  assert warnings([*short, *few], caplog, pivot="en") == []


def test_rows_pass_unchanged(catalogue):
  rows = [*pairs(catalogue, "en", "de"), Row({}, where="a.tsv:9", reason="surrogate")]
  assert list(swapped_sides.warn_of_swapped(iter(rows), pivot="en")) == rows


@pytest.mark.parametrize(
  ("where", "file"),
  [("a/de-en.tsv:17", "a/de-en.tsv"), ("bible/en.tsv: GEN:1:1", "bible/en.tsv"), ("", "")],
)
def test_the_file_of_a_row(where, file):
  assert swapped_sides.file_of(Row({}, where=where)) == file
