"""Distillation across languages (arXiv 2004.09813) on the demo's data, with an English teacher.

    python -m dap_jax.train --config=configs/distill.py:TEACHER --workdir=runs/distill

TEACHER: a hub id, a folder of a checkpoint, or a workdir. The student's vectors must have the
teacher's width: if it is not 384, add --config.model.dense.width=WIDTH.
"""

from ml_collections import ConfigDict

from configs import demo


def get_config(teacher: str = "sentence-transformers/all-MiniLM-L6-v2") -> ConfigDict:
  config = demo.get_config()
  config.teacher.model = teacher
  config.teacher.max_tokens = 32
  config.model.dense.width = 384
  config.objectives.translation_ranking.weight = 0.0
  config.objectives.representation_translation.weight = 0.0
  config.objectives.distillation.weight = 1.0
  return config
