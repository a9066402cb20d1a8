"""DAP on rows of four languages, with multi-way alignment beside it, at the demo's size.

    python -m dap_jax.train --config=configs/dap_multiway.py --workdir=runs/dap_multiway

Translation ranking and RTL see each of a row's three translations with its English sentence;
multi-way alignment sees the translations with one another too.
"""

from ml_collections import ConfigDict

from configs import demo


def get_config() -> ConfigDict:
  config = demo.get_config()
  config.data.views = 4
  config.objectives.multiway.weight = 1.0
  return config
