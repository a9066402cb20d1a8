"""Fine-tunes a model to XTREME's tasks, one after the other, and writes what it predicts.

WORKDIR/NAME is the workdir of a fine-tuning, which goes on where it was killed; a finished one is
not trained again. WORKDIR/predictions and WORKDIR/labels are the benchmark's submission format.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from dap_jax.data.texts.labelled_texts import LabelledTexts
from dap_jax.data.texts.question_answers import Question, QuestionAnswers
from dap_jax.data.texts.tagged_sentences import TaggedSentences
from dap_jax.evals.xtreme import tasks
from dap_jax.evals.xtreme.submission import LABELS, PREDICTIONS, write_text
from dap_jax.training.finetuning.run import PREDICTIONS as OF_RUN
from dap_jax.training.finetuning.run import finetune
from dap_jax.training.finetuning.settings import FinetuneSettings
from dap_jax.training.xtreme import data as xtreme_data
from dap_jax.training.xtreme.protocols import PROTOCOLS

logger = logging.getLogger(__name__)


def predict(
  name: str,
  settings: FinetuneSettings,
  *,
  chosen: Sequence[str],
  quotes: str,
  workdir: str,
  save_steps: int,
) -> dict[str, Any] | None:
  """Fine-tunes once and writes predictions and labels of its tasks.

  Args:
    name: a key of `PROTOCOLS`.
    settings: of the fine-tuning; `data` is the folder with one for each task.
    chosen: the benchmark's tasks that are asked for.
    quotes: see `data.read`.
    workdir: of all tasks.
    save_steps: between checkpoints where none is chosen by its score.

  Returns:
    What the protocol of the scores says of the fine-tuning; None if it was told to stop.

  Raises:
    UserError: a file is missing or damaged, or the workdir holds another fine-tuning.
  """
  content = xtreme_data.read(name, settings.data, chosen=chosen, quotes=quotes)
  folder = epath.Path(workdir) / name
  folder.parent.mkdir(parents=True, exist_ok=True)
  logger.info("%s: fine-tuning in %s", name, folder)
  result = finetune(settings, workdir=str(folder), save_steps=save_steps, data=content)
  if result is None:
    return None
  several = isinstance(content, QuestionAnswers) and len(PROTOCOLS[name].predicts) > 1
  for task in set(PROTOCOLS[name].predicts) & set(chosen):
    for code in tasks.TASKS[task].languages:
      split = f"{task}-{code}" if several else code
      predicted = (folder / OF_RUN / f"{split}.txt").read_text(encoding="utf-8")
      if isinstance(content, TaggedSentences):
        predicted = tags_alone(predicted)
      write_text(tasks.file_of(epath.Path(workdir) / PREDICTIONS, task, code), predicted)
      labels = labels_of(content, split)
      write_text(tasks.file_of(epath.Path(workdir) / LABELS, task, code), labels)
  return dict(result.protocol)


def tags_alone(text: str) -> str:
  """The second column of lines `word<TAB>tag`; empty lines stay."""
  return "".join(line.rpartition("\t")[2] + "\n" for line in text.split("\n")[:-1])


def labels_of(content: Any, split: str) -> str:
  """The right answers of a test split, in the benchmark's format."""
  if isinstance(content, LabelledTexts):
    return "".join(f"{label}\n" for label in content.test[split].labels)
  if isinstance(content, TaggedSentences):
    return "\n".join("".join(f"{tag}\n" for tag in tags) for tags in content.test[split].tags)
  return squad_of(content.test[split])


def squad_of(questions: Sequence[Question]) -> str:
  """A file of SQuAD's format with some questions, a paragraph each."""
  paragraphs: list[Mapping[str, Any]] = [
    {
      "context": each.context,
      "qas": [
        {
          "id": each.id,
          "question": each.question,
          "answers": [{"text": text, "answer_start": start} for text, start in each.answers],
        }
      ],
    }
    for each in questions
  ]
  content = {"version": "1.1", "data": [{"title": "", "paragraphs": paragraphs}]}
  return json.dumps(content, ensure_ascii=False, indent=1) + "\n"
