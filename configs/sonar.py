"""Translation through the sentence vector, as SONAR trains (arXiv 2308.11466), at the demo's size.

    python -m dap_jax.train --config=configs/sonar.py --workdir=runs/sonar

Beside it translation ranking, as in OmniSONAR (arXiv 2603.16606): SONAR itself has no contrast, but
starts from a pretrained translation model. Two causal layers write the translation; SONAR's decoder
is that model's.
"""

from ml_collections import ConfigDict

from configs import tr


def get_config() -> ConfigDict:
  config = tr.get_config()
  config.objectives.vector_translation.weight = 1.0
  return config
