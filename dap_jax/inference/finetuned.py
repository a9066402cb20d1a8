"""What the workdir of a fine-tuning says of its model, for whoever loads or exports it.

WORKDIR/model.json      network, head and classes     WORKDIR/tokenizer/      its files
WORKDIR/finetune.json   the settings of the run       WORKDIR/checkpoints/    see `workdir`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from etils import epath

from dap_jax.data import manifest
from dap_jax.data.tokenizer import Tokenizer
from dap_jax.hub import download, from_hf, task_heads, tokenizer_files
from dap_jax.utils.errors import UserError, reading, writing
from dap_jax.utils.json_files import read_json, write_json
from dap_jax.workdir import layout, restore

SETTINGS, MODEL, TOKENIZER, SCORES = "finetune.json", "model.json", "tokenizer", "scores.json"
PARTS = ("encoder", "dense", "classifier")  # of the parameters


class Finetuned(NamedTuple):
  """A network with a head.

  Attributes:
    model_config: the config's `model` section, with `encoder.vocabulary_size` resolved.
    head: its kind, see `model.task_heads`.
    classes: their names, in the order of the logits.
    has_types: whether the second text of a pair has token type 1.
    max_tokens: where texts are cut.
    best_metric: the score that chose the checkpoint; "" = the last one is the model.
  """

  model_config: Mapping[str, Any]
  head: str
  classes: Sequence[str]
  has_types: bool
  max_tokens: int
  best_metric: str

  @property
  def step(self) -> str:
    """The checkpoint that is the model, as `workdir.restore` takes it."""
    return "best" if self.best_metric else "newest"


def is_finetuning(folder: epath.PathLike) -> bool:
  """Whether `finetune` wrote this folder."""
  return (epath.Path(folder) / SETTINGS).exists()


def tokenizer_of(model_path: str) -> dict[str, str]:
  """The tokenizer's files of a workdir, a folder or a hub id: name -> content."""
  if layout.is_workdir(model_path):
    folder = epath.Path(model_path)
    manifest.check_tokenizer(folder)
    with reading(f"{folder}: its tokenizer cannot be read"):
      return {path.name: path.read_text() for path in (folder / TOKENIZER).glob("*.json")}
  return tokenizer_files.convert_tokenizer(download.local_folder(model_path))


def head_start(model_path: str, head: str) -> dict[str, Any]:
  """What a checkpoint has of the head already, see `task_heads.start_leaves`; {} of a workdir."""
  if layout.is_workdir(model_path) or head not in task_heads.CLASSES:
    return {}
  checkpoint = from_hf.read_folder(download.local_folder(model_path))
  return task_heads.start_leaves(checkpoint, head)


def write(folder: epath.Path, model: Finetuned, tokenizer: dict[str, str]) -> None:
  """Writes model.json and the tokenizer's files. Raises UserError where it cannot."""
  with writing(folder):
    tokenizer_files.write_tokenizer(tokenizer, folder / TOKENIZER)
    write_json(folder / MODEL, model._asdict())


def read(folder: epath.Path) -> Finetuned:
  """Reads model.json. Raises UserError where it is missing or damaged."""
  path = folder / MODEL
  if not path.exists():
    raise UserError(f"{folder} has no {MODEL}: an older version fine-tuned it; run finetune anew")
  content = read_json(path)
  if content.keys() != set(Finetuned._fields):
    raise UserError(f"{path} is damaged: expected {', '.join(Finetuned._fields)}")
  return Finetuned(**content)


class Loaded(NamedTuple):
  """about: the network. params: its `PARTS`. tokenizer: of its files. step: of the checkpoint."""

  about: Finetuned
  params: dict[str, Any]
  tokenizer: Tokenizer
  step: int


def load(folder: epath.Path, *, step: str = "") -> Loaded:
  """The parameters of a checkpoint, on the first device.

  Args:
    folder: of a fine-tuning.
    step: "newest", "best" or a number; "" = the one that was tested.

  Raises:
    UserError: there is no such checkpoint, or a file is missing or damaged.
  """
  about = read(folder)
  number = restore.step_number(folder, step or about.step)
  tokenizer = Tokenizer.load(folder / TOKENIZER, max_tokens=about.max_tokens)
  params = restore.restore_parts(folder, PARTS, step=str(number))
  return Loaded(about, params, tokenizer, number)
