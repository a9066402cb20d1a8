"""Multi-way alignment alone, at the demo's size: rows of one sentence in four languages.

    python -m dap_jax.train --config=configs/multiway.py --workdir=runs/multiway

A row is an English sentence with three of its translations, drawn anew each time. Every view is an
anchor and is compared with all others (arXiv 2602.21543; dap_jax/objectives/multiway.py). For a run
from a checkpoint, --config.init_from=... --config.objectives.multiway.anchor=0.1 keeps vectors near
those of the checkpoint.
"""

from ml_collections import ConfigDict

from configs import demo


def get_config() -> ConfigDict:
  config = demo.get_config()
  config.data.views = 4
  config.objectives.translation_ranking.weight = 0.0
  config.objectives.representation_translation.weight = 0.0
  config.objectives.multiway.weight = 1.0
  return config
