"""EMS (arXiv 2205.15744) at the demo's size: ranking, and the bag of the translation's tokens.

    python -m dap_jax.train --config=configs/ems.py --workdir=runs/ems

Temperature, the two weights, mean pooling and two layers are those of its configuration; the
learning rate and all the rest are the demo's.
"""

from ml_collections import ConfigDict

from configs import demo


def get_config() -> ConfigDict:
  config = demo.get_config()
  config.objectives.translation_ranking.weight = 2.0
  config.objectives.translation_ranking.temperature = 0.1
  config.objectives.representation_translation.weight = 0.0
  config.objectives.bag_of_tokens.weight = 2.0
  return config
