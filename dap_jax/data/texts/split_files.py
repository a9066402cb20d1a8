"""Which files of a folder are which language's train, dev and test split, told by their names.

    en_ewt-ud-train.conllu      Universal Dependencies and Universal NER; .conllu or .iob2
    en-train.tsv  en.train.tsv  a language and a split; any extension or none
    train-en.tsv                the same, as XTREME's scripts write them
    en/train                    a folder a language, as WikiAnn comes
    train-v1.1.json             SQuAD, English; and of XQuAD and MLQA
    xquad.de.json  test-context-de-question-de.json

A file may be compressed. Folders within the folder are looked into, such as UD_English-EWT. Several
files of one language and split, as of several treebanks, belong together, in the order of their
paths.
"""

from __future__ import annotations

import re

from etils import epath

from dap_jax.data.texts import text_files
from dap_jax.utils.errors import UserError

SPLITS = {"train": "train", "training": "train", "test": "test"}
SPLITS |= dict.fromkeys(("dev", "valid", "validation"), "dev")
SPLIT = rf"(?P<split>{'|'.join(SPLITS)})"
CODE = r"(?P<language>[a-z]{2,3}(?:[-_][A-Za-z0-9]+)*?)"
EXTENSION = re.compile(r"\.(?:conllu|conll|iob2|iob|bio|tsv|txt|json)$")
TREEBANK = re.compile(
  rf"(?P<language>[a-z]{{2,3}})_[A-Za-z0-9]+-u[dm]-{SPLIT}\.(?:conllu|iob2)", re.ASCII
)
NAMED = (
  re.compile(rf"{CODE}[-_.]{SPLIT}", re.ASCII),
  re.compile(rf"{SPLIT}[-_.]{CODE}", re.ASCII),
)
QUESTIONS = (  # of a split that is not named: a test; of a language that is not: English
  re.compile(rf"{SPLIT}-v\d\.\d\.json", re.ASCII),
  re.compile(r"xquad\.(?P<language>[a-z]{2})\.json", re.ASCII),
  re.compile(rf"{SPLIT}-context-(?P<language>[a-z]{{2}})-question-(?P=language)\.json", re.ASCII),
)
OF_FOLDER = re.compile(SPLIT, re.ASCII)

SplitFiles = dict[tuple[str, str], list[epath.Path]]  # (language, split) -> files


def split_files(folder: epath.Path) -> SplitFiles:
  """The files of each language and split; others are ignored.

  Raises:
    UserError: the folder does not exist, or has no such file.
  """
  if not folder.is_dir():
    raise UserError(f"{folder} is no folder: expected one with a file a language and split")
  files: SplitFiles = {}
  entries = sorted(folder.glob("*"))
  for entry in entries:
    inside = sorted(entry.glob("*")) if entry.is_dir() else [entry]
    for path in inside:
      key = language_and_split(path.name, folder=entry.name if entry.is_dir() else "")
      if key and not path.is_dir():
        files.setdefault(key, []).append(path)
  if not files:
    names = ", ".join(path.name for path in entries[:3]) or "nothing"
    raise UserError(
      f"{folder} has no file of a language and split, it has {names}: expected names such as"
      " en-train.tsv, de-test.tsv, or those of Universal Dependencies, en_ewt-ud-train.conllu"
    )
  return files


def language_and_split(name: str, *, folder: str) -> tuple[str, str] | None:
  """What a file's name tells, None where it is no such file; folder: the one it lies in, or "".

  Examples:
    >>> language_and_split("en_ewt-ud-dev.conllu.gz", folder="")
    ('en', 'dev')
    >>> language_and_split("test-zh.tsv", folder=""), language_and_split("train", folder="de")
    (('zh', 'test'), ('de', 'train'))
    >>> language_and_split("en_ewt-ud-dev.txt", folder="UD_English-EWT")
  """
  name = text_files.COMPRESSED.sub("", name)
  if match := TREEBANK.fullmatch(name):
    return match["language"], SPLITS[match["split"]]
  if re.fullmatch(r".*-u[dm]-[a-z]+\..*", name):  # a treebank's raw text and the like
    return None
  for pattern in QUESTIONS:
    if match := pattern.fullmatch(name):
      named = match.groupdict()
      return named.get("language", "en"), SPLITS[named.get("split", "test")]
  name = EXTENSION.sub("", name)
  for pattern in NAMED:
    match = pattern.fullmatch(name)
    if match and text_files.LANGUAGE.fullmatch(match["language"]):
      return match["language"], SPLITS[match["split"]]
  match = OF_FOLDER.fullmatch(name)
  if match and text_files.LANGUAGE.fullmatch(folder):
    return folder, SPLITS[match["split"]]
  return None
