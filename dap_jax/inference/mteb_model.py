"""Evaluates any model of this project with MTEB, in JAX, without exporting it.

    import mteb
    from dap_jax.inference import mteb_model

    mteb.evaluate(mteb_model.load("runs/demo"), mteb.get_tasks(tasks=["Tatoeba"]))

The model's prompts are chosen as mteb chooses sentence-transformers' own: by the names of the task,
of its kind, and of the side, query or document; else by the model's default. mteb is an optional
dependency.
"""

from __future__ import annotations

import jax
import numpy as np
from etils import epath

from dap_jax.inference import embedder
from dap_jax.utils.errors import NotFiniteError, UserError

try:
  from mteb.models.abs_encoder import AbsEncoder, get_prompt_name
  from mteb.models.model_meta import ModelMeta, ScoringFunction
except ImportError as missing:
  raise UserError(f"dap_jax.mteb_model needs mteb 2 ({missing}): pip install mteb") from missing


# Other names of a prompt for documents, in the order of sentence-transformers' encode_document. Its
# 6.2 never comes to them: it gives a model without a prompt called document an empty one.
OF_DOCUMENTS = ("passage", "corpus")


class MtebModel(AbsEncoder):
  """A loaded model with the interface of mteb's encoders; its `similarity` is the cosine.

  Args:
    loaded: the model.
    name: ORGANISATION/NAME, under which mteb stores results.
    one_prompt: whether all texts get the prompt that the model was loaded with.
  """

  def __init__(self, loaded: embedder.Embedder, *, name: str, one_prompt: bool = False):
    self.loaded, self._one_prompt = loaded, one_prompt
    self.mteb_model_meta = ModelMeta.create_empty(
      {
        "name": name,
        "revision": loaded.digest(),  # mteb reuses results stored under the same revision
        "n_parameters": sum(leaf.size for leaf in jax.tree.leaves(loaded.params)),
        "max_tokens": loaded.max_tokens,
        "embed_dim": loaded.width,
        "framework": ["JAX"],
        "similarity_fn_name": ScoringFunction.COSINE,
        "use_instructions": bool(any(loaded.prompts.texts.values()) or loaded.prompt),
      }
    )

  def encode(
    self, inputs, *, task_metadata, hf_split, hf_subset, prompt_type=None, **kwargs
  ) -> np.ndarray:
    """Sentence vectors, float32 [N, D], of the `text` of every batch of `inputs`.

    The prompt depends on `task_metadata` and `prompt_type`; of the other arguments, which are part
    of mteb's interface, only `batch_size` is used.

    Raises:
      NotFiniteError: a vector is not finite; mteb would count it as an answer.
    """
    del hf_split, hf_subset
    model = self.loaded
    if not self._one_prompt:
      model = model.with_prompt(self._prompt_name(task_metadata, prompt_type))
    texts = [text for batch in inputs for text in batch["text"]]
    vectors = model.encode(texts, batch_size=kwargs.get("batch_size", embedder.BATCH_SIZE))
    broken = int((~np.isfinite(vectors).all(1)).sum())
    if broken:
      raise NotFiniteError(f"{task_metadata.name}: {broken} of {len(texts)} vectors are not finite")
    return vectors

  def _prompt_name(self, task_metadata, prompt_type) -> str:
    """The name of a prompt for the texts of a side; "" = the model's default."""
    known = {name: text for name, text in self.loaded.prompts.texts.items() if text}
    chosen = get_prompt_name(known, task_metadata, prompt_type)
    is_document = prompt_type is not None and prompt_type.value == "document"
    others = OF_DOCUMENTS if is_document else ()
    return chosen or next((name for name in others if name in known), "")


def load(
  model: str,
  *,
  step: str = "newest",
  max_tokens: int | None = None,
  compute_dtype: str = "",
  prompt_name: str = "",
  prompt: str | None = None,
) -> MtebModel:
  """A workdir, a checkpoint's folder or a hub id -> a model for `mteb.evaluate`.

  Arguments and errors are those of `embedder.load`; a prompt that is given goes before all texts.
  The name of a folder in mteb is dap_jax/NAME.
  """
  loaded = embedder.load(
    model,
    step=step,
    max_tokens=max_tokens,
    compute_dtype=compute_dtype,
    prompt_name=prompt_name,
    prompt=prompt,
  )
  folder = epath.Path(model)
  name = f"dap_jax/{folder.resolve().name}" if folder.exists() else model.split("@")[0]
  return MtebModel(loaded, name=name, one_prompt=bool(prompt_name) or prompt is not None)
