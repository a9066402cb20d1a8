"""Fine-tunes a model on labelled texts of one language and tests it on all: zero-shot transfer.

    python -m dap_jax.finetune --model=runs/demo --data=FOLDER --workdir=runs/demo_topics

The defaults are DAP's protocol for XNLI. `--data` is a folder with a file a language, see
dap_jax/data/texts/labelled_texts.py: single texts, or pairs of texts, which become one sequence.
The workdir holds metrics.jsonl, checkpoints and scores.json; after a kill the same command
continues from the newest checkpoint. It uses the devices of one machine. For logistic regression on
the vectors of a model that stays as it is, see evaluate --suite=classification.
"""

from __future__ import annotations

import math

from absl import flags

from dap_jax.cli import command, model_flags

MODEL_FLAGS = model_flags.define(
  cut="Where an example is cut, a pair's longer text first; by default at 128, or as many as the"
  " model has positions for."
)
MODEL = MODEL_FLAGS.model
DATA = flags.DEFINE_string("data", None, "A folder of labelled texts, a file a language.")
WORKDIR = flags.DEFINE_string("workdir", None, "The folder of this run; not a workdir of train.")
TRAIN_LANGUAGE = flags.DEFINE_string(
  "train_language", "eng_Latn", "The language whose file has the train split."
)
EPOCHS = flags.DEFINE_integer("epochs", 2, "Passes over the train split.", lower_bound=1)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 256, "Examples in a step.", lower_bound=1)
LEARNING_RATE = flags.DEFINE_float(
  "learning_rate", 5e-5, "At the first step; it falls linearly to 0."
)
DROPOUT = flags.DEFINE_float("dropout", 0.1, "Dropout of encoder and head.", 0.0, 0.9)
SEED = flags.DEFINE_integer(
  "seed", 0, "Of the head's weights, the order of examples and the dropout.", lower_bound=0
)
SAVE_STEPS = flags.DEFINE_integer("save_steps", 500, "Steps between checkpoints.", lower_bound=1)


def main() -> None:
  model_path, data, workdir = MODEL.value, DATA.value, WORKDIR.value
  if model_path is None or data is None or workdir is None:
    command.fail("--model, --data and --workdir are all needed; --help lists the flags", status=2)
  if not 0 < LEARNING_RATE.value < math.inf:
    command.fail(f"--learning_rate={LEARNING_RATE.value}: expected more than 0", status=2)
  from dap_jax.evals import scores
  from dap_jax.training.finetuning import run

  settings = run.FinetuneSettings(
    model=model_path,
    data=data,
    train_language=TRAIN_LANGUAGE.value,
    epochs=EPOCHS.value,
    batch_size=BATCH_SIZE.value,
    learning_rate=LEARNING_RATE.value,
    dropout=DROPOUT.value,
    seed=SEED.value,
    **MODEL_FLAGS.load_options(),
  )
  result = run.finetune(settings, workdir=workdir, save_steps=SAVE_STEPS.value)
  if result is not None:
    print(scores.table(result.columns, result.rows))


if __name__ == "__main__":
  command.run(main)
