"""How tests compile. Most of their time is compiling: what XLA does is the same, LLVM does less."""

import importlib.metadata

LESS_LLVM = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
QUICK = LESS_LLVM
if importlib.metadata.version("jaxlib").startswith("0.10."):
  # The older way from fusions to LLVM takes half the time. Newer versions have one way alone, and
  # end at a flag that they do not know.
  QUICK += " --xla_cpu_use_fusion_emitters=false"
