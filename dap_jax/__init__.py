"""dap_jax: dual-alignment pre-training of cross-lingual sentence encoders, in JAX.

    model = dap_jax.load("runs/demo")  # see dap_jax/inference/sentence_encoder.py
    model.encode(["Guten Morgen", "Good morning"])

The modules here are the commands (`python -m dap_jax.NAME`); everything else is in the packages,
whose docstrings say what lives in them, what they may import, and where to start.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from dap_jax.inference.sentence_encoder import load as load

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
  if name == "load":  # not at the top: commands import this file before JAX
    return importlib.import_module("dap_jax.inference.sentence_encoder").load
  if name == "mteb_model":  # its place in 0.1
    return importlib.import_module("dap_jax.inference.mteb_model")
  raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
