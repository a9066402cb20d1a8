"""Cleaning: every rule on pairs that it must reject and pairs, just beyond, that it must not."""

import pytest

from dap_jax.data.cleaning import clean
from dap_jax.data.cleaning.filters import rules
from dap_jax.data.cleaning.pairs import Pair
from dap_jax.data.readers import gettext_catalogues
from dap_jax.data.readers.row import Row
from dap_jax.data.texts import normal_forms
from dap_jax.utils.errors import UserError
from tests.staged import clean_rows, split_pairs


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    ("  a\tb\r\n c\u00a0\u3000d ", "a b c d"),  # every white space is one space
    ("a\u2028b\x85c", "a b c"),  # line separators are white space too
    ("a\x00b\x1bc\x7f", "abc"),  # controls
    ("a \x00 b", "a b"),  # no two spaces where one went
    ("\ufeffso\u00adft\u200b \u202bRTL\u202c", "soft RTL"),  # format characters
    ("cafe\u0301", "caf\u00e9"),  # NFC
    ("e\u200b\u0301", "\u00e9"),  # composed after the invisible one went
    ("می\u200cخواهم", "می\u200cخواهم"),  # Persian needs its zero-width non-joiner
    ("क\u094d\u200dष", "क\u094d\u200dष"),
    ("", ""),
  ],
)
def test_normalise(text, expected):
  assert normal_forms.normalise(text) == expected
  assert normal_forms.normalise(expected) == expected


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    # tags
    ('Why not <a href="%(url)s">add one</a>?', "Why not add one?"),
    ("在<b>你</b>", "在你"),
    ("one<br/>two<p>three</p>", "one two three"),
    ("if 2 < 3", "if 2 < 3"),
    ("&copy; Tom &amp; Jerry&nbsp;", "© Tom & Jerry"),
    # placeholders: quotes and brackets around them go too
    ('The page "%(title)s" was deleted.', "The page was deleted."),
    ("Die Seite „%s“ wurde gelöscht.", "Die Seite wurde gelöscht."),
    ("La page « %(title)s » existe.", "La page existe."),
    ("“%(value)s”的值应该为True", "的值应该为True"),
    ("Slug (up to %(max_length)s)", "Slug (up to)"),
    ("(default: %(default)s)", "(default)"),
    ('\\"%(title)s\\" was moved', "was moved"),
    ("\\&quot;%(title)s\\&quot; was moved", "was moved"),
    ("%s() (built-in function)", "(built-in function)"),
    ("Listed (HTTP %d) here", "Listed (HTTP) here"),
    ('Invalid ("%s") value', "Invalid value"),
    ("Maximum size: %(size)s.", "Maximum size."),
    ("Failed to remove %s: %s", "Failed to remove"),
    ("%s: not a file", "not a file"),
    ("{name} was added, ${x} too {}", "was added, too"),
    ("took %.3f s, %5d times", "took s, times"),
    ("100% free, 50% discount, 5%% off", "100% free, 50% discount, 5% off"),
    # what a placeholder does not excuse stays as it was
    ("Voulez-vous partir ?", "Voulez-vous partir ?"),
    ("Make .rst files (see 'a' 'b')", "Make .rst files (see 'a' 'b')"),
    ("-A option, name=value", "-A option, name=value"),
    ("Title: (Z -> A)", "Title: (Z -> A)"),
    # reST
    ("See :ref:`the guide` or ``make html`` or `x`", "See the guide or make html or x"),
    # accelerators
    ("Save &As", "Save As"),
    ("E&xit", "Exit"),
    ("文件(&F)", "文件"),
    ("AT&T and R&D", "AT&T and R&D"),
    # labels and ellipses; a sentence keeps its end
    ("Loading...", "Loading"),
    ("Search all pages…", "Search all pages"),
    ("Email address:", "Email address"),
    ("名前：", "名前"),
    ("Image updated.", "Image updated."),
    ("Really?", "Really?"),
    ("%s", ""),
    ("…", ""),
    ("&#" + "1" * 5000 + ";", "\ufffd"),  # more digits than Python turns into a number
    ("a :ref::`x`_:ref:`y` ::`z`", "a xy ::z"),
  ],
)
def test_strip_interface_markup(text, expected):
  assert clean.strip_interface_markup(text) == expected
  assert clean.strip_interface_markup(expected) == expected


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    ("Add %s", True),  # one word for one
    ("Are you sure to delete %s?", False),
    ("This %(m)s is at %(t)s in %(w)s.", True),  # five words for three placeholders
    ("OK", False),  # short, but no placeholder
  ],
)
def test_mostly_placeholders(text, expected):
  assert clean.mostly_placeholders(text) is expected


@pytest.mark.parametrize(
  ("text", "count"),
  [
    ("Tom is sad.", 4),  # three words and the full stop
    ("這很好。", 4),  # three ideographs and the full stop
    ("ขอบคุณครับ", 3),  # ten Thai characters, up to four to a token
    ("ありがとう", 2),
    ("안녕하세요 여러분", 3),  # five and three syllables
    ("ירושלים، سلام", 4),  # seven and four letters, a comma
    ("की मैं", 2),  # vowel signs stay in their words
    ("", 0),
  ],
)
def test_tokens(text, count):
  assert len(rules.tokens(text)) == rules.count_tokens(text) == count


def ascii_texts():
  """Every ASCII character at a text's ends, within a word, and between two words."""
  return [f"{c}Don't{c}sto_p {c} N0w!{c}" for c in map(chr, range(128))]


@pytest.mark.parametrize("text", ascii_texts())
def test_ascii_texts_are_treated_as_others(text):
  # The paths of other texts: the same text with one word of another script behind it.
  assert rules.count_tokens(text) == len(rules.tokens(text))
  assert normal_forms.key_of(text) + " ж" == normal_forms.key_of(text + " Ж")


def words(n, start=0):
  return " ".join(f"w{i}" for i in range(start, start + n))


# Both columns follow from the rules as METHODS section 1 and the docstrings put them.
REJECTED = [
  ("empty", "Hello", ""),
  ("no_letters", "S", "Samstag"),
  ("no_letters", "twenty", "20"),
  ("equal", "Email", "email"),
  ("markup", "Total %Y", "Summe"),
  ("markup", "Hello there", "Hallo {da"),
  ("markup", "Hello there", "Hallo\\"),
  ("markup", "Hello there", "Hallo <em"),
  ("markup", "run `make html' now", "jetzt ausführen"),
  ("length_ratio", words(5), words(20)),
  ("numbers", "Chapter 12", "Kapitel 21"),
  ("numbers", "on 2 May", "am Mai"),
  ("addresses", "see https://a.org/b.", "siehe https://a.org/c."),
  ("repetition", "ha ha ha ha", "lustig"),
  ("repetition", words(9), "a b " * 3 + "a " * 4 + "c"),  # seven of eleven, three in a row at most
  ("dap_symbols", "mail me at a@b", "schreib mir"),
  ("dap_symbols", "see it", "siehe http://x"),
  ("dap_symbols", "N/A", "nichts"),
  ("dap_short", "one two three", "eins zwei drei vier"),
  ("dap_short", "one two three four", "eins zwei drei"),
  ("dap_length", words(10), words(33)),
  ("dap_length", words(41), words(20)),
  ("dap_length", words(65), words(66, 100)),
  ("dap_overlap", words(6), words(6, 3)),  # w3 w4 w5 of six are shared
  ("dap_overlap", words(6), words(20, 3)),  # three of the shorter side's six
]
ACCEPTED = [
  ("empty", "Hello", "x"),
  ("no_letters", "view", "뷰"),
  ("equal", "Email", "E-Mail"),
  ("markup", "sorted Z -> A at 100 % & more", "100% da, %5"),
  ("length_ratio", words(5), words(19)),  # over 3 times, but only 14 apart
  ("length_ratio", words(20), words(60)),  # 40 apart, but only 3 times
  ("numbers", "Chapter 07 of 1,5", "Kapitel ७ von 1.5"),
  ("addresses", "see https://a.org/b, www.c.de", "siehe (https://A.org/b) und www.c.de!"),
  ("repetition", "ha ha ha, he", "lustig ... ... ... ..."),
  ("repetition", words(9), "a b a c a d a e a f"),  # half of ten
  ("dap_symbols", "N/A or not", "nichts"),
  ("dap_short", "one two three four", "eins zwei drei vier"),
  ("dap_length", words(10), words(32)),
  ("dap_length", words(40), words(20)),
  ("dap_length", words(64), words(90, 100)),
  ("dap_overlap", words(6), words(6, 4)),  # two of six
  ("dap_overlap", words(5), words(5)),  # not over 5
]


def rejected(pivot, translation, names):
  """The rule that rejects an English and German pair."""
  return rules.why_rejected(pivot, translation, rules=names, languages=("en", "de"))


@pytest.mark.parametrize(("rule", "pivot", "translation"), REJECTED)
def test_rules_reject(rule, pivot, translation):
  assert rejected(pivot, translation, [rule]) == rule


@pytest.mark.parametrize(("rule", "pivot", "translation"), ACCEPTED)
def test_rules_accept(rule, pivot, translation):
  assert rejected(pivot, translation, [rule]) is None


def test_every_rule_has_a_case_on_both_sides():
  assert {case[0] for case in REJECTED} == {case[0] for case in ACCEPTED} == set(rules.RULES)


def test_first_rule_wins_and_unknown_ones_are_told():
  assert rejected("Tom", "Tom", ["dap_short", "equal"]) == "dap_short"
  assert rejected("Tom", "Tom", ["equal", "dap_short"]) == "equal"
  assert rejected("Tom", "Tom", []) is None
  with pytest.raises(
    UserError, match="data.rules names 'eqal'; known are dap, empty, .*dap_overlap"
  ):
    rules.expand_rules(["equal", "eqal"])


def texts_of(pairs):
  return [(pair.language, pair.pivot, pair.translation) for pair in pairs]


def test_every_pair_is_counted():
  rows = [
    {"en": "Good  morning", "de": "Guten Morgen", "fr": "Good morning", "it": ""},
    {"en": "Yes", "de": "yes"},  # nothing remains of it
  ]
  pairs, rejected = clean_rows(rows, rules=["empty", "equal"])
  assert texts_of(pairs) == [("de", "Good morning", "Guten Morgen")]
  assert rejected == {"empty": 1, "equal": 2}


def test_rows_that_a_reader_left_out_are_counted():
  """The text of one that is fuzzy is not seen; where a row stands stays with it."""
  rows = [Row({"en": "a b"}, reason="fuzzy"), Row({"en": "one", "de": "eins"}, where="x:7")]
  (pair,), rejected = clean_rows(rows, rules=["no_letters"])
  assert pair == Pair("de", "one", "eins", (), "x:7")
  assert rejected == {"fuzzy": 1}


def test_markup():
  rows = [
    {"en": "Add %s", "de": "%s hinzufügen", "fr": "Ajouter %s"},
    {"en": "<b>Delete</b> this page:", "de": "Diese Seite <b>löschen</b>:"},
  ]
  pairs, rejected = clean_rows(rows, markup=True)
  assert texts_of(pairs) == [("de", "Delete this page", "Diese Seite löschen")]
  assert rejected == {"placeholders": 2}


def test_dropped_characters_leave_no_trace():
  """DAP drops the double quote; what is then equal to a pair before is a duplicate."""
  rows = [{"en": 'a "word"', "de": 'ein "Wort"'}, {"en": "a word", "de": "ein Wort"}]
  pairs, _ = clean_rows(rows, drop_characters='"')
  assert texts_of(pairs) == [("de", "a word", "ein Wort")] * 2
  train, _ = split_pairs(pairs, pivot="en", sentences=0, min_words=1, min_languages=1)
  assert train == pairs[:1]


@pytest.mark.parametrize(
  ("text", "code", "other"),
  [
    ("ein Haus", "de", False),
    ("дом", "de", True),
    ("дом abc", "ru", False),  # half of the letters
    ("дом abcd", "ru", True),
    ("東京タワー", "ja", False),
    ("東京", "zh_Hant", False),
    ("한국 漢字", "kor_Hang", False),
    ("кућа", "sr", False),  # Serbian is written in two
    ("kuća", "sr", False),
    ("kuća", "sr_Cyrl", True),
    ("2024 – 50 %", "ru", False),  # no letter says anything
    ("anything", "tlh", False),  # CLDR does not say how Klingon is written
  ],
)
def test_script(text, code, other):
  assert rules.TEXT_RULES["script"](text, code) is other


@pytest.mark.parametrize(
  ("text", "code", "other"),
  [
    ("Die Bundesregierung hat das Gesetz beschlossen.", "de", False),
    ("Die Bundesregierung hat das Gesetz beschlossen.", "deu_Latn", False),
    ("The government has passed the law yesterday.", "de", True),
    ("Le gouvernement a adopté la loi hier.", "de", True),
    ("OK", "de", False),  # too short to say
    ("The government has passed the law yesterday.", "tlh", False),  # it knows no Klingon
    ("Regjeringen vedtok loven i går kveld.", "nb", False),  # which it calls no
  ],
)
def test_language(text, code, other):
  assert rules.TEXT_RULES["language"](text, code) is other


def test_real_sentences_are_in_their_languages():
  """Messages of Django's catalogues: at most 2 of 70 are taken for another language's."""
  rows = gettext_catalogues.read_catalogues(["django"], pivot="en")
  rows = [row for row in rows if len(row["en"]) > 40 and "%" not in row["en"]]
  for code in ("de", "fr", "ru", "ja", "tr"):
    texts = [row[code] for row in rows if code in row][:70]
    wrong = [text for text in texts if rules.TEXT_RULES["language"](text, code)]
    assert len(texts) == 70 and len(wrong) <= 2, wrong


def test_rules_for_a_language_and_a_file():
  """By default a pair of equal texts goes; not in German, but in a crawled German file it does."""
  places = [("fr", "a"), ("de", "a"), ("de", "x/crawled"), ("de", "b")]
  rows = [
    Row({"en": "OK", code: "OK"}, where=f"{file}.tsv:{line}")
    for line, (code, file) in enumerate(places)
  ]
  settings = {"rules": ["equal"], "rules_for": {"de": [], "*crawled*": ["dap_short"]}}
  pairs, counts = clean_rows(rows, **settings)
  assert [pair.where for pair in pairs] == ["a.tsv:1", "b.tsv:3"]
  assert counts == {"equal": 1, "dap_short": 1}
