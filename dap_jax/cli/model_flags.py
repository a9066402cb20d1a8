"""Flags of the commands that take a trained model: which one, which checkpoint, how it encodes."""

from __future__ import annotations

from typing import NamedTuple, TypedDict

from absl import flags

# `--help` lists the flags of the command itself: those below belong to the command that calls
# `define`, not to this module.
flags.disclaim_key_flags()


class LoadOptions(TypedDict):
  """Keyword arguments of `embedder.load`, see there."""

  step: str
  max_tokens: int | None
  compute_dtype: str


class ModelFlags(NamedTuple):
  """The flags of a model."""

  model: flags.FlagHolder[str | None]
  step: flags.FlagHolder[str]
  max_tokens: flags.FlagHolder[int | None]
  compute_dtype: flags.FlagHolder[str | None]

  def load_options(self) -> LoadOptions:
    """How to load the model."""
    return {
      "step": self.step.value,
      "max_tokens": self.max_tokens.value,
      "compute_dtype": self.compute_dtype.value or "",
    }


def define_step() -> flags.FlagHolder[str]:
  """Defines --step, of commands that read a workdir."""
  return flags.DEFINE_string("step", "newest", "Which checkpoint: newest, best, or a number.")


def define(
  *,
  cut: str = "Where texts are cut; the model's own limit by default.",
) -> ModelFlags:
  """Defines --model, --step, --max_tokens and --compute_dtype.

  Args:
    cut: the help of --max_tokens.
  """
  return ModelFlags(
    model=flags.DEFINE_string("model", None, "A workdir, a checkpoint's folder, or a hub id."),
    step=define_step(),
    max_tokens=flags.DEFINE_integer("max_tokens", None, cut, lower_bound=2),
    compute_dtype=flags.DEFINE_enum(
      "compute_dtype",
      None,
      ["float32", "bfloat16"],
      "Dtype of the network's computation; the model's own by default.",
    ),
  )
