"""What a fine-tuned model says of sequences, and the file of its scores."""

from __future__ import annotations

import dataclasses
import logging
from collections import deque
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.sharding import Mesh

from dap_jax.core.inference_step import classify_step
from dap_jax.distributed import sharding
from dap_jax.evals import Result, scores
from dap_jax.inference import batching
from dap_jax.inference.embedder import Embedder
from dap_jax.inference.encoder_network import jitted
from dap_jax.model.dual_alignment import DualAlignment
from dap_jax.training.finetuning.batches import Sequences
from dap_jax.training.finetuning.settings import FinetuneSettings
from dap_jax.training.finetuning.task import Predict
from dap_jax.utils.errors import UserError
from dap_jax.utils.json_files import write_json

logger = logging.getLogger(__name__)

SUITE, VERSION = "finetune", 1
BATCH_SIZE = 128  # sequences


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predictor:
  """Makes `Predict` of parameters.

  Attributes:
    network: with its head.
    mesh: whose devices share a batch.
    pad_id: fills rows.
    max_tokens: the longest sequence.
  """

  network: DualAlignment
  mesh: Mesh
  pad_id: int
  max_tokens: int

  def of(self, params: Any) -> Predict:
    """Sequences -> logits under these parameters.

    It raises UserError where logits are not finite.
    """

    def predict(sequences: Sequences) -> list[np.ndarray]:
      logits: list[np.ndarray] = [np.zeros(0)] * len(sequences.ids)
      waiting: deque[tuple[np.ndarray, jax.Array]] = deque()

      def fetch() -> None:
        rows, values = waiting.popleft()
        for row, of_row in zip(rows.tolist(), np.asarray(values), strict=False):
          ragged = of_row[: len(sequences.ids[row])] if of_row.ndim == 2 else of_row
          if not np.isfinite(ragged).all():
            raise UserError("the fine-tuned model's logits are not finite: lower --learning_rate")
          logits[row] = ragged

      for batch in batching.batches(sequences.ids, **self._shapes()):
        waiting.append((batch.rows, self._run(params, batch, sequences)))
        if len(waiting) > batching.IN_FLIGHT:
          fetch()
      while waiting:
        fetch()
      return logits

    return predict

  def _shapes(self) -> dict[str, int]:
    """The arguments of `batching.batches`."""
    return {
      "pad_id": self.pad_id,
      "max_tokens": self.max_tokens,
      "batch_size": BATCH_SIZE,
      "full_tokens": batching.full_tokens_of_backend(),
      "multiple": sharding.row_shards(self.mesh),
    }

  def _run(self, params: Any, batch: batching.Batch, sequences: Sequences) -> jax.Array:
    """The logits of a batch, still on the devices."""
    arrays = {"ids": batch.ids, "mask": batch.mask}
    if sequences.types is not None:
      arrays["types"] = np.zeros_like(batch.ids)
      for place, row in enumerate(batch.rows):
        arrays["types"][place, : len(sequences.types[row])] = sequences.types[row]
    placed = sharding.put_batch(arrays, self.mesh, batch_size=len(batch.ids))
    logits: jax.Array = jitted(classify_step, self.network, self.mesh)(params, **placed)
    return logits


def write_scores(
  path: epath.Path, result: Result, *, settings: FinetuneSettings, pretrained: Embedder
) -> None:
  """Writes a JSON file like that of the evaluate command, and logs its protocol.

  Args:
    path: the file.
    result: of the task.
    settings: of the fine-tuning.
    pretrained: the model that was fine-tuned.
  """
  protocol = {"suite": SUITE, "version": VERSION, **dataclasses.asdict(settings)}
  protocol |= {**result.protocol, **pretrained.describe()}
  logger.info("%s", scores.protocol_line(protocol))
  suite = scores.full_name(SUITE, settings.of_name())
  named = {f"eval/{suite}/{name}": value for name, value in result.scores.items()}
  content = {"model": settings.model, "step": pretrained.step, "protocol": {suite: protocol}}
  write_json(path, content | named)
