"""This project's side of `train_step`: the program that `train` would run, and its FLOPs."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from benchmarks.training_step import batches
from benchmarks.training_step.sizes import DECODER_LAYERS, MLP_FACTOR, Sizes
from configs import base
from dap_jax.core.train_step import NOTHING_FROZEN, bind_model
from dap_jax.distributed import sharding
from dap_jax.objectives import masked_lm
from dap_jax.training import build, flops

# Step -> the settings of its objectives that are not those of configs/base.py: configs/dap_mbert.py
# without and with RTL, configs/tr_tlm.py, configs/veco2.py.
NO_RTL = {"representation_translation": {"weight": 0.0}}
OBJECTIVES: dict[str, dict[str, dict[str, Any]]] = {
  "TR": NO_RTL,
  "DAP": {},
  "TR+TLM": NO_RTL | {"masked_lm": {"weight": 0.1, "sequence": "pair", "mask_ratio": 0.2}},
  "VECO2": NO_RTL
  | {
    "translation_ranking": {"direction": "both"},
    "token_alignment": {"weight": 0.1},
    "masked_lm": {"weight": 0.1, "sequence": "both", "mask_ratio": 0.15},
  },
}
READ = ("ids", "mask", "text_hash", "language")  # of a batch, and by VECO 2.0 alone:
READ_BY_VECO2 = ("words", "synonyms")


def train_program(step: str, sizes: Sizes) -> build.TrainProgram:
  """The train program; all but sizes, objectives and dropout is as in configs/base.py."""
  config = base.get_config().to_dict()
  config |= {"seed": 0, "steps": 100_000, "max_tokens": sizes.tokens}
  config["model"] |= {"dropout": 0.0, "pooling": "cls", "compute_dtype": sizes.dtype}
  config["model"]["encoder"] |= {
    "layers": sizes.layers,
    "width": sizes.width,
    "heads": sizes.heads,
    "mlp_width": sizes.width * MLP_FACTOR,
    "positions": 2 * sizes.tokens,
  }
  config["decoder"]["layers"] = DECODER_LAYERS
  config["mesh"] = dict.fromkeys(config["mesh"], 1)
  for name, settings in OBJECTIVES[step].items():
    config["objectives"][name] |= settings
  return build.build(
    vocabulary=batches.vocabulary(sizes),
    devices=jax.devices()[:1],
    **{key: config[key] for key in build.KEYS},
  )


class Ours:
  """A train program and its state."""

  def __init__(self, step: str, sizes: Sizes):
    self.program, self._sizes = train_program(step, sizes), sizes
    self._read = READ + (READ_BY_VECO2 if step == "VECO2" else ())
    self._state = self.program.init({})

  def params(self) -> Any:
    """The parameters, on the host."""
    return jax.device_get(self._state.params)

  def put(self, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    """What the step reads of a batch, on the device."""
    batch = {name: batch[name] for name in self._read}
    return sharding.put_batch(batch, self.program.mesh, batch_size=len(batch["ids"]))

  def step(self, batch: dict[str, jax.Array]) -> float:
    """One update; returns the loss, so the device has finished."""
    self._state, means = self.program.step(self._state, batch, NOTHING_FROZEN)
    return float(means["loss"].compute())

  def necessary_flops(self, lengths: np.ndarray) -> float:
    """Matmul FLOPs of a step on real tokens alone, the mean over pairs of lengths int [N, 2].

    A step of B pairs of L tokens each takes B (c0 + c1 L + c2 L^2), so three traced lengths give
    the three numbers. A pair counts with the mean of its two lengths: the square, a hundredth of
    the whole at 32 tokens, is then a little too small, never too large.
    """
    tokens, rng = self._sizes.tokens, np.random.default_rng(0)
    traced = sorted({tokens // 2, 3 * tokens // 4, tokens})
    counts = []
    for length in traced:
      uniform = np.full((self._sizes.batch, 2), length)
      batch = self.put(batches.make_batch(uniform, self._sizes, rng, padded=length))
      counts.append(flops.matmul_flops(self.program.trace(batch).jaxpr))
    polynomial = np.polyfit(traced, counts, deg=len(traced) - 1)
    return float(np.polyval(polynomial, lengths.mean(1)).mean())

  def first_draw(self, batch: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What TR+TLM hides of a batch in the first step of all, and the mask it is drawn with.

    Returns:
      The fields of `masked_lm.Draw` by name, [B, 1, ...]; and bool [B, 1, 2 L].
    """
    start = jax.random.fold_in(jax.random.key(self.program.seed), 0)
    _, objective_key = bind_model(self.program.model, None, start, microbatches=1)
    number = list(self.program.objectives).index("masked_lm")
    key, _ = jax.random.split(jax.random.fold_in(objective_key, number))
    ids, mask = (masked_lm.sequences(batch[name], "pair") for name in ("ids", "mask"))
    settings = OBJECTIVES["TR+TLM"]["masked_lm"]
    drawn = masked_lm.draw(
      ids,
      mask,
      vocabulary=batches.vocabulary(self._sizes),
      mask_ratio=settings["mask_ratio"],
      mask_share=masked_lm.MASK_SHARE,
      key=jax.random.fold_in(key, 0),
    )
    fields = {name: np.array(array) for name, array in drawn._asdict().items()}
    return fields, np.array(mask).reshape(fields["ids"].shape)
