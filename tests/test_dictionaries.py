"""Dictionaries: which files are read, what of them is entered, and what is said of the rest."""

import gzip
import shutil

import pytest
from etils import epath

from dap_jax.data.texts import dictionaries, words
from dap_jax.data.texts.dictionaries import Lexicon, base_language, named_pair, walk
from dap_jax.utils.errors import UserError


def lexicon_of(path, pivot="en"):
  lexicon = Lexicon(pivot=pivot)
  lexicon.add_path(str(path))
  return lexicon


def translations(lexicon, form, language):
  """The forms of a language that share a concept with a form of the pivot's."""
  meanings = set(lexicon.concepts[lexicon.pivot].get(words.phrase_key(form), ()))
  forms = lexicon.concepts.get(language, {})
  return {other for other, concepts in forms.items() if meanings & set(concepts)}


@pytest.mark.parametrize(
  ("language", "codes"),
  [
    # ISO 639-3, regions, scripts, PanLex's variants; macrolanguages by their main language.
    ("de", ["de", "deu", "de_AT", "de-CH", "deu-000", "deu_Latn"]),
    ("zh", ["zh", "zho", "cmn", "zh_Hant", "zh-CN", "zh_TW"]),
    ("no", ["no", "nb", "nob", "nor", "nb_NO"]),
    ("nn", ["nn", "nno"]),
    ("sr", ["sr", "srp", "sr@latin", "sr_Latn", "sh"]),
    ("ar", ["ara", "arb"]),
    ("fa", ["fas", "pes", "prs"]),
    ("sw", ["swa", "swh"]),
    ("he", ["he", "heb", "iw"]),
    ("fil", ["fil", "tl", "tgl"]),
    ("pt", ["pt_BR", "pt-PT", "por"]),
    ("tet", ["tet"]),
  ],
)
def test_codes_of_one_language(language, codes):
  assert {base_language(code) for code in codes} == {language}


def test_names_of_pairs():
  pairs = {"en-de": ("en", "de"), "en-pt-BR": ("en", "pt-BR"), "zh_CN-en": ("zh_CN", "en")}
  others = dict.fromkeys(["pt-BR", "zh-Hant", "es-419", "en", "en-US", "swadesh207"])
  for name, pair in (pairs | others).items():
    assert named_pair(name) == pair, name


def test_words_and_keys():
  """Marks and joiners belong to words; a run of punctuation is one; case and NFC do not count."""

  def split(text, cuts=()):
    return [(text[word.start : word.end], word.kind) for word in words.words(text, cuts=cuts)]

  spaced, spaceless = "spaced", "spaceless"
  assert split("l'eau (2)...") == [
    *[("l", spaced), ("'", None), ("eau", spaced)],
    *[("(", None), ("2", spaced), (")...", None)],
  ]
  assert split("हिन्दी می\u200cشود") == [("हिन्दी", spaced), ("می\u200cشود", spaced)]
  assert split("データを 削除。", cuts=(3, 9)) == [
    *[("データ", spaceless), ("を", spaceless), ("削除", spaceless), ("。", None)]
  ]
  assert split("ပုံ។ คำ") == [("ပုံ", spaceless), ("។", None), ("คำ", spaceless)]
  assert split("word", cuts=(2,)) == [("word", spaced)]
  assert words.phrase_key("E-Mail  ADRESSE") == "e - mail adresse"
  assert words.phrase_key("Stra\u00dfe e\u0301") == "strasse \u00e9"
  assert words.phrase_key("résumé") != words.phrase_key("resume")
  assert words.phrase_key("T恤 7月") == "t 恤 7 月"
  assert words.phrase_key("、。!") == ""


def test_muse_files(tmp_path):
  (tmp_path / "en-de.txt").write_text("house haus\nhouse gebäude\n\nsea\tdas Meer\n")
  (tmp_path / "en-de.0-5000.txt").write_text("Sea see\nHOUSE haus\n")
  with gzip.open(tmp_path / "fra-eng.tsv.gz", "wt") as file:
    file.write("maison\thouse\tf\nau bord de la mer\tsea\n")
  lexicon = lexicon_of(tmp_path)
  assert translations(lexicon, "house", "de") == {"haus", "gebäude"}
  assert translations(lexicon, "sea", "de") == {"das meer", "see"}
  assert translations(lexicon, "house", "fr") == {"maison"}
  assert translations(lexicon, "sea", "fr") == set()  # of five words, more than MOST_WORDS
  assert lexicon.unparsed == 0
  # From the other side, and with another name of the same language.
  assert translations(lexicon_of(tmp_path, "fr_FR"), "maison", "en") == {"house"}


def test_lists_of_a_folder_share_their_keys(tmp_path):
  for folder, number in (("a", 1), ("b", 2)):
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "en.tsv").write_text(f"7\tone {number}\n7\tsingle\tnoted\n")
    (tmp_path / folder / "zh-Hant.tsv").write_text(f"7\t{number}一\n8\t二\n")
  (tmp_path / "a" / "cmn.tsv").write_text("7\t一\n")
  (tmp_path / "LICENCES.tsv").write_text("en\tfree\t#\tyes\n")
  (tmp_path / "NOTES.txt").write_text("nothing\n")
  lexicon = lexicon_of(tmp_path)
  assert translations(lexicon, "one 1", "zh") == {"1 一", "一"}
  assert translations(lexicon, "one 2", "zh") == {"2 一"}
  assert translations(lexicon, "single", "zh") == {"1 一", "2 一", "一"}
  assert "二" not in lexicon.concepts["zh"]  # the pivot's list lacks its key
  assert lexicon.unparsed == 0


def test_a_table(tmp_path):
  table = "deu-000\t0\tich|mich\neng-000\t0\tI\nfra-000\t0\tje|\neng-000\t1\tyou\n"
  (tmp_path / "swadesh.tsv").write_text(table)
  lexicon = lexicon_of(tmp_path)
  assert translations(lexicon, "i", "de") == {"ich", "mich"}
  assert translations(lexicon, "i", "fr") == {"je"}
  assert translations(lexicon, "you", "de") == set()


def test_lines_that_do_not_parse_are_counted_and_shown(tmp_path, caplog):
  (tmp_path / "en-de.txt").write_text("a b c\nhouse haus\nalone\n\ttab\nx y z\n1\t\n2 2 2\n3 3 3\n")
  lexicon = lexicon_of(tmp_path)
  assert translations(lexicon, "house", "de") == {"haus"}
  assert lexicon.unparsed == 7
  assert len(caplog.messages) == dictionaries.MOST_WARNINGS
  assert caplog.messages[0] == f"{tmp_path}/en-de.txt:1 does not parse: 'a b c'"


def test_files_that_do_not_reach_the_pivot_are_named(tmp_path):
  (tmp_path / "fi-de.txt").write_text("talo haus\n")
  (tmp_path / "en-fi.txt").write_text("house talo\n")
  (tmp_path / "b").mkdir()
  (tmp_path / "b" / "fi.tsv").write_text("1\ttalo\n")
  (tmp_path / "b" / "table.tsv").write_text("fi\t1\ttalo\n")
  lexicon = lexicon_of(tmp_path)
  assert sorted(lexicon.unused) == ["fi-de.txt", "fi.tsv", "table.tsv"]
  assert set(lexicon.concepts) == {"en", "fi"}


def test_mistakes(tmp_path):
  with pytest.raises(UserError, match="no/such does not exist"):
    lexicon_of("no/such")
  with pytest.raises(UserError, match=r"no dictionary with 'en' \(data.pivot\): expected en-xx"):
    lexicon_of(tmp_path)
  (tmp_path / "fi-de.txt").write_text("talo haus\n")
  with pytest.raises(UserError, match="holds no dictionary with 'en'"):
    lexicon_of(tmp_path / "fi-de.txt")
  (tmp_path / "en-de.txt").write_bytes(b"sea Meer\nsea M\xfcller\n")
  with pytest.raises(UserError, match=r"en-de\.txt:2: not UTF-8"):
    lexicon_of(tmp_path)
  for value in ({"a": 1}, 3, ("a", 3), ("",)):
    with pytest.raises(UserError, match="data.dictionaries.paths="):
      dictionaries.check_paths(value)
  assert dictionaries.check_paths("a") == ("a",)
  assert dictionaries.check_paths([]) == ()


def test_cldr_names():
  """Facts that any speaker knows; where CLDR has no word for "and", none is entered."""
  lexicon = Lexicon(pivot="en")
  for language in ("de", "fr", "ja", "sr_Latn", "nb", "tet", "io"):
    lexicon.add_cldr(language)
  assert translations(lexicon, "January", "de") >= {"januar"}
  assert translations(lexicon, "and", "de") == {"und"}
  assert translations(lexicon, "or", "de") == {"oder"}
  assert translations(lexicon, "Monday", "fr") == {"lundi"}
  assert translations(lexicon, "German", "fr") == {"allemand"}
  assert translations(lexicon, "Greece", "ja") == {"ギリシャ"}
  assert translations(lexicon, "Greece", "no") == {"hellas"}
  assert translations(lexicon, "Greece", "sr") == {"грчка", "grčka"}
  assert translations(lexicon, "and", "ja") == set()  # "、"
  assert "tet" not in lexicon.concepts  # unknown to CLDR
  # Ido's months are the root's, M01 and so on: no names.
  assert translations(lexicon, "January", "io") == set()


def test_the_development_dictionaries(shared, tmp_path):
  """As its SOURCE.md says: lists of synsets of 60 languages, and names, terms, tables."""
  folder = shared / "data" / "dictionaries"
  files = list((folder / "omw").glob("*.gz"))
  assert len({base_language(path.name.split(".")[0]) for path in files}) == len(files) == 60
  for code in ("eng", "deu"):
    shutil.copy(folder / "omw" / f"{code}.tsv.gz", tmp_path)
  shutil.copy(folder / "omw" / "LICENCES.tsv", tmp_path)
  lexicon = lexicon_of(tmp_path)
  assert set(lexicon.concepts) == {"en", "de"} and lexicon.unparsed == 0
  assert "hund" in translations(lexicon, "dog", "de")
  assert "hund" in translations(lexicon_of(folder / "panlex_swadesh207"), "dog", "de")
  assert "ház" in translations(lexicon_of(folder / "panlex_bli", "fi"), "talo", "hu")
  term = lexicon_of(folder / "tico19_terms" / "en-de.tsv.gz")
  assert "impfstoff" in translations(term, "vaccine", "de")
  with pytest.raises(UserError, match="holds no dictionary with 'en'"):
    lexicon_of(folder / "panlex_bli")


def test_a_folder_that_links_to_itself_is_read_once(tmp_path):
  (tmp_path / "sub").mkdir()
  (tmp_path / "sub" / "en-de.txt").write_text("house Haus\n")
  for name in ("a", "b", "sub/up", "sub/here"):  # two links each: 2 ** 40 paths
    (tmp_path / name).symlink_to(tmp_path if "sub" not in name else tmp_path / "sub" / "..")
  (tmp_path / "linked").symlink_to(tmp_path / "sub")  # no loop: it is followed
  files = [str(path.relative_to(tmp_path)) for path in walk(epath.Path(tmp_path))]
  assert files == ["linked/en-de.txt", "sub/en-de.txt"]
