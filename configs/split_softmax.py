"""Split-softmax hard negatives (OmniSONAR, arXiv 2603.16606) beside translation ranking.

    python -m dap_jax.train --config=configs/split_softmax.py:TRIPLETS --workdir=runs/split_softmax

TRIPLETS: a tab-separated file of sentence, English translation and an English hard negative, e.g.
`de-en.tsv`, which `mine` makes of aligned texts with a model, or by rules with none:

    python -m dap_jax.mine --mode=negatives --negatives=1 --model=runs/tr \
      --source=de.txt --target=en.txt --output=de-en.tsv

The demo's model and settings; the paper's weight g is not public: 0.2 is ours.
"""

from ml_collections import ConfigDict

from configs import tr

G = 0.2


def get_config(triplets: str = "de-en.tsv") -> ConfigDict:
  config = tr.get_config()
  config.data.format = "tsv"
  config.data.arguments = ConfigDict({"paths": (triplets,), "negatives": 1})
  config.data.hard_negatives = 1
  config.data.heldout.min_languages = 1
  config.objectives.translation_ranking.weight = 1 - G
  config.objectives.translation_ranking.hard_negatives = False
  config.objectives.split_softmax.weight = G
  config.objectives.split_softmax.temperature = config.objectives.translation_ranking.temperature
  return config
