"""Rows to evaluate on: folders of either kind, workdirs, blanks, unknown languages."""

import pytest

from dap_jax.evals import translations
from dap_jax.utils.errors import UserError


def write(folder, extension="txt", **texts):
  for code, lines in texts.items():
    (folder / f"{code}.{extension}").write_text("".join(f"{line}\n" for line in lines))
  return str(folder)


def test_aligned_lines(tmp_path):
  """Left out: fr of rows 1 and 4, de of row 2, both of row 3, which has no pivot."""
  folder = write(tmp_path, en=["one", "two", "", "four"], de=["eins", " ", "drei", "vier"])
  write(tmp_path, fr=["", "deux", "trois", ""])
  (tmp_path / "README.txt").write_text("no language\n")
  texts = translations.read_translations(folder)
  assert texts.rows == [
    {"en": "one", "de": "eins"},
    {"en": "two", "fr": "deux"},
    {"en": "four", "de": "vier"},
  ]
  assert (texts.pivot, texts.languages, texts.left_out) == ("en", ["de", "fr"], 5)
  assert texts.rows_of("de") == [0, 2]
  assert texts.protocol()["texts_left_out"] == 5
  some = translations.read_translations(folder, pivot="de", languages="en")
  assert some.rows == [{"en": "one", "de": "eins"}, {"en": "four", "de": "vier"}]
  assert some.left_out == 2  # en of rows 2 and 3; French was not asked for


def test_files_of_flores(tmp_path):
  folder = write(tmp_path, "devtest", eng_Latn=["a", "b"], deu_Latn=["c", "d"])
  write(tmp_path, "dev", eng_Latn=["no"], deu_Latn=["nein"])
  texts = translations.read_translations(folder, pivot="eng_Latn", extension="devtest")
  assert texts.rows[0] == {"eng_Latn": "a", "deu_Latn": "c"} and len(texts.rows) == 2


def test_keyed_files(tmp_path):
  folder = write(tmp_path, "tsv", en=["1\tone", "2\ttwo"], de=["2\tzwei", "9\tneun"])
  assert translations.read_translations(folder).rows == [{"en": "two", "de": "zwei"}]


def test_the_held_out_rows_of_a_workdir(commands):
  texts = translations.read_translations(str(commands.straight))
  assert texts.pivot == "en" and texts.languages == ["aa", "bb", "cc"]
  assert len(texts.rows) == 20  # config.data.heldout.sentences
  with pytest.raises(UserError, match="pivot=aa: .* was prepared with the pivot en"):
    translations.read_translations(str(commands.straight), pivot="aa")
  with pytest.raises(UserError, match="extension=dev: .* is a workdir"):
    translations.read_translations(str(commands.straight), extension="dev")


@pytest.mark.parametrize(
  ("texts", "settings", "message"),
  [
    ({"en": ["a"], "de": ["b"]}, {"languages": "de,xx"}, "no text of the language xx: it has de"),
    ({"en": ["a"], "de": ["b", "c"]}, {}, "must have equally many lines: .*en.txt has 1"),
    ({"en": ["a"], "de": [""]}, {}, "no row with 'en' and another language"),
    ({"fr": ["a"], "de": ["b"]}, {}, "en among them"),
    ({"en": ["a"], "de": ["b"]}, {"extension": "dev"}, "expected files xx.dev"),
  ],
)
def test_mistakes(tmp_path, texts, settings, message):
  with pytest.raises(UserError, match=message):
    translations.read_translations(write(tmp_path, **texts), **settings)


def test_bytes_that_are_no_text(tmp_path):
  folder = write(tmp_path, en=["a", "b"])
  (tmp_path / "de.txt").write_bytes(b"eins\nzw\xe9i\n")
  with pytest.raises(UserError, match=r"de\.txt:2: not UTF-8"):
    translations.read_translations(folder)
