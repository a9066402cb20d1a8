"""The preset `dap` on 60 pairs, worked by hand from the paper's rules (arXiv 2305.09148).

A pair goes if a side has "@" or "http", is "N/A" or has at most 3 tokens; if the longer side has
more than max(2 x the shorter, 32) tokens, or the shorter more than 64; if the sides are equal; or
if both have over 5 tokens and at least half of those of one occur in the other.
"""

import pytest

from dap_jax.data.cleaning.filters import rules as known
from tests.staged import clean_rows

FOUR, FIVE = "one two three four", "eins zwei drei vier fünf"


def text(count, first=0):
  """So many tokens, different ones, numbered from `first`."""
  return " ".join(f"w{number}" for number in range(first, first + count))


# The sides, and the rule that rejects the pair; "" where none does.
SYMBOLS = [
  (f"{FOUR} @", FIVE, "dap_symbols"),
  (FOUR, f"{FIVE} a@b.de", "dap_symbols"),
  (f"{FOUR} http", FIVE, "dap_symbols"),
  (FOUR, f"{FIVE} https://x.de/y", "dap_symbols"),
  (f"{FOUR} xhttpx", FIVE, "dap_symbols"),
  ("N/A", FIVE, "dap_symbols"),
  (FOUR, "N/A", "dap_symbols"),
  (f"{FOUR} N/A", FIVE, ""),
  (f"{FOUR} n/a", FIVE, ""),
  (f"{FOUR} HTTP", FIVE, ""),
  (f"{FOUR} ftp", FIVE, ""),
]
SHORT = [
  ("", FIVE, "empty"),
  (FOUR, "", "empty"),
  ("one", FIVE, "dap_short"),
  (FOUR, "eins zwei", "dap_short"),
  ("one two three", FIVE, "dap_short"),
  (FOUR, "eins zwei drei", "dap_short"),
  ("one two three", "eins zwei drei", "dap_short"),
  ("one, two", FIVE, "dap_short"),
  ("one two three!", FIVE, ""),
  ("one, two, three", FIVE, ""),
  (FOUR, "eins zwei drei vier", ""),
  (FOUR, "今天天气", ""),
  (FOUR, "今天天", "dap_short"),
  ("what is this here", "สวัสดีชาวโลก", "dap_short"),
  ("what is this here", "สวัสดีชาวโลกครับ", ""),
]
EQUAL = [
  (FOUR, FOUR, "equal"),
  (FOUR, FOUR.upper(), "equal"),
  ("Straße eins zwei drei", "STRASSE EINS ZWEI DREI", "equal"),
  (f"  {FOUR} ", FOUR, "equal"),
  (FOUR, f"{FOUR}.", ""),
  (f'"{FOUR}"', FOUR, "equal"),
  (FOUR, "one two three fourth", ""),
]
LENGTHS = [
  (text(4), text(32, 100), ""),
  (text(4), text(33, 100), "dap_length"),
  (text(33, 100), text(4), "dap_length"),
  (text(15), text(32, 100), ""),
  (text(16), text(32, 100), ""),
  (text(16), text(33, 100), "dap_length"),
  (text(17), text(34, 100), ""),
  (text(17), text(35, 100), "dap_length"),
  (text(34, 100), text(17), ""),
  (text(35, 100), text(17), "dap_length"),
  (text(40), text(80, 100), ""),
  (text(40), text(81, 100), "dap_length"),
  (text(64), text(64, 100), ""),
  (text(64), text(128, 100), ""),
  (text(64), text(129, 100), "dap_length"),
  (text(65), text(65, 100), "dap_length"),
  (text(65), text(70, 100), "dap_length"),
  (text(70, 100), text(65), "dap_length"),
]
OVERLAP = [
  (text(5), text(5, 1), ""),
  (text(5), text(6), ""),
  (text(6), text(5), ""),
  (text(6), text(6, 4), ""),
  (text(6), text(6, 3), "dap_overlap"),
  (text(6), text(7, 3), "dap_overlap"),
  (text(7), text(7, 4), ""),
  (text(7), text(7, 3), "dap_overlap"),
  (text(6), text(20, 3), "dap_overlap"),
]
PAIRS = SYMBOLS + SHORT + EQUAL + LENGTHS + OVERLAP


def test_there_are_sixty():
  assert len(PAIRS) == 60 and {rule for *_, rule in PAIRS} == {"", *known.PRESETS["dap"]}


@pytest.mark.parametrize(("pivot", "translation", "rule"), PAIRS)
def test_the_preset(pivot, translation, rule):
  rules = known.expand_rules(["dap"])
  row = {"en": pivot, "de": translation}
  pairs, rejected = clean_rows([row], rules=rules, drop_characters='"')
  assert (len(pairs), rejected) == ((0, {rule: 1}) if rule else (1, {}))
