"""What a training step costs by the compilers' own count, for the file that guards against growth.

    python -m benchmarks.step_costs [--only=demo,paper] [--write]

The demo's step is compiled for one CPU device, the paper's (configs/dap_xlmr.py) for v5e:4x4, which
takes minutes and needs libtpu but no TPU. Counts depend on the versions of jax and libtpu and on
nothing else. `--write` puts them into benchmarks/step_costs.json, with which
tests/test_step_costs.py compares: a step that costs over 2% more fails there until the file is
written again, on purpose.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
from pathlib import Path

os.environ |= {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}

import jax  # noqa: E402

from benchmarks import measuring  # noqa: E402
from configs import dap_xlmr, demo  # noqa: E402
from dap_jax.planning import chips, step  # noqa: E402
from dap_jax.planning.compiled.compiler import compiled_cost, devices_of  # noqa: E402
from dap_jax.planning.cost import TooLarge  # noqa: E402

FILE = Path(__file__).with_suffix(".json")
TOPOLOGY = "v5e:4x4"
STEPS = ("demo", "paper")


def demo_costs() -> dict[str, float]:
  """The demo's step: FLOPs and bytes of all operations, bytes of temporary memory."""
  config = demo.get_config().to_dict()
  train_program, batch = step.plan_step(
    config, devices=jax.devices()[:1], **measuring.plan_sizes(config)
  )
  with jax.set_mesh(train_program.mesh):
    compiled = train_program.trace(batch).lower().compile()
  analysis = compiled.cost_analysis()
  return {
    "flops": analysis["flops"],
    "bytes": analysis["bytes accessed"],
    "temporary_bytes": compiled.memory_analysis().temp_size_in_bytes,
  }


def paper_costs() -> dict[str, float]:
  """A chip's share of the paper's step: matrix FLOPs; bytes of HBM, sent, and at the peak."""
  config = dap_xlmr.get_config().to_dict()
  devices = devices_of(chips.parse_topology(TOPOLOGY))
  cost = compiled_cost(*step.plan_step(config, devices=devices, **measuring.plan_sizes(config)))
  assert not isinstance(cost, TooLarge)
  return {
    "flops": cost.flops,
    "bytes": cost.traffic,
    "sent_bytes": sum(each.times * each.size for each in cost.collectives),
    "peak_bytes": cost.memory["peak"],
  }


def versions() -> dict[str, str]:
  """Of what compiles."""
  return {name: importlib.metadata.version(name) for name in ("jax", "libtpu")}


def main() -> None:
  parser = argparse.ArgumentParser(description="What a training step costs.")
  parser.add_argument("--only", default=",".join(STEPS))
  parser.add_argument("--write", action="store_true", help=f"into {FILE.name}")
  flags = parser.parse_args()
  functions = {"demo": demo_costs, "paper": paper_costs}
  costs = {name: functions[name]() for name in flags.only.split(",")}
  measuring.print_header("step", "what", "count")
  for name, counts in costs.items():
    for what, count in counts.items():
      measuring.print_row(name, what, f"{count:,.0f}")
  if flags.write:
    old = json.loads(FILE.read_text()) if FILE.exists() else {}
    FILE.write_text(json.dumps(old | costs | {"versions": versions()}, indent=2) + "\n")


if __name__ == "__main__":
  main()
