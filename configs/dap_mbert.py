"""DAP as the paper trained it from mBERT (arXiv 2305.09148), which took a day on 8 V100.

    python -m dap_jax.train --config=configs/dap_mbert.py:DATA --workdir=...

DATA: a glob of `xx-en.tsv` files, the 36 languages of the paper with at most 1M pairs each.
Expected: Tatoeba-36 90.9 / 91.2, BUCC test F1 86.6 (the paper's table).
Without access to the hub, use a copy of the checkpoint: --config.init_from=FOLDER.
"""

from ml_collections import ConfigDict

from configs import base

LANGUAGES = (  # noqa: SIM905 - written as the paper prints it
  "af ar bg bn de el es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr nl pt ru sw ta te th tl"
  " tr ur vi zh"
).split()


def get_config(data: str = "data/*-en.tsv.gz") -> ConfigDict:
  config = base.get_config()
  config.steps = 100_000
  config.batch_size = 1024
  config.max_tokens = 32
  config.init_from = "google-bert/bert-base-multilingual-cased"

  config.data.format = "tsv"
  config.data.arguments = ConfigDict({"paths": (data,)})
  config.data.languages = tuple(LANGUAGES)
  config.data.rules = ("empty", "equal", "dap_symbols", "dap_short", "dap_length", "dap_overlap")
  config.data.drop_characters = '"'
  config.data.temperature = 1.0  # the released program mixes pairs as they are
  config.tokenizer.vocabulary_size = 119_547  # of mBERT-cased, for a run without init_from
  config.model.pooling = "cls"

  config.optimizer.learning_rate = 5e-5
  config.optimizer.schedule_name = "linear"
  config.optimizer.warmup_steps = 0
  config.objectives.representation_translation.weight = 1.0  # 0.8 gives the released ratio
  return config
