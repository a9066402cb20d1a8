"""Config -> model, optimizer, mesh, abstract state, jitted steps. Everything that trains uses it.

A leaf of the config is a keyword argument of the function that uses it, so a misspelt or unread
key is an error at start that names it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from dap_jax import optim, sharding, train_step
from dap_jax.errors import UserError
from dap_jax.model.bert import Bert
from dap_jax.model.decoder import Decoder, TokenHead
from dap_jax.model.dual_alignment import ACTIVATIONS, POOLINGS, DualAlignment
from dap_jax.model.encoder import Encoder, Family
from dap_jax.model.modernbert import ModernBert
from dap_jax.objectives import Vocabulary
from dap_jax.select_objectives import make_objectives, needs
from dap_jax.settings import bind
from dap_jax.trees import overlay

# transformers' name of an architecture -> the family that computes it.
FAMILIES = dict.fromkeys(("bert", "roberta", "xlm-roberta", "distilbert"), Bert)
FAMILIES |= {"modernbert": ModernBert}
DEFAULT_POOLING = "cls"
# Arguments of `make_model` for the encoder without what only training needs.
ENCODER_ALONE = {"decoder": None, "masked_lm": False, "unmasking": None, "languages": 0}


class Parts(NamedTuple):
  """What `build` makes.

  Attributes:
    model: the network.
    objectives: name -> `train_step.Objective`.
    mesh: devices.
    abstract_state: `TrainState` of ShapeDtypeStruct with shardings.
    init: params -> TrainState, sharded; subtrees that `params` lacks are drawn from the seed.
    abstract_frozen: `Frozen` of ShapeDtypeStruct with shardings.
    step: (state, batch, frozen) -> (state, means), jitted; donates the state.
    learning_rate: step -> learning rate.
  """

  model: DualAlignment
  objectives: dict[str, train_step.Objective]
  mesh: Mesh
  abstract_state: train_step.TrainState
  abstract_frozen: train_step.Frozen
  init: Callable[[dict], train_step.TrainState]
  step: Callable
  learning_rate: optax.Schedule


def vocabulary_of(tokenizer: Any, *, rows: int, english_ids: Any) -> Vocabulary:
  """What the core needs to know of a tokenizer.

  Args:
    tokenizer: has size, pad_id, cls_id, sep_id, mask_id.
    rows: of the word embedding, `model.encoder.vocabulary_size`; 0 = the tokenizer's size.
    english_ids: int32 [V_en], or None.

  Raises:
    UserError: the tokenizer is larger than the embedding.
  """
  if rows and tokenizer.size > rows:
    raise UserError(
      f"the tokenizer has ids up to {tokenizer.size - 1}, the word embedding only {rows} rows:"
      " give the tokenizer that the weights were trained with"
    )
  return Vocabulary(
    rows or tokenizer.size,
    tokenizer.pad_id,
    tokenizer.cls_id,
    tokenizer.sep_id,
    tokenizer.mask_id,
    english_ids,
  )


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
  if model_type != "modernbert" and (model_type == "distilbert") == bool(sizes.get("token_types")):
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
  return family


def make_model(
  *,
  vocabulary: Vocabulary,
  max_tokens: int,
  decoder: Mapping[str, Any] | None,
  masked_lm: bool,
  unmasking: Mapping[str, Any] | None,
  languages: int,
  encoder: Mapping[str, Any],
  dropout: float,
  pooling: str,
  dense: Mapping[str, Any],
  normalize: bool,
  projection: bool,
  compute_dtype: str,
) -> DualAlignment:
  """The network from the config's `model`, `decoder` and `unmasking` sections.

  `decoder`, `unmasking` None and `masked_lm` False leave these parts out; `languages` of RTL's
  targets, 0 where there is one. Raises UserError for sizes that do not fit together.
  """
  pooling = pooling or DEFAULT_POOLING
  if pooling not in POOLINGS:
    raise UserError(f"model.pooling={pooling!r} is none of {', '.join(POOLINGS)}")
  if dense.get("activation") not in ACTIVATIONS:
    raise UserError(
      f"model.dense.activation={dense.get('activation')!r} is none of {', '.join(ACTIVATIONS)}"
    )
  given = {"vocabulary": vocabulary, "dropout": dropout, "compute_dtype": compute_dtype}
  family = make_family(encoder, **given)
  needed = family.position_offset + max_tokens * (2 if decoder else 1)
  if family.positions < needed:
    raise UserError(
      f"model.encoder.positions={family.positions} is too few for max_tokens={max_tokens}: {needed}"
      " are needed"
      f"{' (the decoder reads source and target, one after the other)' if decoder else ''}"
    )
  given = {"family": family, "vocabulary": vocabulary}
  given |= {"max_tokens": max_tokens, "languages": languages}
  return DualAlignment(
    encoder=Encoder(family),
    decoder=bind(make_decoder, decoder, where="decoder", **given)() if decoder else None,
    masked_lm=TokenHead(family, layers=0) if masked_lm else None,
    unmasking=bind(make_unmasking, unmasking, where="unmasking", family=family)()
    if unmasking
    else None,
    pooling=pooling,
    dense_width=dense["width"],
    dense_activation=dense["activation"],
    normalize=normalize,
    projection=projection,
  )


def make_unmasking(*, family: Family, layers: int) -> TokenHead:
  """MEXMA's unmasking head: `layers` transformer layers and a masked-LM head."""
  if not 1 <= layers <= family.layers:
    raise UserError(f"unmasking.layers={layers}: expected 1 to {family.layers}, the encoder's")
  return TokenHead(family, layers)


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
  tied = not english_head
  return Decoder(
    family=family,
    layers=layers,
    max_tokens=max_tokens,
    head_size=vocabulary.size if tied else len(vocabulary.english_ids),
    tied=tied,
    mask_id=vocabulary.mask_id,
    languages=languages,
  )


def check_dimensions(dimensions: Sequence[int], network: DualAlignment) -> None:
  """Refuses Matryoshka dimensions that are no part of the vectors which training contrasts."""
  width = network.encoder.family.width
  if network.dense_width and not network.projection:
    width = network.dense_width
  if not all(1 <= size < width for size in dimensions):
    raise UserError(
      f"matryoshka_dimensions={tuple(dimensions)}: expected 1 or more, and less than the width,"
      f" {width}"
    )


def build(
  *,
  vocabulary: Vocabulary,
  seed: int,
  steps: int,
  max_tokens: int,
  model: Mapping[str, Any],
  decoder: Mapping[str, Any],
  objectives: Mapping[str, Mapping[str, Any]],
  optimizer: Mapping[str, Any],
  mesh: Mapping[str, int],
  unmasking: Mapping[str, Any] | None = None,
  matryoshka_dimensions: Sequence[int] = (),
  languages: int = 0,
  teacher: tuple[DualAlignment, Any] | None = None,
  classes: int = 0,
) -> Parts:
  """See `Parts`; the arguments are the config's own, and what the data and a teacher say.

  Args:
    languages: of the data, the pivot among them.
    teacher: a frozen network and its parameters, arrays or shapes.
    classes: of the classification head that fine-tuning needs; 0 = no head.
  """
  mesh = bind(sharding.make_mesh, mesh, where="mesh")()
  chosen = make_objectives(objectives, matryoshka_dimensions=matryoshka_dimensions)
  needed = needs(objectives)
  if "decoder" not in needed or not decoder.get("english_head"):
    vocabulary = vocabulary._replace(english_ids=None)
  network = bind(
    make_model,
    model,
    where="model",
    vocabulary=vocabulary,
    max_tokens=max_tokens,
    # What no objective trains would only cost memory.
    decoder=decoder if "decoder" in needed else None,
    masked_lm="masked_lm" in needed,
    unmasking=unmasking if "unmasking" in needed else None,
    languages=languages if "languages" in needed else 0,
  )().clone(classes=classes)
  check_dimensions(matryoshka_dimensions, network)
  transformation, learning_rate = bind(
    optim.make_optimizer, optimizer, where="optimizer", steps=steps
  )()

  def init(given):
    ids = jnp.zeros((1, 2, 2), jnp.int32)  # no shape depends on the length
    key = jax.random.fold_in(jax.random.key(seed), 2**31 - 1)  # a step no run reaches
    params = network.init(key, ids, ids == 0, method="initialise")["params"]
    params = overlay(params, given)
    return train_step.TrainState(jnp.zeros([], jnp.int32), params, transformation.init(params))

  abstract_state = sharding.with_shardings(jax.eval_shape(init, {}), mesh)
  frozen = train_step.Frozen(
    teacher=None if teacher is None else teacher[1],
    initial=abstract_state.params if "initial" in needed else None,
  )
  abstract_frozen = sharding.with_shardings(frozen, mesh)
  shardings, frozen_shardings = (
    jax.tree.map(lambda leaf: leaf.sharding, tree) for tree in (abstract_state, abstract_frozen)
  )
  rows, everywhere = sharding.batch_sharding(mesh), NamedSharding(mesh, P())
  step = functools.partial(
    train_step.train_step,
    model=network,
    objectives=chosen,
    vocabulary=vocabulary,
    optimizer=transformation,
    teacher=None if teacher is None else teacher[0],
  )
  jitted = jax.jit(
    step,
    in_shardings=(shardings, rows, frozen_shardings, everywhere),
    out_shardings=(shardings, everywhere),
    donate_argnums=0,
  )
  # An argument, no constant: runs of other seeds find the program in the compilation cache.
  run_seed = jax.device_put(np.asarray(seed).astype(np.uint32), everywhere)
  return Parts(
    model=network,
    objectives=chosen,
    mesh=mesh,
    abstract_state=abstract_state,
    abstract_frozen=abstract_frozen,
    init=jax.jit(init, out_shardings=shardings, donate_argnums=0),
    step=lambda state, batch, frozen: jitted(state, batch, frozen, run_seed),
    learning_rate=learning_rate,
  )
