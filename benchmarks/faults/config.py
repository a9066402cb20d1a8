"""The tests' tiny run with a teacher's vectors: `--config=benchmarks/faults/config.py:FOLDER`.

FOLDER holds corpus/, vectors.npy and texts.txt, as `trial.Place` writes them.
"""

from ml_collections import ConfigDict

from tests import tiny


def get_config(folder: str = "") -> ConfigDict:
  config = tiny.get_config(f"{folder}/corpus")
  config.steps, config.eval_steps = 40, 20
  config.teacher.vectors, config.teacher.texts = f"{folder}/vectors.npy", f"{folder}/texts.txt"
  config.objectives.distillation.weight = 1.0
  config.objectives.representation_translation.weight = 0.0  # it takes long to compile
  # Often: faults are to meet saves.
  config.log_steps = config.checkpoint.save_steps = 5
  return config
