"""Writes a trained model as a Hugging Face and sentence-transformers folder.

    python -m dap_jax.export --workdir=runs/demo --output=runs/demo/final [--step=best]

A masked-LM head is written where the run trained one, so that `AutoModelForMaskedLM` fills masks.
`--include_decoder` adds the RTL decoder and the projection, so that `init_from` can continue from
the folder. On several hosts run the same command on each, with the flags that train takes; process
0 writes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from absl import flags
from etils import epath

from dap_jax.cli import command, distributed_flags, model_flags
from dap_jax.utils.errors import UserError
from dap_jax.utils.json_files import read_json

WORKDIR = flags.DEFINE_string("workdir", None, "A folder that train wrote.")
OUTPUT = flags.DEFINE_string("output", None, "The folder to write; it must not exist, or be empty.")
STEP = model_flags.define_step()
MAX_TOKENS = flags.DEFINE_integer(
  "max_tokens", None, "Where the exported model cuts texts; as in training by default.", 2
)
LICENSE = flags.DEFINE_string("license", "other", "The model card's licence, as the hub names it.")
DTYPE = flags.DEFINE_enum(
  "dtype",
  "float32",
  ["float32", "float16", "bfloat16"],
  "Of the weights; half the size in 16 bits. PyTorch then computes in it too.",
)
DECODER = flags.DEFINE_bool("include_decoder", False, "Writes RTL decoder and projection too.")

logger = logging.getLogger("dap_jax.export")  # __name__ is __main__ here


def readme_of(folder: epath.Path, step: int, *, config: Mapping[str, Any], max_tokens: int) -> str:
  """The model card of a workdir's checkpoint."""
  from dap_jax.data import manifest
  from dap_jax.hub import card
  from dap_jax.workdir import records

  pairs = manifest.read_info(folder / "data")["pairs"]
  return card.model_card(
    name=epath.Path(OUTPUT.value).name,
    metrics=records.scores_at(folder, step),
    pairs=pairs,
    max_tokens=max_tokens,
    commit=read_json(folder / "versions.json").get("commit", "unknown"),
    config=config,
    license=LICENSE.value,
  )


def main() -> None:
  if WORKDIR.value is None or OUTPUT.value is None:
    command.fail("--workdir and --output are both needed; --help lists the flags", status=2)
  writes = distributed_flags.take_part()
  import jax

  from dap_jax.data import manifest
  from dap_jax.hub import to_hf
  from dap_jax.inference import embedder
  from dap_jax.workdir import layout, restore

  folder = epath.Path(WORKDIR.value)
  if not layout.is_workdir(folder):
    raise UserError(f"--workdir={folder} is no workdir: give a folder that train wrote")
  config = layout.read_config(folder)
  loaded = embedder.load(folder, step=STEP.value, max_tokens=MAX_TOKENS.value)
  params, step = loaded.params, loaded.step
  assert step is not None  # every checkpoint of a workdir has one
  heads = ["masked_lm", *(["decoder", "projection"] if DECODER.value else [])]
  params |= restore.restore_parts(folder, heads, step=str(step))
  if DECODER.value and "decoder" not in params:
    raise UserError(f"--include_decoder: {folder} trained no RTL decoder; leave the flag out")
  if not writes:
    return
  params = jax.device_get(params)
  rows = len(params["encoder"]["embeddings"]["word"]["embedding"])
  tokens = loaded.tokenizer
  to_hf.write_folder(
    OUTPUT.value,
    params=params,
    model_config={
      **loaded.model_config,
      "encoder": {**loaded.model_config["encoder"], "vocabulary_size": rows},
    },
    english_ids=manifest.english_ids(folder / "data"),
    tokenizer_directory=folder / "tokenizer",
    special_ids={"pad": tokens.pad_id, "cls": tokens.cls_id, "sep": tokens.sep_id},
    max_tokens=loaded.max_tokens,
    readme=readme_of(folder, step, config=config, max_tokens=loaded.max_tokens),
    dtype=DTYPE.value,
    prompts=loaded.prompts,
  )
  logger.info("exported step %d of %s to %s", step, folder, OUTPUT.value)
  most = embedder.most_tokens(folder)
  if MAX_TOKENS.value is None and loaded.max_tokens < most:
    logger.info(
      "it cuts texts at %d tokens, as in training; --max_tokens takes up to %d",
      loaded.max_tokens,
      most,
    )


if __name__ == "__main__":
  command.run(main)
