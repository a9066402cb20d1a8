"""A tiny config on a corpus the tests make: `--config=tests/tiny.py:FOLDER`."""

from ml_collections import ConfigDict

from configs import base


def get_config(folder: str = "") -> ConfigDict:
  config = base.get_config()
  config.steps, config.batch_size, config.max_tokens = 60, 16, 12
  config.log_steps, config.eval_steps = 10, 30
  config.data.format = "multiway"
  config.data.arguments = ConfigDict({"folder": folder})
  config.data.heldout.sentences = 20
  config.data.heldout.min_languages = 3
  config.tokenizer.vocabulary_size = 94  # sentencepiece 0.2.3 finds 99 pieces at most
  config.model.encoder.layers, config.model.encoder.width = 1, 32
  config.model.encoder.heads = 4
  config.model.encoder.mlp_width, config.model.encoder.positions = 64, 24
  config.model.dropout = 0.1  # on: resuming must repeat it
  config.model.pooling, config.model.projection = "mean", False
  config.model.compute_dtype = "float32"
  config.decoder.layers = 1
  config.optimizer.learning_rate, config.optimizer.warmup_steps = 1e-2, 5
  config.checkpoint.save_steps = 10
  return config
