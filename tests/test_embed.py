"""The embed command: a file in pieces, killed and started again, standard input, hostile input."""

import subprocess
import time

import numpy as np
import pytest

from dap_jax.cli import outputs
from dap_jax.inference import embedder, vector_files
from dap_jax.utils.errors import UserError
from tests.commands import ROOT, environment

WORDS = ["the", "red", "page", "opens", "a", "new", "group", "finds", "them", "more"]


def texts_of(number):
  """Lines of one to nine words, keyed by the line."""
  rng = np.random.default_rng(0)
  return [" ".join(rng.choice(WORDS, size=rng.integers(1, 10))) for _ in range(number)]


def test_a_killed_run_goes_on(commands, tmp_path):
  """Killed when the first piece stands on the disk; the same command ends with the same bytes."""
  texts = texts_of(3 * vector_files.BLOCK_LINES)
  (tmp_path / "in.txt").write_text("\n".join(texts) + "\n")
  flags = [f"--model={commands.straight}", f"--input={tmp_path}/in.txt"]
  commands.run("embed", *flags, f"--output={tmp_path}/whole.npy")
  command = commands.arguments("embed", *flags, f"--output={tmp_path}/killed.npy")
  partial = tmp_path / "killed.npy.partial"
  process = subprocess.Popen(command, cwd=ROOT, env=environment())
  piece_bytes = vector_files.BLOCK_LINES * 32 * 4
  deadline = time.monotonic() + 120
  while not partial.exists() or partial.stat().st_size < piece_bytes:
    assert process.poll() is None and time.monotonic() < deadline
    time.sleep(0.005)
  process.kill()
  process.wait()
  assert partial.exists() and not (tmp_path / "killed.npy").exists()
  (tmp_path / "other.txt").write_text("another text\n")
  other = [flags[0], f"--input={tmp_path}/other.txt", f"--output={tmp_path}/killed.npy"]
  assert "was begun with another text" in commands.fail("embed", *other, status=1)
  commands.run("embed", *flags, f"--output={tmp_path}/killed.npy")
  assert (tmp_path / "killed.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
  assert not list(tmp_path.glob("*.partial*"))
  rows = [0, 1, vector_files.BLOCK_LINES, len(texts) - 1]
  direct = embedder.load(commands.straight).encode([texts[row] for row in rows])
  np.testing.assert_allclose(np.load(tmp_path / "whole.npy")[rows], direct, atol=1e-6)


def test_a_piece_that_was_cut_short_is_done_again(commands, tmp_path):
  """Of a file begun with one and a half pieces, the half one is not trusted."""
  model = embedder.load(commands.straight)
  texts = texts_of(2 * vector_files.BLOCK_LINES)
  (tmp_path / "in.txt").write_text("\n".join(texts))
  source = vector_files.examine(str(tmp_path / "in.txt"))
  assert source.lines == len(texts)  # the last line has no end
  output = str(tmp_path / "out.npy")
  vector_files.write_vectors(source, output, model)
  whole = (tmp_path / "out.npy").read_bytes()
  identity = {"vectors": model.digest(), "text": source.digest, "lines": source.lines}
  partial = tmp_path / "out.npy.partial"
  header = vector_files.npy_header(source.lines, model.width)
  done = vector_files.begin(partial, identity, header=header, row_bytes=4 * model.width)
  assert done == 0
  damaged = whole[: len(header) + vector_files.BLOCK_LINES * 4 * model.width * 3 // 2]
  partial.write_bytes(damaged[:-1000] + bytes(1000))
  vector_files.write_vectors(source, output, model)
  assert (tmp_path / "out.npy").read_bytes() == whole


def test_standard_input_and_bfloat16(commands, tmp_path):
  command = commands.arguments(
    "embed",
    f"--model={commands.straight}",
    "--input=-",
    f"--output={tmp_path}/out.npy",
    "--compute_dtype=bfloat16",
  )
  settings = environment(devices=4)
  text = "the red page\r\n\na new word"  # an empty line in the middle, no end of the last
  subprocess.run(command, cwd=ROOT, env=settings, input=text.encode(), check=True, timeout=300)
  vectors = np.load(tmp_path / "out.npy")
  exact = embedder.load(commands.straight).encode(["the red page", "", "a new word"])
  assert vectors.dtype == np.float32 and vectors.shape == exact.shape
  assert 0.99 < (vectors * exact).sum(1).min() < 1 - 1e-7


@pytest.mark.parametrize(
  ("content", "message"),
  [(b"", "is empty"), (b"good\nb\xe4d\n", r"in\.txt:2: not UTF-8")],
)
def test_input_that_is_no_text(tmp_path, content, message):
  (tmp_path / "in.txt").write_bytes(content)
  with pytest.raises(UserError, match=message):
    vector_files.examine(str(tmp_path / "in.txt"))


def test_a_broken_model_writes_no_vectors(commands, tmp_path):
  """A NaN among the weights: the line is named, and no file is there at the end."""
  model = embedder.load(commands.straight)
  embedding = model.params["encoder"]["embeddings"]["word"]
  embedding["embedding"] = embedding["embedding"] * np.nan
  (tmp_path / "in.txt").write_text("the red page\n")
  source = vector_files.examine(str(tmp_path / "in.txt"))
  with pytest.raises(UserError, match="no finite vector for line 1 "):
    vector_files.write_vectors(source, str(tmp_path / "out.npy"), model)
  assert not (tmp_path / "out.npy").exists()


def test_outputs_that_cannot_be_written_are_refused_at_once(commands, tmp_path):
  (tmp_path / "in.txt").write_text("the red page\n")
  flags = [f"--model={commands.straight}", f"--input={tmp_path}/in.txt"]
  message = commands.fail("embed", *flags, f"--output={tmp_path}/none/out.npy", status=1)
  assert "none/out.npy cannot be written" in message
  message = commands.fail("embed", *flags, f"--output={tmp_path}/out.txt", status=1)
  assert f"--output={tmp_path}/out.txt: expected a name that ends in .npy" in message
  for output, message in ((tmp_path, "cannot be written"), (tmp_path / "in.txt", "is an input")):
    with pytest.raises(UserError, match=message):
      outputs.check_file(str(output), f"{tmp_path}/in.txt")
  assert (tmp_path / "in.txt").read_text() == "the red page\n"


def test_another_model_at_the_same_place_does_not_go_on(commands, tmp_path):
  """The weights are changed after a run was begun: their digest is another."""
  model = embedder.load(commands.straight)
  before = model.digest()
  assert before == embedder.load(commands.straight).digest()
  (tmp_path / "in.txt").write_text("the red page\n")
  source = vector_files.examine(str(tmp_path / "in.txt"))
  identity = {"vectors": before, "text": source.digest, "lines": source.lines}
  header = vector_files.npy_header(source.lines, model.width)
  partial = tmp_path / "out.npy.partial"
  vector_files.begin(partial, identity, header=header, row_bytes=4 * model.width)
  embedding = model.params["encoder"]["embeddings"]["word"]
  embedding["embedding"] = embedding["embedding"] * 2
  assert model.digest() != before
  with pytest.raises(UserError, match="was begun with another text, model or setting"):
    vector_files.write_vectors(source, str(tmp_path / "out.npy"), model)
  (tmp_path / "out.npy.partial.json").write_text("{")
  with pytest.raises(UserError, match="cannot read .*partial.json"):
    vector_files.write_vectors(source, str(tmp_path / "out.npy"), model)


def test_a_text_that_shrinks_meanwhile_gives_no_file(commands, tmp_path):
  (tmp_path / "in.txt").write_text("the red page\na new word\n")
  source = vector_files.examine(str(tmp_path / "in.txt"))
  (tmp_path / "in.txt").write_text("the red page\n")
  with pytest.raises(UserError, match="had 2 lines at first, now 1"):
    vector_files.write_vectors(source, str(tmp_path / "out.npy"), embedder.load(commands.straight))
  assert not (tmp_path / "out.npy").exists()
