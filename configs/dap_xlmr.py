"""DAP as the paper trained it from XLM-R base (arXiv 2305.09148).

    python -m dap_jax.train --config=configs/dap_xlmr.py:DATA --workdir=...

Expected with XLM-R's weights: Tatoeba-36 91.3 / 92.7, BUCC test F1 86.8 (the paper's table).
"""

from ml_collections import ConfigDict

from configs import dap_mbert


def get_config(data: str = "data/*-en.tsv.gz") -> ConfigDict:
  config = dap_mbert.get_config(data)
  config.tokenizer.vocabulary_size = 250_002
  config.model.positions = 514
  config.model.position_offset = 2  # positions start after the padding index, 1
  config.model.token_types = 1
  config.model.norm_eps = 1e-5
  return config
