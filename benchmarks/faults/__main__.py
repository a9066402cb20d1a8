"""Proves that training survives faults: the real command, real harm, restarted, compared.

    python -m benchmarks.faults [--runs=50] [--minutes=45] [--seed=0] [--only=WORDS] [--output=DIR]

Every run meets one fault of `kinds.py` at a random moment. It must finish, or end with one clear
error, and the same command again must end with the parameters, the optimizer's state and the losses
of the undisturbed run, bit for bit. Exit status 1 where a run does not: its workdir and logs stay
in DIR. Mounts are made in a namespace of this script alone; where the kernel allows none, the table
says which faults were left out. In a minute: --runs=1 --only=prepared.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_NUM_CPU_DEVICES"] = "1"

import numpy as np  # noqa: E402

from benchmarks.faults.kinds import FAULTS, Fault  # noqa: E402
from benchmarks.faults.trial import (  # noqa: E402
  LIMIT_S,
  HangError,
  Place,
  Trial,
  difference,
  final_state,
  losses_of,
)

OWN_MOUNTS = ["unshare", "--mount", "--map-root-user"]


class Result(NamedTuple):
  """One run. ended: how the start with the fault did; restarts; wrong: "" where nothing is."""

  fault: str
  processes: int
  ended: str
  restarts: int
  wrong: str


def main() -> None:
  args = arguments()
  go_where_mounts_are_ours()
  folder = Path(args.output or tempfile.mkdtemp(prefix="faults-")).resolve()
  folder.mkdir(parents=True, exist_ok=True)
  if any(folder.iterdir()):
    raise SystemExit(f"--output={folder} is not empty")
  started = time.monotonic()
  chosen = [fault for fault in FAULTS if args.only in fault.name]
  cases = [(fault, number) for fault in chosen if not fault.lacks() for number in fault.processes]
  place = Place(folder)
  results = [undisturbed(place, processes) for processes in sorted({1, *(n for _, n in cases)})]
  drawn = draw(cases, np.random.default_rng(args.seed))
  for number in range(args.runs):
    if time.monotonic() - started > 60 * args.minutes:
      print(f"--minutes={args.minutes:g} are over: {number} of {args.runs} runs")
      break
    fault, processes = next(drawn)
    rng = np.random.default_rng([args.seed, number])
    trial = Trial(place, folder=folder / f"run{number}", processes=processes, rng=rng)
    clock = time.monotonic()
    results.append(result := inflict(trial, fault))
    outcome = result.wrong or "as the undisturbed run"
    print(
      f"run {number} ({time.monotonic() - clock:.0f} s), {fault.name}, {processes} process(es):"
    )
    print(f"  {result.ended}; {result.restarts} restart(s); {outcome}", flush=True)
    trial.clear(keep=bool(result.wrong))
  results += [
    Result(fault.name, 0, f"left out: {fault.lacks()}", 0, "") for fault in chosen if fault.lacks()
  ]
  print(table(results))
  failed = sum(bool(result.wrong) for result in results)
  minutes = (time.monotonic() - started) / 60
  done = sum(result.processes > 0 for result in results)
  print(f"{done} runs in {minutes:.0f} minutes, {failed} failed; --seed={args.seed}")
  sys.exit(1 if failed else 0)


def go_where_mounts_are_ours() -> None:
  """Starts this script again in a namespace of its own, where the kernel allows that."""
  if "FAULTS_OWN_MOUNTS" in os.environ:
    return
  os.environ["FAULTS_OWN_MOUNTS"] = "asked"
  if not subprocess.run([*OWN_MOUNTS, "true"], capture_output=True, check=False).returncode:
    again = [sys.executable, "-m", "benchmarks.faults", *sys.argv[1:]]
    os.execvp(OWN_MOUNTS[0], [*OWN_MOUNTS, *again])


def arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--runs", type=int, default=50)
  parser.add_argument("--minutes", type=float, default=45, help="no run begins later")
  parser.add_argument("--seed", type=int, default=0, help="of all that is random")
  parser.add_argument("--only", default="", help="faults whose name has these words in it")
  parser.add_argument("--output", default="", help="a new folder; by default a temporary one")
  return parser.parse_args()


def draw(cases: list[tuple[Fault, int]], rng: np.random.Generator) -> Iterator[tuple[Fault, int]]:
  """Random cases for ever; each comes once before any comes again."""
  while True:
    for index in rng.permutation(len(cases)):
      yield cases[index]


def undisturbed(place: Place, processes: int) -> Result:
  """The run that the others are compared with, and the same again: the control."""
  for name in ("undisturbed", "again"):
    folder = place.folder / f"{name}_{processes}"
    rng = np.random.default_rng(processes)
    trial = Trial(place, folder=folder, processes=processes, rng=rng)
    if folder != place.reference:  # the first of all prepares the data
      trial.prepare()
    clock = time.monotonic()
    trial.start()
    trial.reach(1)
    place.start_s[processes] = time.monotonic() - clock
    trial.wait()
    ending = trial.ending()
    if ending.text != "finished":
      raise SystemExit(f"the undisturbed run ended otherwise, see {folder}: {ending.text}")
    if name == "undisturbed":
      place.losses[processes] = losses_of(trial.workdir)
      place.states[processes], _ = final_state(trial.workdir)
  return Result("none: the undisturbed run, again", processes, "finished", 0, difference(trial))


def inflict(trial: Trial, fault: Fault) -> Result:
  """Takes a run through a fault and its restart."""
  ended, wrong = "it hangs", ""
  try:
    fault.inflict(trial)
    ending = trial.ending()
    ended = ending.text
    if not ending.clear or not ending.fits(fault.error):
      wrong = "no clear error of this fault"
    if ended != "finished":
      trial.start()
      trial.wait()
      if (again := trial.ending().text) != "finished":
        wrong = wrong or f"restarted: {again}"
    wrong = wrong or difference(trial)
  except HangError:
    wrong = f"start {trial.starts} takes more than {LIMIT_S} s"
  return Result(fault.name, trial.processes, ended, trial.starts - 1, wrong)


def table(results: list[Result]) -> str:
  """Markdown: one row for all runs of a fault that ended alike."""
  alike = Counter(result._replace(ended=shortened(result.ended)) for result in results)
  lines = [
    "| fault | processes | runs | how it ended | restarts | bit-equal |",
    "|---|---|---|---|---|---|",
  ]
  for result, count in sorted(alike.items()):
    known = "" if not result.processes else result.wrong or "yes"
    cells = [result.fault, result.processes, count, result.ended, result.restarts, known]
    lines.append("| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |")
  return "\n".join(lines)


def shortened(text: str) -> str:
  """Without paths and numbers, and cut off."""
  text = re.sub("[0-9.]*[0-9]", "N", re.sub(r"\S*/\S*", "PATH", text))
  return text if len(text) <= 150 else f"{text[:150]}..."


if __name__ == "__main__":
  main()
