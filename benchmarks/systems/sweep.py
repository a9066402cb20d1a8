"""Nine systems on equal terms: the same encoder, data, steps and sentences a batch, three seeds.

    python -m benchmarks.systems.corpus --data=../shared/data --output=runs/systems
    export TEACHER=... DICTIONARIES=...
    python -m dap_jax.sweep --sweep=benchmarks/systems/sweep.py --output=runs/systems/nine

`sweep.py:rtl` repeats Table 5 and Figures 3 and 4 of DAP: RTL's direction, mask ratio and K.
`sweep.py:cls` is TR and DAP with the paper's sentence vector, [CLS] through Linear and tanh.
`config.py` says what is the same for all, README.md what came out.
"""

from dap_jax.sweeps import hyper

CONFIG = "benchmarks/systems/config.py"
RTL = "objectives.representation_translation"
SYSTEMS = {
  "TR": "tr",
  "TR + TLM": "tr_tlm",
  "DAP": "demo",
  "DAP, both directions": "dap_both",
  "VECO 2.0": "veco2",
  "soft contrast": "soft",
  "multi-way": "multiway",
  "DAP + multi-way": "dap_multiway",
  "MEXMA": "mexma",
}


def get_hyper(part: str = "systems") -> list[hyper.Settings]:
  if part == "systems":
    runs = sum((hyper.system(title, f"{CONFIG}:{name}") for title, name in SYSTEMS.items()), [])
    return hyper.product([hyper.seeds(3), runs])  # all systems once, then all again
  if part == "cls":
    cls = {"model.pooling": "cls", "model.projection": True}
    runs = [hyper.system(title, f"{CONFIG}:{SYSTEMS[title]}", cls) for title in ("TR", "DAP")]
    return hyper.product([hyper.seeds(3), sum(runs, [])])
  dap, both = f"{CONFIG}:demo", f"{CONFIG}:dap_both"
  runs = hyper.system("K=2, ratio 1, to English", dap)
  runs += hyper.system("K=2, ratio 1, from English", both, {f"{RTL}.direction": "from_pivot"})
  runs += hyper.system("K=2, ratio 1, both", both)
  for ratio in (0.2, 0.4, 0.6, 0.8):
    runs += hyper.system(f"K=2, ratio {ratio}, to English", dap, {f"{RTL}.mask_ratio": ratio})
  for layers in (1, 3, 4):
    runs += hyper.system(f"K={layers}, ratio 1, to English", dap, {"decoder.layers": layers})
  return runs


def get_columns(part: str = "systems") -> dict[str, str]:
  del part  # all tables have the same columns
  return {
    "held-out xx->en": "eval/retrieval/to_pivot_accuracy",
    "held-out en->xx": "eval/retrieval/from_pivot_accuracy",
    "Tatoeba-36 xx->en": "eval/tatoeba/to_english_accuracy/36",
    "Tatoeba-36 en->xx": "eval/tatoeba/from_english_accuracy/36",
    "STS17": "eval/sts/spearman/mean",
    "AER": "-eval/word_alignment/aer/mean",
    "MEXA": "eval/mexa/mean/mean",
    "pairs/s": "pairs_per_second",
  }
