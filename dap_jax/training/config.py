"""The top level of a run's config: which keys there are, and what can be refused at once.

`configs/base.py` explains each key. A section is handed on as it is: its keys are the keyword
arguments of what uses it, which `utils.binding.bind` checks there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from dap_jax import evals
from dap_jax.utils import prompts as prompting
from dap_jax.utils.binding import bind
from dap_jax.utils.errors import UserError
from dap_jax.workdir import ranges

Section = Mapping[str, Any]
DECODER_STARTS = ("source", "random")  # values of `decoder.start`


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
  """The config of a run; the fields are its keys, so that a misspelt one is an error."""

  seed: int
  steps: int
  batch_size: int
  max_tokens: int
  gradient_accumulation_steps: int
  skip_not_finite: int
  log_steps: int
  eval_steps: int
  eval_at_start: bool
  eval_suites: str
  init_from: str
  prompts: Section
  data: Section
  tokenizer: Section
  model: Section
  decoder: Section
  unmasking: Section
  vector_decoder: Section = dataclasses.field(default_factory=dict)  # old configs have none
  teacher: Section
  objectives: Section
  matryoshka_dimensions: Sequence[int]
  optimizer: Section
  program: Section
  mesh: Section
  sharding_rules: Sequence[tuple[str, Sequence[str | None]]]
  checkpoint: Section

  def to_dict(self) -> dict[str, Any]:
    """Key -> value, the sections as they are."""
    return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

  def check(self) -> None:
    """Raises UserError for a value that no machine, data or model could make right."""
    ranges.check(self.to_dict())
    refuse_accumulation(self.gradient_accumulation_steps)
    if self.prunes and not self.init_from:
      raise UserError(
        f"tokenizer.prune={self.tokenizer['prune']}: without init_from there is no vocabulary to"
        " prune; name a checkpoint, or lower tokenizer.vocabulary_size"
      )
    if self.decoder and self.decoder.get("start") not in DECODER_STARTS:
      raise UserError(
        f"decoder.start={self.decoder.get('start')!r}: expected {' or '.join(DECODER_STARTS)}"
      )
    check_best_metric(self.checkpoint.get("best_metric", ""), self.suites)
    check_buckets(self.data.get("bucket_tokens"), max_tokens=self.max_tokens)

  @property
  def save_steps(self) -> int:
    """A checkpoint every so many steps."""
    return self.checkpoint.get("save_steps", 0)

  @property
  def retention(self) -> dict[str, Any]:
    """The `checkpoint` section without `save_steps`: which checkpoints are kept."""
    return {key: value for key, value in self.checkpoint.items() if key != "save_steps"}

  @property
  def new_decoder(self) -> bool:
    """Whether the RTL decoder is drawn from the seed, whatever `init_from` has."""
    return bool(self.decoder.get("start") == "random")

  @property
  def prunes(self) -> bool:
    """Whether the run's vocabulary is a part of that of `init_from`."""
    return bool(self.tokenizer.get("prune", 0))

  @property
  def sides(self) -> prompting.Sides:
    """What goes before the texts of each side."""
    return bind(prompting.of_section, self.prompts, where="prompts")()[1]

  @property
  def suites(self) -> dict[str, str]:
    """Benchmarks beside held-out retrieval, name -> folder."""
    return parse_suites(self.eval_suites)

  @property
  def bucket_tokens(self) -> list[int]:
    """The padded lengths of batches, rising."""
    return check_buckets(self.data.get("bucket_tokens"), max_tokens=self.max_tokens)


def refuse_accumulation(micro_batches: int) -> None:
  """Plain gradient accumulation is another loss where negatives come from the batch."""
  if micro_batches != 1:
    raise UserError(
      f"gradient_accumulation_steps={micro_batches}: only 1 is right here. Accumulating over small"
      " batches takes each anchor's negatives from its own small batch, which is another, easier"
      " loss (1024 pairs: 3.864; the mean over 8 x 128: 2.086). To save memory use"
      f" program.microbatches={micro_batches}, which has the exact gradient of the whole batch"
    )


def parse_suites(text: str) -> dict[str, str]:
  """`NAME=FOLDER,NAME=FOLDER` -> name -> folder. Raises UserError that names the wrong one."""
  suites: dict[str, str] = {}
  for entry in filter(None, text.split(",")):
    name, _, folder = entry.partition("=")
    if name == "retrieval" or not folder or not epath.Path(folder).is_dir():
      raise UserError(
        f"eval_suites: {entry!r}: expected NAME=FOLDER, a suite of dap_jax/evals and its data; the"
        " held-out retrieval is always there"
      )
    evals.load_suite(name)
    if name in suites:
      raise UserError(f"eval_suites names {name} twice: a score has one meaning")
    suites[name] = folder
  return suites


def check_best_metric(name: str, suites: Mapping[str, str]) -> None:
  """Raises UserError for a metric that no evaluation of the run gives."""
  metric = name.removeprefix("-")
  heldout = tuple(f"eval/retrieval/{way}_pivot_accuracy" for way in ("to", "from"))
  if metric and not metric.startswith((*heldout, *(f"eval/{suite}/" for suite in suites))):
    raise UserError(
      f"checkpoint.best_metric={name!r}: expected {' or '.join(heldout)}, or eval/SUITE/NAME with"
      f" one of eval_suites ({', '.join(suites) or 'there are none'}); a minus sign before it means"
      " the smallest"
    )


def check_buckets(bucket_tokens: Sequence[int] | None, *, max_tokens: int) -> list[int]:
  """The padded lengths of batches: rising, the last one `max_tokens`."""
  buckets = list(bucket_tokens or [max_tokens])
  if buckets != sorted(set(buckets)) or buckets[-1] != max_tokens:
    raise UserError(
      f"data.bucket_tokens={tuple(buckets)}: expected rising lengths, the last of them"
      f" max_tokens={max_tokens}"
    )
  return buckets
