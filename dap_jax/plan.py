r"""Predicts memory, speed and cost of training on accelerators that this machine does not have.

    python -m dap_jax.plan --config=configs/dap_xlmr.py --topology=v5e:4x4 [--output=plan.json]
    python -m dap_jax.plan --config=configs/dap_xlmr.py --topology=v5e:16x16 \
      --config.batch_size=65536
    python -m dap_jax.plan --config=configs/dap_xlmr.py --topology=gpu:h200x8

For TPUs the actual training step is compiled by the real compiler, which needs no TPU (`pip install
libtpu`). For GPUs the step is only traced, and memory, traffic and collectives are estimated by
formula (`planning/formula/`); the table and the JSON name the method. Times are lower bounds from
the peaks of the busiest of cores, memory and links: a run takes longer. Where the step does not fit
into memory, other settings and then larger topologies are tried.

No data and no weights are read: config and flags determine their sizes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from absl import flags
from etils import epath

from dap_jax.cli import command, config_files, outputs
from dap_jax.utils.json_files import write_json
from dap_jax.utils.old_configs import with_current_keys
from dap_jax.utils.progress import still_working

if TYPE_CHECKING:
  from dap_jax.planning import chips

CONFIG = config_files.define_flag()
TOPOLOGY = flags.DEFINE_string("topology", None, "v5e:4x4, v5p:2x2x4, gpu:h200x8, ...")
OUTPUT = flags.DEFINE_string("output", None, "A JSON file for the report.")
ENGLISH_IDS = flags.DEFINE_integer(
  "english_ids",
  37_000,
  "Ids of English texts, rows of RTL's head; as in the DAP paper.",
)
LANGUAGES = flags.DEFINE_integer("languages", 37, "Languages of the data, including the pivot.")
TRIES = flags.DEFINE_integer(
  "tries", 3, "How many settings, then larger topologies, to try where the config does not fit."
)

# A report's `method` -> its name in the table, and how sure a speed and a cost are.
METHODS = {
  "compiled": ("compiled for these chips", "at most", "at least"),
  "formula": ("ESTIMATED by formula, without a compiler", "(estimate)", "(estimate)"),
}


def table(report: Mapping[str, Any]) -> str:
  """The report as text."""
  memory = report["memory"]
  method, at_most, at_least = METHODS[report["method"]]
  lines = [
    ("topology", f"{report['topology']}, {report['chips']} chips"),
    ("method", method),
    ("mesh", " x ".join(f"{axis} {size}" for axis, size in report["mesh"].items())),
    ("batch", f"{report['batch_size']} of {report['max_tokens']} tokens"),
    ("parameters", f"{report['parameters']['all']:,}"),
    (
      "memory",
      f"{room(memory)}: {'fits' if report['fits'] else 'DOES NOT FIT'}"
      f" (state {gigabytes(report['state_per_chip'])})",
    ),
  ]
  if "seconds" in report:
    lines += [
      ("work", f"{report['flops'] / 1e12:.2f} TFLOP a chip and step"),
      ("step", f"{1e3 * report['step_seconds']:.1f} ms, bound by {report['bound_by']}"),
      *((f"  {name}", f"{1e3 * least:.1f} ms") for name, least in report["seconds"].items()),
      *(
        (
          f"  {total['kind']}",
          f"{total['count']} x, {total['bytes'] / 1e6:.1f} MB among {total['chips']} chips,"
          f" {1e3 * total['seconds']:.2f} ms",
        )
        for total in report["collectives"]
      ),
      ("speed", f"{report['pairs_per_second']:,.0f} pairs/s {at_most}"),
      ("use", f"{report['utilisation']:.0%} of the peak for the model's own FLOPs"),
      ("the run", f"{duration(report['days'])}, {report['chip_hours']:,.0f} chip-hours {at_least}"),
    ]
  return "\n".join(f"  {name:<22} {text}" for name, text in lines)


def room(memory: Mapping[str, Any]) -> str:
  """Memory needed and available; the compiler does not always say how much is needed."""
  if memory["peak"] is None:
    return "more than a chip has"
  unsure = memory.get("uncertainty", 0)
  more = f" (+ {gigabytes(unsure)} to be safe)" if unsure else ""
  return f"{gigabytes(memory['peak'])}{more} of {gigabytes(memory['capacity'])} a chip"


def duration(days: float) -> str:
  """Days, or hours below two days."""
  return f"{days:.1f} days" if days >= 2 else f"{24 * days:.1f} hours"


def gigabytes(size: float) -> str:
  """Bytes in decimal gigabytes."""
  return f"{size / 1e9:.2f} GB"


def set_up_jax(topology: chips.Topology) -> None:
  """Keeps JAX off this machine's accelerators, with devices enough for the topology.

  By JAX's own settings, which unlike its environment variables count after the import too.
  """
  os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
  os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"  # does not lock a TPU of this machine
  import jax

  jax.config.update("jax_platforms", "cpu")
  jax.config.update("jax_enable_compilation_cache", False)  # entries are of use to a TPU alone
  if not topology.is_tpu:  # devices to shard over, for this topology and larger ones
    jax.config.update("jax_num_cpu_devices", topology.chips * 2**TRIES.value)


def main() -> None:
  if CONFIG.value is None or TOPOLOGY.value is None:
    command.fail("--config and --topology are both needed; --help lists the flags", status=2)
  outputs.check_file(OUTPUT.value)
  from dap_jax.planning import chips

  topology = chips.parse_topology(TOPOLOGY.value)
  set_up_jax(topology)
  from dap_jax.planning import predict, step, suggestions
  from dap_jax.planning.compiled.compiler import devices_of
  from dap_jax.workdir import ranges

  config = with_current_keys(CONFIG.value.to_dict())
  ranges.check(config)
  vocabulary = step.guess_vocabulary(config, english_ids=ENGLISH_IDS.value)

  def attempt(config: Mapping[str, Any], topology: chips.Topology) -> predict.Report:
    devices = devices_of(topology)
    work = "compiling the step, which takes minutes" if topology.is_tpu else "tracing the step"
    with still_working(f"{topology.name}: {work}"):
      return predict.predict(
        config, topology, vocabulary=vocabulary, languages=LANGUAGES.value, devices=devices
      )

  report = attempt(config, topology)
  print(table(report))
  if not report["fits"]:
    suggestion = suggestions.first_that_fits(config, topology, tries=TRIES.value, attempt=attempt)
    if suggestion is None:
      larger = suggestions.larger(config, topology, times=TRIES.value)
      most = [topology.name, *(place.name for _, _, place in larger)][-1]
      print(
        f"\nnothing that was tried fits, up to {most} with all of these settings: try more with"
        " --tries, or take a smaller batch"
      )
    else:
      flags_, better = suggestion
      report |= {"remedy": {"flags": flags_, **better}}
      print(f"\nwith {flags_} it fits:\n{table(better)}")
  if OUTPUT.value:
    write_json(epath.Path(OUTPUT.value), report)


if __name__ == "__main__":
  command.run(main)
