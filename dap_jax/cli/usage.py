"""What `--help` prints: what a command does and its flags, not those of the libraries."""

from __future__ import annotations

import shutil
import sys
import textwrap

from absl import flags

ABOUT_CONFIG = "Sets one key of the config; configs/base.py explains each."
SEVERAL_HOSTS = "dap_jax.cli.distributed_flags"  # the module that defines them


def text() -> str:
  """The docstring of the command that runs, and all flags that dap_jax defines for it."""
  modules = flags.FLAGS.flags_by_module_dict()
  of_command = [
    flag
    for module, defined in modules.items()
    if module == sys.argv[0] or (module.startswith("dap_jax.") and module != SEVERAL_HOSTS)
    for flag in defined
    if not flag.name.startswith("config.")
  ]
  of_command.sort(key=lambda flag: flag.name != "config")  # it comes first
  parts = [(sys.modules["__main__"].__doc__ or "").strip(), "Flags:", lines_of(of_command)]
  if SEVERAL_HOSTS in modules:
    parts += ["On several hosts:", lines_of(modules[SEVERAL_HOSTS])]
  return "\n\n".join([*parts, "--helpfull adds the flags of the libraries, logging's for example."])


def lines_of(defined: list[flags.Flag]) -> str:
  """Flags, each with its meaning and default, aligned and wrapped for the terminal."""
  rows = []
  for flag in defined:
    meaning = flag.help
    if flag.default not in (None, "", False):
      meaning += " Default: " + (flag.default_as_str or "").strip("'")
    rows.append((f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}", meaning))
    if flag.name == "config":
      rows.append(("--config.KEY=VALUE", ABOUT_CONFIG))
  indent = 4 + max(len(name) for name, _ in rows)
  width = min(100, shutil.get_terminal_size((100, 24)).columns)
  return "\n".join(
    textwrap.fill(
      meaning,
      max(width, indent + 20),
      initial_indent=f"  {name}".ljust(indent),
      subsequent_indent=" " * indent,
    )
    for name, meaning in rows
  )
