"""Translation ranking alone, the baseline of every other system here.

    python -m dap_jax.train --config=configs/tr.py --workdir=runs/tr

The embedded default at demo size; what differs from DAP is one weight.
"""

from ml_collections import ConfigDict

from configs import demo


def get_config() -> ConfigDict:
  config = demo.get_config()
  config.objectives.representation_translation.weight = 0.0
  return config
