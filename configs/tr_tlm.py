"""The DAP paper's TLM baseline at the demo's size: translation ranking and TLM, no RTL.

    python -m dap_jax.train --config=configs/tr_tlm.py --workdir=runs/tr_tlm

The settings of TLM are the released program's (arXiv 2305.09148): weight 0.1, a fifth of the tokens
hidden. `report --workdir=runs/demo --workdir=runs/tr_tlm` compares it with DAP.
"""

from ml_collections import ConfigDict

from configs import demo


def get_config() -> ConfigDict:
  config = demo.get_config()
  config.objectives.representation_translation.weight = 0.0
  config.objectives.masked_lm.weight = 0.1
  config.objectives.masked_lm.sequence = "pair"
  config.objectives.masked_lm.mask_ratio = 0.2
  return config
