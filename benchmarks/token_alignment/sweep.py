"""Does RTL help, from a masked LM? Every system from the same weights, and the controls.

    START=runs/alignment/mlm python -m dap_jax.sweep
        --sweep=benchmarks/token_alignment/sweep.py --output=runs/alignment/systems

`config.py` says what is the same for all, README.md what came out. `sweep.py:controls` asks which
of the paper's choices it needs: a decoder from the masked LM, the sentence vector, more steps;
`sweep.py:scratch`, to be run without START, whether it needs the masked LM. Three more for half the
steps: `sweep.py:table` is every system of the project, `sweep.py:rtl` the ablations of RTL,
`sweep.py:better` DAP with one change at a time, and with those that help.
"""

from typing import Any

from benchmarks.token_alignment import config
from configs import split_softmax
from dap_jax.sweeps import hyper

CONFIG = "benchmarks/token_alignment/config.py"
RTL = "objectives.representation_translation"
RANKING = "objectives.translation_ranking"
BAG, THROUGH_VECTOR = "objectives.bag_of_tokens.weight", "objectives.vector_translation.weight"
MEAN = {"model.pooling": "mean"}
BOTH_SIDES = {f"{RANKING}.direction": "both", f"{RANKING}.same_tower_negatives": True}
HARD_NEGATIVES = {
  "data.hard_negatives": 1,
  f"{RANKING}.weight": 1 - split_softmax.G,
  f"{RANKING}.hard_negatives": False,
  "objectives.split_softmax.weight": split_softmax.G,
}
# Title -> a config, and keys of it: the first are those of the papers, the last are DAP and more.
SYSTEMS: dict[str, tuple[str, dict[str, Any]]] = {
  "TR": ("tr", {}),
  "DAP": ("demo", {}),
  "TR + bag of tokens (EMS)": ("ems", {}),
  "TR + translation (SONAR)": ("sonar", {}),
  "TR + hard negatives (split softmax)": ("split_softmax", {}),
  "multi-way": ("multiway", {}),
  "VECO 2.0": ("veco2", {}),
  "MEXMA": ("mexma", {}),
  "TR + TLM": ("tr_tlm", {}),
  "DAP + multi-way": ("dap_multiway", {}),
  "DAP, ranking both ways": ("demo", BOTH_SIDES),
  "DAP + bag of tokens": ("demo", {BAG: 1.0}),
  "DAP + bag of tokens, both ways": ("demo", {BAG: 1.0, **BOTH_SIDES}),
  "DAP + hard negatives": ("demo", HARD_NEGATIVES),
  "DAP + translation": ("demo", {THROUGH_VECTOR: 1.0}),
  "DAP + multi-way + bag of tokens": ("dap_multiway", {BAG: 1.0}),
}

# Title -> keys: DAP with one change.
CHANGES: dict[str, dict[str, Any]] = {
  "ranking both ways": {f"{RANKING}.direction": "both"},
  "same-tower negatives": {f"{RANKING}.same_tower_negatives": True},
  "mean pooling": MEAN,
  "learning rate 1e-3": {"optimizer.learning_rate": 1e-3},
  "margin 4": {f"{RANKING}.margin": 4.0},
  "hardness 4": {f"{RANKING}.hardness": 4.0},
  "temperature 0.03": {f"{RANKING}.temperature": 0.03},
  "lambda 2": {f"{RTL}.weight": 2.0},
  "bag of tokens": {BAG: 1.0},
}
# What `configs/best.py` is made of.
BEST = ("ranking both ways", "same-tower negatives", "mean pooling", "learning rate 1e-3")
BEST_WITH_CLS = ("ranking both ways", "same-tower negatives", "margin 4", "learning rate 1e-3")


def get_hyper(part: str = "systems") -> list[hyper.Settings]:
  tr, dap, tlm = (f"{CONFIG}:{name}" for name in ("tr", "demo", "tr_tlm"))
  runs = hyper.system("TR", tr) + hyper.system("DAP", dap)
  if part == "systems":
    runs += hyper.system("DAP, new decoder", dap, {"decoder.start": "random"})
    runs += hyper.system("TR + TLM", tlm)
    return hyper.product([hyper.seeds(3), runs])  # all systems once, then all again
  if part == "scratch":
    return hyper.system("TR, random weights", tr) + hyper.system("DAP, random weights", dap)
  if part in ("table", "rtl", "better"):
    runs = {"table": all_systems, "rtl": ablations, "better": better}[part]()
    return hyper.product([hyper.seeds(3), [half_the_steps()], runs])
  steps = config.get_config("tr").steps
  runs = hyper.system("TR, mean", tr, MEAN) + hyper.system("DAP, mean", dap, MEAN)
  runs += hyper.system("TR, twice the steps", tr, {"steps": 2 * steps})
  return runs


def half_the_steps() -> hyper.Settings:
  """The keys of a run that has time for half of `config.py`'s steps."""
  whole = config.get_config("tr")
  steps = whole.steps // 2
  keys = dict.fromkeys(("steps", "eval_steps", "checkpoint.save_steps"), steps)
  return keys | {"optimizer.warmup_steps": whole.optimizer.warmup_steps // 2}


def all_systems() -> list[hyper.Settings]:
  """Every system of the project, and DAP with more."""
  runs: list[hyper.Settings] = []
  for title, (name, keys) in SYSTEMS.items():
    runs += hyper.system(title, f"{CONFIG}:{name}", keys)
  return runs


def ablations() -> list[hyper.Settings]:
  """Table 5 and Figures 3 and 4 of DAP: RTL's direction, mask ratio, K; and its weight."""
  dap, both = f"{CONFIG}:demo", f"{CONFIG}:dap_both"
  runs = hyper.system("RTL both ways", both)
  runs += hyper.system("RTL from English", both, {f"{RTL}.direction": "from_pivot"})
  for ratio in (0.2, 0.6):
    runs += hyper.system(f"mask ratio {ratio}", dap, {f"{RTL}.mask_ratio": ratio})
  for layers in (1, 4):
    runs += hyper.system(f"K = {layers}", dap, {"decoder.layers": layers})
  for weight in (0.1, 0.4):
    runs += hyper.system(f"lambda {weight}", dap, {f"{RTL}.weight": weight})
  return runs


def better() -> list[hyper.Settings]:
  """TR, DAP, DAP with each of `CHANGES`, and with several."""
  dap = f"{CONFIG}:demo"
  runs = hyper.system("TR", f"{CONFIG}:tr") + hyper.system("DAP", dap)
  for title, keys in CHANGES.items():
    runs += hyper.system(f"DAP, {title}", dap, keys)
  for title, changes in (("best", BEST), ("best, [CLS] and margin", BEST_WITH_CLS)):
    keys = {key: value for change in changes for key, value in CHANGES[change].items()}
    runs += hyper.system(title, dap, keys)
  return runs


def get_columns(part: str = "systems") -> dict[str, str]:
  del part  # all tables have the same columns
  return {
    "held-out xx->en": "eval/retrieval/to_pivot_accuracy",
    "held-out en->xx": "eval/retrieval/from_pivot_accuracy",
    "Tatoeba, de->en": "eval/tatoeba/to_english_accuracy/deu",
    "AER": "-eval/word_alignment/aer/mean",
    "mining F1, de": "eval/bucc/test_f1/de-en",
    "mining F1, zh": "eval/bucc/test_f1/zh-en",
    "pairs/s": "pairs_per_second",
  }
