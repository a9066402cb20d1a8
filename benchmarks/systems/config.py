"""A system of `configs/` on the texts that `corpus.py` wrote: the same for all but the objectives.

    python -m dap_jax.train --config=benchmarks/systems/config.py:tr --workdir=...

The argument is the name of a config. In the environment: TEXTS, the folder of `corpus.py`;
BENCHMARKS, that of sts17/ and word_alignment/, which are run at the end with Tatoeba and MEXA;
TEACHER, an encoder of English, for the soft contrast; DICTIONARIES, folders for VECO 2.0, with `:`
between.
"""

import importlib
import os

from ml_collections import ConfigDict

STEPS, SENTENCES = 400, 192  # sentences of a batch, over all its views


def get_config(name: str = "tr") -> ConfigDict:
  texts = os.environ.get("TEXTS", "runs/systems")
  benchmarks = os.environ.get("BENCHMARKS", "../shared/data")
  config = importlib.import_module(f"configs.{name}").get_config()
  config.steps, config.log_steps = STEPS, 25
  config.eval_steps = config.checkpoint.save_steps = STEPS
  config.batch_size = SENTENCES // config.data.views
  config.max_tokens = 32

  config.data.format = "tsv"
  config.data.arguments = ConfigDict({"paths": (f"{texts}/corpus",)})
  config.data.rules, config.data.markup = ("empty", "equal", "length_ratio"), False
  config.data.temperature = 2.0
  config.data.bucket_tokens = (16, 32)
  config.data.cache = f"{texts}/cache"
  config.data.dictionaries.paths = tuple(
    filter(None, os.environ.get("DICTIONARIES", "").split(":"))
  )
  config.teacher.model = os.environ.get("TEACHER", "") or config.teacher.model
  config.data.heldout.sentences, config.data.heldout.min_languages = 300, 15
  config.tokenizer.vocabulary_size = 12_000
  config.model.pooling = "mean"
  config.optimizer.warmup_steps = 50
  folders = {suite: f"{texts}/{suite}" for suite in ("tatoeba", "mexa")}
  folders |= {"sts": f"{benchmarks}/sts17", "word_alignment": f"{benchmarks}/word_alignment"}
  config.eval_suites = ",".join(f"{suite}={folder}" for suite, folder in folders.items())
  return config
