"""Soft contrastive alignment (arXiv 2405.16155) on the demo's data, with an English teacher.

    python -m dap_jax.train --config=configs/soft.py:TEACHER --workdir=runs/soft

TEACHER: a hub id, a folder of a checkpoint, or a workdir.
"""

from ml_collections import ConfigDict

from configs import demo


def get_config(teacher: str = "sentence-transformers/all-MiniLM-L6-v2") -> ConfigDict:
  config = demo.get_config()
  config.teacher.model = teacher
  config.teacher.max_tokens = 32
  config.objectives.translation_ranking.weight = 0.0
  config.objectives.representation_translation.weight = 0.0
  config.objectives.soft_alignment.weight = 1.0
  return config
