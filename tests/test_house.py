"""The layout: imports run one way, and no package, file or function grows too long to read."""

import ast
import pathlib
import shutil

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "dap_jax"
COMMANDS = "commands"
ANY = None
# Package -> the packages it may import beside itself; `utils` is open to all.
MAY_IMPORT = {
  COMMANDS: ANY,
  "core": {"model", "distributed.sharding"},
  "model": {"distributed.sharding"},
  "objectives": {"core", "model"},
  "data": {"data.cleaning", "data.engines", "data.readers", "data.texts"},
  "data.cleaning": {"data.engines", "data.readers", "data.texts"},
  "data.engines": set(),
  "data.readers": {"data.texts", "hub.download"},
  "data.texts": set(),
  "hub": set(),
  "distributed": set(),
  "workdir": {"distributed"},
  "training": {
    *("core", "model", "objectives", "data", "data.cleaning", "data.engines", "data.readers"),
    *("data.texts", "hub", "distributed", "workdir", "inference", "evals"),
  },
  "inference": {
    *("core", "model", "data", "data.texts", "hub", "distributed", "workdir", "evals", "mining"),
  },
  "evals": {"mining", "data", "data.readers", "data.texts", "workdir"},
  "mining": {"core.unit_vectors", "data.texts", "distributed"},
  "planning": {"core", "model", "data", "distributed", "workdir", "training"},
  "report_page": {"data", "evals", "inference", "workdir"},
  "sweeps": {"cli", "evals", "report_page", "workdir"},
  "cli": {"distributed", "workdir"},
  "utils": set(),
}
# Library -> the one package that imports it.
ONE_PLACE = {"flax": "model", "orbax": "workdir", "altair": ("report_page", "sweeps")}
ONE_PLACE |= {"seqio": ("data", "data.readers"), "tensorflow": "data", "grain": "data"}


def package_of(module: str) -> str:
  """`dap_jax.core.mean` -> core; a module that lies directly in dap_jax is a command."""
  parts = module.split(".")[1:]
  if ".".join(parts[:2]) in MAY_IMPORT:
    return ".".join(parts[:2])
  return parts[0] if parts and parts[0] in MAY_IMPORT else COMMANDS


def imports_of(path: pathlib.Path) -> list[str]:
  """The full names that a file imports, wherever in it."""
  names = []
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      names += [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      names += [f"{node.module}.{alias.name}" for alias in node.names]
  return names


def is_allowed(importer: str, name: str) -> bool:
  """Whether a package may import a module, or a name from it."""
  library = name.split(".")[0]
  if library in ONE_PLACE:
    places = ONE_PLACE[library]
    return importer in ((places,) if isinstance(places, str) else places)
  if library != "dap_jax":
    return True
  package, allowed = package_of(name), MAY_IMPORT[importer]
  if package == COMMANDS:
    return name == "dap_jax.__version__"  # nobody imports a command
  if allowed is ANY or package in {importer, "utils"} | allowed:
    return True
  modules = [f"dap_jax.{module}" for module in allowed]
  return name in modules or name.startswith(tuple(f"{module}." for module in modules))


def forbidden(package: pathlib.Path) -> list[str]:
  """`FILE imports NAME`, of all imports under a copy of the package that the tables forbid."""
  found = []
  for path in sorted(package.rglob("*.py")):
    file = path.relative_to(package)
    importer = package_of(".".join(("dap_jax", *file.with_suffix("").parts)))
    found += [f"{file} imports {n}" for n in imports_of(path) if not is_allowed(importer, n)]
  return found


def test_imports_run_one_way():
  assert forbidden(PACKAGE) == []


def test_the_table_has_no_circle():
  remaining = {
    name: {package_of(f"dap_jax.{other}") for other in allowed}
    for name, allowed in MAY_IMPORT.items()
    if allowed is not ANY
  }
  while remaining:
    free = {name for name, needed in remaining.items() if not needed & set(remaining)}
    assert free, f"these import each other: {sorted(remaining)}"
    remaining = {name: needed for name, needed in remaining.items() if name not in free}


@pytest.mark.parametrize(
  ("file", "line"),
  [
    ("core/mean.py", "from dap_jax.training import build"),
    ("core/mean.py", "from dap_jax.distributed import multihost"),
    ("model/architectures/bert.py", "from dap_jax.core.mean import Mean"),
    ("objectives/multiway.py", "import seqio"),
    ("training/loop.py", "import flax.linen as nn"),
    ("utils/trees.py", "from dap_jax.cli import command"),
    ("data/cleaning/clean.py", "from dap_jax.data import store"),
    ("evals/sts.py", "from dap_jax.evaluate import main"),
  ],
)
def test_a_planted_import_is_found(tmp_path, file, line):
  copy = tmp_path / "dap_jax"
  shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
  with (copy / file).open("a") as planted:
    planted.write(f"\ndef planted():\n  {line}\n")
  assert [entry.split()[0] for entry in forbidden(copy)] == [file]


def test_the_root_holds_commands_and_at_most_16_packages():
  packages = [path for path in PACKAGE.iterdir() if (path / "__init__.py").exists()]
  assert len(packages) <= 16
  files = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
  for name in files:
    assert "__main__" in (PACKAGE / f"{name}.py").read_text(), f"{name}.py is no command"


def test_sizes():
  """A package without subfolders has at most 12 files, a file 300 lines, a function 60."""
  too_large = []
  for folder in [path for path in PACKAGE.rglob("*") if (path / "__init__.py").exists()]:
    files = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
    if len(files) > 12 and not any((path / "__init__.py").exists() for path in folder.iterdir()):
      too_large.append(f"{folder.name}: {len(files)} files")
  for path in PACKAGE.rglob("*.py"):
    text = path.read_text()
    if (lines := len(text.splitlines())) > 300:
      too_large.append(f"{path.name}: {lines} lines")
    for node in ast.walk(ast.parse(text)):
      if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= 60:
        too_large.append(f"{path.name} {node.name}: {node.end_lineno - node.lineno + 1} lines")
  assert too_large == []


def test_every_package_says_what_it_is():
  for init in PACKAGE.rglob("*/__init__.py"):
    text = ast.get_docstring(ast.parse(init.read_text())) or ""
    assert text, f"{init.parent.name}/__init__.py has no docstring"
