"""Does RTL help, from a masked LM? Every system from the same weights, and the controls.

    START=runs/alignment/mlm python -m dap_jax.sweep
        --sweep=benchmarks/token_alignment/sweep.py --output=runs/alignment/systems

`config.py` says what is the same for all, README.md what came out. `sweep.py:controls` asks which
of the paper's choices it needs: a decoder from the masked LM, the sentence vector, more steps;
`sweep.py:scratch`, to be run without START, whether it needs the masked LM.
"""

from benchmarks.token_alignment import config
from dap_jax.sweeps import hyper

CONFIG = "benchmarks/token_alignment/config.py"
RTL = "objectives.representation_translation.weight"
MEAN = {"model.pooling": "mean"}


def get_hyper(part: str = "systems") -> list[hyper.Settings]:
  tr, dap, tlm = (f"{CONFIG}:{name}" for name in ("tr", "demo", "tr_tlm"))
  runs = hyper.system("TR", tr) + hyper.system("DAP", dap)
  if part == "systems":
    runs += hyper.system("DAP, new decoder", dap, {"decoder.start": "random"})
    runs += hyper.system("TR + TLM", tlm)
    return hyper.product([hyper.seeds(3), runs])  # all systems once, then all again
  if part == "scratch":
    return hyper.system("TR, random weights", tr) + hyper.system("DAP, random weights", dap)
  steps = config.get_config("tr").steps
  runs = hyper.system("TR, mean", tr, MEAN) + hyper.system("DAP, mean", dap, MEAN)
  runs += hyper.system("TR, twice the steps", tr, {"steps": 2 * steps})
  for weight in (0.1, 0.8):
    runs += hyper.system(f"DAP, lambda {weight}", dap, {RTL: weight})
  return runs


def get_columns(part: str = "systems") -> dict[str, str]:
  del part  # all tables have the same columns
  return {
    "held-out xx->en": "eval/retrieval/to_pivot_accuracy",
    "held-out en->xx": "eval/retrieval/from_pivot_accuracy",
    "AER": "-eval/word_alignment/aer/mean",
    "mining F1, de": "eval/bucc/test_f1/de-en",
    "mining F1, zh": "eval/bucc/test_f1/zh-en",
    "pairs/s": "pairs_per_second",
  }
