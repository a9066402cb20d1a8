"""Translation ranking alone, the baseline of all other systems here.

    python -m dap_jax.train --config=configs/tr.py --workdir=runs/tr

The demo without RTL: one weight differs.
"""

from ml_collections import ConfigDict

from configs import demo


def get_config() -> ConfigDict:
  config = demo.get_config()
  config.objectives.representation_translation.weight = 0.0
  return config
