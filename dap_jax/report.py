"""Writes one self-contained HTML page about one run or several; viewing it needs no network.

    python -m dap_jax.report --workdir=runs/demo [--workdir=runs/other ...] [--output=report.html]

The page shows retrieval per language and between all languages, similarities, token alignment, a
map of sentences, the training curves and the configs, and compares several runs. Of workdirs of
`finetune` or `xtreme` it shows the scores of every language as a map, and the learning curves.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from dap_jax.cli import command, model_flags, outputs
from dap_jax.utils.atomic import replacing
from dap_jax.utils.errors import UserError, writing

if TYPE_CHECKING:
  from etils import epath

WORKDIR = flags.DEFINE_multi_string(
  "workdir", None, "A workdir of train, finetune or xtreme; repeat it for more."
)
OUTPUT = flags.DEFINE_string(
  "output", None, "The HTML file to write; report.html in the first workdir by default."
)
STEP = model_flags.define_step()

logger = logging.getLogger("dap_jax.report")  # __name__ is __main__ here


def main() -> None:
  if not WORKDIR.value:
    command.fail("--workdir is needed; --help lists the flags", status=2)
  from etils import epath

  from dap_jax.report_page import transfer

  output = epath.Path(OUTPUT.value or epath.Path(WORKDIR.value[0]) / "report.html")
  if transfer.are_scored(WORKDIR.value):
    if STEP.present:
      raise UserError("--step has no effect on the workdir of a fine-tuning")
    scored = transfer.read_scored(WORKDIR.value)
    outputs.check_file(str(output))
    html = transfer.render(scored)
  else:
    html = page_of_training(WORKDIR.value, output)
  with writing(f"--output={output}", cure=""), replacing(output) as temporary:
    temporary.write_text(html)
  logger.info("%s, %.1f MB", output, len(html.encode()) / 1e6)


def page_of_training(workdirs: Sequence[str], output: epath.Path) -> str:
  """The page of workdirs of train; it needs the models."""
  from dap_jax.report_page import measure, page, runs

  loaded = runs.read_runs(workdirs)
  outputs.check_file(str(output))
  measured: list[measure.Measured | UserError] = []
  for run in loaded:
    try:
      measured.append(measure.measure_run(run, step=STEP.value))
    except UserError as error:
      if STEP.present:  # the user has asked for this checkpoint
        raise
      logger.warning("%s: the page goes without its vectors: %s", run.name, error)
      measured.append(error)
  return page.render(loaded, measured, step=STEP.value)


if __name__ == "__main__":
  command.run(main)
