"""launch/tpu.sh against a stand-in gcloud, which keeps a slice of one host in a folder; and
launch/processes.sh on a stand-in python.
"""

import json
import os
import shlex
import shutil
import stat
import subprocess
import sys

import pytest

from tests.commands import ROOT

OPTIONS = (
  "--name=run one",
  "--zone=zone-a",
  "--type=v5litepod-16",
  "--config=configs/dap_xlmr.py",
  "--workdir=gs://bucket/a run",
)
# Records its arguments; `ssh` runs its command in the host's home, as the real one does.
GCLOUD = """#!/usr/bin/env python3
import json, os, pathlib, subprocess, sys
cloud, words = pathlib.Path(os.environ["CLOUD"]), sys.argv[1:]
with open(cloud / "calls", "a") as calls:
  calls.write(json.dumps(words) + "\\n")
state, home = cloud / "state", cloud / "home"
kind = " ".join(words[2:4])
if kind == "queued-resources create":
  if state.exists():
    sys.exit("it exists")
  state.write_text("ACTIVE")
elif kind == "queued-resources describe":
  if not state.exists():
    sys.exit("there is none")
  print(state.read_text())
elif kind == "queued-resources delete":
  state.unlink()
  (home / "dap_jax" / "run.pid").unlink(missing_ok=True)
elif kind == "tpu-vm ssh":
  if state.read_text() != "ACTIVE":
    sys.exit("no such host")
  (command,) = [word[10:] for word in words if word.startswith("--command=")]
  sys.exit(subprocess.run(["bash", "-c", command], cwd=home).returncode)
"""
# `python -m dap_jax.train`: the first time the slice is taken away, then the last step is reached.
PYTHON = """#!/usr/bin/env python3
import json, os, pathlib, sys
cloud = pathlib.Path(os.environ["CLOUD"])
with open(cloud / "trained", "a") as trained:
  trained.write(json.dumps([sys.argv[1:], os.environ.get("TOKEN")]) + "\\n")
if len((cloud / "trained").read_text().splitlines()) <= int(os.environ["PREEMPTIONS"]):
  (cloud / "state").write_text("SUSPENDED")
  print("stopped at step 3 as asked; the same command resumes")
elif os.environ.get("BROKEN"):
  sys.exit("error: no such config")
else:
  print("finished at step 9; best checkpoint: step 9")
"""


@pytest.fixture
def cloud(tmp_path):
  """A folder with a stand-in gcloud, and a host that has this commit installed."""
  folder = tmp_path / "cloud"
  host = folder / "home" / "dap_jax"
  (host / ".venv" / "bin").mkdir(parents=True)
  (folder / "bin").mkdir()
  for path, text in {folder / "bin/gcloud": GCLOUD, host / ".venv/bin/python": PYTHON}.items():
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
  head = subprocess.run(
    ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
  )
  if head.returncode or not shutil.which("git"):
    pytest.skip("needs the project's git history: tpu.sh sends the committed tree")
  (host / "commit").write_text(head.stdout)
  return folder


def launch(cloud, *arguments, status=0, **environment):
  process = subprocess.run(
    ["bash", str(ROOT / "launch/tpu.sh"), *arguments],
    env=os.environ
    | {"PATH": f"{cloud / 'bin'}:{os.environ['PATH']}", "CLOUD": str(cloud), "TPU_PAUSE": "0.1"}
    | {"PREEMPTIONS": "0"}
    | environment,
    capture_output=True,
    text=True,
    timeout=100,
    check=False,
  )
  assert process.returncode == status, process.stdout + process.stderr
  return process.stdout + process.stderr


def calls_of(cloud):
  """What gcloud was asked: (queued-resources create, the rest of its words)."""
  lines = (cloud / "calls").read_text().splitlines() if (cloud / "calls").exists() else []
  words = [json.loads(line) for line in lines]
  return [(" ".join(own[2:4]), own[4:]) for own in words]


def kinds_of(cloud):
  return [kind for kind, _ in calls_of(cloud)]


def test_a_preempted_slice_is_asked_for_again_and_the_run_resumes(cloud, tmp_path):
  (tmp_path / "secrets").write_text("TOKEN='s3cret word'\n")
  shutil.copy(tmp_path / "secrets", cloud / "home" / "dap_jax.env")  # scp is not played
  flags = ["--", "--config.data.arguments.paths=('a b',)"]
  env = f"--env={tmp_path / 'secrets'}"
  said = launch(cloud, "train", *OPTIONS, "--spot", env, *flags, PREEMPTIONS="2")
  assert said.count("run one was interrupted; resuming") == 2
  assert "finished at step 9" in said
  assert kinds_of(cloud).count("queued-resources create") == 3
  assert kinds_of(cloud).count("queued-resources delete") == 3  # two that were taken, and the last
  trained = [json.loads(line) for line in (cloud / "trained").read_text().splitlines()]
  expected = ["-m", "dap_jax.train", "--distributed", "--config=configs/dap_xlmr.py"]
  expected += ["--workdir=gs://bucket/a run", "--config.data.arguments.paths=('a b',)"]
  assert trained == [[expected, "s3cret word"]] * 3
  create = next(words for kind, words in calls_of(cloud) if kind.endswith("create"))
  assert create == [
    "run one",
    "--node-id=run one",
    "--accelerator-type=v5litepod-16",
    "--runtime-version=v2-alpha-tpuv5-lite",
    "--spot",
    "--zone=zone-a",
  ]
  assert "s3cret" not in (cloud / "calls").read_text()


def test_a_mistake_ends_it_and_leaves_the_slice(cloud):
  said = launch(cloud, "train", *OPTIONS, status=1, BROKEN="1")
  assert "error: no such config" in said
  assert "training failed on run one" in said
  assert kinds_of(cloud).count("queued-resources delete") == 0
  # The slice is there, so it is not made again.
  launch(cloud, "train", *OPTIONS, "--keep")
  assert kinds_of(cloud).count("queued-resources create") == 1
  assert "finished at step 9" in launch(cloud, "logs", *OPTIONS[:2])
  launch(cloud, "delete", *OPTIONS[:2])
  assert not (cloud / "state").exists()


def test_a_dry_run_says_what_it_would_do(cloud):
  said = launch(cloud, "train", *OPTIONS, "--dry_run", "--", "--config.steps=5")
  assert calls_of(cloud) == []
  lines = [line for line in said.splitlines() if line.startswith("gcloud")]
  words = [shlex.split(line.split("$'")[0]) for line in lines]
  assert [" ".join(own[3:5]) for own in words] == [
    "queued-resources create",
    "tpu-vm scp",
    "tpu-vm ssh",
    "tpu-vm ssh",
    "tpu-vm ssh",
    "queued-resources delete",
  ]
  assert words[0][5] == "run one"
  for command in ("logs", "delete"):
    assert "gcloud compute tpus" in launch(cloud, command, *OPTIONS[:2], "--dry_run")


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["fly"], "expected train, logs or delete, not 'fly'"),
    (["train", "--name=a", "--zone=b"], "--type is needed"),
    (["logs", "--name=a"], "--zone is needed"),
    (["train", "--config.steps=3"], "flags of dap_jax.train come after --"),
    (["train", *OPTIONS, "--env=/nowhere"], "--env=/nowhere cannot be read"),
    (["logs", "--name"], "--name needs a value"),
  ],
)
def test_wrong_options(cloud, arguments, message):
  assert message in launch(cloud, *arguments, status=2)
  assert calls_of(cloud) == []


# `python -m`: records its arguments. If one is FAILING it ends with status 3 once three have begun,
# and the others wait.
PROCESS = """#!/bin/bash
[ "$1" = -m ] || exec "$REAL" "$@"
printf '%s\\n' "$*" >> "$ROOT/started"
[ "$FAILING" != none ] || exit 0
case "$*" in *--process_id="$FAILING"*) ;; *) exec sleep 60 ;; esac
until [ "$(wc -l < "$ROOT/started")" = 3 ]; do sleep 0.05; done
exit 3
"""


def run_processes(folder, *arguments, failing="none"):
  """processes.sh in a project that is installed; its status and what it said."""
  (folder / "launch").mkdir()
  for name in ("processes.sh", "environment.sh"):
    shutil.copy(ROOT / "launch" / name, folder / "launch")
  python = folder / ".venv" / "bin" / "python"
  python.parent.mkdir(parents=True)
  python.write_text(PROCESS)
  python.chmod(0o755)
  for name in ("requirements.txt", "requirements-demo.txt"):
    (folder / name).write_text("")
    (folder / ".venv" / f"installed-{name}").write_text("")
  process = subprocess.run(
    ["bash", str(folder / "launch/processes.sh"), *arguments],
    env=os.environ
    | {"ROOT": str(folder), "FAILING": failing, "REAL": sys.executable, "PYTHON": sys.executable},
    capture_output=True,
    text=True,
    timeout=50,
    check=False,
  )
  return process.returncode, process.stdout + process.stderr


def test_processes_run_any_command(tmp_path):
  status, said = run_processes(tmp_path, "2", "mine", "--output=a b.tsv")
  assert (status, said) == (0, "")
  lines = sorted((tmp_path / "started").read_text().splitlines())
  (address,) = {line.split("--coordinator=")[1].split()[0] for line in lines}
  assert address.startswith("127.0.0.1:")
  flags = f"-m dap_jax.mine --coordinator={address} --processes=2 --process_id"
  assert lines == [f"{flags}={number} --output=a b.tsv" for number in range(2)]


def test_a_process_that_fails_ends_the_others(tmp_path):
  status, _ = run_processes(tmp_path, "3", "train", failing="1")
  assert status == 3  # its own, not that of those that were stopped


@pytest.mark.parametrize("arguments", [(), ("2",), ("2", "--config=c"), ("two", "train")])
def test_processes_without_a_command(tmp_path, arguments):
  status, said = run_processes(tmp_path, *arguments)
  assert status != 0 and "usage: processes.sh N COMMAND" in said
  assert not (tmp_path / "started").exists()
