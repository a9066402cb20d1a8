"""The heads of fine-tuning: logits of classes for a text or its tokens, or of an answer's two ends.

All are one module with parts left out. The kinds `sequence`, `tokens` and `answer` are those of
transformers' classes ...ForSequenceClassification, ...ForTokenClassification and
...ForQuestionAnswering, which differ between model types; `sentence_vector` is our own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from dap_jax.model.attention import INITIALIZER
from dap_jax.model.dropout import Dropout
from dap_jax.model.encoder import Family
from dap_jax.model.layers import Dense
from dap_jax.utils.errors import UserError

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
  "tanh": jnp.tanh,
  "relu": nn.relu,
  "gelu": lambda x: nn.gelu(x, approximate=False),
}


class Shape(NamedTuple):
  """What a head consists of.

  Attributes:
    reads: `vector`, the model's own sentence vector; `first`, the first token's state; or `tokens`,
      the states of all.
    activation: one of `ACTIVATIONS`, of a hidden layer as wide as the model; "" = no such layer.
    normed: whether LayerNorm follows the activation; the hidden layer has no bias then.
    drops_input: whether dropout comes before the hidden layer.
    drops: whether dropout comes before the last layer.
  """

  reads: str
  activation: str = ""
  normed: bool = False
  drops_input: bool = False
  drops: bool = True


ROBERTA = Shape("first", "tanh", drops_input=True)
# Kind -> model type -> what transformers' class of it has.
SHAPES = {
  "sequence": {
    "bert": Shape("first", "tanh"),  # its pooler
    **dict.fromkeys(("roberta", "xlm-roberta", "xlm-roberta-xl"), ROBERTA),
    "distilbert": Shape("first", "relu"),
    "modernbert": Shape("first", "gelu", normed=True),
  },
  "tokens": {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "xlm-roberta-xl"), Shape("tokens")),
    "distilbert": Shape("tokens"),
    "modernbert": Shape("tokens", "gelu", normed=True),
  },
  "answer": {
    **dict.fromkeys(
      ("bert", "roberta", "xlm-roberta", "xlm-roberta-xl"), Shape("tokens", drops=False)
    ),
    "distilbert": Shape("tokens"),
    "modernbert": Shape("tokens", "gelu", normed=True),
  },
}
OF_ANY_TYPE = {"sentence_vector": Shape("vector", "tanh")}


def shape_of(kind: str, model_type: str) -> Shape:
  """What the head of a kind consists of, for a model type.

  Raises:
    UserError: transformers has no class of it for this model type.
  """
  if kind in OF_ANY_TYPE:
    return OF_ANY_TYPE[kind]
  if model_type not in SHAPES[kind]:
    raise UserError(
      f"there is no head for this task on model_type {model_type}, as transformers has none: there"
      f" are {', '.join(SHAPES[kind])}; texts can be classified with --head=sentence_vector"
    )
  return SHAPES[kind][model_type]


class TaskHead(nn.Module):
  """[dropout,] [dense, activation, [LayerNorm,]] [dropout,] dense.

  Attributes:
    family: the encoder's width, dropout, dtype and epsilon.
    shape: which of these parts there are.
    classes: C.
  """

  family: Family
  shape: Shape
  classes: int

  @nn.compact
  def __call__(self, h: jax.Array, vectors: jax.Array, *, deterministic: bool) -> jax.Array:
    """Last token states h [N, L, D] and sentence vectors [N, D_out] -> logits.

    Returns:
      [N, L, C] of a head that reads tokens, else [N, C]; float32 or wider.
    """
    family, shape = self.family, self.shape
    dropout = Dropout(family.dropout)
    x = {"tokens": h, "first": h[:, 0], "vector": vectors}[shape.reads]
    if shape.drops_input:
      x = dropout(x, deterministic=deterministic)
    if shape.activation:
      x = self._dense(family.width, "dense", use_bias=not shape.normed)(x)
      x = ACTIVATIONS[shape.activation](x)
    if shape.normed:
      epsilon, dtype = family.norm_eps, family.dtype
      x = nn.LayerNorm(epsilon=epsilon, use_bias=False, dtype=dtype, name="norm")(x)
    if shape.drops:
      x = dropout(x, deterministic=deterministic)
    logits: jax.Array = self._dense(self.classes, "logits")(x)
    return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))

  def _dense(self, features: int, name: str, *, use_bias: bool = True) -> Dense:
    return Dense(
      features, use_bias=use_bias, dtype=self.family.dtype, kernel_init=INITIALIZER, name=name
    )
