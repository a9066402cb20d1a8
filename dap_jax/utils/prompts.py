"""Prompts: what goes before every text of a model, `query: ` say; sentence-transformers has them.

A model has prompts by name, and one of them may be its default. In training each side has one, the
`prompts` section of a config; where texts are encoded, the default goes before all of them, unless
another is named or given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from dap_jax.utils.errors import UserError

NONE: Mapping[str, str] = MappingProxyType({})


class Prompts(NamedTuple):
  """The prompts of a model.

  Attributes:
    texts: name -> what goes before a text, blank at the end included.
    default: the name of the one for texts of which nothing else is said; "" = none.
    are_pooled: whether their tokens count in the sentence vector; only without texts may they not.
  """

  texts: Mapping[str, str] = NONE
  default: str = ""
  are_pooled: bool = True

  def text(self, name: str = "", *, given: str | None = None) -> str:
    """What goes before texts.

    Args:
      name: of a prompt; "" = the default.
      given: in place of a prompt of the model's; None = nothing is given.

    Raises:
      UserError: there is no such prompt; both are given; or the model cannot leave it out of its
        vectors.
    """
    if given is not None and name:
      raise UserError(f"prompt={given!r} and prompt_name={name!r}: give one of them")
    chosen = self.named(name or self.default, key="prompt_name") if given is None else given
    if chosen and not self.are_pooled:
      raise UserError(
        f"prompt {chosen!r}: this model's Pooling has include_prompt=false, it leaves the tokens of"
        " prompts out; dap_jax has no such option"
      )
    return chosen

  def named(self, name: str, *, key: str) -> str:
    """The text of a name, "" of no name. Raises UserError, which names the key, for another."""
    if name and name not in self.texts:
      known = ", ".join(map(repr, self.texts)) or "it has none"
      raise UserError(f"{key}={name!r}: no prompt of the model has this name; known: {known}")
    return self.texts[name] if name else ""


NO_PROMPTS = Prompts()


class Sides(NamedTuple):
  """What goes before the texts of each side in training; hard negatives have the pivot's."""

  pivot: str = ""
  translation: str = ""


def check_texts(texts: Any, *, where: str) -> dict[str, str]:
  """Raises UserError for what is no object of texts by name."""
  if not isinstance(texts, Mapping) or not all(isinstance(text, str) for text in texts.values()):
    raise UserError(f"{where}: expected names with texts, {{'query': 'query: '}} say")
  return dict(texts)


def of_section(
  *, texts: Mapping[str, str], default: str, pivot: str, translation: str
) -> tuple[Prompts, Sides]:
  """The `prompts` section of a config, its keys being the arguments -> prompts, and of each side.

  Raises:
    UserError: a name stands for no prompt.
  """
  prompts = Prompts(check_texts(texts, where="prompts.texts"))
  names: Sequence[tuple[str, str]] = (("pivot", pivot), ("translation", translation))
  default_text = prompts.named(default, key="prompts.default")
  of_sides = (
    prompts.named(name, key=f"prompts.{side}") if name else default_text for side, name in names
  )
  return prompts._replace(default=default), Sides(*of_sides)


def resolve(section: Mapping[str, Any], stored: Prompts) -> dict[str, Any]:
  """The section of a run that starts from a model: the model's prompts, and on top the run's own.

  Where both sides have the same prompt and no default is named, that one is the default.

  Args:
    section: as the user's config has it; a text that is empty says nothing.
    stored: the prompts of `init_from`.
  """
  own = check_texts(section["texts"], where="prompts.texts")
  texts = {
    **dict.fromkeys(own, ""),
    **stored.texts,
    **{name: own[name] for name in own if own[name]},
  }
  of_both = section["pivot"] if section["pivot"] == section["translation"] else ""
  default = section["default"] or of_both or stored.default
  return {**section, "texts": texts, "default": default}
