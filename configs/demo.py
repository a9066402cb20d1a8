"""A small DAP model, trained on the translations inside pip packages in minutes on two CPU cores.

    python -m dap_jax.train --config=configs/demo.py --workdir=runs/demo

`bash launch/local.sh` runs this, then evaluates and exports. docs/index.md shows its results.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
  config.steps = 2_000
  config.batch_size = 128
  config.max_tokens = 24
  config.log_steps = 25
  config.eval_steps = 250

  config.data.rules = ("empty", "no_letters", "equal", "markup", "length_ratio")
  config.data.markup = True
  config.data.temperature = 1.0
  config.data.bucket_tokens = (12, 24)
  config.data.heldout.min_languages = 15
  config.tokenizer.vocabulary_size = 16_000

  config.model.encoder.layers = 2
  config.model.encoder.width = 128
  config.model.encoder.heads = 4
  config.model.encoder.mlp_width = 512
  config.model.encoder.positions = 64
  config.model.dropout = 0.0  # on a CPU its random numbers would take a quarter of the time
  config.model.pooling = "mean"
  config.model.projection = False
  config.model.compute_dtype = "float32"

  config.objectives.translation_ranking.direction = "both"

  config.optimizer.learning_rate = 2e-3
  config.optimizer.schedule_name = "cosine"
  config.optimizer.warmup_steps = 100
  config.checkpoint.save_steps = 250
  return config
