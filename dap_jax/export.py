"""Writes a trained model as a Hugging Face and sentence-transformers folder.

python -m dap_jax.export --workdir=runs/demo --output=runs/demo/final [--step=best]
"""

from __future__ import annotations

import json
import logging

from absl import flags

from dap_jax import command

WORKDIR = flags.DEFINE_string("workdir", None, "A folder that train wrote.")
OUTPUT = flags.DEFINE_string("output", None, "Where to; must not exist yet.")
STEP = flags.DEFINE_string("step", "newest", "Which checkpoint: newest, best, or a number.")

logger = logging.getLogger("dap_jax.export")  # __name__ is __main__ here


def held_out_scores(workdir, step: int) -> dict[str, float]:
  """The evaluation lines of metrics.jsonl at a step; empty if it was not evaluated there."""
  path = workdir / "metrics.jsonl"
  lines = path.read_text().split("\n") if path.exists() else []
  found = [json.loads(line) for line in lines if line]
  return {
    name: value
    for line in found
    if line["step"] == step
    for name, value in line.items()
    if name.startswith("eval/")
  }


def main() -> None:
  if WORKDIR.value is None or OUTPUT.value is None:
    command.fail("--workdir and --output are both needed; --help lists the flags", status=2)
  import jax
  from etils import epath

  from dap_jax import embedder, workdir
  from dap_jax.hub import to_hf

  folder = epath.Path(WORKDIR.value)
  config = workdir.read_config(folder)
  loaded = embedder.load(folder, step=STEP.value)
  info = json.loads((folder / "data" / "info.json").read_text())
  readme = to_hf.card(
    name=epath.Path(OUTPUT.value).name,
    languages=[config["data"]["pivot"], *info["pairs"]],
    metrics=held_out_scores(folder, loaded.step),
    pairs=info["pairs"],
    max_tokens=loaded.max_tokens,
    commit=workdir.versions()["commit"],
  )
  to_hf.write(
    OUTPUT.value,
    encoder=jax.device_get(loaded.params["encoder"]),
    model=loaded.model,
    tokenizer_directory=folder / "tokenizer",
    max_tokens=loaded.max_tokens,
    readme=readme,
  )
  logger.info("exported step %d of %s to %s", loaded.step, folder, OUTPUT.value)


if __name__ == "__main__":
  command.run(main)
