"""An installed dap_jax: what the wheel holds, what it asks for, and commands from any folder."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile

import pytest
from absl import flags
from packaging.requirements import Requirement

import dap_jax
from dap_jax.cli import config_files
from dap_jax.cli.main import commands
from tests.commands import ROOT, environment

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {"beam", "demo", "dev", "faiss", "plan", "onnx", "trackers"}
PYTHONS = ("3.11", "3.12", "3.13")
SEVERAL_HOSTS = ("prepare", "train", "evaluate", "export", "embed", "mine", "align", "selfcheck")


def pins(file, python):
  """The pins of a requirements file alone, without those it includes: name -> version."""
  lines = [line.partition("#")[0].strip() for line in (ROOT / file).read_text().splitlines()]
  entries = [Requirement(line) for line in lines if line and not line.startswith("-r")]
  entries = [e for e in entries if not e.marker or e.marker.evaluate({"python_version": python})]
  versions = {entry.name.lower(): str(entry.specifier).removeprefix("==") for entry in entries}
  assert len(versions) == len(entries), f"{file} pins a package twice for Python {python}"
  return versions


def ranges(entries, python="3.11"):
  """Dependencies of pyproject.toml: name -> range. Other extras of ours are left out."""
  parsed = [Requirement(entry) for entry in entries]
  parsed = [e for e in parsed if not e.marker or e.marker.evaluate({"python_version": python})]
  return {each.name.lower(): each.specifier for each in parsed if each.name != PROJECT["name"]}


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(
  ("file", "parts"),
  [
    ("requirements.txt", [None]),
    ("requirements-demo.txt", ["demo"]),
    ("requirements-plan.txt", ["plan"]),
    ("requirements-dev.txt", ["dev", "faiss", "onnx", "trackers"]),
  ],
)
def test_every_pin_lies_in_the_range_of_its_dependency(python, file, parts):
  extras = PROJECT["optional-dependencies"]
  allowed = {}
  for part in parts:
    allowed |= ranges(extras[part] if part else PROJECT["dependencies"], python)
  if parts == [None]:  # the default corpus is pinned by itself
    for name, specifier in ranges(extras["demo"]).items():
      assert allowed.pop(name).contains(pins("requirements-demo.txt", python)[name]), specifier
  pinned = pins(file, python)
  assert pinned.keys() == allowed.keys()
  assert [f"{n}=={v}" for n, v in pinned.items() if not allowed[n].contains(v)] == []


def test_python_3_11_stays_with_jax_0_10():
  assert pins("requirements.txt", "3.11")["jax"] == "0.10.2"
  assert pins("requirements.txt", "3.12")["jax"] == pins("requirements.txt", "3.13")["jax"]
  assert pins("requirements.txt", "3.13")["jax"].startswith("0.12.")


def expected_files():
  """What of the tree a wheel must hold, by its paths there."""
  package = [path for path in (ROOT / "dap_jax").rglob("*.*") if path.suffix != ".pyc"]
  files = {path.relative_to(ROOT).as_posix() for path in package}
  configs = [path.relative_to(ROOT).as_posix() for path in (ROOT / "configs").rglob("*.py")]
  return files | {f"dap_jax/{path}" for path in configs}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
  """A wheel of the tree, built without the network."""
  folder = tmp_path_factory.mktemp("wheel")
  tree = folder / "tree"
  tree.mkdir()
  for name in ("dap_jax", "configs", "tests", "benchmarks", "launch"):
    shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
  for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
    shutil.copy(ROOT / name, tree)
  options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder]
  run([sys.executable, "-m", "pip", "wheel", *options, tree])
  (path,) = folder.glob("*.whl")
  assert not (tree / "build").exists(), "what a build leaves would go into the next wheel"
  return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
  """The programs of an environment with the wheel, beside the packages of this environment."""
  folder = tmp_path_factory.mktemp("installed")
  venv.create(folder, with_pip=False)
  python = folder / "bin" / "python"
  (packages,) = folder.glob("lib/python*/site-packages")
  (packages / "others.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
  options = ["--quiet", "--no-deps", "--no-index"]
  run([sys.executable, "-m", "pip", "--python", python, "install", *options, wheel])
  return folder / "bin"


def run(command, *, folder=ROOT, status=0, **variables):
  """Runs a program; its standard output and its standard error."""
  variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | variables
  process = subprocess.run(
    [*map(str, command)],
    cwd=folder,
    env=variables,
    capture_output=True,
    text=True,
    timeout=300,
    check=False,
  )
  assert process.returncode == status, process.stdout + process.stderr
  return process.stdout, process.stderr


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_the_configs_and_nothing_else(wheel):
  with zipfile.ZipFile(wheel) as archive:
    names = set(archive.namelist())
    metadata = f"dap_jax-{dap_jax.__version__}.dist-info"
    assert archive.read(f"{metadata}/top_level.txt").decode().split() == ["dap_jax"]
    text = archive.read(f"{metadata}/METADATA").decode()
  assert {name for name in names if not name.startswith(metadata)} == expected_files()
  asked_for = [Requirement(line) for line in re.findall("^Requires-Dist: (.*)$", text, re.M)]
  needed = {each.name.lower().replace("_", "-") for each in asked_for if not each.marker}
  assert needed == {name.replace("_", "-") for name in ranges(PROJECT["dependencies"])}
  assert set(re.findall("^Provides-Extra: (.*)$", text, re.M)) == EXTRAS


@pytest.mark.slow
def test_an_installed_command_trains_a_shipped_config_from_any_folder(installed, tmp_path):
  flags_of_size = [
    "--config.steps=5",
    "--config.batch_size=16",
    "--config.data.heldout.sentences=9",
  ]
  flags_of_size += ["--config.data.languages=('de','fr')", "--config.data.heldout.min_languages=2"]
  flags_of_size += ["--config.tokenizer.vocabulary_size=1000"]
  variables = environment(tmp_path / "compiled")
  command = [installed / "dap-jax", "train", "--config=demo", "--workdir=x", *flags_of_size]
  _, errors = run(command, folder=tmp_path, **variables)
  assert "finished at step 5" in errors
  where = [installed / "python", "-c", "import dap_jax; print(dap_jax.__file__)"]
  assert pathlib.Path(run(where, folder=tmp_path)[0]).is_relative_to(installed.parent)
  versions = (tmp_path / "x" / "versions.json").read_text()
  assert dap_jax.__version__ in versions
  wrong = [installed / "dap-jax", "train", "--config=dmeo", "--workdir=y"]
  assert "did you mean demo?" in run(wrong, folder=tmp_path, status=1)[1]
  absent = [installed / "dap-jax", "train", "--config=configs/demo.py", "--workdir=x"]
  assert "finished" in "".join(run([*absent, *flags_of_size], folder=tmp_path, **variables))
  sweep = [installed / "dap-jax", "sweep", "--sweep=lr", "--output=z", "--print"]
  lines, _ = run(sweep, folder=tmp_path, **variables)
  assert len(lines.splitlines()) == 9 and "--config=configs/demo.py" in lines
  with pytest.raises(AssertionError, match="No module named 'configs'"):
    run([installed / "python", "-c", "import configs"], folder=tmp_path)


MAIN = [sys.executable, "-m", "dap_jax"]


def test_alone_it_lists_the_commands_without_jax():
  loaded = "import sys; from dap_jax.cli import main; main.main()"
  loaded += "; sys.exit(not {'jax', 'absl', 'numpy'}.isdisjoint(sys.modules))"
  out, _ = run([sys.executable, "-c", loaded])
  assert out == run(MAIN)[0] == run([*MAIN, "--help"])[0]
  for name, about in commands().items():
    assert re.search(rf"^  {name} +{re.escape(about)}$", out, re.M) and about
  assert set(SEVERAL_HOSTS) < set(commands()) and "sweep" in commands()


def test_version():
  assert run([*MAIN, "--version"])[0] == f"dap_jax {dap_jax.__version__}\n"
  assert f'version: "{dap_jax.__version__}"' in (ROOT / "CITATION.cff").read_text()
  assert f"## [{dap_jax.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("name", ["trian", "__init__", "cli", "--workdir=x", "../setup"])
def test_unknown_command(name):
  _, errors = run([*MAIN, name], status=2)
  assert errors.startswith("error: ") and len(errors.splitlines()) == 1
  assert ("did you mean train?" in errors) == (name == "trian")


@pytest.mark.parametrize("name", commands())
def test_help_shows_the_flags_of_the_command_alone(name):
  out, errors = run([*MAIN, name, "--help"])
  assert errors == "" and out.startswith(commands()[name])
  assert "--helpfull" in out and "logtostderr" not in out
  assert ("--[no]distributed" in out and "--coordinator" in out) == (name in SEVERAL_HOSTS)
  assert ("--config.KEY=VALUE" in out) == (name in ("prepare", "train", "plan", "selfcheck"))


def test_help_of_all_flags_and_by_name():
  out, _ = run([*MAIN, "train", "--helpfull"])
  assert "logtostderr" in out and "hang_seconds" in out
  assert run([*MAIN, "help", "train"])[0] == run([*MAIN, "train", "-h"])[0]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
  """Another working directory, in a process that has imported no config yet."""
  for name in [name for name in sys.modules if name.split(".")[0] == "configs"]:
    monkeypatch.delitem(sys.modules, name)
  monkeypatch.chdir(tmp_path)
  yield tmp_path
  for name in [name for name in sys.modules if name.split(".")[0] == "configs"]:
    del sys.modules[name]


def config_of(*arguments):
  values = flags.FlagValues()
  config_files.define_flag(flag_values=values, arguments=["x", *arguments])
  values(["x", *arguments])
  return values.config


def test_a_users_config_imports_the_shipped_ones_and_those_beside_it(elsewhere):
  (elsewhere / "configs").mkdir()
  (elsewhere / "configs" / "shorter.py").write_text(
    "from configs import demo\ndef get_config():\n"
    "  config = demo.get_config()\n  config.steps = 7\n  return config\n"
  )
  (elsewhere / "mine.py").write_text(
    "from configs import shorter\ndef get_config(seed='0'):\n"
    "  config = shorter.get_config()\n  config.seed = int(seed)\n  return config\n"
  )
  for path in ("mine.py", "./mine.py", elsewhere / "mine.py"):
    config = config_of(f"--config={path}:3", "--config.batch_size=4")
    assert (config.seed, config.steps, config.batch_size) == (3, 7, 4)
  assert config_of("--config=shorter").steps == 7


@pytest.mark.parametrize("value", ["demo", "demo.py", "configs/demo.py", "configs/demo"])
def test_a_shipped_config_is_found_by_name(elsewhere, value):
  (elsewhere / "demo").mkdir()  # a workdir, perhaps
  assert config_files.find(value) == str(ROOT / "configs" / "demo.py")
  assert config_of(f"--config={value}").steps == 2_000


def test_a_file_comes_before_a_name(elsewhere):
  (elsewhere / "demo.py").write_text("")
  assert config_files.find("demo.py:argument") == "demo.py:argument"
  assert config_files.find("demo") == str(ROOT / "configs" / "demo.py")


@pytest.mark.parametrize(
  ("value", "hint"),
  [
    ("dmo", "did you mean demo?"),
    ("a/b.py:c", "the names: base,"),
    ("configs", "the names: base,"),
  ],
)
def test_a_config_that_is_nowhere(elsewhere, value, hint):
  (elsewhere / "configs").mkdir()
  with pytest.raises(flags.IllegalFlagValueError, match=re.escape(hint)) as error:
    config_of(f"--config={value}")
  assert f"--config={value.partition(':')[0]} is no file" in str(error.value)


def test_a_sweep_is_found_by_name(elsewhere):
  path = str(ROOT / "configs" / "sweeps" / "lr.py")
  for value in ("lr", "configs/sweeps/lr.py", "sweeps/lr"):
    assert config_files.find(value, flag="--sweep", folder="sweeps") == path
  with pytest.raises(ValueError, match="--sweep=no is no file"):
    config_files.find("no", flag="--sweep", folder="sweeps")
