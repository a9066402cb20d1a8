"""The state of each run of a sweep, read from its folders; and where failed runs go.

OUTPUT/failed/SYSTEM/seedN        the workdir of a run that failed
OUTPUT/failed/SYSTEM/seedN.log    its output
OUTPUT/failed/SYSTEM/seedN.txt    why it failed, and the end of its output

The next start moves a failed run back and continues it; to start it anew, delete its folder in
failed/.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dap_jax import evals
from dap_jax.evals import scores
from dap_jax.sweeps.plan import Evaluation, Plan, SweepRun
from dap_jax.utils.json_files import read_json
from dap_jax.workdir.records import read_records, scores_at

COMPLETE = "complete"
LAST_LINES = 40  # of a failed run's output, written below the reason


def is_trained(run: SweepRun) -> bool:
  """Whether the last step has its checkpoint and its scores."""
  steps = run.settings["steps"]
  if not (run.workdir / "checkpoints" / str(steps)).is_dir():
    return False
  return bool(scores_at(run.workdir, steps))


def is_evaluated(run: SweepRun, evaluation: Evaluation) -> bool:
  """Whether the evaluation's file exists, and is of this data, protocol and checkpoint."""
  path = run.scores(evaluation)
  if not path.exists():
    return False
  content = read_json(path)
  protocols = content.get("protocol")
  protocol = protocols.get(full_name(run, evaluation)) if isinstance(protocols, dict) else None
  if not isinstance(protocol, dict):
    return False
  step = str(evaluation.flags.get("step", "newest"))
  expected: dict[str, Any] = {"version": evals.load_suite(evaluation.suite).VERSION}
  if "data" in evaluation.flags:
    expected["data"] = evaluation.flags["data"]
  if step != "best":  # which step is best was decided when training ended
    expected["step"] = run.settings["steps"] if step == "newest" else int(step)
  return all(protocol.get(name) == value for name, value in expected.items())


def full_name(run: SweepRun, evaluation: Evaluation) -> str:
  """The name of its scores: the suite with every setting that is not the default."""
  usual = {**evals.settings_of(evaluation.suite)}
  usual |= {"max_tokens": run.settings["max_tokens"]}
  usual |= {"compute_dtype": run.settings["model"]["compute_dtype"]}
  settings = {**evaluation.settings, **evaluation.flags}
  changed = {name: value for name, value in settings.items() if value != usual.get(name, value)}
  return scores.full_name(evaluation.suite, changed)


def is_complete(run: SweepRun, plan: Plan) -> bool:
  """Trained to the end, with every evaluation."""
  return is_trained(run) and all(is_evaluated(run, each) for each in plan.evaluations)


def state_of(run: SweepRun, plan: Plan) -> str:
  """`complete`, `failed: REASON`, `unfinished: ...` or `not started`."""
  if is_complete(run, plan):
    return COMPLETE
  if reason_file(run).exists():
    reason = reason_file(run).read_text(encoding="utf-8").split("\n")[0]
    return f"failed: {reason}"
  if is_trained(run):
    return "unfinished: trained, not evaluated"
  if not run.workdir.exists():
    return "not started"
  lines = read_records(run.workdir)
  step = int(lines[-1]["step"]) if lines else 0
  return f"unfinished: step {step} of {run.settings['steps']}"


def reason_file(run: SweepRun) -> Path:
  """Why the run failed."""
  return run.failed.with_name(f"{run.failed.name}.txt")


def failed_log(run: SweepRun) -> Path:
  """The output of a failed run."""
  return run.failed.with_name(f"{run.failed.name}.log")


def set_apart(run: SweepRun, reason: str) -> None:
  """Moves a failed run to OUTPUT/failed; writes its reason first, which marks it as failed."""
  run.failed.parent.mkdir(parents=True, exist_ok=True)
  lines = run.log.read_text(encoding="utf-8", errors="replace").split("\n")[-LAST_LINES:]
  text = "\n".join([reason, "", f"the end of the output of {run}:", *lines])
  reason_file(run).write_text(text, encoding="utf-8")
  move(run.log, failed_log(run))
  move(run.workdir, run.failed)


def take_back(run: SweepRun) -> None:
  """Undoes `set_apart`, so that the run can continue."""
  run.log.parent.mkdir(parents=True, exist_ok=True)
  move(run.failed, run.workdir)
  move(failed_log(run), run.log)
  reason_file(run).unlink(missing_ok=True)


def move(source: Path, target: Path) -> None:
  """Renames a file or folder, if it exists and the target does not."""
  if source.exists() and not target.exists():
    source.rename(target)
