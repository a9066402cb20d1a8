"""Small models for tests: sections of a config, and transformers' own modules of every type."""

import functools

import jax
import jax.numpy as jnp
import torch
import transformers
from transformers.models.m2m_100.modeling_m2m_100 import M2M100Encoder

from dap_jax.core.cross_entropy import FactoredLogits

SIZES = {"layers": 3, "width": 48, "heads": 4, "mlp_width": 96, "positions": 64}
OF_BERT = {"token_types": 2, "position_offset": 0, "norm_eps": 1e-12}
ENCODERS = {
  "bert": OF_BERT,
  "roberta": {"token_types": 1, "position_offset": 1, "norm_eps": 1e-5},
  "xlm-roberta": {"token_types": 1, "position_offset": 1, "norm_eps": 1e-5},
  "xlm-roberta-xl": {"token_types": 1, "position_offset": 1, "norm_eps": 1e-5},
  "distilbert": OF_BERT | {"token_types": 0},
  "modernbert": {
    "layers": 4,  # one more than the period: a second global layer
    "norm_eps": 1e-5,
    "global_every": 3,
    "window": 4,
    "global_theta": 160_000.0,
    "local_theta": 10_000.0,
  },
  "m2m_100": {"positions": 65, "position_offset": 1, "scale_embedding": True},
}


def encoder_section(model_type="bert", **changes):
  """`model.encoder` of a small model."""
  section = {"model_type": model_type, "vocabulary_size": 0, **SIZES, **ENCODERS[model_type]}
  return section | changes


def model_section(**changes):
  """`model` of a small model."""
  section = {
    "encoder": encoder_section(),
    "dense": {"width": 0, "activation": "identity"},
    "normalize": True,
    "dropout": 0.0,
    "pooling": "mean",
    "projection": True,
    "compute_dtype": "float32",
  }
  return section | changes


def drawn(model, *, seed=0):
  """Parameters as training begins with them, by one compiled program."""
  ids = jnp.zeros((1, 2, 2), jnp.int32)
  init = jax.jit(functools.partial(model.init, method="initialise"))
  return init(jax.random.key(seed), ids, ids == 0)["params"]


def logits_of(model, params, method, *arrays, **arguments):
  """The logits of a head: of the states that `method` gives, by its projection."""
  apply = model.apply
  states = apply({"params": params}, *arrays, deterministic=True, method=method, **arguments)
  projection = apply({"params": params}, method=f"{method}_projection")
  return FactoredLogits(states, *projection).multiply()


def transformers_model(model_type, *, vocabulary_size, **changes):
  """transformers' model with random weights, norms and biases included, in eval mode.

  It has a masked-LM head, but for m2m_100: that is the encoder alone.
  """
  sizes = {"vocab_size": vocabulary_size, "max_position_embeddings": 64, "pad_token_id": 0}
  if model_type == "distilbert":
    sizes |= {"n_layers": 3, "dim": 48, "n_heads": 4, "hidden_dim": 96}
  elif model_type == "m2m_100":
    sizes |= {"encoder_layers": 3, "d_model": 48, "encoder_attention_heads": 4}
    sizes |= {"encoder_ffn_dim": 96, "decoder_layers": 1, "decoder_ffn_dim": 96}
    sizes |= {"decoder_attention_heads": 4}
  else:
    sizes |= {"num_hidden_layers": 3, "hidden_size": 48, "num_attention_heads": 4}
    sizes |= {"intermediate_size": 96}
  if "roberta" in model_type:
    sizes |= {"type_vocab_size": 1, "layer_norm_eps": 1e-5}
  if model_type == "modernbert":
    sizes |= {"num_hidden_layers": 4, "local_attention": 8, "global_attn_every_n_layers": 3}
    special = {"cls": 2, "sep": 3, "bos": 2, "eos": 3}
    sizes |= {f"{role}_token_id": i for role, i in special.items()}
  config = transformers.AutoConfig.for_model(model_type, **sizes, **changes)
  torch.manual_seed(0)
  if model_type == "m2m_100":
    module = M2M100Encoder(config).eval()
  else:
    module = transformers.AutoModelForMaskedLM.from_config(config).eval()
  with torch.no_grad():
    for name, parameter in module.named_parameters():
      if "norm" in name.lower() or name.endswith("bias"):
        parameter.add_(0.1 * torch.randn_like(parameter))
  return module
