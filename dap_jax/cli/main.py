"""`dap-jax COMMAND`: runs a command as `python -m dap_jax.COMMAND` does; alone, lists them all.

Nothing here imports JAX or a command, so that the overview appears at once.
"""

from __future__ import annotations

import ast
import difflib
import os
import runpy
import signal
import sys
from pathlib import Path

from dap_jax import __version__

ROOT = Path(__file__).parents[1]
HELP = ("-h", "-help", "--help", "help")


def commands() -> dict[str, str]:
  """Name of each command -> the first line of its docstring."""
  names = sorted(path.stem for path in ROOT.glob("[a-z]*.py"))
  return {name: summary(ROOT / f"{name}.py") for name in names}


def summary(path: Path) -> str:
  """The first line of a module's docstring, without running the module."""
  docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
  return docstring.partition("\n")[0]


def overview() -> str:
  """What dap_jax is, and its commands, a line each."""
  known = commands()
  width = max(map(len, known))
  lines = [f"  {name:<{width}}  {about}" for name, about in known.items()]
  return "\n".join(
    [
      summary(ROOT / "__init__.py"),
      "",
      "usage: dap-jax COMMAND [its flags]",
      "",
      *lines,
      "",
      "dap-jax COMMAND --help explains a command; dap-jax --version tells the version.",
    ]
  )


def main() -> None:
  """Runs the command that the first argument names; exit status 2 where there is none such."""
  name, *arguments = sys.argv[1:] or ["help"]
  if name in HELP and arguments and not arguments[0].startswith("-"):  # dap-jax help train
    name, arguments = arguments[0], ["--help"]
  if name in HELP:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it in silence
    print(overview())
    return
  if name in ("-version", "--version"):
    print(f"dap_jax {__version__}")
    return
  if not name.isidentifier() or name.startswith("_") or not (ROOT / f"{name}.py").is_file():
    close = difflib.get_close_matches(name, commands(), n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    print(f"error: unknown command {name!r}: {hint}dap-jax alone lists them", file=sys.stderr)
    sys.exit(2)
  if not sys.flags.safe_path and os.getcwd() not in sys.path:
    sys.path.insert(0, os.getcwd())  # as `python -m` does: a config may import what lies beside it
  sys.argv[1:] = arguments
  runpy.run_module(f"dap_jax.{name}", run_name="__main__", alter_sys=True)
