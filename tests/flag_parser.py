"""A program: parses command lines as the commands do, each in a fork, and runs none of them.

    python -m tests.flag_parser < lines.json

Standard input: a JSON list of [COMMAND, [FLAG, ...]]. Standard output: for each of them [what is
wrong, names of the command's flags]; the first is "" where the flags, the config file and its
overrides are right.
"""

import contextlib
import importlib
import io
import json
import os
import sys

from absl import flags
from etils import epath  # noqa: F401 - imported once, for all forks
from ml_collections import config_flags  # noqa: F401

from dap_jax.cli import command, config_files
from dap_jax.workdir import ranges


def parse(name, words):
  """Parses one line. Ends the process where it is wrong, and where it asks for help."""
  sys.argv = [f"dap_jax.{name}", *words]
  importlib.import_module(sys.argv[0])
  with contextlib.redirect_stdout(io.StringIO()):
    command.parse(list(sys.argv))
  if "config" in flags.FLAGS and flags.FLAGS.config is not None:
    ranges.check(config_files.settings_of(flags.FLAGS.config))


def names_of_flags():
  """The flags of the command that was imported, without those of libraries and the config's."""
  modules = flags.FLAGS.flags_by_module_dict()
  ours = [flag for module, defined in modules.items() if "dap_jax" in module for flag in defined]
  return sorted({flag.name for flag in ours if not flag.name.startswith("config.")})


def in_fork(name, words):
  """What is wrong with a line, and the names of the command's flags."""
  reader, writer = os.pipe()
  child = os.fork()
  if not child:
    os.dup2(writer, 2)
    status = 1
    try:
      parse(name, words)
      status = 0
    except SystemExit as end:
      status = end.code or 0
    except BaseException as error:
      print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    sys.stderr.flush()
    os.write(writer, f"\0{json.dumps(names_of_flags())}".encode())
    os._exit(status)
  os.close(writer)
  with os.fdopen(reader) as pipe:
    said, _, names = pipe.read().partition("\0")
  status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
  return (said.strip() or f"status {status}") if status else "", json.loads(names or "[]")


if __name__ == "__main__":
  json.dump([in_fork(name, words) for name, words in json.load(sys.stdin)], sys.stdout)
