"""Memory of a chip by batch size and microbatches: what the TPU compiler says, no TPU needed.

    python -m benchmarks.pods.memory [--topology=v5e:4x4] [--batches=1024,4096,16384,65536]

The model is that of configs/dap_xlmr.py, its layers rematerialised or not. A minute or two a row on
two cores. Needs libtpu, see requirements-plan.txt.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ |= {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}

from configs import dap_xlmr  # noqa: E402
from dap_jax.planning import chips, measure, step  # noqa: E402

ENGLISH_IDS, LANGUAGES = 37_000, 37  # as `plan` takes them


def peak(topology, devices, *, batch: int, chunks: int, remat: str) -> float | None:
  """Bytes a chip; None where the compiler refuses the program and does not say how much."""
  config = dap_xlmr.get_config().to_dict()
  config["batch_size"] = batch
  config["program"] |= {"microbatches": chunks, "remat": remat}
  vocabulary = step.guess_vocabulary(config, english_ids=ENGLISH_IDS)
  planned = step.plan_step(config, vocabulary=vocabulary, languages=LANGUAGES, devices=devices)
  found = measure.measure(*planned)
  return found.needed if isinstance(found, measure.TooLarge) else found.memory["peak"]


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument("--topology", default="v5e:4x4")
  parser.add_argument("--batches", default="1024,4096,16384,65536")
  parser.add_argument("--microbatches", default="1,8,64")
  parser.add_argument("--remats", default="none")
  flags = parser.parse_args()
  topology = chips.parse(flags.topology)
  devices = measure.devices_of(topology)
  print("| batch | pairs a chip | remat | microbatches | GB a chip |\n|---|---|---|---|---|")
  for batch in map(int, flags.batches.split(",")):
    pairs = batch // topology.chips
    for remat in flags.remats.split(","):
      for chunks in map(int, flags.microbatches.split(",")):
        if pairs % chunks:
          continue
        clock = time.monotonic()
        size = peak(topology, devices, batch=batch, chunks=chunks, remat=remat)
        said = "more than a chip has" if size is None else f"{size / 1e9:.2f}"
        took = f"<!-- {time.monotonic() - clock:.0f} s -->"
        print(f"| {batch:,} | {pairs} | {remat} | {chunks} | {said} | {took}", flush=True)


if __name__ == "__main__":
  main()
