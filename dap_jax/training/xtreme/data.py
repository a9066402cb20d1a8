"""The files of XTREME's fine-tuned tasks, as they are released, in a folder with one for each.

xnli/    XNLI-1.0 and XNLI-MT-1.0                  pawsx/   a folder a language
udpos/   treebanks of Universal Dependencies 2.5   panx/    WikiAnn, see `split_files`
squad/train-v1.1.json                              xquad/xquad.de.json
mlqa/    MLQA_V1's folders                         tydiqa/  the training file of the gold
                                                   passages, and the folder of its dev files
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from etils import epath

from dap_jax.data.texts.question_answers import Question, QuestionAnswers, read_file
from dap_jax.data.texts.split_files import split_files
from dap_jax.data.texts.tagged_sentences import TaggedSentences, read_tagged_sentences
from dap_jax.evals.xtreme import sentence_pairs, tasks
from dap_jax.training.xtreme.protocols import PROTOCOLS, SQUAD
from dap_jax.utils.errors import UserError

ENGLISH = "en"
TYDI_LANGUAGES = {
  "ar": "arabic",
  "bn": "bengali",
  "en": "english",
  "fi": "finnish",
  "id": "indonesian",
  "ko": "korean",
  "ru": "russian",
  "sw": "swahili",
  "te": "telugu",
}
SQUAD_TRAIN = "train-v1.1.json"
TYDI_TRAIN = "tydiqa-goldp-v1.1-train.json"
TYDI_TEST = "tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-{}.json"


def check(names: Sequence[str], folder: str, *, chosen: Sequence[str]) -> None:
  """Raises UserError, one line for all of them, where files of fine-tunings are missing.

  Args:
    names: keys of `protocols.PROTOCOLS`.
    folder: with one for each task.
    chosen: of XQuAD and MLQA those that are asked for.
  """
  root, missing = epath.Path(folder), list[str]()
  for name in names:
    if name in (tasks.UDPOS, tasks.PANX):
      missing += missing_splits(root / name, name, ("train", "dev"))
    else:
      missing += [str(path) for path in files_of(name, root) if not path.exists()]
    if name == SQUAD:
      for task in PROTOCOLS[SQUAD].predicts:
        missing += missing_splits(root / task, task, ()) if task in chosen else []
  if missing:
    more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
    raise UserError(
      f"--data={folder} lacks {', '.join(missing[:5])}{more}; --tasks names the tasks to run, and"
      " docs/xtreme.md the files of each"
    )


def files_of(name: str, root: epath.Path) -> list[epath.Path]:
  """Files of a fine-tuning whose names are fixed."""
  folder = root / name
  if name == SQUAD:
    return [folder / SQUAD_TRAIN]
  if name == tasks.TYDIQA:
    tests = [TYDI_TEST.format(TYDI_LANGUAGES[code]) for code in tasks.TASKS[name].languages]
    return [folder / TYDI_TRAIN, *(folder / test for test in tests)]
  return list(sentence_pairs.files_of(name, folder))


def missing_splits(folder: epath.Path, task: str, of_english: Sequence[str]) -> list[str]:
  """What a folder of a file a language and split lacks; of_english: splits beside the tests."""
  there = split_files(folder) if folder.is_dir() else {}
  wanted = [(ENGLISH, split) for split in of_english]
  wanted += [(code, "test") for code in tasks.TASKS[task].languages]
  return [f"{folder}: {code} {split}" for code, split in wanted if (code, split) not in there]


def read(name: str, folder: str, *, chosen: Sequence[str], quotes: str) -> Any:
  """The data of a fine-tuning whose files `check` has found, for its task.

  Args:
    name: a key of `protocols.PROTOCOLS`.
    folder: with one for each task.
    chosen: of XQuAD and MLQA those that are asked for.
    quotes: of XNLI and PAWS-X, see `evals.xtreme.sentence_pairs`.

  Returns:
    What `training.finetuning.settings.make_task` takes. The test splits of several tasks are named
    TASK-LANGUAGE, those of one LANGUAGE.

  Raises:
    UserError: a file is damaged.
  """
  root = epath.Path(folder)
  if name in (tasks.UDPOS, tasks.PANX):
    return read_tags(root / name, task=name)
  readers: dict[str, Callable[[], Any]] = {
    tasks.XNLI: functools.partial(sentence_pairs.read_xnli, root / name, quotes=quotes),
    tasks.PAWSX: functools.partial(sentence_pairs.read_pawsx, root / name, quotes=quotes),
    SQUAD: functools.partial(read_squad, root, chosen=chosen),
    tasks.TYDIQA: functools.partial(read_tydi, root / name),
  }
  return readers[name]()


def read_tags(folder: epath.Path, *, task: str) -> TaggedSentences:
  """UDPOS or PANX: the languages of the benchmark alone."""
  sentences = read_tagged_sentences(str(folder), train_language=ENGLISH)
  codes = tasks.TASKS[task].languages
  return sentences._replace(test={code: sentences.test[code] for code in english_first(codes)})


def read_squad(root: epath.Path, *, chosen: Sequence[str]) -> QuestionAnswers:
  """SQuAD to train on; XQuAD, MLQA or both to test on."""
  test: dict[str, list[Question]] = {}
  for task in (tasks.XQUAD, tasks.MLQA):
    if task not in chosen:
      continue
    files = {
      code: paths for (code, split), paths in split_files(root / task).items() if split == "test"
    }
    for code in english_first(tasks.TASKS[task].languages):
      test[f"{task}-{code}"] = [each for path in files[code] for each in read_file(path)]
  train = read_file(root / SQUAD / SQUAD_TRAIN)
  return QuestionAnswers(ENGLISH, train, [], test)


def read_tydi(folder: epath.Path) -> QuestionAnswers:
  """TyDiQA-GoldP: the English questions of its training file, and its development files as tests.

  The language of a training question is the beginning of its id, `english-`.
  """
  train = [each for each in read_file(folder / TYDI_TRAIN) if each.id.startswith("english-")]
  if not train:
    raise UserError(f"{folder / TYDI_TRAIN} has no question whose id begins with english-")
  test = {
    code: read_file(folder / TYDI_TEST.format(TYDI_LANGUAGES[code]))
    for code in english_first(tasks.TASKS[tasks.TYDIQA].languages)
  }
  return QuestionAnswers(ENGLISH, train, [], test)


def english_first(codes: Sequence[str]) -> list[str]:
  """The languages, that of training first."""
  return sorted(codes, key=lambda code: code != ENGLISH)
