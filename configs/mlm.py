"""Masked-LM pre-training from scratch, on single sentences of the demo's mixture: BERT's objective.

    python -m dap_jax.train --config=configs/mlm.py --workdir=runs/mlm
    python -m dap_jax.train --config=configs/demo.py --workdir=runs/dap --config.init_from=runs/mlm
    python -m dap_jax.evaluate --model=runs/dap --suite=retrieval --data=runs/dap

The start of the DAP paper (arXiv 2305.09148) without a download: DAP then has a pretrained encoder,
and its decoder begins as the last layers of the masked LM with its embeddings and its head.
"""

from ml_collections import ConfigDict

from configs import demo


def get_config() -> ConfigDict:
  config = demo.get_config()
  config.objectives.translation_ranking.weight = 0.0
  config.objectives.representation_translation.weight = 0.0
  config.objectives.masked_lm.weight = 1.0
  config.objectives.masked_lm.sequence = "sentence"
  config.objectives.masked_lm.mask_ratio = 0.15
  config.eval_steps = config.steps  # its sentence vectors are not trained
  config.checkpoint.best_metric = ""
  return config
