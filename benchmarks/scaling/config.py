"""The demo's model on a corpus of `corpus.py`, with everything that preparing can do by default.

The argument is the corpus's folder. In the environment: GUARD, folders of evaluation sets, with `:`
between.
"""

import os

from ml_collections import ConfigDict

from configs import demo


def get_config(corpus: str = "runs/pairs") -> ConfigDict:
  config = demo.get_config()
  config.data.format = "tsv"
  config.data.arguments = ConfigDict({"paths": (f"{corpus}/*-en.tsv",)})
  config.data.rules, config.data.markup = ("empty", "no_letters", "equal", "length_ratio"), False
  config.data.guard = tuple(filter(None, os.environ.get("GUARD", "").split(":")))
  config.tokenizer.vocabulary_size = 32_000
  config.max_tokens, config.data.bucket_tokens = 32, (8, 16, 24, 32)
  config.steps = config.eval_steps = config.checkpoint.save_steps = 60
  config.data.heldout.sentences = 100
  return config
