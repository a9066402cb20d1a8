"""The nine tasks of XTREME: their languages, metrics, groups, and the names of their files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from etils import epath

from dap_jax.utils.errors import UserError

PAWSX, XNLI, UDPOS, PANX, XQUAD = "pawsx", "xnli", "udpos", "panx", "xquad"
MLQA, TYDIQA, BUCC, TATOEBA = "mlqa", "tydiqa", "bucc2018", "tatoeba"

UPOS = (  # the part-of-speech tags of Universal Dependencies
  "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X"
)
CHUNKS = ("seqeval_0.0.12_f1", "seqeval_0.0.12_precision", "seqeval_0.0.12_recall")
TOKENS = "token_accuracy"
SQUAD_METRICS = ("squad_1.1_exact_match", "squad_1.1_f1")
MLQA_METRICS = ("mlqa_exact_match", "mlqa_f1")
PAIR_METRICS = ("pair_f1", "pair_precision", "pair_recall")


class Task(NamedTuple):
  """One task.

  Attributes:
    group: the key of `GROUPS` it belongs to.
    languages: codes; the mean over all of them is what the benchmark reports.
    metrics: the names of its scores, each in [0, 100].
    figures: of these metrics the mean is the task's figure in the averages of groups and of all.
    classes: what a line of its files may say; empty where it is not one of a few words.
  """

  group: str
  languages: tuple[str, ...]
  metrics: tuple[str, ...]
  figures: tuple[str, ...]
  classes: tuple[str, ...] = ()


def _task(
  group: str, languages: str, metrics: Sequence[str], *, figures: int = 1, classes: str = ""
) -> Task:
  """A row of the table; the first `figures` of the metrics count in averages."""
  words = tuple(languages.split()), tuple(classes.split())
  return Task(group, words[0], tuple(metrics), tuple(metrics[:figures]), words[1])


CLASSIFICATION, STRUCTURED = "classification", "structured_prediction"
ANSWERING, RETRIEVAL = "question_answering", "retrieval"
TASKS = {
  PAWSX: _task(CLASSIFICATION, "de en es fr ja ko zh", ["accuracy"], classes="0 1"),
  XNLI: _task(
    *(CLASSIFICATION, "ar bg de el en es fr hi ru sw th tr ur vi zh", ["accuracy"]),
    classes="contradiction entailment neutral",
  ),
  UDPOS: _task(
    STRUCTURED,
    "af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko mr nl pt ru ta te th tl tr ur vi"
    " yo zh",
    [*CHUNKS, TOKENS],
    classes=f"{UPOS} O",  # O is among the classes of the benchmark's own models
  ),
  PANX: _task(
    STRUCTURED,
    "af ar bg bn de el en es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr ms my nl pt ru sw"
    " ta te th tl tr ur vi yo zh",
    [*CHUNKS, TOKENS],
    classes="O B-LOC B-ORG B-PER I-LOC I-ORG I-PER",
  ),
  XQUAD: _task(ANSWERING, "ar de el en es hi ru th tr vi zh", SQUAD_METRICS, figures=2),
  MLQA: _task(ANSWERING, "ar de en es hi vi zh", MLQA_METRICS, figures=2),
  TYDIQA: _task(ANSWERING, "ar bn en fi id ko ru sw te", SQUAD_METRICS, figures=2),
  BUCC: _task(RETRIEVAL, "de fr ru zh", PAIR_METRICS),
  TATOEBA: _task(
    RETRIEVAL,
    "af ar bg bn de el es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr nl pt ru sw ta te th"
    " tl tr ur vi zh",
    ["from_english_accuracy"],
  ),
}
GROUPS = {
  group: tuple(name for name, task in TASKS.items() if task.group == group)
  for group in dict.fromkeys(task.group for task in TASKS.values())
}


def choose(names: Sequence[str]) -> list[str]:
  """Tasks by name, in the order of the table. Raises UserError for an unknown or repeated name."""
  for name in names:
    if name not in TASKS or list(names).count(name) > 1:
      raise UserError(f"--tasks: {name!r}: expected some of {', '.join(TASKS)}, each once")
  if not names:
    raise UserError(f"--tasks names none: expected some of {', '.join(TASKS)}")
  return [name for name in TASKS if name in names]


def file_of(folder: epath.Path, task: str, language: str) -> epath.Path:
  """The place of predictions, or of labels, in a folder of the benchmark's submission format."""
  suffix = "json" if TASKS[task].group == ANSWERING else "tsv"
  return folder / task / f"test-{language}.{suffix}"
