"""Our parameters as modules of torch and transformers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import transformers
from transformers.models.bert.modeling_bert import BertPredictionHeadTransform

from benchmarks.training_step import batches
from benchmarks.training_step.sizes import DECODER_LAYERS, MLP_FACTOR, Sizes
from dap_jax.hub import names
from dap_jax.hub.model_types import tensor_names

HEAD = "cls.predictions."
NEVER = -1e9  # the bias of an id that our head lacks: its share of the softmax is 0


def bert_config(sizes: Sizes, *, layers: int) -> transformers.BertConfig:
  return transformers.BertConfig(
    vocab_size=sizes.vocabulary,
    hidden_size=sizes.width,
    num_hidden_layers=layers,
    num_attention_heads=sizes.heads,
    intermediate_size=sizes.width * MLP_FACTOR,
    max_position_embeddings=2 * sizes.tokens,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
  )


def tensors_of(tree: Any, entries: list[names.Entry]) -> dict[str, torch.Tensor]:
  """A part of our parameters -> torch's tensors by name; copies."""
  return {
    name: torch.from_numpy(np.array(array)) for name, array in names.to_torch(tree, entries).items()
  }


def encoder(params: dict[str, Any], sizes: Sizes) -> transformers.BertModel:
  module = transformers.BertModel(bert_config(sizes, layers=sizes.layers), add_pooling_layer=False)
  entries = names.encoder_entries(tensor_names.BERT, sizes.layers)
  module.load_state_dict(tensors_of(params["encoder"], entries))
  return module


def projection(params: dict[str, Any]) -> torch.nn.Linear:
  """Of the sentence vector; tanh follows."""
  tensors = tensors_of(params["projection"], names.DENSE_ENTRIES)
  tensors = {name.removeprefix("linear."): tensor for name, tensor in tensors.items()}
  module = torch.nn.Linear(*reversed(tensors["weight"].shape))
  module.load_state_dict(tensors)
  return module


class Head(torch.nn.Module):
  """A masked-LM head: dense, GELU, LayerNorm; then a projection unless it is tied."""

  def __init__(self, tensors: dict[str, torch.Tensor], sizes: Sizes):
    super().__init__()
    self.transform = BertPredictionHeadTransform(bert_config(sizes, layers=1))
    prefix = f"{HEAD}transform."
    within = {name.removeprefix(prefix): x for name, x in tensors.items() if prefix in name}
    self.transform.load_state_dict(within)
    kernel = tensors.get(f"{HEAD}decoder.weight")
    self.kernel = None if kernel is None else torch.nn.Parameter(kernel)
    self.bias = torch.nn.Parameter(tensors[f"{HEAD}bias"])

  def forward(self, states: torch.Tensor, tied: torch.Tensor | None = None) -> torch.Tensor:
    """[..., D] -> logits [..., V]; `tied` [V, D] is the kernel of a head without one."""
    kernel = self.kernel if tied is None else tied
    return torch.nn.functional.linear(self.transform(states), kernel, self.bias)


def masked_lm_head(params: dict[str, Any], sizes: Sizes) -> Head:
  entries = names.head_entries(tensor_names.BERT, tied=True)
  return Head(tensors_of(params["masked_lm"], entries), sizes)


def decoder(
  params: dict[str, Any], sizes: Sizes, *, every_id: bool
) -> tuple[transformers.BertModel, Head]:
  """RTL's decoder and its head.

  every_id: whether the head has a row for all ids, as the released program's has, not for the
  English ones alone. The further ones have logits at which the loss is the same.
  """
  config = bert_config(sizes, layers=DECODER_LAYERS)
  entries = names.decoder_entries(
    tensor_names.BERT, depth=DECODER_LAYERS, layers=DECODER_LAYERS, tied=False
  )
  tensors = tensors_of(params["decoder"], entries)
  of_head = {name: tensors.pop(name) for name in list(tensors) if name.startswith(HEAD)}
  module = transformers.BertModel(config, add_pooling_layer=False)
  module.load_state_dict(tensors)
  if every_id:
    english = torch.from_numpy(batches.english_ids(sizes)).long()
    kernel = torch.zeros(sizes.vocabulary, sizes.width)
    bias = torch.full((sizes.vocabulary,), NEVER)
    kernel[english], bias[english] = of_head[f"{HEAD}decoder.weight"], of_head[f"{HEAD}bias"]
    of_head |= {f"{HEAD}decoder.weight": kernel, f"{HEAD}bias": bias}
  return module, Head(of_head, sizes)
