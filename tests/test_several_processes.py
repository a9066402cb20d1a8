"""Commands on two real processes of four devices: the results of one process, and its one line."""

import json
import re
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from dap_jax.distributed import row_shares
from dap_jax.mining import exact_search
from tests.commands import ROOT, Commands
from tests.test_mine import read_rows, save_vectors, vector_flags

TEXTS = ["the red page opens it", "", "a new word", "x " * 90, "the old group keeps them"] * 4


@pytest.fixture(scope="module")
def bare(tmp_path_factory, common):
  """The commands, without a trained model."""
  return Commands(tmp_path_factory.mktemp("processes"), shared=common)


# What the transport says, from several threads at once: its lines may lie within each other.
TRANSPORT = re.compile(r"Gloo|peer ranks|^[ \d:.]*$")


def spoken(output):
  """The lines of a process that are ours."""
  return [line for line in output.split("\n") if not TRANSPORT.search(line)]


@pytest.mark.slow
def test_scores_are_those_of_one_process(commands, tmp_path):
  """retrieval asks for vectors, xsim shares its search; process 0 says it all."""
  for name in ("retrieval", "xsim"):
    shutil.copytree(commands.corpus, tmp_path / name)
  flags = [f"--model={commands.straight}", "--suite=retrieval,xsim", f"--data={tmp_path}"]
  output = commands.run("evaluate", *flags, f"--output={tmp_path}/one.json", devices=8)
  first, second = commands.run_processes("evaluate", *flags, f"--output={tmp_path}/two.json")
  one, two = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "two"))
  assert list(one) == list(two) and len(one) > 8
  for name in set(one) - {"model", "protocol"}:
    assert two[name] == pytest.approx(one[name], abs=1e-6), name
  assert one["protocol"] == two["protocol"]
  assert spoken(first) == spoken(output)
  assert spoken(second) == []


@pytest.mark.slow
def test_files_are_those_of_one_process(commands, tmp_path):
  """An exported folder byte for byte, vectors to 1e-6; only process 0 says so."""
  for name, processes in (("one", False), ("two", True)):
    flags = [f"--workdir={commands.straight}", "--include_decoder", f"--output={tmp_path}/{name}/m"]
    (tmp_path / name).mkdir()
    if processes:
      first, second = commands.run_processes("export", *flags)
      assert "exported step 60" in first and spoken(second) == []
    else:
      commands.run("export", *flags)
  one, two = (sorted((tmp_path / name).rglob("*")) for name in ("one", "two"))
  files = [path.relative_to(tmp_path / "one") for path in one if path.is_file()]
  assert files == [path.relative_to(tmp_path / "two") for path in two if path.is_file()]
  assert any(path.name == "model.safetensors" for path in files)
  for path in files:
    assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes(), path
  (tmp_path / "in.txt").write_text("\n".join(TEXTS) + "\n")
  flags = [f"--model={commands.straight}", f"--input={tmp_path}/in.txt"]
  commands.run("embed", *flags, f"--output={tmp_path}/one.npy")
  first, second = commands.run_processes("embed", *flags, f"--output={tmp_path}/two.npy")
  assert spoken(first) == [f"20 texts -> {tmp_path}/two.npy, float32 [20, 32]"]
  assert spoken(second) == []
  one, two = (np.load(tmp_path / f"{name}.npy") for name in ("one", "two"))
  np.testing.assert_allclose(two, one, atol=1e-6)
  assert not list(tmp_path.glob("*.partial*"))


@pytest.mark.slow
def test_pairs_are_those_of_one_process(commands, tmp_path):
  """Texts through a model; 481 lines, so that the shares are not equal."""
  for code in ("en", "aa"):
    lines = (commands.corpus / f"{code}.tsv").read_text().split("\n")[:-1]
    texts = [line.split("\t")[1] for line in lines] + [f"the {code}"]
    (tmp_path / f"{code}.txt").write_text("".join(f"{text}\n" for text in texts))
  flags = [f"--model={commands.straight}", f"--source={tmp_path}/aa.txt"]
  flags += [f"--target={tmp_path}/en.txt"]
  commands.run("mine", *flags, f"--output={tmp_path}/one.tsv", devices=8)
  first, second = commands.run_processes("mine", *flags, f"--output={tmp_path}/two.tsv")
  assert "mine: 481 x 481 sentences" in first and spoken(second) == []
  one, two = (read_rows(tmp_path / f"{name}.tsv") for name in ("one", "two"))
  assert len(one) > 100
  assert [row[2:] for row in two] == [row[2:] for row in one]
  for column in (0, 1):  # printed to six places
    ours, expected = (np.array([row[column] for row in rows], float) for rows in (two, one))
    np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-6)
  assert not list(tmp_path.glob("*.work*"))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["score", "search"])
def test_tables_are_those_of_one_process(bare, tmp_path, mode):
  """The search in both directions and in one; 601 rows, so that the shares are not equal."""
  save_vectors(tmp_path, rows=601)
  one, two = (tmp_path / f"{name}.tsv" for name in ("one", "two"))
  bare.run(*vector_flags(tmp_path, one, f"--mode={mode}"))
  first, second = bare.run_processes(*vector_flags(tmp_path, two, f"--mode={mode}"))
  assert f"{mode}: 601 x 601 sentences" in first and spoken(second) == []
  assert two.read_bytes() == one.read_bytes()
  assert not list(tmp_path.glob("*.work*"))


@pytest.mark.slow
def test_killed_in_the_search_all_go_on(bare, tmp_path):
  """Both are killed when both have saved."""
  save_vectors(tmp_path, rows=16_000, width=64, planted=100)
  straight, killed = tmp_path / "straight.tsv", tmp_path / "killed.tsv"
  bare.run(*vector_flags(tmp_path, straight))
  started = bare.start_processes(*vector_flags(tmp_path, killed, "--save_seconds=0"))
  folder = Path(f"{killed}.work")
  states = [folder / f"search-4.{number}-of-2.npz" for number in (1, 2)]
  deadline = time.monotonic() + 120
  while not all(state.exists() for state in states):
    assert all(process.poll() is None for process in started) and time.monotonic() < deadline
    time.sleep(0.005)
  for process in started:
    process.kill()
  for process in started:
    process.communicate()
    assert process.returncode == -signal.SIGKILL
  assert not killed.exists()
  first, _ = bare.run_processes(*vector_flags(tmp_path, killed))
  assert "the search goes on: " in first and " of 8000 rows were done" in first
  assert killed.read_bytes() == straight.read_bytes()
  assert not folder.exists()


@pytest.mark.slow
def test_a_mistake_of_all_is_one_line(bare, tmp_path):
  """Quickly: JAX's own shutdown would wait for five minutes. mine clears its work folder first."""
  save_vectors(tmp_path)
  np.save(tmp_path / "y.npy", np.full((600, 32), np.nan, np.float32))
  before = set(tmp_path.iterdir())
  for name, *flags in (
    ["evaluate", f"--model={tmp_path}/none", f"--data={bare.corpus}"],
    vector_flags(tmp_path, tmp_path / "out.tsv"),
  ):
    first, second = bare.run_processes(name, *flags, status=1)
    assert len(spoken(first)) == 1 and spoken(first)[0].startswith("error: "), first
    assert "process" not in first.split("error: ")[1]
    assert spoken(second) == []
  assert set(tmp_path.iterdir()) == before


@pytest.mark.slow
def test_a_mistake_of_one_ends_all(commands, tmp_path):
  """Each process in a folder of its own: a file is there for one only, or is another."""
  folders = [tmp_path / "a", tmp_path / "b"]
  for number, folder in enumerate(folders):
    folder.mkdir()
    (folder / "in.txt").write_text(f"the red page {number}\n")
  flags = ["embed", f"--model={commands.straight}", "--input=in.txt", "--output=out.npy"]
  first, second = commands.run_processes(*flags, status=1, folders=folders)
  output = "process 1 has another text to encode than process 0 (1 of 2 differ): give all the same"
  assert spoken(first) == [f"error: {output} data"] and spoken(second) == []
  (folders[1] / "in.txt").write_bytes(b"\xff\n")
  first, second = commands.run_processes(*flags, status=1, folders=folders)
  (line,) = spoken(first)
  assert line.startswith("error: process 1: in.txt:1: not UTF-8") and spoken(second) == []
  assert not list(tmp_path.rglob("out.npy"))


@pytest.mark.slow
def test_another_command_line_is_refused(bare, tmp_path):
  """One process mines with another margin."""
  save_vectors(tmp_path)
  flags = vector_flags(tmp_path, tmp_path / "out.tsv", "--processes=2")
  flags.append(f"--coordinator={bare.free_address()}")
  started = [
    bare.start(*flags, f"--process_id={number}", f"--margin={margin}")
    for number, margin in enumerate(("ratio", "distance"))
  ]
  first, second = ("".join(process.communicate(timeout=120)) for process in started)
  assert [process.returncode for process in started] == [1, 1]
  assert "error: process 1 has another command than process 0" in first
  assert spoken(second) == []
  assert not list(tmp_path.glob("out.tsv*"))


@pytest.mark.slow
def test_sigterm_ends_a_command(bare, tmp_path):
  """JAX's preemption service would take the signal, and nobody would look there."""
  save_vectors(tmp_path, rows=16_000, width=64, planted=100)
  (process,) = bare.start_processes(*vector_flags(tmp_path, tmp_path / "out.tsv"), folders=[ROOT])
  while not (tmp_path / "out.tsv.work").exists():
    assert process.poll() is None
    time.sleep(0.01)
  process.terminate()
  process.communicate(timeout=60)
  assert process.returncode == -signal.SIGTERM


def test_wrong_flags_of_processes(bare):
  flags = ["embed", "--model=m", "--input=i", "--output=o.npy"]
  output = bare.fail(*flags, "--coordinator=a:1", status=2)
  assert "--coordinator, --processes and --process_id are all needed" in output
  assert "which is not given" in bare.fail(*flags, "--processes=2", status=2)


@pytest.mark.parametrize("number", [0, 1])
def test_a_process_that_stays_alone(bare, number):
  """Process 0, which waits for the other, and process 1, which finds nobody."""
  address = bare.free_address()
  flags = [f"--coordinator={address}", "--processes=2", f"--process_id={number}"]
  flags += ["--meet_seconds=3", "--model=m", "--input=i", "--output=o.npy"]
  output = bare.fail("embed", *flags, status=1)
  assert f"error: after 3 s not all of 2 processes have met at {address}" in output


@pytest.mark.parametrize("count", [0, 1, 2, 7, 16])
@pytest.mark.parametrize("processes", [1, 2, 3, 8])
def test_shares_are_all_rows_once(monkeypatch, count, processes):
  monkeypatch.setattr(row_shares.jax, "process_count", lambda: processes)
  rows = [list(range(count))[row_shares.of_process(count, number)] for number in range(processes)]
  assert [row for part in rows for row in part] == list(range(count))
  assert max(map(len, rows)) == -(-count // processes)


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.float64, np.int64])
def test_gathering_in_pieces_changes_no_bit(monkeypatch, dtype):
  """Seven rows, three a piece; any bits, NaN among them, come back."""
  monkeypatch.setattr(row_shares, "BLOCK_BYTES", 3 * 5 * np.dtype(dtype).itemsize)
  rows = np.random.default_rng(0).bytes(7 * 5 * np.dtype(dtype).itemsize)
  rows = np.frombuffer(rows, dtype).reshape(7, 5).copy()
  rows[2] = np.array(np.nan).astype(dtype) if dtype in (np.float32, np.float64) else -1
  pieces = list(row_shares.gather_blocks(rows))
  assert [piece.shape for piece in pieces] == [(1, 3, 5), (1, 3, 5), (1, 1, 5)]
  assert np.concatenate(pieces, axis=1).tobytes() == rows.tobytes()
  assert row_shares.gather(rows, 7).tobytes() == rows.tobytes()


def test_lists_of_processes_become_one():
  """Two processes, one row, by hand: 0.9 of both is equal, and the first process has lower rows."""
  values = np.array([[[0.9, 0.2]], [[0.9, 0.5]]], np.float32)
  rows = np.array([[[1, 3]], [[7, 6]]], np.int32)
  best = exact_search.best_of_processes(values, rows)
  np.testing.assert_array_equal(best.values, np.array([[0.9, 0.9]], np.float32))
  np.testing.assert_array_equal(best.rows, [[1, 7]])
