"""Flags of the commands that take a trained model: which one, which checkpoint, how it encodes."""

from __future__ import annotations

from typing import NamedTuple, TypedDict

from absl import flags

# `--help` lists the flags of the command itself: those below belong to the command that calls
# `define`, not to this module.
flags.disclaim_key_flags()


OF_MODEL = (  # names of flags that mean nothing without a model
  *("step", "max_tokens", "compute_dtype"),
  *("prompt_name", "prompt", "target_prompt_name", "target_prompt"),
)


class LoadOptions(TypedDict):
  """Keyword arguments of `embedder.load`, see there."""

  step: str
  max_tokens: int | None
  compute_dtype: str


class PromptOptions(TypedDict):
  """Keyword arguments of `embedder.load` and `Prompts.text`, see there."""

  prompt_name: str
  prompt: str | None


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


class PromptFlags(NamedTuple):
  """What goes before the texts of a command, or of one side of them."""

  name: flags.FlagHolder[str | None]
  text: flags.FlagHolder[str | None]

  @property
  def are_given(self) -> bool:
    """Whether either is."""
    return self.name.value is not None or self.text.value is not None

  def options(self) -> PromptOptions:
    """How to load the model."""
    return {"prompt_name": self.name.value or "", "prompt": self.text.value}


def define_prompts(side: str = "") -> PromptFlags:
  """Defines --prompt_name and --prompt; with a side, `target` say, --target_prompt_name, ..."""
  texts = f"the texts of the {side}, if it has another" if side else "every text"
  prefix = f"{side}_" if side else ""
  name = f"The model's prompt to put before {texts}."
  text = "What to put before them, in place of a prompt by name."
  return PromptFlags(
    flags.DEFINE_string(f"{prefix}prompt_name", None, name),
    flags.DEFINE_string(f"{prefix}prompt", None, text),
  )
