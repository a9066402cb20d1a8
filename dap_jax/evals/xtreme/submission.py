"""The benchmark's submission format: a folder of predictions and one of labels, a file a language.

`tasks.file_of` says where in them a file is.
"""

from __future__ import annotations

from etils import epath

from dap_jax.utils.atomic import replacing
from dap_jax.utils.errors import writing

PREDICTIONS, LABELS = "predictions", "labels"  # folders of a workdir


def write_text(path: epath.Path, text: str) -> None:
  """Writes a file whole or not at all. Raises UserError: it cannot be written."""
  with writing(path, cure=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
      temporary.write_text(text)
