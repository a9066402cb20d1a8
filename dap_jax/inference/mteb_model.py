"""Evaluates any model of this project with MTEB, in JAX, without exporting it.

    import mteb
    from dap_jax.inference import mteb_model

    mteb.evaluate(mteb_model.load("runs/demo"), mteb.get_tasks(tasks=["Tatoeba"]))

Texts are encoded as they are, without a prompt. mteb is an optional dependency.
"""

from __future__ import annotations

import jax
import numpy as np
from etils import epath

from dap_jax.inference import embedder
from dap_jax.utils.errors import NotFiniteError, UserError

try:
  from mteb.models.abs_encoder import AbsEncoder
  from mteb.models.model_meta import ModelMeta, ScoringFunction
except ImportError as missing:
  raise UserError(f"dap_jax.mteb_model needs mteb 2 ({missing}): pip install mteb") from missing


class MtebModel(AbsEncoder):
  """A loaded model with the interface of mteb's encoders; its `similarity` is the cosine.

  Args:
    loaded: the model.
    name: ORGANISATION/NAME, under which mteb stores results.
  """

  def __init__(self, loaded: embedder.Embedder, *, name: str):
    self.loaded = loaded
    self.mteb_model_meta = ModelMeta.create_empty(
      {
        "name": name,
        "revision": loaded.digest(),  # mteb reuses results stored under the same revision
        "n_parameters": sum(leaf.size for leaf in jax.tree.leaves(loaded.params)),
        "max_tokens": loaded.max_tokens,
        "embed_dim": loaded.width,
        "framework": ["JAX"],
        "similarity_fn_name": ScoringFunction.COSINE,
        "use_instructions": False,
      }
    )

  def encode(
    self, inputs, *, task_metadata, hf_split, hf_subset, prompt_type=None, **kwargs
  ) -> np.ndarray:
    """Sentence vectors, float32 [N, D], of the `text` of every batch of `inputs`.

    The other arguments are part of mteb's interface; of them only `batch_size` is used.

    Raises:
      NotFiniteError: a vector is not finite; mteb would count it as an answer.
    """
    del hf_split, hf_subset, prompt_type
    texts = [text for batch in inputs for text in batch["text"]]
    vectors = self.loaded.encode(texts, batch_size=kwargs.get("batch_size", embedder.BATCH_SIZE))
    broken = int((~np.isfinite(vectors).all(1)).sum())
    if broken:
      raise NotFiniteError(f"{task_metadata.name}: {broken} of {len(texts)} vectors are not finite")
    return vectors


def load(
  model: str,
  *,
  step: str = "newest",
  max_tokens: int | None = None,
  compute_dtype: str = "",
) -> MtebModel:
  """A workdir, a checkpoint's folder or a hub id -> a model for `mteb.evaluate`.

  Arguments and errors are those of `embedder.load`. The name of a folder in mteb is dap_jax/NAME.
  """
  loaded = embedder.load(model, step=step, max_tokens=max_tokens, compute_dtype=compute_dtype)
  folder = epath.Path(model)
  name = f"dap_jax/{folder.resolve().name}" if folder.exists() else model.split("@")[0]
  return MtebModel(loaded, name=name)
