"""Sentences whose words have tags, in several languages: parts of speech, or named entities.

A folder has a file a language and split, see `split_files`. By the end of their names these are

    .conllu     Universal Dependencies: the tags are those of column 4, see `treebanks`
    .iob2       Universal NER: id, word and tag, with tabs between; further columns are ignored
    others      word and tag, with a tab between, and an empty line behind a sentence; every word
                may have its language before it, as in WikiAnn: `en:Paris<TAB>B-LOC`

Tags of entities are IOB2: B-TYPE begins one, I-TYPE continues it, O is none. One language has
training examples; of the others only the test split is read.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from etils import epath

from dap_jax.data.texts import text_files
from dap_jax.data.texts.split_files import SplitFiles, split_files
from dap_jax.data.texts.treebanks import UPOS, Tagged, read_treebank, refuse_twice
from dap_jax.utils.errors import UserError

OUTSIDE = "O"
ENTITY = re.compile(r"[BI]-.+")


class Split(NamedTuple):
  """words: of each sentence. tags: as many."""

  words: list[list[str]]
  tags: list[list[str]]


class TaggedSentences(NamedTuple):
  """Sentences for training in one language and testing in all.

  Attributes:
    train_language: its code.
    train, dev: of that language; dev may be empty.
    test: language -> sentences, the training language first if it has any.
    classes: the tags, sorted: all 17 of Universal Dependencies, or those of `train`; of entities
      both B and I of every type.
    are_entities: whether they are IOB2.
    train_split: what `train` is, in words.
    dev_split: what `dev` is, in words.
  """

  train_language: str
  train: Split
  dev: Split
  test: dict[str, Split]
  classes: list[str]
  are_entities: bool
  train_split: str
  dev_split: str

  def digest(self) -> str:
    """SHA-256 of all words and tags, hexadecimal."""
    parts = [self.train, self.dev, *self.test.values()]
    content = json.dumps([self.train_language, list(self.test), parts])
    return hashlib.sha256(content.encode()).hexdigest()

  def protocol(self) -> dict[str, Any]:
    """The data's part in the protocol of a result."""
    return {
      "task": "named entities" if self.are_entities else "parts of speech",
      "classes": len(self.classes),
      "train_sentences": f"{len(self.train.words)}, {self.train_split}",
      "dev_sentences": f"{len(self.dev.words)}, {self.dev_split}" if self.dev.words else "",
      "test_languages": ",".join(self.test),
      "test_sentences": sum(len(split.words) for split in self.test.values()),
    }


class Reader:
  """Reads files whose tags must be those of the training split.

  Args:
    ignored: types of entities that count as none.
  """

  def __init__(self, ignored: Collection[str]):
    self._ignored = {f"{prefix}-{name}" for name in ignored for prefix in "BI"}
    self.classes: list[str] = []

  def learn(self, paths: Sequence[epath.Path], *, language: str) -> Split:
    """Reads the training split, whose tags become `classes`. Raises UserError as `read`."""
    split = self.read(paths, language=language)
    tags = {tag for sentence in split.tags for tag in sentence}
    if len(tags) < 2:
      raise UserError(f"{paths[0]}: tags of the training split: {len(tags)}, expected at least 2")
    entities = {tag for tag in tags if ENTITY.fullmatch(tag)}
    if entities and tags - entities - {OUTSIDE}:
      odd = min(tags - entities - {OUTSIDE})
      raise UserError(f"{paths[0]}: the tag {odd!r} is neither {OUTSIDE} nor B-TYPE nor I-TYPE")
    tags |= {f"{prefix}-{tag[2:]}" for tag in entities for prefix in "BI"}
    self.classes = list(UPOS) if tags <= set(UPOS) else sorted(tags)
    return split

  def read(self, paths: Iterable[epath.Path], *, language: str) -> Split:
    """Reads the files of a split.

    Raises:
      UserError: a line does not fit, by its number; a tag is wrong, or none of `classes`.
    """
    split = Split([], [])
    for path in paths:
      for sentence in read_file(path, language=language):
        tags = [OUTSIDE if tag in self._ignored else tag for tag in sentence.tags]
        self._check(tags, sentence, path)
        split.words.append(sentence.words)
        split.tags.append(tags)
    return split

  def _check(self, tags: Sequence[str], sentence: Tagged, path: epath.Path) -> None:
    """Raises UserError for an entity that nothing begins, or a tag that training never sees."""
    before = OUTSIDE
    for tag, line in zip(tags, sentence.lines, strict=True):
      if tag.startswith("I-") and before[2:] != tag[2:]:
        raise UserError(
          f"{path}:{line}: {tag} follows {before}: expected B-{tag[2:]}, which begins an entity"
        )
      if self.classes and tag not in self.classes:
        cure = f"; --ignore_tags={tag[2:]} makes it {OUTSIDE}" if ENTITY.fullmatch(tag) else ""
        raise UserError(
          f"{path}:{line}: the tag {tag!r} is none of those of training,"
          f" {', '.join(self.classes)}{cure}"
        )
      before = tag


def read_tagged_sentences(
  folder: str,
  *,
  train_language: str,
  train_split: str = "train",
  dev_share: float = 0.0,
  ignored: Collection[str] = (),
) -> TaggedSentences:
  """Reads a folder of tagged sentences.

  Args:
    folder: see the module.
    train_language: the language of training.
    train_split: which of its splits it is; with `dev` nothing is left for development.
    dev_share: where there is no development split, the share of the training sentences that becomes
      it: every n-th, the last of each n.
    ignored: types of entities that count as none.

  Raises:
    UserError: a file is damaged; the training language has no such split or fewer than two tags; no
      language has a test split; a tag never occurs in training.
  """
  files = split_files(epath.Path(folder))
  languages = sorted({language for language, _ in files})
  if (train_language, train_split) not in files:
    of_language = [split for language, split in files if language == train_language]
    raise UserError(
      f"{folder} has no {train_split} split of train_language={train_language}: it has"
      f" {', '.join(of_language) or 'none'} of it; languages are {', '.join(languages)}"
    )
  reader = Reader(ignored)
  train = reader.learn(files[train_language, train_split], language=train_language)
  dev_files = [] if train_split == "dev" else files.get((train_language, "dev"), [])
  dev = reader.read(dev_files, language=train_language)
  words = {split: f"{train_language} {split}" for split in ("train", "dev", "test")}
  about_dev = words["dev"]
  if dev_share:
    if dev.words:
      raise UserError(f"--dev_share={dev_share}: {train_language} has a development split already")
    train, dev, about_dev = without_share(train, dev_share)
  test = read_tests(reader, files, [train_language, *languages], folder=folder)
  return TaggedSentences(
    train_language=train_language,
    train=train,
    dev=dev,
    test=test,
    classes=reader.classes,
    are_entities=any(ENTITY.fullmatch(tag) for tag in reader.classes),
    train_split=words[train_split],
    dev_split=about_dev,
  )


def read_tests(
  reader: Reader, files: SplitFiles, languages: Iterable[str], *, folder: str
) -> dict[str, Split]:
  """The test splits in the order of the languages. Raises UserError where there are none."""
  test = {
    language: reader.read(files[language, "test"], language=language)
    for language in dict.fromkeys(languages)
    if (language, "test") in files
  }
  for language, split in test.items():
    if not split.words:
      raise UserError(f"{files[language, 'test'][0]} has no sentence: it is no test split")
  if not test:
    raise UserError(f"{folder} has no test split in any language: there is nothing to test on")
  return test


def without_share(train: Split, share: float) -> tuple[Split, Split, str]:
  """The training sentences without every n-th, these, and what they are."""
  nth = max(2, round(1 / share))
  chosen = [place for place in range(len(train.words)) if place % nth == nth - 1]
  rest = sorted(set(range(len(train.words))) - set(chosen))
  if not chosen:
    raise UserError(f"--dev_share={share}: there are only {len(train.words)} training sentences")
  parts = (
    Split([train.words[i] for i in rows], [train.tags[i] for i in rows]) for rows in (rest, chosen)
  )
  return *parts, f"every {nth}th of training"  # type: ignore[return-value]  # two of them


def read_file(path: epath.Path, *, language: str) -> Iterator[Tagged]:
  """The sentences of a file of any of the three kinds. Raises UserError for a line by number."""
  name = text_files.COMPRESSED.sub("", path.name)
  if name.endswith(".conllu"):
    yield from read_treebank(path, language=language)
  else:
    yield from (read_iob2(path) if name.endswith(".iob2") else read_columns(path))


def read_iob2(path: epath.Path) -> Iterator[Tagged]:
  """Universal NER's files; see `read_file`."""
  sentence, number_of_columns = Tagged([], [], []), 0
  first_lines: dict[str, int] = {}
  for number, line in enumerate(text_files.lines(path), 1):
    where = f"{path}:{number}"
    if not line.strip():
      if sentence.words:
        yield sentence
      sentence = Tagged([], [], [])
      continue
    if line.startswith("#"):
      refuse_twice(line, number, first_lines, where=where)
      continue
    columns = line.split("\t")
    number_of_columns = number_of_columns or len(columns)
    if len(columns) != number_of_columns or len(columns) < 3:
      expected = max(3, number_of_columns)
      raise UserError(f"{where}: {len(columns)} columns with tabs between, expected {expected}")
    if columns[0] != str(len(sentence.words) + 1):
      raise UserError(
        f"{where}: the word's id is {columns[0][:60]!r}, expected {len(sentence.words) + 1}"
      )
    add(sentence, columns[1], columns[2], number, where=where)
  if sentence.words:
    yield sentence


def read_columns(path: epath.Path) -> Iterator[Tagged]:
  """Files of words and tags; see `read_file`."""
  sentence, prefix = Tagged([], [], []), language_before(path)
  for number, line in enumerate(text_files.lines(path), 1):
    if not line.strip():
      if sentence.words:
        yield sentence
      sentence = Tagged([], [], [])
      continue
    where, columns = f"{path}:{number}", line.split("\t")
    if len(columns) != 2:
      raise UserError(
        f"{where}: {len(columns)} columns with tabs between, expected two, a word and its tag"
      )
    add(sentence, columns[0].removeprefix(prefix), columns[1], number, where=where)
  if sentence.words:
    yield sentence


def language_before(path: epath.Path) -> str:
  """`en:` where every word of the file begins with it, as in WikiAnn; else ""."""
  prefix = None
  for line in text_files.lines(path):
    if line.strip():
      code, colon, _ = line.split("\t")[0].partition(":")
      if prefix is None:
        prefix = f"{code}:" if colon and text_files.LANGUAGE.fullmatch(code) else ""
      if not prefix or not line.startswith(prefix):
        return ""
  return prefix or ""


def add(sentence: Tagged, word: str, tag: str, number: int, *, where: str) -> None:
  """Appends a word to a sentence. Raises UserError that begins with `where` for an empty tag."""
  tag = tag.strip()
  if not tag:
    raise UserError(f"{where}: the tag is empty")
  sentence.words.append("".join(word.split()).replace("\u200c", ""))
  sentence.tags.append(tag)
  sentence.lines.append(number)
