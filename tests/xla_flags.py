"""How tests compile. Most of their time is compiling: what XLA does is the same, LLVM does less."""

QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
