"""VECO 2.0 (arXiv 2304.08205) at the demo's size: MLM, TLM, contrast of sentences and of tokens.

    python -m dap_jax.train --config=configs/veco2.py --workdir=runs/veco2
    python -m dap_jax.train --config=configs/veco2.py --workdir=runs/veco2_muse \\
      --config.data.dictionaries.paths="('dictionaries/muse',)"

Synonyms are CLDR's names, from Babel; the second run adds dictionaries in MUSE's format.
The paper's temperatures and weights are not public: those of TR are the demo's, the others ours.
"""

from ml_collections import ConfigDict

from configs import demo


def get_config() -> ConfigDict:
  config = demo.get_config()  # sequence to sequence: translation_ranking in both directions
  config.objectives.representation_translation.weight = 0.0
  config.objectives.token_alignment.weight = 0.1
  config.objectives.masked_lm.weight = 0.1
  config.objectives.masked_lm.sequence = "both"  # MLM and TLM
  config.objectives.masked_lm.mask_ratio = 0.15
  return config
