"""Fine-tunes a model on labelled texts of one language and tests it on all: zero-shot transfer.

    python -m dap_jax.finetune --model=runs/demo --data=FOLDER --workdir=runs/demo_topics
    python -m dap_jax.finetune --task=tags --model=runs/demo --data=FOLDER --workdir=runs/demo_pos

The task is classification of texts or of pairs of texts, whose defaults are DAP's protocol for
XNLI, or tags of words, parts of speech or named entities, or questions whose answers are in a text.
`--data` is a folder with a file a language, see dap_jax/data/texts/labelled_texts.py, or a language
and split, see tagged_sentences.py and question_answers.py there. The workdir holds metrics.jsonl,
checkpoints, predictions and scores.json; after a kill the same command continues from the newest
checkpoint, and `export --workdir=WORKDIR` writes the model for transformers. It uses the devices of
one machine. For logistic regression on the vectors of a model that stays as it is, see evaluate
--suite=classification.
"""

from __future__ import annotations

import math

from absl import flags

from dap_jax.cli import command, model_flags

MODEL_FLAGS = model_flags.define(
  cut="Where an example is cut, a pair's longer text first; by default at 128, of questions at 384,"
  " or as many as the model has positions for."
)
MODEL = MODEL_FLAGS.model
TASK = flags.DEFINE_enum(
  "task",
  "classification",
  ["classification", "tags", "questions"],
  "Classes of texts, tags of their words, or questions whose answers are in a text.",
)
HEAD = flags.DEFINE_enum(
  "head",
  "sentence_vector",
  ["sentence_vector", "transformers"],
  "Of classification: on the model's own sentence vector, or that of transformers'"
  " AutoModelForSequenceClassification, in BERT with token types 0 and 1 for pairs.",
)
DATA = flags.DEFINE_string("data", None, "A folder of texts, a file a language, or also a split.")
WORKDIR = flags.DEFINE_string("workdir", None, "The folder of this run; not a workdir of train.")
TRAIN_LANGUAGE = flags.DEFINE_string(
  "train_language",
  None,
  "The language with the train split; eng_Latn by default, of tags and questions en.",
)
TRAIN_SPLIT = flags.DEFINE_enum(
  "train_split", "train", ["train", "dev"], "Of tags: the split to train on."
)
DEV_SHARE = flags.DEFINE_float(
  "dev_share",
  0.0,
  "Of tags: the share of the training sentences that is the development split, where the language"
  " has none.",
  0.0,
  0.5,
)
IGNORE_TAGS = flags.DEFINE_list(
  "ignore_tags", [], "Types of named entities that count as none, OTH say."
)
EPOCHS = flags.DEFINE_integer("epochs", 2, "Passes over the train split.", lower_bound=1)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 256, "Examples in a step.", lower_bound=1)
LEARNING_RATE = flags.DEFINE_float(
  "learning_rate", 5e-5, "After the warm-up, from where it falls linearly to 0."
)
WARMUP_STEPS = flags.DEFINE_integer(
  "warmup_steps", 0, "Steps in which the learning rate rises from 0.", lower_bound=0
)
WEIGHT_DECAY = flags.DEFINE_float(
  "weight_decay", 0.0, "Of AdamW, of all weights but biases and norms.", lower_bound=0
)
DROPOUT = flags.DEFINE_float("dropout", 0.1, "Dropout of encoder and head.", 0.0, 0.9)
SEED = flags.DEFINE_integer(
  "seed", 0, "Of the head's weights, the order of examples and the dropout.", lower_bound=0
)
EVAL_STEPS = flags.DEFINE_integer(
  "eval_steps",
  None,
  "Steps between scores on the development split, whose best checkpoint is the model; 0 = the last"
  " is. By default an epoch's of tags, where there is such a split, else 0.",
  lower_bound=0,
)
SAVE_STEPS = flags.DEFINE_integer(
  "save_steps", 500, "Steps between checkpoints, where --eval_steps chooses none.", lower_bound=1
)
OF_TAGS, OF_TEXTS = ("train_split", "dev_share", "ignore_tags"), ("head",)  # flags of one task


def main() -> None:
  model_path, data, workdir = MODEL.value, DATA.value, WORKDIR.value
  if model_path is None or data is None or workdir is None:
    command.fail("--model, --data and --workdir are all needed; --help lists the flags", status=2)
  if not 0 < LEARNING_RATE.value < math.inf:
    command.fail(f"--learning_rate={LEARNING_RATE.value}: expected more than 0", status=2)
  is_texts = TASK.value == "classification"
  others = [*([] if is_texts else OF_TEXTS), *([] if TASK.value == "tags" else OF_TAGS)]
  for name in others:
    if flags.FLAGS[name].present:
      command.fail(f"--{name} has no effect with --task={TASK.value}", status=2)
  from dap_jax.evals import scores
  from dap_jax.training.finetuning import run
  from dap_jax.training.finetuning.settings import FinetuneSettings

  settings = FinetuneSettings(
    model=model_path,
    data=data,
    train_language=TRAIN_LANGUAGE.value or ("eng_Latn" if is_texts else "en"),
    epochs=EPOCHS.value,
    batch_size=BATCH_SIZE.value,
    learning_rate=LEARNING_RATE.value,
    warmup_steps=WARMUP_STEPS.value,
    weight_decay=WEIGHT_DECAY.value,
    dropout=DROPOUT.value,
    seed=SEED.value,
    task=TASK.value,
    head=HEAD.value,
    eval_steps=EVAL_STEPS.value,
    train_split=TRAIN_SPLIT.value,
    dev_share=DEV_SHARE.value,
    ignore_tags=",".join(IGNORE_TAGS.value),
    **MODEL_FLAGS.load_options(),
  )
  result = run.finetune(settings, workdir=workdir, save_steps=SAVE_STEPS.value)
  if result is not None:
    print(scores.table(result.columns, result.rows))


if __name__ == "__main__":
  command.run(main)
