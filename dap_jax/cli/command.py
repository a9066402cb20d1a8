"""How every command starts and ends: flags, logging, one clear line for a user's mistake.

Exit status: 0 success, 1 a user's mistake (one line, no traceback), 2 wrong flags. If one of
several processes fails, all of them end with its status, and process 0 prints its line.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable

from absl import app, flags
from absl import logging as absl_logging

from dap_jax.cli import accelerators, data_arguments, interrupts, usage
from dap_jax.distributed import shutdown
from dap_jax.distributed.shutdown import fail
from dap_jax.utils.errors import UserError
from dap_jax.utils.old_configs import flag_with_new_name

HELP = {"-h", "-help", "--help", "-helpshort", "--helpshort"}
HELP_OF_ALL = {"-helpfull", "--helpfull"}
EXPECTED = {  # the type of a flag -> what is said of a value that is none
  "int": "expected a whole number",
  "float": "expected a number",
  "bool": "expected True or False",
}
MAY_BE_EMPTY = ("prompt", "prompt_name", "coordinator")  # flags, by how their names end


def parse(argv: list[str]) -> list[str]:
  """Parses the flags. A mistake in a config file ends with status 1, one in a flag with 2."""
  show_help(argv[1:])
  log_to_stderr()
  argv = data_arguments.joined([flag_with_new_name(flag) for flag in argv])
  sys.argv[1:] = argv[1:]  # where config_flags looks for --config.key=value
  try:
    rest = flags.FLAGS(argv)
  except flags.Error as error:
    if isinstance(error.__context__, UserError):  # the config could not be found
      fail(str(error.__context__), status=1)
    fail(f"{explain(error)}; --help lists the flags", status=2)
  except Exception as error:  # the config file is a user's program: it may raise anything
    from dap_jax.cli import config_mistakes  # it needs ml_collections, which not all commands do

    message, is_in_file = config_mistakes.explain(error, argv[1:])
    fail(message, status=1 if is_in_file else 2)
  if len(rest) > 1:
    fail(f"unexpected argument {rest[1]!r}; --help lists the flags", status=2)
  for name in flags.FLAGS:
    if flags.FLAGS[name].present:
      check_value(name, flags.FLAGS[name], argv)
  return rest


def explain(error: flags.Error) -> str:
  """What is wrong with a flag: its value, and what was expected, where Python says what failed."""
  wrong = re.match(r"flag (--(.+?)=(.*)): (invalid literal|could not convert|\(?'Non-)", str(error))
  if wrong and wrong[2] in flags.FLAGS:
    kind = flags.FLAGS[wrong[2]].flag_type()
    return f"{wrong[1]}: {EXPECTED.get(kind, f'expected {kind}')}"
  return str(error)


def check_value(name: str, flag: flags.Flag, argv: list[str]) -> None:
  """Ends with status 2 where a flag that was given has no value of its own.

  That is `--workdir --steps=3`, of which absl makes a value, and `--workdir=$RUN` without RUN; but
  not `--beam_option=--runner=NAME`.
  """
  followed = set(itertools.pairwise(argv))
  for value in flag.value if isinstance(flag.value, list) else [flag.value]:
    swallowed = isinstance(value, str) and re.match("--[a-z]", value)
    if swallowed and {(f"-{name}", value), (f"--{name}", value)} & followed:
      fail(f"--{name} has no value: the flag {value} follows it; write --{name}=VALUE", status=2)
    if value == "" and flag.default is None and not name.endswith(MAY_BE_EMPTY):
      fail(f"--{name}= is empty: expected a value, or leave the flag out", status=2)
    if value == "" and name == "config.init_from":
      logging.getLogger(__name__).warning("--%s= is empty: no weights to start from", name)


def show_help(arguments: list[str]) -> None:
  """Prints the help and ends with status 0, if a flag asks for it; absl would end with 1."""
  words = arguments[: arguments.index("--")] if "--" in arguments else arguments
  for names, text in ((HELP, usage.text), (HELP_OF_ALL, flags.FLAGS.get_help)):
    if not names.isdisjoint(words):
      signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it in silence
      print(text())
      sys.exit(0)


def log_to_stderr() -> None:
  """Logs our lines without a prefix, and of the libraries only errors: Orbax logs dozens a save."""
  absl_logging.set_verbosity(absl_logging.ERROR)
  os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
  # transformers, of which only tokenizers are used, would tell that torch is missing.
  os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
  ours = logging.getLogger("dap_jax")
  ours.setLevel(logging.INFO)
  ours.propagate = False
  handler = logging.StreamHandler()
  handler.setFormatter(logging.Formatter("%(message)s"))
  ours.addHandler(handler)


def drop_output() -> None:
  """Sends what is still to be printed nowhere: Python would fail again when it ends."""
  os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(main: Callable[[], None], *, saves_when_interrupted: bool = False) -> None:
  """Parses the flags, then runs `main`.

  Args:
    main: the command.
    saves_when_interrupted: ctrl-C does not end it within seconds: it has work to bring to an end.
  """

  def guarded(argv: list[str]) -> None:
    del argv
    if not saves_when_interrupted:
      interrupts.end_when_interrupted()
    try:
      main()
      sys.stdout.flush()  # here a full disk behind it is one line, later a page
    except UserError as error:
      fail(str(error), status=1)
    except BrokenPipeError:  # the reader of our output, `| head` say, has gone
      drop_output()
      if shutdown.group:  # the others may need this one
        fail("nobody reads the output any more", status=1)
    except KeyboardInterrupt:
      fail(interrupts.MESSAGE, status=interrupts.STATUS)
    except Exception as error:
      if isinstance(error, OSError) and error.errno == errno.ENOSPC and not error.filename:
        drop_output()
        fail(f"standard output cannot be written: {error.strerror}", status=1)
      if not shutdown.group:
        raise
      shutdown.group.follow()
      traceback.print_exc()
      fail(f"{type(error).__name__}, see its traceback", status=1)
    finally:  # a main may end with sys.exit
      if shutdown.group:
        shutdown.group.finish()

  accelerators.leave_absent()
  try:
    app.run(guarded, flags_parser=parse)
  except SystemExit as end:
    if not isinstance(end.code, int) or end.code == 0:
      raise
    # Everything is printed and closed. Python would wait for threads, Orbax's say, maybe for ever.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(end.code)
