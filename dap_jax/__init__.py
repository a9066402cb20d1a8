"""dap_jax: dual-alignment pre-training of cross-lingual sentence encoders, in JAX.

The modules here are the commands (`python -m dap_jax.NAME`); everything else is in the packages,
whose docstrings say what lives in them, what they may import, and where to start.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
  if name == "mteb_model":  # its place in 0.1
    return importlib.import_module("dap_jax.inference.mteb_model")
  raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
