"""Finds which words of a sentence and its translation mean the same: word alignments of a bitext.

    python -m dap_jax.align --model=runs/demo --source=de.txt --target=en.txt --output=links.txt

The files are UTF-8, plain or .gz, line i of one the translation of line i of the other, words
separated by spaces: split Chinese, Japanese and Thai into words first. Line i of the output has
their links in Pharaoh's notation, `0-0 1-2 2-1`: word 0 of the source is word 0 of the target, ...
Words are linked by the states of one layer: --layer, or the one with the least error on the gold
alignments in --gold (the folder of `evaluate --suite=word_alignment`), or else two thirds up the
model, as in SimAlign (arXiv 2004.08728), which takes layer 8 of 12.
Words beyond the model's longest text have no link. After a kill the same command continues.
On several hosts run the same command on each, with the flags that train takes.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from absl import flags

from dap_jax.cli import command, distributed_flags, model_flags, outputs

if TYPE_CHECKING:
  from dap_jax.inference.embedder import Embedder

MODEL_FLAGS = model_flags.define()
PROMPT_FLAGS = model_flags.define_prompts()
MODEL = MODEL_FLAGS.model
SOURCE = flags.DEFINE_string("source", None, "A UTF-8 text file, a sentence a line.")
TARGET = flags.DEFINE_string("target", None, "Their translations, in the same order.")
OUTPUT = flags.DEFINE_string("output", None, "The text file to write.")
METHOD = flags.DEFINE_enum(
  "method",
  "mutual",
  ["mutual", "itermax", "optimal_transport"],
  "mutual: each the other's nearest, precise; itermax and optimal_transport link more words.",
)
LAYER = flags.DEFINE_integer("layer", None, "Whose states are compared; 0 the embeddings.")
GOLD = flags.DEFINE_string("gold", None, "A folder of gold alignments that choose the layer.")
THRESHOLD = flags.DEFINE_float("threshold", 0.0, "The least cosine of a link.", -1.0, 1.0)
UNIT = flags.DEFINE_enum(
  "unit", "piece", ["piece", "word"], "What is compared: subword pieces, or the means of a word's."
)
FIRST_INDEX = flags.DEFINE_integer("first_index", 0, "The number of the first word.", 0, 1)
SCORES = flags.DEFINE_bool("scores", False, "Whether links are written as i-j:cosine.")

logger = logging.getLogger("dap_jax.align")  # __name__ is __main__ here


def choose_layer(model: Embedder) -> int:
  """The layer that the flags ask for. Raises UserError where the model has none of that number."""
  from dap_jax import evals
  from dap_jax.evals.word_links import check_layer, default_layer

  layers = len(model.word_states([["a"]])[0].states)
  if LAYER.value is not None:
    return check_layer(LAYER.value, layers, name="--layer")
  if GOLD.value is None:
    return default_layer(layers)
  settings = {"method": METHOD.value, "threshold": THRESHOLD.value, "unit_of_alignment": UNIT.value}
  _, result = evals.run_suite("word_alignment", model, GOLD.value, **settings)
  errors = [result.scores[f"aer_layer_{layer}/{evals.MEAN}"] for layer in range(layers)]
  best = min(range(layers), key=errors.__getitem__)
  logger.info("layer %d has the least AER in %s: %.3f", best, GOLD.value, min(errors))
  return best


def main() -> None:
  model_path, source, target, output = MODEL.value, SOURCE.value, TARGET.value, OUTPUT.value
  if model_path is None or source is None or target is None or output is None:
    command.fail(
      "--model, --source, --target and --output are all needed; --help lists the flags", status=2
    )
  if LAYER.value is not None and GOLD.value is not None:
    command.fail("--layer and --gold exclude each other: --gold chooses the layer", status=2)
  writes = distributed_flags.take_part()
  from dap_jax.evals.word_links import Settings
  from dap_jax.inference import embedder, link_files, vector_files

  if writes:
    outputs.check_file(output, source, target)
  sides = vector_files.examine(source), vector_files.examine(target)
  model = embedder.load(model_path, **MODEL_FLAGS.load_options(), **PROMPT_FLAGS.options())
  layer = choose_layer(model)
  logger.info("%s, the %ss of layer %d", METHOD.value, UNIT.value, layer)
  link_files.write_links(
    sides,
    output,
    model,
    layer=layer,
    how=Settings(method=METHOD.value, threshold=THRESHOLD.value, unit_of_alignment=UNIT.value),
    form=link_files.Form(FIRST_INDEX.value, SCORES.value),
  )
  logger.info("%d pairs of lines -> %s", sides[0].lines, output)


if __name__ == "__main__":
  command.run(main)
