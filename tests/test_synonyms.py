"""Words and synonyms of pairs: by hand, on real texts of many scripts, and through the store."""

import collections

import numpy as np
import pytest

from dap_jax.data import store, synonyms, tokenizer_training
from dap_jax.data.readers import gettext_catalogues
from dap_jax.data.synonyms import Synonyms
from dap_jax.data.tokenizer import Tokenizer
from dap_jax.data.word_forms import Forms, Sentence, read_sentence
from dap_jax.utils.errors import UserError
from dap_jax.utils.prompts import Sides
from tests.one_example import one_example
from tests.test_data import prepare


def ignore(pairs):
  """No progress is shown."""


SETTINGS = {
  "pivot": "en",
  "paths": (),
  "cldr_names": True,
  "max_synonyms": 16,
  "prefix_letters": 0,
  "ending_letters": 3,
  "prompts": Sides(),
}


def forms_of(*forms, prefix_letters=0, ending_letters=3):
  """Forms whose concepts are their numbers here."""
  concepts = {form: (number,) for number, form in enumerate(forms)}
  return Forms(concepts, prefix_letters=prefix_letters, ending_letters=ending_letters)


def read(text, pieces, forms):
  """A text in pieces (which need not cover it), as the tokenizer gives them: words, concepts."""
  spans, end = [(0, 0)], 0
  for piece in pieces:
    start = text.index(piece, end)
    end = start + len(piece)
    spans.append((start, end))
  sentence = read_sentence(text, [*spans, (0, 0)], forms)
  assert sentence.of_tokens.dtype == np.int32
  assert sentence.of_tokens[0] == sentence.of_tokens[-1] == -1
  return sentence.of_tokens[1:-1].tolist(), sentence.concepts


def test_words_by_hand():
  forms = forms_of("log in", "e - mail", "user")
  sentence = read(
    "User, log in: e-mail", ["Us", "er", ",", " log", " in", ":", " e", "-mail"], forms
  )
  assert sentence == ([0, 0, 1, 2, 2, 3, 4, 4], [(2,), (), (0,), (), (1,)])
  # "-mail" reaches over two words: it belongs to the one that is no punctuation, here and there.
  sentence = read("e-mail now", ["e", "-mail", " now"], forms_of("now"))
  assert sentence == ([0, 1, 2], [(), (), (0,)])


def test_the_longest_match_from_the_left():
  forms = forms_of("a", "a b", "a b c", "b c d", "d")
  assert read("a b c d", ["a", " b", " c", " d"], forms) == ([0, 0, 0, 1], [(2,), (4,)])
  assert read("b c. d", ["b", " c", ".", " d"], forms) == ([0, 1, 2, 3], [(), (), (), (4,)])


def test_scripts_without_spaces_by_pieces():
  """A form may reach over several pieces; it does not match within a piece."""
  forms = forms_of("使用者名稱", "名稱", "用")
  text = "使用者名稱 名稱用"
  assert read(text, ["使用", "者", "名稱", " 名稱", "用"], forms) == (
    *([0, 0, 0, 1, 2],),
    [(0,), (1,), (2,)],
  )
  assert read("名使用者", ["名", "使用者"], forms) == ([0, 1], [(), ()])


def test_what_was_cut_off_matches_nothing():
  """Neither a word of which a part is left, nor a phrase; what is left of it is a word."""
  forms = forms_of("password", "change password", "change", "削除", "削", "を削除")
  sentence = read("Change password", ["Change", " pass"], forms)
  assert sentence == ([0, 1], [(2,), ()])
  assert read("Change password", ["Change"], forms) == ([0], [(2,)])
  assert read("削除を削除", ["削除"], forms) == ([0], [(3,)])  # its piece is whole


def test_a_word_without_an_id_does_not_count():
  """Of "b-", one id, the second word has none."""
  assert read("a b- c", ["a", " b-", " c"], forms_of("c")) == ([0, 1, 2], [(), (), (0,)])


def test_prefixes():
  """By hand, 4 letters in common at least, 3 behind them at most, in both."""
  lengths = {"prefix_letters": 4, "ending_letters": 3}
  forms = forms_of("speichern", "speicher", "speichert", "spei", "page set", "ページ", **lengths)

  def nearest(word):
    return read(word, [word], forms)[1][0]

  assert nearest("Speichern") == (0,)  # its own form
  assert nearest("Speicherte") == (2,)  # shares 9 letters, with the others 8
  assert nearest("Speicherung") == (1,)  # shares 8 with three of them: the shortest
  assert nearest("Speicherungen") == ()  # five letters behind what it shares
  assert nearest("speiste") == (3,)  # of "speichern" five letters are left
  assert nearest("spex") == ()  # shares 3
  assert read("ページン", ["ページン"], forms)[1] == [()]  # words of such scripts have no endings
  assert read("Speicherte", ["Speicherte"], forms_of("speichert"))[1] == [()]  # off


def test_synonyms_are_words_with_a_concept_in_common():
  """A word may be in several pairs, and words that occur twice are in all."""
  x = Sentence(None, [(1, 2), (), (3,), (1,)])
  y = Sentence(None, [(3, 1), (2, 1), (), (4,)])
  assert synonyms.synonyms(x, y) == [(0, 0), (0, 1), (2, 0), (3, 0), (3, 1)]


def test_of_too_many_those_with_new_words_stay():
  pairs = [(0, 0), (0, 1), (2, 0), (2, 1), (3, 3)]
  assert synonyms.shortened(pairs, 5) == pairs
  assert synonyms.shortened(pairs, 4) == [(0, 0), (0, 1), (2, 0), (3, 3)]
  assert synonyms.shortened(pairs, 1) == [(0, 0)]


@pytest.fixture(scope="module")
def django():
  """language -> pairs of Django's catalogues."""
  texts = collections.defaultdict(list)
  for row in gettext_catalogues.read_catalogues(["django"], pivot="en"):
    for language in row.keys() - {"en"}:
      texts[language].append((row["en"], row[language]))
  return texts


@pytest.fixture(scope="module")
def tokens(django, tmp_path_factory):
  folder = tmp_path_factory.mktemp("tokenizer")
  texts = {text for pairs in django.values() for pair in pairs[:100] for text in pair}
  tokenizer_training.train(sorted(texts), vocabulary_size=6000, directory=folder)
  return Tokenizer.load(folder, max_tokens=16)


def words_of(tokens, text, of_tokens):
  """The words as they stand in the text."""
  spans = np.array(tokens.encode_spans([text])[0][1])
  pieces = [spans[of_tokens == number] for number in range(of_tokens.max() + 1)]
  return [text[spans[:, 0].min() : spans[:, 1].max()].strip() for spans in pieces]


def test_words_of_real_texts(django, tokens):
  """Twelve scripts: a word for every id but special ones and lone spaces, and in their order."""
  space = tokens.encode_ragged(["界"])[0][1]
  for language in ("de", "ru", "el", "ja", "zh_Hans", "ar", "he", "hi", "ko", "th", "my", "km"):
    pairs = django[language][:150]
    made = Synonyms(**SETTINGS).compute(language, pairs, tokens, advance=ignore)
    for side, name in enumerate(("pivot", "translation")):
      for pair, of_tokens in zip(pairs, made[name, "words"], strict=True):
        ids = tokens.encode_ragged([pair[side]])[0]
        assert len(of_tokens) == len(ids)
        special = np.isin(ids, [tokens.cls_id, tokens.sep_id, space])
        np.testing.assert_array_equal(of_tokens == -1, special)
        assert (np.diff(of_tokens[~special]) >= 0).all() and (
          np.diff(of_tokens[~special]) <= 1
        ).all()


def test_synonyms_of_real_texts(django, tokens):
  """Django's names of months and languages are CLDR's."""

  def names_in(language, english):
    pair = next(pair for pair in django[language] if pair[0] == english)
    made = Synonyms(**SETTINGS).compute(language, [pair], tokens, advance=ignore)
    sides = [
      words_of(tokens, text, made[side, "words"][0])
      for text, side in zip(pair, ("pivot", "translation"), strict=True)
    ]
    return [(sides[0][i], sides[1][j]) for i, j in made["pair", "synonyms"][0]]

  assert names_in("de", "January") == [("January", "Januar")]
  assert names_in("ja", "German") == [("German", "ドイツ語")]
  assert names_in("he", "Swahili") == [("Swahili", "סווהילי")]
  assert names_in("fr", "or") == [("or", "ou")]
  assert names_in("ru", "Argentinian Spanish") == [("Spanish", "испанский")]


def test_the_pivots_words_do_not_depend_on_the_language(tmp_path, tokens):
  """Rows of several languages share their pivot: "log in" is one word beside German, too."""
  (tmp_path / "en-de.txt").write_text("log Protokoll\n")
  (tmp_path / "en-fr.tsv").write_text("log in\tconnexion\n")
  made = Synonyms(**SETTINGS | {"paths": str(tmp_path)})
  german = made.compute("de", [("Please log in", "Bitte Protokoll")], tokens, advance=ignore)
  french = made.compute("fr", [("Please log in", "Une connexion")], tokens, advance=ignore)
  np.testing.assert_array_equal(german["pivot", "words"], french["pivot", "words"])
  assert not german["pair", "synonyms"][0].size
  assert french["pair", "synonyms"][0].tolist() == [[1, 1]]


def test_the_report(tmp_path, tokens, caplog):
  caplog.set_level("INFO")
  (tmp_path / "en-de.txt").write_text("house haus\nhouse gebäude\nbad line here\n")
  (tmp_path / "en-fr.txt").write_text("sea mer\n")
  (tmp_path / "fi-hu.txt").write_text("talo ház\n")
  settings = {"paths": [str(tmp_path)], "cldr_names": False, "max_synonyms": 1}
  made = Synonyms(**SETTINGS | settings)
  pairs = [("the house", "haus gebäude"), ("no", "nein nein")]
  features = made.compute("de", pairs, tokens, advance=ignore)
  made.compute("xx", pairs, tokens, advance=ignore)
  count = [
    (side >= 0).sum() for name in ("pivot", "translation") for side in features[name, "words"]
  ]
  paired = sum(
    (features[side, "words"][0] == number).sum()
    for side, number in (("pivot", 1), ("translation", 0))
  )
  assert features["pair", "synonyms"][0].tolist() == [[1, 0]]
  report = made.report()["synonyms"]
  assert report["languages"]["de"] == {
    "entries": 2,
    "pairs_with_synonym": 0.5,
    "tokens_with_synonym": paired / sum(count),
    "cut": 1,
  }
  assert report["languages"]["xx"]["pairs_with_synonym"] == 0
  counts = {name: report[name] for name in ("unparsed_lines", "unused_languages", "unused_files")}
  assert counts == dict.fromkeys(counts, 1)
  log = "\n".join(caplog.messages)
  assert "synonyms: in 1 of 2 languages, in 25.0% of pairs" in log
  assert "languages without a synonym (1): xx" in log
  assert "languages of dictionaries that the data has not (1): fr" in log
  assert "files of dictionaries without en, not used (1): fi-hu.txt" in log


def test_through_the_store(tmp_path):
  """What SeqIO cut to 8 ids has a word for each of them, and padding none."""
  english = [f"{a} {b} {c}" for a in ("red", "old") for b in "opqrstuv" for c in ("house", "sea")]
  table = str.maketrans("abcdefghijklmnopqrstuvwxyz", "nopqrstuvwxyzabcdefghijklm")
  lines = [f"{text.translate(table)} ubhfr-ubhfr\t{text}\n" for text in english]
  (tmp_path / "aa-en.tsv").write_text("".join(lines))
  (tmp_path / "en-aa.txt").write_text("house ubhfr\nred erq\n")
  settings = {"paths": str(tmp_path / "en-aa.txt"), "cldr_names": False, "max_synonyms": 3}
  extra = Synonyms(**SETTINGS | settings)
  changes = {"heldout": {"sentences": 2, "min_words": 3, "min_languages": 1}, "extras": [extra]}
  prepare(tmp_path, arguments={"paths": str(tmp_path / "aa-en.tsv")}, **changes)
  corpus = store.load(tmp_path / "data", pad_id=0)
  tokens = Tokenizer.load(tmp_path / "tokenizer", max_tokens=8)
  texts = english + [line.split("\t")[0] for line in lines]
  spans = {tuple(ids): np.array(spans) for ids, spans in tokens.encode_spans(texts)}
  source, cut = corpus.sources["aa"], 0
  for i in range(len(source)):
    pair = one_example(source, i)
    assert pair["words"].shape == (2, 8) and pair["synonyms"].shape == (1, 3, 2)
    for ids, mask, words in zip(pair["ids"], pair["mask"], pair["words"], strict=True):
      characters = spans[tuple(ids[mask])]  # SeqIO's ids are those that the words are of
      np.testing.assert_array_equal(words[mask] >= 0, characters[:, 1] > characters[:, 0])
      assert (words[~mask] == -1).all()
    cut += pair["mask"][1].all()
    for k, j in pair["synonyms"][0]:
      assert (k < 0 and j < 0) or ((pair["words"][0] == k).any() and (pair["words"][1] == j).any())
  assert cut  # some were cut
  shares = corpus.info["extras"]["synonyms"]["languages"]["aa"]
  assert shares["entries"] == 2 and 0 < shares["pairs_with_synonym"] < 1


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"cldr_names": False}, "data.dictionaries has no paths, and cldr_names is False"),
    ({"paths": 3}, "data.dictionaries.paths=3: expected files and folders"),
  ],
)
def test_mistakes(changes, message):
  with pytest.raises(UserError, match=message):
    Synonyms(**SETTINGS | changes)


def test_dictionaries_are_read_with_the_first_pairs(tmp_path, tokens):
  """A run that resumes asks for none, so its dictionaries may be gone."""
  extra = Synonyms(**SETTINGS | {"paths": str(tmp_path / "gone")})
  assert [feature.name for feature in extra.features] == ["words", "synonyms"]
  with pytest.raises(UserError, match="gone does not exist"):
    extra.compute("de", [("house", "Haus")], tokens, advance=ignore)


def test_no_synonym_at_all_is_an_error(tokens):
  extra = Synonyms(**SETTINGS)
  extra.compute("de", [("house", "Haus")], tokens, advance=ignore)
  with pytest.raises(UserError, match="none of 1 pairs has two words that are synonyms"):
    extra.report()


@pytest.mark.parametrize("dictionaries", ["", "data/dictionaries"])
def test_most_languages_find_synonyms(django, tokens, dictionaries, request):
  """On 100 of Django's pairs of each language: with CLDR's names alone, and with more."""
  paths = ()
  if dictionaries:
    folder = request.getfixturevalue("shared") / dictionaries
    paths = [str(folder / name) for name in ("cldr_names", "tico19_terms")]
  extra = Synonyms(**SETTINGS | {"paths": paths})
  for language, pairs in django.items():
    extra.compute(language, pairs[-100:], tokens, advance=ignore)
  languages = extra.report()["synonyms"]["languages"]
  assert sum(counts["pairs_with_synonym"] > 0 for counts in languages.values()) >= 60
