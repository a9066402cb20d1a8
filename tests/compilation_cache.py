"""Where the tests keep what XLA compiled, from one run to the next.

A key of JAX's cache has the program, the XLA flags and the versions in it, but not what the
processor can do: a folder is of one kind of processor, so that one that was copied to another
machine is not used there.
"""

import hashlib
import os
import platform
import shutil
from pathlib import Path

LIMIT_BYTES = 4 << 30


def processor():
  """The model and its instructions, where Linux tells them."""
  try:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
  except OSError:
    return platform.processor()
  names = ("model name", "flags", "Features")
  return "\n".join(sorted({line for line in lines if line.startswith(names)}))


def folder():
  home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
  kind = f"{platform.machine()}\n{processor()}"
  return home / "dap_jax" / "tests" / hashlib.sha256(kind.encode()).hexdigest()[:12]


def limit(path):
  """Empties a cache that has grown too large: programs of old code are never asked for again."""
  if path.is_dir() and sum(file.stat().st_size for file in path.iterdir()) > LIMIT_BYTES:
    shutil.rmtree(path)
