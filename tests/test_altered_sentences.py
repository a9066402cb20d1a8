"""English sentences changed by rules. Expected values: sentences written by hand."""

import random

import pytest

from dap_jax.data.texts import altered_sentences
from dap_jax.data.texts.altered_sentences import Names, alter, names_of

NO_NAMES = Names([])


def changed_by(rule, text, names=NO_NAMES):
  return list(altered_sentences.RULES[rule](text, names, random.Random(0)))


@pytest.mark.parametrize(
  ("text", "changed"),
  [
    ("He is here.", ["He is not here."]),
    ("He is not here.", ["He is here."]),
    ("I don't know.", ["I do know."]),
    ("It won't work, it can't.", ["It will work, it can't.", "It won't work, it can."]),
    ("You cannot go.", ["You can go."]),
    ("They have seen it.", ["They have not seen it."]),
    ("They have a dog.", []),  # `have` is no auxiliary here
    ("They hadn't waited.", ["They had waited."]),
    ("There were no graves.", []),  # a negation of another kind, which `not` would make double
    ("WILL you come?", ["WILL not you come?"]),
  ],
)
def test_negation(text, changed):
  assert changed_by("negation", text) == changed


def test_numbers_keep_their_form():
  ((days, chapter), (zeros,)) = (
    changed_by("number", "40 days, 7"),
    changed_by("number", "007"),
  )
  assert days.endswith(" days, 7") and chapter.startswith("40 days, ")
  number = days.split()[0]
  assert number.isdigit() and len(number) == 2 and number[0] != "0" and number != "40"
  assert len(zeros) == 3 and zeros.isdigit() and zeros != "007"
  (word,) = changed_by("number", "Seven years")
  assert word.split()[1] == "years" and word.split()[0].istitle()
  assert word.split()[0].lower() in altered_sentences.NUMBER_WORDS[0] and word != "Seven years"


def test_opposites_keep_the_capital_and_leave_contractions():
  assert changed_by("opposite", "Before the war.") == ["After the war.", "Before the peace."]
  assert changed_by("opposite", "It won't.") == []  # of `won` it would make `lost't`


def test_names_are_those_of_cldr_and_of_the_texts():
  texts = ["So Moses went.", "Then Moses spoke.", "And Moses came.", "And Aaron came."] * 2
  texts += ["Then Aaron ate.", "a Rose", "a Rose", "a Rose", "a rose"]
  names = names_of(texts)
  assert names.others("Moses") == ["Aaron"]
  assert names.found("a Rose") == []  # it is a word without a capital too
  assert "January" in names.others("April") and "Friday" not in names.others("April")
  assert "France" in names.others("Germany")
  assert changed_by("name", "Moses, Moses!", names) == ["Aaron, Aaron!"]


def test_other_changes_come_first_and_none_twice():
  text = "He is here before 10, Aaron."
  names = Names([["Aaron", "Moses"]])
  four = alter(text, names, most=4)
  assert {altered.change for altered in four} == set(altered_sentences.RULES)
  all_of_them = [altered.text for altered in alter(text, names, most=100)]
  assert len(set(all_of_them)) == len(all_of_them) and text not in all_of_them
  assert alter(text, names, most=4) == four  # a function of the text, the names and the seed
  assert alter(text, names, most=4, seed=1) != four
  assert alter("Hm.", names, most=3) == []
