"""Accelerators that are not here, though JAX has the software for them: it is not to look for them.

The search takes seconds, and libtpu and the CUDA plugin each print a page before they give up.
"""

from __future__ import annotations

import glob
import importlib.util
import os

TPU_FILES = ("/dev/accel*", "/dev/vfio/[0-9]*")
GPU_FILES = ("/dev/nvidia*", "/dev/nvhost*", "/dev/dxg", "/dev/kfd")  # also Jetson, WSL 2, AMD
SOFTWARE = ("libtpu", "jax_cuda12_plugin", "jax_cuda13_plugin")
# libtpu asks the cloud what machine it is on, and complains where none answers. The answers change
# nothing of what it compiles for a topology that is named.
LIBTPU_ANSWERS = {
  "TPU_SKIP_MDS_QUERY": "1",
  "TPU_ACCELERATOR_TYPE": "v5litepod-16",
  "TPU_WORKER_HOSTNAMES": "localhost",
}


def leave_absent() -> None:
  """Keeps JAX from looking for TPUs and GPUs that are not there. To be called before its import.

  Variables that are set stay, and nothing changes on a machine with TPUs.
  """
  if any_file(TPU_FILES):
    return
  for name, value in LIBTPU_ANSWERS.items():
    os.environ.setdefault(name, value)
  if not any_file(GPU_FILES) and any(map(importlib.util.find_spec, SOFTWARE)):
    os.environ.setdefault("JAX_PLATFORMS", "cpu")


def any_file(patterns: tuple[str, ...]) -> bool:
  """Whether there is a file that one of the patterns matches."""
  return any(glob.glob(pattern) for pattern in patterns)
