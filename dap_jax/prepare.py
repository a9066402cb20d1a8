"""Prepares the data of a run and stops: what `train` does first; it needs no accelerator.

    python -m dap_jax.prepare --config=configs/demo.py --workdir=runs/demo
        [--dry_run] [--engine=beam --beam_option=--runner=DataflowRunner ...]
        [--config.data.rules="('dap',)" ...]

`train` with the same config and workdir then begins at once; with `data.cache` other runs do too.
WORKDIR/data/rejected/REASON.jsonl.gz holds every pair that is left out, with its file and line.
A command that was killed goes on where it can, and the files are those of an undisturbed one.
--engine=beam has Apache Beam clean and tokenise, on many machines: the same files.
--seqio_cache=DIR writes the pairs in the form of SeqIO's own cache too: see data/seqio_cache.py.
--dry_run shows ten pairs of each language before and after cleaning, and writes nothing.
"""

from __future__ import annotations

import logging

from absl import flags
from etils import epath

from dap_jax.cli import command, config_files, distributed_flags
from dap_jax.data.engines.processes import Workers

CONFIG = config_files.define_flag()
WORKDIR = flags.DEFINE_string("workdir", None, "The folder of the run; may be gs://.")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Shows examples of what would be done.")
EXAMPLES = flags.DEFINE_integer("examples", 10, "Pairs of each language that --dry_run shows.", 1)
SEQIO_CACHE = flags.DEFINE_string(
  "seqio_cache", None, "A folder for the pairs in the form of SeqIO's own cache."
)
ENGINE = flags.DEFINE_enum(
  "engine", "local", ["local", "beam"], "Who cleans and tokenises: this machine's cores, or Beam."
)
BEAM_OPTIONS = flags.DEFINE_multi_string(
  "beam_option", [], "An option of Beam's, e.g. --runner=DirectRunner; may be given repeatedly."
)

logger = logging.getLogger("dap_jax.prepare")  # __name__ is __main__ here


def main() -> None:
  workdir = WORKDIR.value or ""
  if CONFIG.value is None or not workdir and not DRY_RUN.value:
    command.fail("--config and --workdir are both needed; --help lists the flags", status=2)
  settings = config_files.settings_of(CONFIG.value)
  distributed_flags.set_up_jax(preemption=False)
  from dap_jax.training import run, run_data
  from dap_jax.training.config import RunConfig
  from dap_jax.utils.binding import bind

  config = bind(RunConfig, settings, where="config")()
  if DRY_RUN.value:
    for line in run_data.preview(config, examples=EXAMPLES.value):
      print(line)
    return
  engine = run_data.local_engine if ENGINE.value == "local" else beam_engine
  data = run.prepare(config, workdir=workdir, engine=engine)
  write_seqio_cache(workdir, temperature=config.data["temperature"])
  info = data.corpus.info
  rejected = ", ".join(f"{reason} {count:,}" for reason, count in info["rejected"].items())
  logger.info(
    "%s pairs in %d language%s, %d sentences held out; rejected: %s; %s",
    f"{sum(info['pairs'].values()):,}",
    len(info["pairs"]),
    "s" if len(info["pairs"]) != 1 else "",
    len(data.corpus.heldout),
    rejected or "none",
    workdir,
  )


def write_seqio_cache(workdir: str, *, temperature: float) -> None:
  """What --seqio_cache asks for, by one process."""
  from dap_jax.data import seqio_cache
  from dap_jax.distributed import multihost

  if SEQIO_CACHE.value and multihost.is_first():
    folder = epath.Path(SEQIO_CACHE.value)
    seqio_cache.write(folder, workdir=epath.Path(workdir), name="bitext", temperature=temperature)


def beam_engine(workdir: epath.Path) -> Workers:
  """Beam's workers, which share a folder in the workdir."""
  from dap_jax.data.engines.beam import BeamWorkers

  return BeamWorkers(workdir / "beam", BEAM_OPTIONS.value)


if __name__ == "__main__":
  command.run(main)
