"""Scores of folders of predictions and labels, TASK/test-LANGUAGE.{tsv,json}, and their averages.

Every score is in [0, 100]. The figure of a task is the mean over its languages of its first metric;
of question answering the mean of exact match and F1. A group's figure is the mean of its tasks, the
overall figure the mean of the nine. None is given that lacks a member.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from dap_jax.evals import MEAN, Result
from dap_jax.evals.measures import answers, chunks, counts
from dap_jax.evals.xtreme import tasks
from dap_jax.evals.xtreme.scoring import files
from dap_jax.evals.xtreme.tasks import TASKS
from dap_jax.utils.errors import UserError

VERSION = 1
OVERALL = "overall"
FIGURE = "figure"
TITLES = {"squad_1.1_exact_match": " EM", "squad_1.1_f1": " F1"}  # in the table, behind the task
TITLES |= {"mlqa_exact_match": " EM", "mlqa_f1": " F1"}
MEANINGS = {  # what the protocol of a task says of its metrics
  "accuracy": "share of equal lines",
  "from_english_accuracy": "share of equal lines: rows of the other language, queries English",
  tasks.CHUNKS[0]: "micro F1 of chunks as seqeval 0.0.12, all sentences one sequence",
  tasks.TOKENS: "share of equal tags",
  "pair_f1": "F1 of sets of pairs",
  "squad_1.1_f1": "SQuAD 1.1's exact match and F1, English articles, in every language",
  "mlqa_f1": "MLQA's exact match and F1, articles and segmentation by language",
}

Values = Mapping[str, Mapping[str, float]]  # metric -> language -> score

logger = logging.getLogger(__name__)


def score_folders(predictions: str, labels: str, *, chosen: Sequence[str]) -> Result:
  """Scores tasks.

  Args:
    predictions, labels: folders.
    chosen: names of `tasks.TASKS`.

  Returns:
    Scores `TASK/METRIC/LANGUAGE`, `TASK/METRIC/mean`, `TASK/figure`, `group/GROUP` and `overall`.

  Raises:
    UserError: a file of a task or language is missing or damaged, or does not fit its labels.
  """
  folders = {"predictions": epath.Path(predictions), "labels": epath.Path(labels)}
  check_complete(folders, chosen)
  values = {task: score_task(task, **folders) for task in chosen}
  figures = {task: figure_of(task, values[task]) for task in chosen}
  averages = averages_of(figures)
  scores: dict[str, float] = {}
  for task, by_metric in values.items():
    for metric, by_language in by_metric.items():
      scores[f"{task}/{metric}/{MEAN}"] = mean_of(by_language)
      scores |= {f"{task}/{metric}/{code}": value for code, value in by_language.items()}
    scores[f"{task}/{FIGURE}"] = figures[task]
  scores |= {
    name if name == OVERALL else f"group/{name}": value for name, value in averages.items()
  }
  read = {name: str(folder) for name, folder in folders.items()}
  protocol = {task: {"version": VERSION, **read, **protocol_of(task)} for task in chosen}
  return Result(protocol, scores, columns_of(values), rows_of(values))


def check_complete(folders: Mapping[str, epath.Path], chosen: Sequence[str]) -> None:
  """Raises UserError, one line for all of them, where files of the tasks are missing.

  Args:
    folders: what a folder holds -> the folder.
    chosen: the tasks.
  """
  missing = []
  for kind, folder in folders.items():
    if not folder.is_dir():
      raise UserError(f"{folder} is no folder: expected one of {kind}, a folder a task")
    parts = []
    for task in chosen:
      codes = TASKS[task].languages
      absent = [code for code in codes if not tasks.file_of(folder, task, code).exists()]
      if absent:
        parts.append(f"{task} ({'all' if len(absent) == len(codes) else ' '.join(absent)})")
    if parts:
      missing.append(f"the {kind} {folder} lack {', '.join(parts)}")
  if missing:
    example = tasks.file_of(epath.Path(""), chosen[0], TASKS[chosen[0]].languages[0])
    raise UserError(
      f"{'; '.join(missing)}: expected files such as {example}: no mean is given that lacks a"
      " language; --tasks names the tasks to score"
    )


def score_task(
  task: str, *, predictions: epath.Path, labels: epath.Path
) -> dict[str, dict[str, float]]:
  """metric -> language -> score of one task. Raises UserError as `score_folders`."""
  values: dict[str, dict[str, float]] = {metric: {} for metric in TASKS[task].metrics}
  for code in TASKS[task].languages:
    paths = (tasks.file_of(labels, task, code), tasks.file_of(predictions, task, code))
    scores = score_language(task, code, paths=paths)
    for metric, value in zip(TASKS[task].metrics, scores, strict=True):
      values[metric][code] = value
  return values


def score_language(
  task: str, language: str, *, paths: tuple[epath.Path, epath.Path]
) -> tuple[float, ...]:
  """The metrics of a task, in their order, of the files of labels and predictions."""
  if task == tasks.BUCC:
    gold, found = (files.read_pairs(path, language=language) for path in paths)
    if not gold:
      raise UserError(f"{paths[0]} is empty: expected the pairs that are translations")
    if not found:
      logger.warning("%s is empty: no pair was found", paths[1])
    return counts.f1_of(hits=len(gold & found), predicted=len(found), gold=len(gold))
  if TASKS[task].group == tasks.ANSWERING:
    return score_answers(task, language, paths=paths)
  classes = TASKS[task].classes
  if TASKS[task].group == tasks.STRUCTURED:
    labels, predicted = (files.read_tags(path, classes=classes) for path in paths)
    files.check_sentences(labels, predicted, paths=paths)
    tags = [[tag or chunks.OUTSIDE for tag in side] for side in (labels, predicted)]  # "" ends one
    accuracy = counts.accuracy(*([tag for tag in side if tag] for side in (labels, predicted)))
    return (*chunks.chunk_scores(*([side] for side in tags)), accuracy)
  if task == tasks.TATOEBA:
    labels, predicted = (files.read_rows(path) for path in paths)
  else:
    labels, predicted = (files.read_classes(path, classes=classes) for path in paths)
  files.check_counts(labels, predicted, paths=paths)
  return (counts.accuracy(labels, predicted),)


def score_answers(
  task: str, language: str, *, paths: tuple[epath.Path, epath.Path]
) -> answers.AnswerScores:
  """Exact match and F1 of a language; says how many questions have no prediction."""
  gold = files.read_questions(paths[0])
  predicted = files.read_answers(paths[1], known=gold.__contains__)
  if len(predicted) < len(gold):
    lacking = len(gold) - len(predicted)
    logger.warning("%s: %d of %d questions have no answer: 0", paths[1], lacking, len(gold))
  normalise: answers.Normalise = answers.normalise_squad
  if task == tasks.MLQA:
    normalise = functools.partial(answers.normalise_mlqa, language=language)
  return answers.answer_scores(gold, predicted, normalise=normalise)


def mean_of(by_language: Mapping[str, float]) -> float:
  """The mean over languages."""
  return float(np.mean(list(by_language.values())))


def figure_of(task: str, values: Values) -> float:
  """The task's figure in the averages, of its metrics."""
  return float(np.mean([mean_of(values[metric]) for metric in TASKS[task].figures]))


def averages_of(figures: Mapping[str, float]) -> dict[str, float]:
  """The means of each group and of all nine tasks of which no member is missing.

  Args:
    figures: task -> its figure.

  Examples:
    >>> averages_of({"xnli": 60.0, "pawsx": 80.0, "panx": 50.0})
    {'classification': 70.0}
  """
  sets = {**tasks.GROUPS, OVERALL: tuple(TASKS)}
  return {
    name: float(np.mean([figures[task] for task in members]))
    for name, members in sets.items()
    if set(members) <= set(figures)
  }


def protocol_of(task: str) -> dict[str, Any]:
  """What the scores of a task mean."""
  row = TASKS[task]
  meanings = [MEANINGS[metric] for metric in row.metrics if metric in MEANINGS]
  figure = f"mean over languages of {' and of '.join(row.figures)}"
  return {
    "scores": "in [0, 100]",
    "metric": "; ".join(meanings),
    "figure": figure,
    "languages": " ".join(row.languages),
  }


def columns_of(values: Mapping[str, Values]) -> dict[str, dict[str, float]]:
  """The table's columns: those metrics of each task that its figure is made of."""
  return {
    f"{task}{TITLES.get(metric, '')}": {**by_metric[metric], MEAN: mean_of(by_metric[metric])}
    for task, by_metric in values.items()
    for metric in TASKS[task].figures
  }


def rows_of(values: Mapping[str, Values]) -> list[str]:
  """The table's rows: the mean, English, the other languages."""
  codes = {code for by_metric in values.values() for codes in by_metric.values() for code in codes}
  return [MEAN, *sorted(codes, key=lambda code: (code != "en", code))]


def summary_of(scores: Mapping[str, float]) -> dict[str, float]:
  """task, group and overall -> the figure, of scores by name."""
  figures = {task: scores[f"{task}/{FIGURE}"] for task in TASKS if f"{task}/{FIGURE}" in scores}
  return figures | averages_of(figures)
