"""DAP as the paper trained it from XLM-R base (arXiv 2305.09148).

    python -m dap_jax.train --config=configs/dap_xlmr.py:DATA --workdir=...

Expected: Tatoeba-36 91.3 / 92.7, BUCC test F1 86.8 (the paper's table).
"""

from ml_collections import ConfigDict

from configs import dap_mbert


def get_config(data: str = "data/*-en.tsv.gz") -> ConfigDict:
  config = dap_mbert.get_config(data)
  config.init_from = "FacebookAI/xlm-roberta-base"
  config.tokenizer.vocabulary_size = 250_002  # of XLM-R, for a run without init_from
  config.model.encoder.model_type = "xlm-roberta"
  config.model.encoder.positions = 514
  config.model.encoder.position_offset = 2  # positions start after the padding index, 1
  config.model.encoder.token_types = 1
  config.model.encoder.norm_eps = 1e-5
  return config
