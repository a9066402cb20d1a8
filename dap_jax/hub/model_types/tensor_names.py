"""The names of the tensors of each model type, in transformers and in our parameters."""

from __future__ import annotations

from typing import NamedTuple

# Leaves of modules: our name, torch's name, whether it is a kernel.
KERNEL = ("kernel", "weight", True)
DENSE = (KERNEL, ("bias", "bias", False))
SCALE = ("scale", "weight", False)
NORM = (SCALE, ("bias", "bias", False))
EMBEDDING = (("embedding", "weight", False),)

Leaves = tuple[tuple[str, str, bool], ...]  # our leaf, torch's leaf, whether it is a kernel
Module = tuple[str, str, Leaves]  # our path, torch's name, the leaves


class Table(NamedTuple):
  """The names of one model type.

  Attributes:
    prefixes: of the encoder's names in torch's classes that hold more; that of the masked-LM class
      first.
    embeddings, final: modules outside the layers.
    layer_name: torch's prefix of layer i, a format string.
    layer: the modules of a layer.
    first_layer_lacks: our paths of modules that layer 0 of an encoder does not have.
    head: modules of the masked-LM head.
    head_kernel, head_bias: torch's names of the head's projection onto ids.
    dropped: patterns of tensors that are left out of our model on purpose.
    shared_words: names of other parts' tensors that are the word embeddings where the encoder has
      none under its own name, in the order in which they count.
  """

  prefixes: tuple[str, ...]
  embeddings: tuple[Module, ...]
  final: tuple[Module, ...]
  layer_name: str
  layer: tuple[Module, ...]
  first_layer_lacks: tuple[str, ...]
  head: tuple[Module, ...]
  head_kernel: str
  head_bias: str
  dropped: tuple[str, ...]
  shared_words: tuple[str, ...] = ()


BERT = Table(
  prefixes=("bert.",),
  embeddings=(
    ("embeddings/word", "embeddings.word_embeddings", EMBEDDING),
    ("embeddings/position", "embeddings.position_embeddings", EMBEDDING),
    ("embeddings/token_type", "embeddings.token_type_embeddings", EMBEDDING),
    ("embeddings/norm", "embeddings.LayerNorm", NORM),
  ),
  final=(),
  layer_name="encoder.layer.{}.",
  layer=(
    ("attention/query", "attention.self.query", DENSE),
    ("attention/key", "attention.self.key", DENSE),
    ("attention/value", "attention.self.value", DENSE),
    ("attention/output", "attention.output.dense", DENSE),
    ("attention_norm", "attention.output.LayerNorm", NORM),
    ("mlp_in", "intermediate.dense", DENSE),
    ("mlp_out", "output.dense", DENSE),
    ("mlp_norm", "output.LayerNorm", NORM),
  ),
  first_layer_lacks=(),
  head=(
    ("head/dense", "cls.predictions.transform.dense", DENSE),
    ("head/norm", "cls.predictions.transform.LayerNorm", NORM),
  ),
  head_kernel="cls.predictions.decoder.weight",
  head_bias="cls.predictions.bias",
  dropped=(
    r"pooler\.dense\.(weight|bias)",  # trained for the next-sentence task
    r"cls\.seq_relationship\.(weight|bias)",  # that task's head
    r"embeddings\.position_ids",  # the constant 0, 1, 2, ...
    r"cls\.predictions\.decoder\.bias",  # an alias of the bias
  ),
)
ROBERTA = BERT._replace(
  prefixes=("roberta.",),
  head=(("head/dense", "lm_head.dense", DENSE), ("head/norm", "lm_head.layer_norm", NORM)),
  head_kernel="lm_head.decoder.weight",
  head_bias="lm_head.bias",
  dropped=(
    r"pooler\.dense\.(weight|bias)",
    r"embeddings\.position_ids",
    r"lm_head\.decoder\.bias",
  ),
)
XLM_ROBERTA_XL = ROBERTA._replace(
  embeddings=BERT.embeddings[:3],
  final=(("final_norm", "encoder.LayerNorm", NORM),),
  layer=(
    *BERT.layer[:4],
    ("attention_norm", "attention.self_attn_layer_norm", NORM),
    ("mlp_in", "intermediate.dense", DENSE),
    ("mlp_out", "output.dense", DENSE),
    ("mlp_norm", "LayerNorm", NORM),
  ),
)
DISTILBERT = BERT._replace(
  prefixes=("distilbert.",),
  embeddings=tuple(module for module in BERT.embeddings if "token_type" not in module[0]),
  layer_name="transformer.layer.{}.",
  layer=(
    ("attention/query", "attention.q_lin", DENSE),
    ("attention/key", "attention.k_lin", DENSE),
    ("attention/value", "attention.v_lin", DENSE),
    ("attention/output", "attention.out_lin", DENSE),
    ("attention_norm", "sa_layer_norm", NORM),
    ("mlp_in", "ffn.lin1", DENSE),
    ("mlp_out", "ffn.lin2", DENSE),
    ("mlp_norm", "output_layer_norm", NORM),
  ),
  head=(("head/dense", "vocab_transform", DENSE), ("head/norm", "vocab_layer_norm", NORM)),
  head_kernel="vocab_projector.weight",
  head_bias="vocab_projector.bias",
  dropped=(r"embeddings\.position_ids",),
)
MODERNBERT = Table(
  prefixes=("model.",),
  embeddings=(
    ("embeddings/word", "embeddings.tok_embeddings", EMBEDDING),
    ("embeddings/norm", "embeddings.norm", (SCALE,)),
  ),
  final=(("final_norm", "final_norm", (SCALE,)),),
  layer_name="layers.{}.",
  layer=(
    ("attention_norm", "attn_norm", (SCALE,)),
    ("qkv", "attn.Wqkv", (KERNEL,)),
    ("output", "attn.Wo", (KERNEL,)),
    ("mlp_norm", "mlp_norm", (SCALE,)),
    ("gated_in", "mlp.Wi", (KERNEL,)),
    ("mlp_out", "mlp.Wo", (KERNEL,)),
  ),
  first_layer_lacks=("attention_norm",),
  head=(("head/dense", "head.dense", (KERNEL,)), ("head/norm", "head.norm", (SCALE,))),
  head_kernel="decoder.weight",
  head_bias="decoder.bias",
  dropped=(),
)
M2M100 = Table(
  prefixes=("model.encoder.", "encoder."),
  embeddings=(("embeddings/word", "embed_tokens", EMBEDDING),),
  final=(("final_norm", "layer_norm", NORM),),
  layer_name="layers.{}.",
  layer=(
    ("attention/query", "self_attn.q_proj", DENSE),
    ("attention/key", "self_attn.k_proj", DENSE),
    ("attention/value", "self_attn.v_proj", DENSE),
    ("attention/output", "self_attn.out_proj", DENSE),
    ("attention_norm", "self_attn_layer_norm", NORM),
    ("mlp_in", "fc1", DENSE),
    ("mlp_out", "fc2", DENSE),
    ("mlp_norm", "final_layer_norm", NORM),
  ),
  first_layer_lacks=(),
  # transformers has no such head; ours goes into the folder of an exported decoder.
  head=(("head/dense", "lm_head.dense", DENSE), ("head/norm", "lm_head.layer_norm", NORM)),
  head_kernel="lm_head.decoder.weight",
  head_bias="lm_head.bias",
  dropped=(
    r"(model\.)?decoder\..*",  # the translation model's
    r"(model\.)?shared\.weight",
    r"lm_head\.weight",
    r"embed_positions\.weights",  # the sinusoids
  ),
  shared_words=("model.shared.weight", "shared.weight"),
)
TABLES = {
  "bert": BERT,
  "roberta": ROBERTA,
  "xlm-roberta": ROBERTA,
  "xlm-roberta-xl": XLM_ROBERTA_XL,
  "distilbert": DISTILBERT,
  "modernbert": MODERNBERT,
  "m2m_100": M2M100,
}
