"""A system of `configs/`, from a masked LM's weights, with the paper's sentence vector.

    python -m dap_jax.train --config=benchmarks/token_alignment/config.py:mlm --workdir=runs/mlm
    START=runs/mlm python -m dap_jax.train --config=benchmarks/token_alignment/config.py:tr ...

The argument is `mlm`, the masked LM that the others start from, or the name of a config. In the
environment: TEXTS, the folder of `corpus.py`; BENCHMARKS, that of word_alignment/; START, the
masked LM's workdir, or nothing for random weights.
"""

import importlib
import os

from ml_collections import ConfigDict


def get_config(name: str = "tr") -> ConfigDict:
  texts = folder_of_texts()
  config = importlib.import_module(f"configs.{'demo' if name == 'mlm' else name}").get_config()
  config.max_tokens = 32
  config.data.format = "tsv"
  config.data.arguments = ConfigDict({"paths": (f"{texts}/corpus",)})
  config.data.rules, config.data.markup = ("empty", "equal", "length_ratio"), False
  config.data.bucket_tokens = (16, 24, 32)
  config.data.cache = f"{texts}/cache"
  config.data.heldout.sentences, config.data.heldout.min_languages = 2000, 3
  config.tokenizer.vocabulary_size = 16_000
  config.model.encoder.layers, config.model.encoder.width = 4, 128
  config.model.encoder.heads, config.model.encoder.mlp_width = 4, 512
  config.model.pooling, config.model.projection = "cls", True
  config.log_steps = 50
  (masked_lm if name == "mlm" else from_masked_lm)(config)
  config.eval_steps = config.checkpoint.save_steps = config.steps
  return config


def folder_of_texts() -> str:
  return os.environ.get("TEXTS", "runs/alignment")


def masked_lm(config: ConfigDict) -> None:
  """BERT's objective on single sentences of all languages."""
  for objective in config.objectives.values():
    objective.weight = 0.0
  config.objectives.masked_lm.weight, config.objectives.masked_lm.mask_ratio = 1.0, 0.15
  config.objectives.masked_lm.sequence = "sentence"
  config.steps, config.batch_size = 3000, 128
  config.optimizer.learning_rate, config.optimizer.warmup_steps = 2e-3, 300


def from_masked_lm(config: ConfigDict) -> None:
  """The same for all systems but their objectives."""
  benchmarks, texts = os.environ.get("BENCHMARKS", "../shared/data"), folder_of_texts()
  config.init_from = os.environ.get("START", "")
  config.objectives.translation_ranking.direction = "to_pivot"
  config.steps, config.batch_size = 1500, 128
  config.optimizer.learning_rate, config.optimizer.warmup_steps = 5e-4, 100
  config.eval_suites = f"word_alignment={benchmarks}/word_alignment,bucc={texts}/bucc"
  # Not all of the mining task: its lines without a translation are most of the corpus.
  config.data.guard = (f"{benchmarks}/word_alignment", f"{texts}/gold")
