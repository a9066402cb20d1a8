"""The commands as a user runs them: real processes, real files, killed and restarted.

The corpus is made here: English sentences of a small grammar, and three ciphers of it.
"""

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from dap_jax import build, checkpoint, embedder, sharding, training, workdir
from dap_jax.data import store

ROOT = Path(__file__).parents[1]
CIPHERS = {"aa": "nopqrstuvwxyzabcdefghijklm", "bb": "абвгдежзийклмнопрстуфхцчшщ"}
CIPHERS["cc"] = "αβγδεζηθικλμνξοπρστυφχψωϊϋ"


def write_corpus(folder):
  """One keyed file a language: 480 sentences of four or five words."""
  words = ["the", "a"], ["red", "old", "new", "big"], ["page", "user", "file", "word", "group"]
  words += (["opens", "keeps", "finds", "needs"], ["it", "them", "more"])
  english = [" ".join(choice) for choice in itertools.product(*words)]
  folder.mkdir()
  for code in ("en", *CIPHERS):
    table = str.maketrans(
      "abcdefghijklmnopqrstuvwxyz", CIPHERS.get(code, "abcdefghijklmnopqrstuvwxyz")
    )
    lines = [f"{number}\t{text.translate(table)}\n" for number, text in enumerate(english)]
    (folder / f"{code}.tsv").write_text("".join(lines), encoding="utf-8")


def environment(cache, *, devices=1):
  return {
    **os.environ,
    "JAX_PLATFORMS": "cpu",
    "JAX_NUM_CPU_DEVICES": str(devices),
    "JAX_COMPILATION_CACHE_DIR": str(cache),
    "HF_HUB_OFFLINE": "1",
  }


class Commands:
  """Runs commands on one corpus, with one compilation cache."""

  def __init__(self, folder):
    self.folder, self.corpus = folder, folder / "corpus"
    write_corpus(self.corpus)

  def arguments(self, name, *flags):
    return [sys.executable, "-m", f"dap_jax.{name}", *map(str, flags)]

  def train_flags(self, run, *flags):
    return ["train", f"--config=tests/tiny.py:{self.corpus}", f"--workdir={run}", *flags]

  def start(self, name, *flags, devices=1):
    return subprocess.Popen(
      self.arguments(name, *flags),
      cwd=ROOT,
      env=environment(self.folder / "cache", devices=devices),
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )

  def run(self, name, *flags, status=0, devices=1):
    process = self.start(name, *flags, devices=devices)
    out, err = process.communicate(timeout=300)
    assert process.returncode == status, f"status {process.returncode}\n{out}\n{err}"
    return out + err

  def fail(self, name, *flags, status=1):
    """Runs a command that must fail with one clear line; returns that line."""
    said = self.run(name, *flags, status=status)
    errors = [line for line in said.split("\n") if line.startswith("error: ")]
    assert len(errors) == 1, said
    assert "Traceback" not in said
    return errors[0]

  def prepared(self, name):
    """A workdir whose data is prepared but which has not trained yet: saves the tests time."""
    run = self.folder / name
    run.mkdir()
    for part in ("data", "tokenizer"):
      shutil.copytree(self.straight / part, run / part)
    return run

  def straight_run(self):
    self.straight = self.folder / "straight"
    self.said = self.run(*self.train_flags(self.straight))
    return self


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
  return Commands(tmp_path_factory.mktemp("commands")).straight_run()


def final_state(run):
  """The newest state of a workdir on the host, and its step."""
  config = workdir.read_config(run)
  tokens = training.Tokenizer.load(run / "tokenizer", max_tokens=config["max_tokens"])
  vocabulary = training.vocabulary_of(tokens, store.english_ids(run / "data"))
  keys = ("seed", "steps", "max_tokens", "model", "decoder", "objectives", "optimizer")
  parts = build.build(
    vocabulary=vocabulary, mesh={"data": -1, "model": 1}, **{key: config[key] for key in keys}
  )
  with checkpoint.Checkpoints(run, keep_last=9, best_metric="") as checkpoints:
    restored = checkpoints.restore(parts.abstract_state)
  return jax.device_get(restored.state), restored.step


def lines_of(run):
  return [json.loads(line) for line in (run / "metrics.jsonl").read_text().split("\n") if line]


def test_a_run_says_what_it_does_and_learns(commands):
  for word in ("parameters", "15 negatives per anchor", "padding", "3: aa 33", "random weights"):
    assert word in commands.said
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
  process = commands.start(*commands.train_flags(run, "--config.log_steps=1"))
  deadline = time.monotonic() + 200
  while not (run / "metrics.jsonl").exists() or len(lines_of_unfinished(run)) < target:
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


def lines_of_unfinished(run):
  return (run / "metrics.jsonl").read_text().split("\n")[:-1]


def test_sigterm_saves_and_exits_0(commands):
  run = commands.prepared("terminated")
  relative = os.path.relpath(run, ROOT)  # as most users name it
  process = commands.start(*commands.train_flags(relative, "--config.log_steps=1"))
  while not (run / "metrics.jsonl").exists() or len(lines_of_unfinished(run)) < 13:
    assert process.poll() is None
    time.sleep(0.02)
  process.send_signal(signal.SIGTERM)
  _, err = process.communicate(timeout=100)
  assert process.returncode == 0, err
  assert "as asked; the same command resumes" in err
  step = final_state(run)[1]
  assert 13 <= step < 60


@pytest.mark.parametrize("mesh", [(8, 1), (4, 2)])
def test_eight_devices_give_the_same_run(commands, mesh):
  run = commands.prepared(f"mesh{mesh[0]}x{mesh[1]}")
  flags = [f"--config.mesh.data={mesh[0]}", f"--config.mesh.model={mesh[1]}"]
  commands.run(*commands.train_flags(run, *flags), devices=8)
  assert_close(run, commands.straight)


def test_two_processes_of_four_devices_give_the_same_run(commands):
  run = commands.prepared("processes")
  with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    address = f"127.0.0.1:{probe.getsockname()[1]}"
  flags = [f"--coordinator={address}", "--processes=2"]
  both = [
    commands.start(*commands.train_flags(run, *flags, f"--process_id={i}"), devices=4)
    for i in range(2)
  ]
  for process in both:
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
  assert_close(run, commands.straight)


def assert_close(run, expected):
  """Parameters to 1e-5, relative to each tensor's largest entry."""
  state, step = final_state(run)
  assert step == 60

  def close(path, a, b):
    # The gradient of a key bias is exactly zero: Adam makes steps of its rounding noise.
    noise = 1e-4 if sharding.path_name(path).endswith("key/bias") else 1e-5
    np.testing.assert_allclose(a, b, rtol=0, atol=noise * max(1.0, np.abs(b).max()))

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
  assert "random" in said and "cosine" in found["protocol"]


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
  calls = [
    commands.train_flags(run, "--config.steps=3"),
    ["evaluate", f"--model={run}"],
    ["export", f"--workdir={run}", f"--output={tmp_path}/final"],
    ["embed", f"--model={run}", f"--input={tmp_path}/in.txt", f"--output={tmp_path}/v.npy"],
  ]
  settings = environment(commands.folder / "cache")
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
  for module in ("dap_jax.train_step", "dap_jax.build"):
    code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ran.stdout == "[]\n", ran.stderr


class TestMistakes:
  """Each costs one clear line that names the value, status 1, and nothing of the workdir."""

  def test_unknown_key(self, commands, tmp_path):
    said = commands.fail(*commands.train_flags(tmp_path / "r", "--config.modle.width=8"))
    assert "modle" in said
    assert not (tmp_path / "r").exists()

  def test_value_of_the_wrong_type(self, commands, tmp_path):
    said = commands.fail(*commands.train_flags(tmp_path / "r", "--config.steps=many"))
    assert "steps" in said and "many" in said

  def test_a_config_that_is_no_config(self, commands, tmp_path):
    (tmp_path / "c.py").write_text("def get_config():\n  return 3\n")
    said = commands.fail("train", f"--config={tmp_path}/c.py", f"--workdir={tmp_path}/r")
    assert "c.py" in said

  def test_a_config_that_is_not_there(self, commands, tmp_path):
    said = commands.fail("train", f"--config={tmp_path}/no.py", f"--workdir={tmp_path}/r")
    assert "no.py" in said

  def test_workdir_of_another_config(self, commands):
    before = (commands.straight / "config.json").read_bytes()
    said = commands.fail(*commands.train_flags(commands.straight, "--config.batch_size=8"))
    assert "batch_size=16" in said and "8" in said and "another --workdir" in said
    assert (commands.straight / "config.json").read_bytes() == before

  def test_unwritable_workdir(self, commands, tmp_path):
    (tmp_path / "file").write_text("mine")
    said = commands.fail(*commands.train_flags(tmp_path / "file"))
    assert "cannot be written" in said
    assert (tmp_path / "file").read_text() == "mine"

  def test_language_without_pairs(self, commands, tmp_path):
    said = commands.fail(
      *commands.train_flags(tmp_path / "r", "--config.data.languages=('aa','xx')")
    )
    assert "'xx' in data.languages has no pairs" in said and "aa, bb, cc" in said

  def test_vocabulary_too_large(self, commands, tmp_path):
    said = commands.fail(
      *commands.train_flags(tmp_path / "r", "--config.tokenizer.vocabulary_size=50000")
    )
    assert "vocabulary_size=50000" in said and "at most" in said

  def test_batch_that_does_not_divide(self, commands, tmp_path):
    flags = commands.train_flags(tmp_path / "r", "--config.batch_size=12")
    said = commands.run(*flags, status=1, devices=8)
    assert "error: batch_size=12 is not divisible by the 8" in said

  def test_gradient_accumulation(self, commands, tmp_path):
    said = commands.fail(
      *commands.train_flags(tmp_path / "r", "--config.gradient_accumulation_steps=4")
    )
    assert "another, easier loss" in said

  def test_truncated_newest_checkpoint(self, commands):
    run = commands.folder / "truncated"
    shutil.copytree(commands.straight, run)
    files = [p for p in (run / "checkpoints" / "60" / "state").rglob("*") if p.is_file()]
    largest = max(files, key=lambda p: p.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:100])
    said = commands.run(*commands.train_flags(run))
    assert "checkpoint 60 cannot be read" in said and "resumed at step 50" in said
    jax.tree.map(
      np.testing.assert_array_equal, final_state(run)[0], final_state(commands.straight)[0]
    )

  def test_wrong_flags_have_status_2(self, commands):
    assert "wrkdir" in commands.fail("train", "--wrkdir=x", status=2)
    commands.fail("train", status=2)

  def test_a_model_that_is_none(self, commands, tmp_path):
    assert "no folder" in commands.fail("evaluate", f"--model={tmp_path}/none")
    assert "no workdir" in commands.fail(
      "evaluate", f"--model={tmp_path}", f"--data={commands.straight}"
    )

  def test_export_overwrites_nothing(self, commands, tmp_path):
    (tmp_path / "mine.txt").write_text("")
    said = commands.fail("export", f"--workdir={commands.straight}", f"--output={tmp_path}")
    assert "exists already" in said
    assert list(tmp_path.iterdir()) == [tmp_path / "mine.txt"]
