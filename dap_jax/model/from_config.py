"""Config -> the network: the section `model` and those of the heads, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from dap_jax.model.architectures.bert import Bert
from dap_jax.model.architectures.m2m100 import M2M100
from dap_jax.model.architectures.modernbert import ModernBert
from dap_jax.model.architectures.pre_norm import XlmRobertaXl
from dap_jax.model.decoder import BagHead, Decoder, TokenHead
from dap_jax.model.dual_alignment import ACTIVATIONS, DualAlignment
from dap_jax.model.encoder import REMATS, Encoder, Family
from dap_jax.model.pooling import parts_of
from dap_jax.model.task_heads import TaskHead, shape_of
from dap_jax.model.vector_decoder import VectorDecoder
from dap_jax.model.vocabulary import Vocabulary
from dap_jax.utils.binding import bind
from dap_jax.utils.errors import UserError

# transformers' name of an architecture -> the family that computes it.
FAMILIES: dict[str, Callable[..., Family]] = {
  "bert": Bert,
  "roberta": Bert,
  "xlm-roberta": Bert,
  "xlm-roberta-xl": XlmRobertaXl,
  "distilbert": Bert,
  "modernbert": ModernBert,
  "m2m_100": M2M100,
}
DEFAULT_POOLING = "cls"
# Arguments of `make_model` for the encoder without what only training needs.
ENCODER_ALONE = {
  "decoder": None,
  "masked_lm": False,
  "unmasking": None,
  "bag_of_tokens": 0,
  "vector_decoder": None,
  "languages": 0,
  "remat": "none",
  "scan_layers": False,
}


def make_family(
  encoder: Mapping[str, Any], *, vocabulary: Vocabulary, dropout: float, compute_dtype: str
) -> Family:
  """The encoder's family and sizes from the config's `model.encoder` section."""
  sizes = dict(encoder)
  model_type, rows = sizes.pop("model_type", ""), sizes.pop("vocabulary_size", 0)
  if model_type not in FAMILIES:
    raise UserError(
      f"model.encoder.model_type={model_type!r} is none of {', '.join(sorted(FAMILIES))}"
    )
  if compute_dtype not in ("float32", "bfloat16"):
    raise UserError(f"model.compute_dtype={compute_dtype!r} is neither float32 nor bfloat16")
  if rows not in (0, vocabulary.size):
    raise UserError(
      f"model.encoder.vocabulary_size={rows}, but the vocabulary has {vocabulary.size} ids"
    )
  is_bert = FAMILIES[model_type] in (Bert, XlmRobertaXl)
  if is_bert and (model_type == "distilbert") == bool(sizes.get("token_types")):
    raise UserError(
      f"model.encoder.token_types={sizes.get('token_types')} does not fit"
      f" model.encoder.model_type={model_type!r}: DistilBERT has none, the others at least 1"
    )
  family = bind(
    FAMILIES[model_type],
    sizes,
    where="model.encoder",
    vocabulary_size=vocabulary.size,
    dropout=dropout,
    dtype=jnp.dtype(compute_dtype) if compute_dtype == "bfloat16" else None,
  )()
  if family.width % family.heads:
    raise UserError(
      f"model.encoder.width={family.width} is not divisible by model.encoder.heads={family.heads}"
    )
  if isinstance(family, M2M100) and (family.width % 2 or family.width < 4):
    raise UserError(f"model.encoder.width={family.width}: m2m_100 has an even one of 4 or more")
  return family


def make_model(
  *,
  vocabulary: Vocabulary,
  max_tokens: int,
  decoder: Mapping[str, Any] | None,
  masked_lm: bool,
  unmasking: Mapping[str, Any] | None,
  bag_of_tokens: int,
  vector_decoder: Mapping[str, Any] | None,
  languages: int,
  remat: str,
  scan_layers: bool,
  encoder: Mapping[str, Any],
  dropout: float,
  pooling: str,
  dense: Mapping[str, Any],
  normalize: bool,
  projection: bool,
  compute_dtype: str,
) -> DualAlignment:
  """The network from the config's `model` section and those of the heads.

  `decoder`, `unmasking`, `vector_decoder` None and `masked_lm` False leave these parts out;
  `bag_of_tokens` is the number of its head's languages, 0 = no head; `languages` of RTL's targets,
  0 where there is one; `remat`, `scan_layers`: see `Encoder`. Raises UserError for sizes that do
  not fit together.
  """
  pooling = pooling or DEFAULT_POOLING
  check_vector_settings(pooling, dense)
  family = make_family(encoder, vocabulary=vocabulary, dropout=dropout, compute_dtype=compute_dtype)
  check_positions(family, max_tokens, with_decoder=bool(decoder))
  rtl_decoder = unmasking_head = translator = None
  if decoder:
    rtl_decoder = bind(
      make_decoder,
      decoder,
      where="decoder",
      family=family,
      vocabulary=vocabulary,
      max_tokens=max_tokens,
      languages=languages,
    )()
  if vector_decoder:
    translator = bind(make_translator, vector_decoder, where="vector_decoder", family=family)()
  if unmasking:
    unmasking_head = bind(make_unmasking, unmasking, where="unmasking", family=family)()
  return DualAlignment(
    encoder=make_encoder(family, remat=remat, scan=scan_layers),
    decoder=rtl_decoder,
    masked_lm=TokenHead(family, layers=0) if masked_lm else None,
    unmasking=unmasking_head,
    bag_of_tokens=BagHead(family, bag_of_tokens) if bag_of_tokens else None,
    vector_decoder=translator,
    pooling=pooling,
    dense_width=dense["width"],
    dense_activation=dense["activation"],
    normalize=normalize,
    projection=projection,
  )


def check_vector_settings(pooling: str, dense: Mapping[str, Any]) -> None:
  """Raises UserError for a pooling or an activation that does not exist."""
  parts_of(pooling)
  if dense.get("activation") not in ACTIVATIONS:
    raise UserError(
      f"model.dense.activation={dense.get('activation')!r} is none of {', '.join(ACTIVATIONS)}"
    )


def check_positions(family: Family, max_tokens: int, *, with_decoder: bool) -> None:
  """Raises UserError where the encoder has too few positions for the longest sequence."""
  needed = family.position_offset + max_tokens * (2 if with_decoder else 1)
  if family.positions < needed:
    raise UserError(
      f"model.encoder.positions={family.positions} is too few for max_tokens={max_tokens}: {needed}"
      " are needed"
      f"{' (the decoder reads source and target, one after the other)' if with_decoder else ''}"
    )


def make_encoder(family: Family, *, remat: str, scan: bool) -> Encoder:
  """Raises UserError for a way to compute the layers that there is not."""
  if remat not in REMATS:
    raise UserError(f"program.remat={remat!r} is none of {', '.join(REMATS)}")
  if scan and not family.layers_alike:
    raise UserError(
      "program.scan_layers=True: the layers of model.encoder.model_type='modernbert' are not all"
      " alike, so no loop can go over them"
    )
  return Encoder(family, remat, scan)


def make_unmasking(*, family: Family, layers: int) -> TokenHead:
  """MEXMA's unmasking head: `layers` transformer layers and a masked-LM head."""
  if not 1 <= layers <= family.layers:
    raise UserError(f"unmasking.layers={layers}: expected 1 to {family.layers}, the encoder's")
  return TokenHead(family, layers)


def make_translator(*, family: Family, layers: int, languages: int) -> VectorDecoder:
  """The decoder of sentence vectors: `layers` transformer layers, a vector for each language."""
  return VectorDecoder(family, layers, languages)


def make_decoder(
  *,
  family: Family,
  max_tokens: int,
  vocabulary: Vocabulary,
  languages: int,
  layers: int,
  english_head: bool,
) -> Decoder:
  """The RTL decoder: `layers` transformer layers; `english_head` predicts the English ids only."""
  tied, head_size = True, vocabulary.size
  if english_head:
    assert vocabulary.english_ids is not None, "an English head needs the English ids"
    tied, head_size = False, len(vocabulary.english_ids)
  return Decoder(
    family=family,
    layers=layers,
    max_tokens=max_tokens,
    head_size=head_size,
    tied=tied,
    mask_id=vocabulary.hiding_id,
    languages=languages,
  )


def with_task_head(
  network: DualAlignment, head: tuple[str, int] | None, model_type: str
) -> DualAlignment:
  """The network with a head of fine-tuning: its kind and number of classes; None = as it is."""
  if head is None:
    return network
  kind, classes = head
  classifier = TaskHead(network.encoder.family, shape_of(kind, model_type), classes)
  return network.clone(classifier=classifier)


def check_dimensions(dimensions: Sequence[int], network: DualAlignment) -> None:
  """Refuses Matryoshka dimensions that are no part of the vectors which training contrasts."""
  width = network.encoder.family.width if network.projection else network.vector_width
  if not all(1 <= size < width for size in dimensions):
    raise UserError(
      f"matryoshka_dimensions={tuple(dimensions)}: expected 1 or more, and less than the width,"
      f" {width}"
    )


def init_params(network: DualAlignment, key: jax.Array) -> dict[str, Any]:
  """Every parameter of a network, drawn from a key: path -> float32 array."""
  ids = jnp.zeros((1, 2, 2), jnp.int32)  # no shape depends on the length
  params: dict[str, Any] = network.init(key, ids, ids == 0, method="initialise")["params"]
  return params
