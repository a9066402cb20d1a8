"""The documentation says what the program does: commands parse, code runs, links and keys exist.

Nothing is downloaded and nothing trains but the small run that all tests share. tests/
test_your_data.py and test_adding_an_objective.py run the commands of their pages.
"""

import ast
import contextlib
import io
import json
import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from configs import base
from dap_jax.cli.main import commands as names_of_commands
from dap_jax.utils.trees import flatten
from tests import doc_pages
from tests.commands import ROOT, environment

PYTHON = ("python", ".venv/bin/python")
# Programs of others that pages call; what they do is not ours to check.
OTHERS = {"python3", "source", "gcloud", "zcat", "head", "git", "cd", "tensorboard", "mkdocs"}
OTHERS |= {"awk", "cut", "ls", "sort"}
TRAINS = {"launch/local.sh": ["--config=demo", "--workdir=runs"], "launch/gpu.sh": []}
TRAINS["launch/slurm.sh"] = []
CREATED = set(doc_pages.files_of_pages())
PATH = re.compile(r"(?:configs|dap_jax|launch|benchmarks|tests|docs)/[\w./-]*")
PLACEHOLDER = re.compile(r"NAME|my_benchmark|xx_")
WITHOUT_MODEL = ("mteb", "seqio")  # blocks that need a benchmark's data, or a cache
SECTIONS = base.get_config().to_dict()
# Messages: what varies in them.
VARIES = re.compile(r"\.\.\.|\b(?:N|PATH|DIR|NAME|KEY|VALUE)\b")


def lines_for_commands(page, words):
  """[(command, flags)] of our own commands that a line starts; asserts that the others exist."""
  program, *rest = words
  if program == "sbatch":
    rest = [program, *rest][[word.startswith("-") for word in rest].index(False) + 1 :]
    program = "bash"
  if program == "dap-jax" or program in PYTHON and rest[:2] == ["-m", "dap_jax"]:
    rest = rest if program == "dap-jax" else rest[2:]
    return [(rest[0], rest[1:])] if rest else []
  if program in PYTHON and rest[0] == "-m" and rest[1].startswith("dap_jax."):
    return [(rest[1].removeprefix("dap_jax."), rest[2:])]
  if program in PYTHON and rest[0] == "-m" and rest[1].startswith("benchmarks."):
    assert (ROOT / f"{rest[1].replace('.', '/')}.py").exists(), f"{page}: {rest[1]}"
  elif program in PYTHON:
    assert rest[:2] == ["-m", "pytest"], f"{page}: {words}"
  elif program == "bash":
    return lines_of_script(page, rest[0], rest[1:])
  elif program == "pip":
    check_installation(page, rest)
  else:
    assert program in OTHERS, f"{page}: {program} is neither ours nor known"
  return []


def lines_of_script(page, script, rest):
  """The same of `bash launch/SCRIPT ...`."""
  text = (ROOT / script).read_text()
  if script in TRAINS:
    return [("train", [*TRAINS[script], *rest])]
  if script == "launch/processes.sh":
    return [(rest[1], rest[2:])]
  if script == "launch/tpu.sh":
    ours, train = (rest[: rest.index("--")], rest) if "--" in rest else (rest, [])
    known = re.findall(r"--(\w+)", text)
    wrong = [word for word in ours[1:] if word.partition("=")[0].lstrip("-") not in known]
    assert ours[0] in ("train", "logs", "delete") and not wrong, f"{page}: {wrong}"
    config = [word for word in ours if word.startswith("--config=")]
    return [("train", [*config, *train[len(ours) + 1 :]])] if config else []
  assert script == "launch/test.sh" and set(rest) <= {"--all"}, f"{page}: {script} {rest}"
  return []


def check_installation(page, rest):
  """What `pip install` is given exists here: files of requirements, extras."""
  extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
  for word in rest[1:]:
    if word.startswith(".["):
      assert word[2:-1] in extras, f"{page}: no extra {word}"
    elif word not in ("-r", "."):
      assert (ROOT / word).exists(), f"{page}: no {word}"


@pytest.fixture(scope="module")
def parsed(tmp_path_factory):
  """(page, line, what is wrong) of every line of ours; and the flags of each command."""
  folder = tmp_path_factory.mktemp("parsed")
  for name, text in doc_pages.files_of_pages().items():
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
  (folder / "benchmarks").symlink_to(ROOT / "benchmarks")
  lines = [
    (page, *line)
    for page, words in doc_pages.commands()
    for line in lines_for_commands(page, words)
  ]
  asked = [line[1:] for line in lines] + [(name, []) for name in names_of_commands()]
  ran = subprocess.run(
    [sys.executable, "-m", "tests.flag_parser"],
    input=json.dumps(asked),
    cwd=folder,
    env=environment(),
    capture_output=True,
    text=True,
    check=True,
  )
  answers = json.loads(ran.stdout)
  flags_of = {name: set(names) for (name, _), (_, names) in zip(asked, answers, strict=True)}
  checked = [(*line, wrong) for line, (wrong, _) in zip(lines, answers[: len(lines)], strict=True)]
  return checked, flags_of


def test_every_command_of_every_page_parses(parsed):
  checked, flags_of = parsed
  assert len(checked) > 90 and {name for _, name, _, _ in checked} == set(names_of_commands())
  wrong = [
    f"{page}: {name} {' '.join(words)}\n  {why}" for page, name, words, why in checked if why
  ]
  assert wrong == []
  assert all(flags_of.values())


def test_every_flag_that_a_page_names_exists(parsed):
  known = set().union(*parsed[1].values()) | {"config", "help", "helpfull"}
  scripts = "".join(path.read_text() for path in (ROOT / "launch").glob("*.sh"))
  known |= set(re.findall(r"--(\w+)", scripts)) | {"unify", "runner"}  # LASER's, Beam's
  for path in doc_pages.PAGES:
    for span in doc_pages.spans(path):
      for flag in re.findall(r"(?<![\w-])--([a-z_]\w*)", span):
        assert flag in known, f"{path.name}: `{span}`"


def test_every_key_that_a_page_names_is_in_the_config():
  keys = list(flatten(SECTIONS, separator="."))
  free = ("data.arguments.", "prompts.texts.", "data.rules_for")
  for path in doc_pages.PAGES:
    for span in doc_pages.spans(path):
      key = re.match(r"(?:--)?(?:config\.)?([a-z]\w*(?:\.\w+)+)(?==|$)", span)
      if path.name == "adding-an-objective.md" or not key or key[1].endswith((".py", ".sh")):
        continue
      section = key[1].split(".")[0]
      if isinstance(SECTIONS.get(section), dict) and not key[1].startswith(free):
        found = [k for k in keys if k == key[1] or k.startswith(f"{key[1]}.")]
        is_file = re.fullmatch(r"\w+\.(jsonl|npz|tsv|txt)", key[1])
        assert found or is_file, f"{path.name}: `{span}`"


def test_paths_of_the_repository_exist():
  for path in doc_pages.PAGES:
    words = [
      word
      for page, words in doc_pages.commands()
      if page == doc_pages.name_of(path)
      for word in words
    ]
    for text in [*doc_pages.spans(path), *words]:
      for found in re.finditer(rf"(?<![\w/.]){PATH.pattern}", text):
        name = found[0].rstrip(".")
        if name not in CREATED and not PLACEHOLDER.search(name):
          assert (ROOT / name).exists(), f"{path.name}: {name} in {text!r}"


@pytest.fixture(scope="module")
def folder(commands, tmp_path_factory):
  """A folder in which `runs/mine` and `runs/demo` are the tests' run, with an exported model."""
  folder = tmp_path_factory.mktemp("docs")
  run = folder / "runs" / "mine"
  run.mkdir(parents=True)
  for path in commands.straight.iterdir():
    (run / path.name).symlink_to(path)
  (run.parent / "demo").symlink_to(run)
  commands.run("export", f"--workdir={commands.straight}", f"--output={run / 'final'}")
  return folder


def block_id(block):
  return f"{block.page.removesuffix('.md')}:{next(iter(block.text.split()), '')}"


@pytest.mark.parametrize("block", doc_pages.blocks("python"), ids=block_id)
def test_python_blocks_run(folder, block, monkeypatch):
  """Those that load a model; of the others, files and pieces of configs, the syntax is right."""
  code = compile(block.text, block.page, "exec")
  uses_model = "load(" in block.text or "SentenceTransformer(" in block.text
  if uses_model and not any(name in block.text for name in WITHOUT_MODEL):
    monkeypatch.chdir(folder)
    with contextlib.redirect_stdout(io.StringIO()):
      exec(code, {"__name__": "__docs__"})


def linking_pages():
  return [*doc_pages.PAGES, ROOT / "CONTRIBUTING.md", *(ROOT / "benchmarks").rglob("README.md")]


@pytest.mark.parametrize("path", linking_pages(), ids=doc_pages.name_of)
def test_links_and_anchors_resolve(path):
  for target in doc_pages.links(path):
    if re.match(r"https?://|mailto:", target):
      continue
    file, anchor = doc_pages.resolved(path, target)
    assert file.is_file(), f"{target} leads nowhere"
    if anchor:
      assert anchor in doc_pages.anchors(file), f"{target}: no such heading"
  assert path.name == "changelog.md" or len(doc_pages.anchors(path)) == len(
    set(doc_pages.anchors(path))
  ), "two headings of one page have the same anchor"


def pages_of(nav):
  """The files of a nav, in its order."""
  for entry in nav:
    for value in entry.values() if isinstance(entry, dict) else [entry]:
      yield from pages_of(value) if isinstance(value, list) else [value]


def test_the_nav_has_every_page_once():
  nav = list(pages_of(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
  pages = [path.relative_to(ROOT / "docs").as_posix() for path in doc_pages.PAGES[1:]]
  assert sorted(nav) == sorted(pages)


def test_every_system_has_its_page():
  """Objectives that are shipped are named under Systems, and configs linked from some page."""
  text = "".join(path.read_text() for path in doc_pages.PAGES if path.parent.name == "systems")
  objectives = {path.stem for path in (ROOT / "dap_jax" / "objectives").glob("[a-z]*.py")}
  for name in objectives - {"classification"}:  # of `finetune`
    assert f"`{name}`" in text, f"no page names the objective {name}"
  linked = {
    doc_pages.resolved(path, target)[0]
    for path in doc_pages.PAGES
    for target in doc_pages.links(path)
  }
  for config in (ROOT / "configs").glob("[a-z]*.py"):
    assert config in linked, f"no page links to {config.name}"


def templates():
  """Every string of the program, and what its launch scripts print; \\0 for what varies."""
  found = [(ROOT / "launch" / name).read_text() for name in ("environment.sh", "gpu.sh", "tpu.sh")]
  for path in (ROOT / "dap_jax").rglob("*.py"):
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.JoinedStr):
        parts = (v.value if isinstance(v, ast.Constant) else "\0" for v in node.values)
        found.append("".join(map(str, parts)))
      elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        found.append(node.value)
  return found


def test_messages_of_troubleshooting_are_those_of_the_program():
  text = (ROOT / "docs" / "troubleshooting.md").read_text()
  messages = re.findall(r"^- `([^`]+)`", text, re.MULTILINE)
  assert len(messages) >= 60
  whole = "\n".join(templates())
  for message in messages:
    pieces = [re.sub(r"\S+=$", "", piece.strip()).strip() for piece in VARIES.split(message)]
    pieces = [piece for piece in pieces if len(piece) > 9]  # names of flags and keys vary too
    assert pieces, f"{message}: nothing of it is fixed"
    pattern = r"[^\n]*?".join(re.escape(piece) for piece in pieces)
    assert re.search(pattern, whole), f"no message of the program is {message!r}"


def test_the_api_page_names_what_there_is():
  text = (ROOT / "docs" / "python-api.md").read_text()
  names = re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE)
  assert "dap_jax.inference.sentence_encoder.load" in names
  for name in names:
    place, _, member = name.replace(".", "/").rpartition("/")
    file = next(f for f in (ROOT / f"{place}.py", ROOT / place / "__init__.py") if f.exists())
    assert re.search(rf"^(def|class) {member}\b", file.read_text(), re.MULTILINE), name


def test_the_requirements_of_the_site_agree_with_those_of_the_tests():
  def pins(file):
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / file).read_text(), re.MULTILINE))

  docs, dev = pins("requirements-docs.txt"), pins("requirements-dev.txt")
  assert {"mkdocs", "mkdocs-material", "mkdocstrings-python"} <= docs.keys()
  assert {name: dev[name] for name in docs.keys() & dev.keys()} == {
    name: docs[name] for name in docs.keys() & dev.keys()
  }
  workflow = (ROOT / ".github" / "workflows" / "docs.yml").read_text()
  assert "requirements-docs.txt" in workflow and "mkdocs build --strict" in workflow
