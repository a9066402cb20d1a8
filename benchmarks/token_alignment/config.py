"""A system of `configs/`, from a masked LM's weights, with the paper's sentence vector.

    python -m dap_jax.train --config=benchmarks/token_alignment/config.py:mlm --workdir=runs/mlm
    START=runs/mlm python -m dap_jax.train --config=benchmarks/token_alignment/config.py:tr ...

The argument is `mlm`, the masked LM that the others start from, or the name of a config. In the
environment: TEXTS, the folder of `corpus.py`; BENCHMARKS, that of word_alignment/; START, the
masked LM's workdir, or nothing for random weights; SIZE, `small` for a CPU or `large` for a GPU;
DICTIONARIES, folders for VECO 2.0, with `:` between. A batch has as many sentences in each system.
"""

import importlib
import os
from typing import Any

from ml_collections import ConfigDict

# Keys of the config by size: those of all runs, of the masked LM alone, of the systems alone.
SIZES: dict[str, tuple[dict[str, Any], ...]] = {
  "small": (
    {
      "max_tokens": 32,
      "data.bucket_tokens": (16, 24, 32),
      "model.encoder.layers": 4,
      "model.encoder.width": 128,
      "model.encoder.heads": 4,
      "model.encoder.mlp_width": 512,
      "batch_size": 128,
    },
    {"steps": 3000, "optimizer.learning_rate": 2e-3, "optimizer.warmup_steps": 300},
    {"steps": 1500, "optimizer.learning_rate": 5e-4, "optimizer.warmup_steps": 100},
  ),
  "large": (
    {
      "max_tokens": 64,
      "data.bucket_tokens": (32, 64),
      "model.encoder.layers": 6,
      "model.encoder.width": 384,
      "model.encoder.heads": 6,
      "model.encoder.mlp_width": 1536,
      "model.encoder.positions": 128,
      "model.compute_dtype": "bfloat16",
      "program.chunk_tokens": 8192,
      "batch_size": 256,
    },
    {"steps": 6000, "optimizer.learning_rate": 1e-3, "optimizer.warmup_steps": 500},
    {"steps": 2000, "optimizer.learning_rate": 5e-4, "optimizer.warmup_steps": 200},
  ),
}


def get_config(name: str = "tr") -> ConfigDict:
  texts = os.environ.get("TEXTS", "runs/alignment")
  benchmarks = os.environ.get("BENCHMARKS", "../shared/data")
  size = os.environ.get("SIZE", "small")
  config = importlib.import_module(f"configs.{name}").get_config()
  for_all, for_masked_lm, for_systems = SIZES[size]
  for key, value in (for_all | (for_masked_lm if name == "mlm" else for_systems)).items():
    set_key(config, key, value)
  config.data.format = "tsv"
  config.data.arguments = ConfigDict({"paths": (f"{texts}/corpus",), "negatives": 1})
  config.data.rules, config.data.markup = ("empty", "equal", "length_ratio"), False
  # Not all of the mining task: its lines without a translation are most of the corpus.
  config.data.guard = (f"{benchmarks}/word_alignment", f"{texts}/gold", f"{texts}/tatoeba")
  config.data.dictionaries.paths = tuple(
    filter(None, os.environ.get("DICTIONARIES", "").split(":"))
  )
  config.data.cache = f"{texts}/cache"
  config.data.heldout.sentences, config.data.heldout.min_languages = 2000, 3
  config.tokenizer.vocabulary_size = 16_000
  config.model.pooling, config.model.projection = "cls", True
  config.objectives.translation_ranking.direction = "to_pivot"
  config.batch_size = 2 * config.batch_size // config.data.views
  config.log_steps = 50
  config.eval_steps = config.checkpoint.save_steps = config.steps
  if name != "mlm":
    config.init_from = os.environ.get("START", "")
    suites = {suite: f"{texts}/{suite}" for suite in ("bucc", "tatoeba")}
    suites["word_alignment"] = f"{benchmarks}/word_alignment"
    config.eval_suites = ",".join(f"{suite}={folder}" for suite, folder in suites.items())
  return config


def set_key(config: ConfigDict, key: str, value: Any) -> None:
  """Sets `section.key` of a config."""
  *sections, last = key.split(".")
  for section in sections:
    config = config[section]
  config[last] = value
