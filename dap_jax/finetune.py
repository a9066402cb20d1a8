"""Fine-tunes a model on labelled texts of one language and tests it on all: zero-shot transfer.

    python -m dap_jax.finetune --model=runs/demo --data=FOLDER --workdir=runs/demo_topics

The defaults are the XNLI protocol of DAP. `--data` is a folder with a file a language, see
dap_jax/data/readers/labelled_texts.py: single texts, or pairs of texts, which become one sequence.
The workdir takes metrics.jsonl, checkpoints and scores.json; the same command again, after it was
killed, goes on from the newest checkpoint. It uses the devices of one machine. Logistic regression
on the vectors of a model that stays as it is: evaluate --suite=classification.
"""

from __future__ import annotations

import math

from absl import flags

from dap_jax.cli import command

MODEL = flags.DEFINE_string("model", None, "A workdir, a checkpoint's folder, or a hub id.")
DATA = flags.DEFINE_string("data", None, "A folder of labelled texts, a file a language.")
WORKDIR = flags.DEFINE_string("workdir", None, "Where the run lives; not a workdir of train.")
STEP = flags.DEFINE_string("step", "newest", "Which checkpoint: newest, best, or a number.")
TRAIN_LANGUAGE = flags.DEFINE_string("train_language", "eng_Latn", "Its file has the train split.")
EPOCHS = flags.DEFINE_integer("epochs", 2, "Passes over the train split.", lower_bound=1)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 256, "Examples of a step.", lower_bound=1)
LEARNING_RATE = flags.DEFINE_float("learning_rate", 5e-5, "The first; it falls linearly to 0.")
MAX_TOKENS = flags.DEFINE_integer(
  "max_tokens", 128, "Where an example is cut, a pair's longer text first.", lower_bound=2
)
DROPOUT = flags.DEFINE_float("dropout", 0.1, "Of encoder and head.", 0.0, 0.9)
SEED = flags.DEFINE_integer("seed", 0, "Of the head, the order and the dropout.", lower_bound=0)
SAVE_STEPS = flags.DEFINE_integer("save_steps", 500, "A checkpoint every so many.", lower_bound=1)
COMPUTE_DTYPE = flags.DEFINE_enum(
  "compute_dtype", None, ["float32", "bfloat16"], "Of the network; the model's own by default."
)


def main() -> None:
  if None in (MODEL.value, DATA.value, WORKDIR.value):
    command.fail("--model, --data and --workdir are all needed; --help lists the flags", status=2)
  if not 0 < LEARNING_RATE.value < math.inf:
    command.fail(f"--learning_rate={LEARNING_RATE.value}: expected more than 0", status=2)
  from dap_jax.evals import scores
  from dap_jax.training.finetuning import run

  result = run.finetune(
    model=MODEL.value,
    data=DATA.value,
    workdir=WORKDIR.value,
    step=STEP.value,
    train_language=TRAIN_LANGUAGE.value,
    epochs=EPOCHS.value,
    batch_size=BATCH_SIZE.value,
    learning_rate=LEARNING_RATE.value,
    max_tokens=MAX_TOKENS.value,
    dropout=DROPOUT.value,
    seed=SEED.value,
    save_steps=SAVE_STEPS.value,
    compute_dtype=COMPUTE_DTYPE.value or "",
  )
  if result is not None:
    print(scores.table(result.columns, result.rows))


if __name__ == "__main__":
  command.run(main)
