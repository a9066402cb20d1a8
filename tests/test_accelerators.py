"""JAX looks for the accelerators that the machine has, and for no others."""

import os
import subprocess
import sys

import pytest

from dap_jax.cli import accelerators
from tests.commands import ROOT


@pytest.fixture
def machine(monkeypatch, tmp_path):
  """(files under /dev, installed modules) -> what `leave_absent` sets."""

  def leave(files, modules, **settings):
    for name in files:
      (tmp_path / name).touch()
    monkeypatch.setattr(os, "environ", dict(settings))
    for patterns in ("TPU_FILES", "GPU_FILES"):
      names = [name.replace("/dev/", "") for name in getattr(accelerators, patterns)]
      names = [name.replace("vfio/", "vfio_") for name in names]
      monkeypatch.setattr(accelerators, patterns, tuple(f"{tmp_path}/{name}" for name in names))
    monkeypatch.setattr(accelerators, "SOFTWARE", modules)
    accelerators.leave_absent()
    return dict(os.environ)

  return leave


@pytest.mark.parametrize(
  ("files", "modules", "platforms"),
  [
    ([], ["json"], "cpu"),  # json stands for a plugin that is installed
    ([], ["no_such_module"], None),
    (["nvidia0"], ["json"], None),
    (["dxg"], ["json"], None),  # the GPU of WSL 2
    (["null"], ["json"], "cpu"),
  ],
)
def test_without_tpus(machine, files, modules, platforms):
  """The device files are those that jax 0.10.2 knows (jax/_src/hardware_utils.py), and Jetson's."""
  settings = machine(files, modules)
  assert settings.pop("JAX_PLATFORMS", None) == platforms
  assert settings == accelerators.LIBTPU_ANSWERS


@pytest.mark.parametrize("file", ["accel0", "vfio_0"])
def test_a_machine_with_tpus_is_left_alone(machine, file):
  assert machine([file], ["json"]) == {}


def test_what_is_set_stays(machine):
  settings = {"JAX_PLATFORMS": "cuda", "TPU_ACCELERATOR_TYPE": "v4-8"}
  assert machine([], ["json"], **settings) == accelerators.LIBTPU_ANSWERS | settings


@pytest.mark.slow
def test_the_tpu_compiler_is_silent(commands):
  """libtpu 0.0.42.1 printed `unexpected worker hostname` and `Failed to find host bounds`."""
  pytest.importorskip("libtpu", reason="needs libtpu, the TPU compiler")
  if accelerators.any_file(accelerators.TPU_FILES):
    pytest.skip("there are TPUs here")
  config = f"--config={ROOT}/tests/tiny.py:{commands.corpus}"
  process = commands.start("plan", config, "--topology=v5e:2x2")
  _, err = process.communicate(timeout=300)
  assert process.returncode == 0
  assert [line for line in err.splitlines() if "compiling" not in line] == []


def test_transformers_does_not_ask_for_torch():
  """The variable that transformers 5.23.0 reads (`warning_advice` of its utils/logging.py)."""
  script = (
    "import importlib.util, os, sys; from dap_jax.cli import command; command.log_to_stderr()\n"
    "real = importlib.util.find_spec\n"
    "importlib.util.find_spec = lambda name, *_: None if name == 'torch' else real(name)\n"
    "import transformers; print(transformers.utils.is_torch_available())"
  )
  done = subprocess.run(
    [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
  )
  assert (done.stdout.strip(), done.stderr) == ("False", "")
