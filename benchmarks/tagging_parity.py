"""Fine-tuning for tags here and in torch transformers, from the same start, over several seeds.

    python -m benchmarks.tagging_parity MODEL --data=FOLDER [--seeds=3] [--epochs=3]

MODEL is a folder of transformers' layout, FOLDER one of tagged sentences as `finetune --task=tags`
takes it. Both sides train on the same batches, which are drawn anew for each seed, with
AdamW, a rate that falls linearly to 0, gradients of norm 1 at most and the same dropout rate; the
heads' first weights and the dropout masks are each side's own. The last step is compared, by F1 of
chunks on every test split: mean and standard deviation over the seeds. In a minute: --seeds=1
--epochs=1 --sentences=8.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers
from etils import epath

from benchmarks import measuring
from dap_jax.core.train_step import Frozen
from dap_jax.data.texts import tagged_sentences
from dap_jax.evals.transfer import MEAN
from dap_jax.inference import embedder
from dap_jax.training.finetuning import run as finetuning
from dap_jax.training.finetuning.batches import Sequences, padded_length
from dap_jax.training.finetuning.settings import FinetuneSettings, make_task
from dap_jax.training.finetuning.steps import FinetuneRun
from dap_jax.training.finetuning.task import Predict

AT_ONCE = 64  # sequences that torch predicts
Train = Callable[["Start", FinetuneRun], Predict]


class Start(NamedTuple):
  """settings: of a run. pretrained: the model they name."""

  settings: FinetuneSettings
  pretrained: embedder.Embedder


def train_here(start: Start, run: FinetuneRun) -> Predict:
  """Trains by the step of `finetune`."""
  import jax

  program = run.train_program
  with jax.set_mesh(program.mesh):
    # `init` donates what it is given, and the next seed begins there too.
    state = program.init(jax.tree.map(np.array, start.pretrained.params))
    for number in range(run.steps):
      state, _ = program.step(state, run.batches.batch(number), Frozen())
  return run.predictor.of(state.params)


def train_in_torch(start: Start, run: FinetuneRun) -> Predict:
  """Trains transformers' own class by torch."""
  settings, dropout = start.settings, start.settings.dropout
  torch.manual_seed(settings.seed)
  model = transformers.AutoModelForTokenClassification.from_pretrained(
    settings.model,
    num_labels=len(run.task.classes),
    hidden_dropout_prob=dropout,
    attention_probs_dropout_prob=dropout,
    attn_implementation="eager",
  )
  optimizer = torch.optim.AdamW(
    model.parameters(), lr=settings.learning_rate, eps=1e-8, weight_decay=0.0
  )
  rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / run.steps)
  model.train()
  for number in range(run.steps):
    batch = run.batches.batch(number)
    labels = torch.from_numpy(batch["label"].astype(np.int64))
    logits = torch_logits(model, batch["ids"][:, 0], batch["mask"][:, 0])
    loss = torch.nn.functional.cross_entropy(
      logits.flatten(0, 1), labels.flatten(), ignore_index=-1
    )
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    rate.step()
  return predict_in_torch(model.eval(), run)


def torch_logits(model: Any, ids: np.ndarray, mask: np.ndarray) -> torch.Tensor:
  """ids int32 [N, L], mask bool [N, L] -> logits [N, L, C]."""
  tensors = (torch.from_numpy(array.astype(np.int64)) for array in (ids, mask))
  input_ids, attention_mask = tensors
  logits: torch.Tensor = model(input_ids=input_ids, attention_mask=attention_mask).logits
  return logits


def predict_in_torch(model: Any, run: FinetuneRun) -> Predict:
  """The model as `TagsTask.evaluate` calls it."""

  def predict(sequences: Sequences) -> list[np.ndarray]:
    order = sorted(range(len(sequences.ids)), key=lambda row: len(sequences.ids[row]))
    logits: list[np.ndarray] = [np.zeros(0)] * len(order)
    for start in range(0, len(order), AT_ONCE):
      rows = order[start : start + AT_ONCE]
      length = padded_length(len(sequences.ids[rows[-1]]), run.batches.max_tokens)
      ids = np.full((len(rows), length), run.batches.pad_id, np.int32)
      mask = np.zeros(ids.shape, bool)
      for place, row in enumerate(rows):
        ids[place, : len(sequences.ids[row])] = sequences.ids[row]
        mask[place, : len(sequences.ids[row])] = True
      with torch.no_grad():
        values = torch_logits(model, ids, mask).numpy()
      for place, row in enumerate(rows):
        logits[row] = values[place, : len(sequences.ids[row])]
    return logits

  return predict


def scores_of(flags: argparse.Namespace, data: Any, seed: int) -> dict[str, dict[str, float]]:
  """Program -> language -> F1, of one seed."""
  settings = FinetuneSettings(
    model=flags.model,
    data=flags.data,
    step="newest",
    train_language="en",
    epochs=flags.epochs,
    batch_size=flags.batch_size,
    learning_rate=flags.learning_rate,
    max_tokens=flags.max_tokens,
    dropout=0.1,
    seed=seed,
    compute_dtype="float32",
    task="tags",
    eval_steps=0,
  )
  pretrained = embedder.load(flags.model, max_tokens=flags.max_tokens)
  task = make_task(settings, data, pretrained)
  run = finetuning.make_run(settings, task, pretrained, folder=epath.Path("unused"))
  programs: dict[str, Train] = {"dap_jax": train_here, "transformers": train_in_torch}
  start, scores = Start(settings, pretrained), {}
  for name, train in programs.items():
    result, _ = task.evaluate(train(start, run))
    scores[name] = dict(result.columns["f1"])
    scores["majority"] = dict(result.columns["majority_f1"])
  return scores


def main() -> None:
  parser = argparse.ArgumentParser(description="F1 of tags here and in torch transformers.")
  parser.add_argument("model", help="A folder of transformers' layout.")
  parser.add_argument("--data", required=True, help="A folder of tagged sentences.")
  parser.add_argument("--seeds", type=int, default=3)
  parser.add_argument("--epochs", type=int, default=3)
  parser.add_argument("--batch_size", type=int, default=32)
  parser.add_argument("--learning_rate", type=float, default=1e-4)
  parser.add_argument("--max_tokens", type=int, default=128)
  parser.add_argument("--train_split", default="train")
  parser.add_argument("--ignore_tags", nargs="*", default=[])
  parser.add_argument("--sentences", type=int, help="Of each split, the first so many.")
  flags = parser.parse_args()
  data = tagged_sentences.read_tagged_sentences(
    flags.data, train_language="en", train_split=flags.train_split, ignored=flags.ignore_tags
  )
  if flags.sentences:
    data = data._replace(
      train=first(data.train, flags.sentences),
      test={code: first(split, flags.sentences) for code, split in data.test.items()},
    )
  runs = [scores_of(flags, data, seed) for seed in range(flags.seeds)]
  print(measuring.machine("jax", "torch", "transformers"), end="\n\n")
  measuring.print_header("F1", "dap_jax", "transformers", "majority")
  for row in [name for name in (MEAN, *data.test) if name in runs[0]["dap_jax"]]:
    cells = [summary([run[name][row] for run in runs]) for name in ("dap_jax", "transformers")]
    measuring.print_row(row, *cells, f"{runs[0]['majority'][row]:.3f}")


def first(split: tagged_sentences.Split, count: int) -> tagged_sentences.Split:
  """The first sentences of a split."""
  return tagged_sentences.Split(split.words[:count], split.tags[:count])


def summary(values: list[float]) -> str:
  """Mean and standard deviation; one value deviates by 0."""
  deviation = statistics.stdev(values) if len(values) > 1 else 0.0
  return f"{statistics.mean(values):.3f} ± {deviation:.3f}"


if __name__ == "__main__":
  main()
