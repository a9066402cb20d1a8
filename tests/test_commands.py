"""The commands as a user runs them: real processes, real files, killed and restarted."""

import json
import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from dap_jax.distributed import parameters
from dap_jax.inference import embedder
from dap_jax.workdir import layout, records
from tests.commands import ROOT, environment, final_state, lines_of
from tests.xla_flags import LESS_LLVM


def test_a_run_says_what_it_does_and_learns(commands):
  for word in ("parameters", "15 negatives per anchor", "padding", "3: aa 33", "random weights"):
    assert word in commands.said
  start, compiling, done = map(
    commands.said.index, ("random weights", "compiling the first step", "first step done")
  )
  assert start < compiling < done < commands.said.index("step 10/60")
  lines = lines_of(commands.straight)
  losses = [line["loss"] for line in lines if "loss" in line]
  assert len(losses) == 6
  assert losses[-1] < 0.7 * losses[0]
  assert {"translation_ranking", "representation_translation", "learning_rate", "grad_norm"} <= set(
    lines[-2]
  )
  last = lines[-1]
  assert last["step"] == 60
  # A random ranking finds 1 of 20; ciphers are learnt in 60 steps well beyond that.
  assert last["eval/retrieval/to_pivot_accuracy_random"] == 0.05
  assert last["eval/retrieval/to_pivot_accuracy"] > 0.25


def test_killed_at_a_random_step_it_resumes_bit_for_bit(commands):
  run = commands.prepared("killed")
  target = int(np.random.default_rng(int(time.time())).integers(12, 50))
  process = commands.start(*commands.train_flags(run, "--config.log_steps=1"), cold=True)
  deadline = time.monotonic() + 200

  def reached():
    """The step, and a complete checkpoint: saves are asynchronous."""
    return len(records.read_records(run)) >= target and layout.has_checkpoints(run)

  while not reached():
    assert time.monotonic() < deadline and process.poll() is None
    time.sleep(0.02)
  process.kill()
  process.communicate()
  said = commands.run(*commands.train_flags(run))
  assert "resumed at step" in said, f"killed about step {target}"
  state, step = final_state(run)
  expected, _ = final_state(commands.straight)
  assert step == 60
  jax.tree.map(np.testing.assert_array_equal, state, expected)
  steps = [line["step"] for line in lines_of(run) if "loss" in line]
  assert steps == sorted(set(steps)), "a line was written twice"


def test_sigterm_saves_and_exits_0(commands):
  run = commands.prepared("terminated")
  relative = os.path.relpath(run, ROOT)  # as most users name it
  process = commands.start(*commands.train_flags(relative, "--config.log_steps=1"))
  while len(records.read_records(run)) < 13:
    assert process.poll() is None
    time.sleep(0.02)
  process.send_signal(signal.SIGTERM)
  _, err = process.communicate(timeout=100)
  assert process.returncode == 0, err
  assert "as asked; the same command resumes" in err
  step = final_state(run)[1]
  assert 13 <= step < 60


def test_eight_devices_give_the_same_run(commands):
  """Processes and other meshes: test_elastic.py."""
  run, alone = commands.prepared("eight"), commands.prepared("one")
  # Fused as users have it: QUICK fuses otherwise on one device than on eight.
  how = {"cold": True, "XLA_FLAGS": LESS_LLVM}
  commands.run(*commands.train_flags(run, "--config.mesh.model=2"), devices=8, **how)
  commands.run(*commands.train_flags(alone), **how)
  assert_close(run, alone)


def assert_close(run, expected):
  """Parameters to 1e-5, relative to each tensor's largest entry."""
  state, step = final_state(run)
  assert step == 60

  def close(path, a, b):
    if parameters.path_name(path).endswith("key/bias"):
      return  # softmax cancels it: no output depends on it, and Adam steps along rounding noise
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * max(1.0, np.abs(b).max()))

  jax.tree_util.tree_map_with_path(close, state.params, final_state(expected)[0].params)


def test_export_embed_evaluate_agree(commands, tmp_path):
  sentence_transformers = pytest.importorskip("sentence_transformers", reason="requirements-dev")
  folder = commands.folder / "exported"
  commands.run("export", f"--workdir={commands.straight}", f"--output={folder}")
  texts = [
    "the red page opens it",
    "",
    "Вход",
    "ログイン",
    "登录",
    "تسجيل الدخول",
    "लॉग इन",
    "로그인",
  ]
  texts += [
    "เข้าสู่ระบบ",
    "Σύνδεση",
    "התחברות",
    "x" * 10_000,
    "слово " * 2_000,
    "[MASK]",
    " \t ",
    "👩‍👩‍👧",
  ]
  theirs = sentence_transformers.SentenceTransformer(str(folder)).encode(texts)
  for model in (folder, commands.straight):
    np.testing.assert_allclose(embedder.load(model).encode(texts), theirs, atol=1e-5)
  (tmp_path / "in.txt").write_text("\n".join(text.replace("\t", " ") for text in texts) + "\n")
  commands.run(
    "embed", f"--model={folder}", f"--input={tmp_path}/in.txt", f"--output={tmp_path}/out.npy"
  )
  np.testing.assert_allclose(np.load(tmp_path / "out.npy"), theirs, atol=1e-5)
  scores = tmp_path / "scores.json"
  said = commands.run(
    "evaluate", f"--model={folder}", f"--data={commands.straight}", f"--output={scores}"
  )
  found = json.loads(scores.read_text())
  name = "eval/retrieval/to_pivot_accuracy"
  assert found[name] == pytest.approx(lines_of(commands.straight)[-1][name])
  assert "random" in said and "cosine" in found["protocol"]["retrieval"]["neighbour"]


def test_an_export_with_another_limit(commands, tmp_path):
  """The model was trained at 12 tokens; its file of limits is what sentence-transformers reads."""
  flags = [f"--workdir={commands.straight}", f"--output={tmp_path}/out"]
  assert "error: " in commands.fail("export", *flags, "--max_tokens=1000")
  said = commands.run("export", *flags, "--max_tokens=20", "--dtype=bfloat16")
  assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"
  limits = json.loads((tmp_path / "out" / "sentence_bert_config.json").read_text())
  assert limits["max_seq_length"] == 20 and "as in training" not in said
  assert "after 20 tokens" in (tmp_path / "out" / "README.md").read_text()


BLOCKED = """
import runpy, socket, sys
def refuse(self, address):
  if self.family in (socket.AF_INET, socket.AF_INET6):
    sys.stderr.write(f"NETWORK {address}")
    sys.stderr.flush()
    raise OSError("the network is blocked")
socket.socket.connect = socket.socket.connect_ex = refuse
socket.getaddrinfo = lambda *a, **k: refuse(socket.socket(), a)
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def test_no_command_opens_a_connection(commands, tmp_path):
  run = tmp_path / "offline"
  (tmp_path / "in.txt").write_text("the red page\n")
  sides = [f"--source={tmp_path}/in.txt", f"--target={tmp_path}/in.txt"]
  calls = [
    commands.train_flags(run, "--config.steps=3"),
    ["evaluate", f"--model={run}"],
    ["export", f"--workdir={run}", f"--output={tmp_path}/final"],
    ["embed", f"--model={run}", f"--input={tmp_path}/in.txt", f"--output={tmp_path}/v.npy"],
    ["mine", f"--model={run}", *sides, f"--output={tmp_path}/pairs.tsv"],
    ["align", f"--model={run}", *sides, f"--output={tmp_path}/links"],
    ["report", f"--workdir={run}"],
  ]
  settings = environment()
  del settings["HF_HUB_OFFLINE"]
  for name, *flags in calls:
    command = [sys.executable, "-c", BLOCKED, f"dap_jax.{name}", *flags]
    ran = subprocess.run(
      command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    assert "NETWORK" not in ran.stderr


def test_the_core_imports_nothing_heavy():
  heavy = {"tensorflow", "seqio", "grain", "torch", "clu", "tensorflow_datasets"}
  for module in ("dap_jax.core.train_step", "dap_jax.training.build"):
    code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ran.stdout == "[]\n", ran.stderr
