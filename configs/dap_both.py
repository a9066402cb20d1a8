"""DAP with RTL in both directions, at the demo's size: others are rebuilt from English too.

    python -m dap_jax.train --config=configs/dap_both.py --workdir=runs/dap_both

The decoder learns a vector for each target language, and its head has all ids, tied to its own
embeddings. In the paper this direction helps less than the one to English (arXiv 2305.09148).
"""

from ml_collections import ConfigDict

from configs import demo


def get_config() -> ConfigDict:
  config = demo.get_config()
  config.decoder.english_head = False
  config.objectives.representation_translation.direction = "both"
  return config
