"""Writes one self-contained HTML page about one run or several; viewing it needs no network.

    python -m dap_jax.report --workdir=runs/demo [--workdir=runs/other ...] [--output=report.html]

The page shows retrieval per language and between all languages, similarities, token alignment, a
map of sentences, the training curves and the configs, and compares several runs.
"""

from __future__ import annotations

import logging

from absl import flags

from dap_jax.cli import command, model_flags, outputs
from dap_jax.utils.atomic import replacing
from dap_jax.utils.errors import UserError, writing

WORKDIR = flags.DEFINE_multi_string("workdir", None, "A workdir of train; repeat it for more.")
OUTPUT = flags.DEFINE_string(
  "output", None, "The HTML file to write; report.html in the first workdir by default."
)
STEP = model_flags.define_step()

logger = logging.getLogger("dap_jax.report")  # __name__ is __main__ here


def main() -> None:
  if not WORKDIR.value:
    command.fail("--workdir is needed; --help lists the flags", status=2)
  from etils import epath

  from dap_jax.report_page import measure, page, runs

  loaded = runs.read_runs(WORKDIR.value)
  output = epath.Path(OUTPUT.value or loaded[0].folder / "report.html")
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
  html = page.render(loaded, measured, step=STEP.value)
  with writing(f"--output={output}", cure=""), replacing(output) as temporary:
    temporary.write_text(html)
  logger.info("%s, %.1f MB", output, len(html.encode()) / 1e6)


if __name__ == "__main__":
  command.run(main)
