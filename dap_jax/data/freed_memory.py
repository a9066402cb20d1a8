"""Memory that was freed, for others."""

from __future__ import annotations

import ctypes


def give_back() -> None:
  """Gives what was freed back to the system.

  glibc keeps the heap below whatever was allocated last: hundreds of megabytes after hashes of
  millions of pairs. Other C libraries have no such call, and nothing is done.
  """
  trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
  if trim is not None:
    trim(0)
