"""The library: what the commands do with a trained model, for a Python program.

    import dap_jax
    model = dap_jax.load("runs/demo")
    vectors = model.encode(["Guten Morgen", "Good morning"])

`load` takes a workdir of train, an exported or other Hugging Face folder, or a hub id. Vectors are
those of `dap_jax.embed`, pairs those of `dap_jax.mine`, links those of `dap_jax.align`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from etils import epath

from dap_jax.evals.word_links import Link, Settings, check_layer, check_settings, default_layer
from dap_jax.inference import embedder, link_files
from dap_jax.mining import pairing
from dap_jax.mining.margins import MARGINS
from dap_jax.utils.errors import UserError
from dap_jax.utils.unit_vectors import unit


class MinedPair(NamedTuple):
  """A pair of sentences that are likely translations.

  Attributes:
    score: by margin; 1 and more is a good ratio.
    cosine: of the two.
    source, target: their places in the lists, from 0.
  """

  score: float
  cosine: float
  source: int
  target: int


class SentenceEncoder:
  """A trained model; `load` makes it.

  Args:
    model: encodes.
  """

  def __init__(self, model: embedder.Embedder):
    self._model = model

  def __repr__(self) -> str:
    settings = (f"{name}={value}" for name, value in self._model.describe().items())
    return f"SentenceEncoder(width={self.width}, {', '.join(settings)})"

  @property
  def width(self) -> int:
    """D, the dimensions of a vector."""
    return self._model.width

  @property
  def max_tokens(self) -> int:
    """How many ids of a text are read, [CLS] and [SEP] included; the rest is cut."""
    return self._model.max_tokens

  @property
  def prompts(self) -> dict[str, str]:
    """The model's prompts, name -> what goes before a text."""
    return dict(self._model.prompts.texts)

  def encode(
    self,
    texts: Sequence[str],
    *,
    batch_size: int = embedder.BATCH_SIZE,
    prompt_name: str = "",
    prompt: str | None = None,
  ) -> np.ndarray:
    """Sentence vectors of N texts, float32 [N, D]: of unit length if the model normalises.

    Args:
      texts: the N texts.
      batch_size: texts that are encoded together.
      prompt_name: one of `prompts`, to put before every text; "" = what `load` was told.
      prompt: the text itself, in place of a prompt by name.

    Raises:
      TypeError: one text in place of a list.
      UserError: the model has no such prompt.
    """
    if isinstance(texts, str):
      raise TypeError(f"texts is one text, {texts!r}: give a list, [text]")
    model = self._model
    if prompt_name or prompt is not None:
      model = model.with_prompt(prompt_name, given=prompt)
    if not len(texts):
      return np.zeros((0, self.width), np.float32)
    return model.encode(texts, batch_size=batch_size)

  def similarity(self, source: Sequence[str], target: Sequence[str]) -> np.ndarray:
    """Cosines of all sentences of one list with all of the other, float32 [N, M]."""
    return unit(self.encode(source)) @ unit(self.encode(target)).T

  def mine(
    self,
    source: Sequence[str],
    target: Sequence[str],
    *,
    margin: str = "ratio",
    neighbours: int = 4,
    retrieval: str = "max",
    threshold: float = -math.inf,
  ) -> list[MinedPair]:
    """Translations among two lists of sentences, the best first; exact, in memory.

    Args:
      source, target: the lists.
      margin: how a score compares a cosine with those of the neighbours: absolute, distance, ratio.
      neighbours: k of the margin.
      retrieval: forward, backward, intersection or max, see `mining.pairing`.
      threshold: the lowest score to keep.

    Raises:
      UserError: a setting has no meaning.
    """
    if margin not in MARGINS or retrieval not in pairing.RETRIEVALS or neighbours < 1:
      raise UserError(
        f"margin={margin}, retrieval={retrieval}, neighbours={neighbours}: expected one of"
        f" {', '.join(MARGINS)}, one of {', '.join(pairing.RETRIEVALS)}, and 1 or more"
      )
    if not len(source) or not len(target):
      return []
    x, y = self.encode(source), self.encode(target)
    mined = pairing.mine(x, y, margin=margin, neighbours=neighbours, retrieval=retrieval)
    rows = zip(mined.scores.tolist(), mined.cosines.tolist(), mined.pairs.tolist(), strict=True)
    return [MinedPair(score, cosine, *pair) for score, cosine, pair in rows if score >= threshold]

  def align(
    self,
    source: Sequence[Sequence[str]],
    target: Sequence[Sequence[str]],
    *,
    method: str = "mutual",
    layer: int | None = None,
    threshold: float = 0.0,
    unit_of_alignment: str = "piece",
  ) -> list[dict[Link, float]]:
    """Which words of each sentence and its translation mean the same.

    Args:
      source, target: sentences as lists of words; `target[i]` translates `source[i]`.
      method: mutual, itermax or optimal_transport, see `evals.word_links`.
      layer: whose states are compared, 0 the embeddings; None = two thirds up the model.
      threshold: the least cosine of a link.
      unit_of_alignment: what is compared: a piece, or a word, the mean of its pieces.

    Returns:
      For each pair (word of the source, word of the target) -> cosine, from 0.

    Raises:
      UserError: a setting has no meaning.
      ValueError: the lists are not of equal length.
    """
    check_settings(method, unit_of_alignment=unit_of_alignment, threshold=threshold)
    how = Settings(method=method, threshold=threshold, unit_of_alignment=unit_of_alignment)
    layers = len(self._model.word_states([["a"]])[0].states)
    chosen = check_layer(default_layer(layers) if layer is None else layer, layers, name="layer")
    pairs, links = list(zip(source, target, strict=True)), list[dict[Link, float]]()
    for start in range(0, len(pairs), link_files.BLOCK_LINES):  # their states are in memory
      block = pairs[start : start + link_files.BLOCK_LINES]
      links += link_files.links_of(block, self._model, layer=chosen, how=how)
    return links


def load(
  model: epath.PathLike,
  *,
  step: str = "newest",
  max_tokens: int | None = None,
  compute_dtype: str = "",
  prompt_name: str = "",
  prompt: str | None = None,
) -> SentenceEncoder:
  """A workdir, a Hugging Face folder or a hub id -> a model.

  Args:
    model: which.
    step: of a workdir: newest, best or a number.
    max_tokens: where texts are cut; None = the model's own limit.
    compute_dtype: float32 or bfloat16; "" = the model's own.
    prompt_name: the model's prompt that goes before every text; "" = its default, if it has one.
    prompt: the text itself, in place of a prompt by name.

  Raises:
    UserError: there is no such model, or no such prompt, or it is damaged.
  """
  loaded = embedder.load(
    model,
    step=step,
    max_tokens=max_tokens,
    compute_dtype=compute_dtype,
    prompt_name=prompt_name,
    prompt=prompt,
  )
  return SentenceEncoder(loaded)
