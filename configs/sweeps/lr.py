"""Learning rates of the demo, three seeds each: nine runs of about eight minutes on two CPU cores.

    python -m dap_jax.sweep --sweep=configs/sweeps/lr.py --output=runs/lr

An example of a sweep file; dap_jax/sweeps/hyper.py explains them.
"""

from dap_jax.sweeps import hyper


def get_hyper() -> list[hyper.Settings]:
  demo = hyper.system("demo", "configs/demo.py")
  rates = hyper.sweep("optimizer.learning_rate", [1e-3, 2e-3, 4e-3])
  return hyper.product([demo, rates, hyper.seeds(3)])


def get_columns() -> dict[str, str]:
  return {
    "to English": "eval/retrieval/to_pivot_accuracy",
    "from English": "eval/retrieval/from_pivot_accuracy",
    "loss": "-loss",
    "pairs/s": "pairs_per_second",
  }
