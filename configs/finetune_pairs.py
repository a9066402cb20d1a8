"""A sentence encoder that exists, made better at your pairs of sentences.

    python -m dap_jax.train --config=configs/finetune_pairs.py:pairs.de-en.tsv --workdir=runs/better
        --config.init_from=sentence-transformers/all-MiniLM-L6-v2

The checkpoint's pooling, normalisation and prompts stay. It is scored on held-out pairs before the
first step and as it trains; `export --step=best` writes the best, perhaps the checkpoint itself.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(paths: str = "pairs/*-en.tsv") -> ConfigDict:
  """paths: a tab-separated file or a pattern, the translation in column 1, English in column 2."""
  config = base.get_config()
  config.steps = 500
  config.batch_size = 64
  config.max_tokens = 64  # in training; `export --max_tokens` gives the checkpoint's own back
  config.log_steps = 10
  config.eval_steps = 100
  config.eval_at_start = True

  config.data.format = "tsv"
  config.data.arguments = ConfigDict({"paths": (paths,)})
  config.data.rules = ("empty", "no_letters", "equal", "length_ratio")
  config.data.bucket_tokens = (16, 32, 64)
  config.data.heldout.sentences = 200

  config.model.projection = False  # so that what is trained is the vector that is used
  config.model.compute_dtype = "float32"  # bfloat16 is faster on a GPU or TPU

  config.objectives.translation_ranking.direction = "both"
  config.objectives.representation_translation.weight = 0.0  # 1 for DAP; twice the time

  config.optimizer.learning_rate = 3e-5
  config.optimizer.warmup_steps = 50
  config.checkpoint.save_steps = 100
  return config
