"""What the fork server imports: all that a command may, but not the modules that define flags."""

import importlib
import pkgutil

import sentencepiece  # noqa: F401
import seqio  # noqa: F401
from transformers import AutoTokenizer  # noqa: F401

import dap_jax

for package in pkgutil.iter_modules(dap_jax.__path__, "dap_jax."):
  if package.ispkg and package.name != "dap_jax.cli":
    folder = importlib.import_module(package.name).__path__
    for module in pkgutil.walk_packages(folder, f"{package.name}."):
      importlib.import_module(module.name)
