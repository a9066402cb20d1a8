"""English sentences changed by rules, so that they say something else: hard negatives.

Of the changes of xsim++ (arXiv 2306.12907), with rules and word lists of ours:

- number: other digits of the same form, or another number word (`40 days` -> `73 days`);
- name: another name of the same kind: CLDR's months, weekdays, countries and languages, from Babel,
  and the proper names that the texts themselves use (`from Egypt` -> `from Canaan`);
- negation: `not` goes in behind an auxiliary verb, or out (`he is` -> `he is not`);
- opposite: a word of `OPPOSITES` in place of the other (`before` -> `after`).

A changed sentence may be clumsy English; what matters is that no translation of the original is one
of it. The changes of a text are a function of the text, the names and the seed.
"""

from __future__ import annotations

import collections
import functools
import hashlib
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import babel

# Words that may stand for each other, each list one kind.
NUMBER_WORDS = (
  ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"],
  ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"],
  ["hundred", "thousand", "million"],
  ["second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"],
  ["twice", "thrice"],
)
OPPOSITES = (
  "good bad|great small|large little|big tiny|old new|young old|hot cold|high low|long short"
  "|early late|first last|right left|rich poor|strong weak|happy sad|easy difficult|open closed"
  "|true false|same different|full empty|light darkness|life death|love hate|war peace|day night"
  "|morning evening|summer winter|heaven hell|north south|east west|man woman|men women"
  "|king queen|son daughter|sons daughters|father mother|brother sister|brothers sisters|boy girl"
  "|husband wife|before after|above below|over under|inside outside|up down|always never"
  "|often seldom|everything nothing|everyone nobody|all none|more less|most least|many few"
  "|with without|buy sell|come go|came went|give take|gave took|remember forget|win lose|won lost"
  "|laugh cry|born buried|friend enemy|friends enemies|wise foolish|righteous wicked|near far"
  "|black white|beginning end|he she|his her"
)
AUXILIARY = "is|are|was|were|am|will|shall|can|could|would|should|must|may|might|did|does|do"
IRREGULAR = {"wo": "will", "ca": "can", "sha": "shall"}  # before n't
PARTICIPLE = r"(?:been|\w+ed|\w+en)"  # behind have: an auxiliary there

NUMBER = re.compile(r"\d+")
LETTERS = re.compile(r"\w+")
WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*(?![\w'’])")  # none before an apostrophe
NEGATED = re.compile(
  rf"\b({AUXILIARY}|(?:has|have|had)(?=(?: not|n't) {PARTICIPLE}))(?: not\b|n't\b)"
  r"|\b(can)not\b|\b(wo|ca|sha)n't\b",
  re.IGNORECASE,
)
POSITIVE = re.compile(rf"\b(?:{AUXILIARY}|(?:has|have|had)(?= {PARTICIPLE}\b))\b", re.IGNORECASE)
NEGATIVE_WORD = re.compile(r"\b(?:no|not|never|none|nobody|nothing|neither|nor)\b|n't\b", re.I)
LEAST_TEXTS = 3  # that have a proper name inside, with a capital


class Altered(NamedTuple):
  """A changed sentence, and which change made it: number, name, negation or opposite."""

  change: str
  text: str


class Names:
  """Names by kind: a name may stand for each other one of its kind.

  Args:
    kinds: lists of names; one that several lists have counts for the first.
  """

  def __init__(self, kinds: Iterable[Sequence[str]]):
    self._kind: dict[str, Sequence[str]] = {}
    for names in kinds:
      for name in names:
        self._kind.setdefault(name, names)
    self._beginning: dict[str, list[str]] = collections.defaultdict(list)  # by the first letters
    for name in sorted(self._kind, key=lambda name: (-len(name), name)):
      self._beginning[LETTERS.findall(name)[0]].append(name)

  def found(self, text: str) -> list[str]:
    """The names in a text, each once; where one is the beginning of another, the longer."""
    found: dict[str, None] = {}
    end = 0
    for match in LETTERS.finditer(text):
      start = match.start()
      for name in self._beginning.get(match.group(), ()) if start >= end else ():
        if text.startswith(name, start) and not LETTERS.match(text, start + len(name)):
          found[name], end = None, start + len(name)
          break
    return list(found)

  def others(self, name: str) -> list[str]:
    """The names that may stand for this one."""
    return [other for other in self._kind[name] if other != name]


def names_of(texts: Iterable[str]) -> Names:
  """CLDR's names, and the proper names in some English texts.

  A proper name is a word with a capital that is not the first of its text, in at least
  `LEAST_TEXTS` texts, and that no text has without one.
  """
  capital: collections.Counter[str] = collections.Counter()
  small: set[str] = set()
  for text in texts:
    words = WORD.findall(text)
    small.update(word for word in words if word.islower())
    capital.update({word for word in words[1:] if word.istitle() and len(word) > 2})
  proper = [name for name, count in capital.items() if count >= LEAST_TEXTS]
  return Names([*cldr_names(), sorted(name for name in proper if name.lower() not in small)])


@functools.cache
def cldr_names() -> tuple[list[str], ...]:
  """Months, weekdays, countries and languages in English, each list sorted."""
  english = babel.Locale("en")
  countries = {name for code, name in english.territories.items() if code.isalpha()}
  kinds = (
    set(english.months["format"]["wide"].values()) - {"March", "May"},  # these are verbs too
    set(english.days["format"]["wide"].values()),
    {name for name in countries if name.isalpha()},
    {name for name in english.languages.values() if name.isalpha()} - countries,
  )
  return tuple(sorted(names) for names in kinds)


def alter(text: str, names: Names, *, most: int, seed: int = 0) -> list[Altered]:
  """At most `most` changed copies of an English sentence, of different changes where it can.

  Args:
    text: the sentence.
    names: see `names_of`.
    most: how many.
    seed: of the choice.

  Returns:
    Different texts, none of them `text`; none where no rule applies.

  Examples:
    >>> [altered.text for altered in alter("He is here.", Names([]), most=2)]
    ['He is not here.', 'She is here.']
  """
  digest = hashlib.blake2b(f"{seed} {text}".encode("utf-8", "replace"), digest_size=8).digest()
  generator = random.Random(digest)
  waiting = {change: rule(text, names, generator) for change, rule in RULES.items()}
  found: dict[str, str] = {}  # text -> change
  while waiting and len(found) < most:
    for change in list(waiting):
      other = next(waiting[change], None)
      if other is None:
        del waiting[change]
      elif other != text and len(found) < most:
        found.setdefault(other, change)
  return [Altered(change, other) for other, change in found.items()]


def numbers(text: str, names: Names, generator: random.Random) -> Iterator[str]:
  """One number changed, each in turn."""
  del names
  for match in NUMBER.finditer(text):
    yield replaced(text, match, other_digits(match.group(), generator))
  yield from by_list(text, WORDS_OF_NUMBERS, generator)


def other_digits(number: str, generator: random.Random) -> str:
  """Another number of as many digits; the first is 0 only where it was."""
  while True:
    digits = [generator.choice("0123456789") for _ in number]
    if number[0] != "0" and digits[0] == "0":
      digits[0] = generator.choice("123456789")
    if "".join(digits) != number:
      return "".join(digits)


def other_names(text: str, names: Names, generator: random.Random) -> Iterator[str]:
  """One name changed, each in turn, wherever the sentence has it."""
  for name in names.found(text):
    if others := names.others(name):
      other = generator.choice(others)
      yield re.sub(rf"\b{re.escape(name)}\b", other, text)


def negations(text: str, names: Names, generator: random.Random) -> Iterator[str]:
  """`not` out where it is, else in: behind one auxiliary verb, each in turn."""
  del names, generator
  negated = list(NEGATED.finditer(text))
  for match in negated:
    verb = next(filter(None, match.groups()))
    verb = IRREGULAR.get(verb.lower(), verb)
    yield replaced(text, match, verb)
  for match in () if NEGATIVE_WORD.search(text) else POSITIVE.finditer(text):
    yield replaced(text, match, f"{match.group()} not")


def opposites(text: str, names: Names, generator: random.Random) -> Iterator[str]:
  """One word's opposite in its place, each in turn."""
  del names
  yield from by_list(text, WORDS_OF_OPPOSITES, generator)


def by_list(text: str, others: dict[str, list[str]], generator: random.Random) -> Iterator[str]:
  """One word changed to one of those that may stand for it, each in turn."""
  for match in WORD.finditer(text):
    word = match.group()
    if choice := others.get(word.lower()):
      other = generator.choice(choice)
      yield replaced(text, match, other.capitalize() if word.istitle() else other)


def replaced(text: str, match: re.Match[str], other: str) -> str:
  """The text with something else in the place of a match."""
  return text[: match.start()] + other + text[match.end() :]


def exchangeable(lists: Iterable[Sequence[str]]) -> dict[str, list[str]]:
  """Word -> the other words of all lists that it is in."""
  others: dict[str, list[str]] = collections.defaultdict(list)
  for words in lists:
    for word in words:
      others[word] += [other for other in words if other != word]
  return dict(others)


WORDS_OF_NUMBERS = exchangeable(NUMBER_WORDS)
WORDS_OF_OPPOSITES = exchangeable([pair.split() for pair in OPPOSITES.split("|")])
RULES: dict[str, Callable[[str, Names, random.Random], Iterator[str]]] = {
  "number": numbers,
  "name": other_names,
  "negation": negations,
  "opposite": opposites,
}
