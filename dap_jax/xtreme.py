"""Scores predictions on XTREME's nine tasks as the benchmark does: every figure to the last digit.

    python -m dap_jax.xtreme --score=PREDICTIONS --labels=LABELS [--output=scores.json]

Both folders have TASK/test-LANGUAGE.tsv, of question answering .json: the benchmark's submission
format and its labels. The tasks: pawsx xnli udpos panx xquad mlqa tydiqa bucc2018 tatoeba, or those
of --tasks. A mean is given only where no language and no task of it is missing. docs/xtreme.md says
how each task is measured.
"""

from __future__ import annotations

from typing import Any

from absl import flags
from etils import epath

from dap_jax.cli import command, outputs
from dap_jax.utils.errors import writing
from dap_jax.utils.json_files import write_json

SCORE = flags.DEFINE_string("score", None, "A folder of predictions.")
LABELS = flags.DEFINE_string("labels", None, "The folder of their labels.")
OUTPUT = flags.DEFINE_string("output", None, "A JSON file for the scores.")
TASKS = flags.DEFINE_list("tasks", None, "Some of the tasks, with commas between; all by default.")


def main() -> None:
  if SCORE.value is None or LABELS.value is None:
    command.fail("--score and --labels are both needed; --help lists the flags", status=2)
  from dap_jax.evals import scores
  from dap_jax.xtreme_tasks import tasks
  from dap_jax.xtreme_tasks.scoring import score

  chosen = tasks.choose(list(tasks.TASKS) if TASKS.value is None else TASKS.value)
  outputs.check_file(OUTPUT.value)
  result = score.score_folders(SCORE.value, LABELS.value, chosen=chosen)
  print(scores.table(result.columns, result.rows))
  figures = score.summary_of(result.scores)
  print(f"\n{scores.table({'figure': figures}, list(figures))}")
  if OUTPUT.value is not None:
    protocols = {f"xtreme/{task}": protocol for task, protocol in result.protocol.items()}
    content: dict[str, Any] = {"protocol": protocols}
    content |= {f"eval/xtreme/{name}": value for name, value in result.scores.items()}
    with writing(f"--output={OUTPUT.value}", cure=""):
      write_json(epath.Path(OUTPUT.value), content)


if __name__ == "__main__":
  command.run(main)
