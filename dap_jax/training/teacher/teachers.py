"""A frozen teacher: what it makes of the training texts, in every step or once for all.

The config's `teacher` section says which one, and when it works:

    model, when="prepare"   its vectors of all texts are computed as the data is prepared
    model, when="step"      it runs in every step, on ids of its own tokenizer
    vectors, texts          its vectors were computed elsewhere, one for each line of a text file

With `vectors`, the first start may lack both files: it writes the texts that it needs, one a line,
and stops. Encode them, and start again. Texts are compared as `normal_forms.normalise`
leaves them.

A text without a vector has a vector of zeros: one of a language that the teacher does not read, or
one that `texts` lacks. B examples, K views, L_T tokens of the teacher, D_T its width.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from dap_jax.data import tokenizer
from dap_jax.data.elements import SIDES, Feature
from dap_jax.data.extras import Extra, FeatureValues
from dap_jax.data.texts.normal_forms import normalise
from dap_jax.inference import embedder
from dap_jax.inference.embedder import Embedder
from dap_jax.model.dual_alignment import DualAlignment
from dap_jax.training.teacher.teacher_vectors import ModelVectors, VectorMaker, open_files
from dap_jax.utils.errors import UserError

WHEN = ("prepare", "step")


class Teacher(NamedTuple):
  """What a run needs of a teacher.

  Attributes:
    network: the network and its parameters; None where the vectors are in the data.
    extra: what `data.store` makes of the texts: the teacher's ids of them, or its vectors.
    digest: names all that the network's vectors depend on; "" without a network.
  """

  network: tuple[DualAlignment, Any] | None
  extra: Extra
  digest: str


def load(
  *,
  pivot: str,
  model: str,
  when: str,
  max_tokens: int,
  compute_dtype: str,
  vectors: str,
  texts: str,
  languages: Sequence[str],
) -> Teacher:
  """The teacher of a run; the arguments but `pivot` are the config's `teacher` section.

  Only `when="step"` reads anything now. A run whose data is prepared needs no other teacher again.

  Args:
    pivot: the pivot's language code.
    model: a hub id, a folder of a checkpoint, or a workdir; "" where there are vectors.
    when: one of `WHEN`: when the model works.
    max_tokens: L_T, ids of a text in the model's own vocabulary; longer ones are cut.
    compute_dtype: float32 or bfloat16; "" = the model's own.
    vectors: a .npy file, float [N, D_T]; "" where there is a model.
    texts: the text file that goes with it, N lines.
    languages: codes of the languages that the teacher reads, the most trusted first, the pivot
      among them; none = the pivot alone.

  Raises:
    UserError: the settings contradict each other, or the model cannot be read.
  """
  check_settings(model=model, when=when, vectors=vectors, texts=texts)
  if languages and pivot not in languages:
    raise UserError(f"teacher.languages={tuple(languages)}: the pivot, {pivot!r}, must be in it")
  extra_of = functools.partial(TeacherExtra, pivot=pivot, languages=tuple(languages))
  if vectors:
    from_files = functools.cache(lambda: open_files(vectors, texts))
    return Teacher(None, extra_of(VectorMaker(from_files)), "")
  open_it = functools.partial(
    open_model, model=model, max_tokens=max_tokens, compute_dtype=compute_dtype
  )
  if when == "step":
    loaded = open_it()
    digest = loaded.digest()
    maker = IdMaker(loaded, digest=digest)
    return Teacher((loaded.network, loaded.params), extra_of(maker), digest)
  from_model = functools.cache(lambda: ModelVectors(open_it()))
  if jax.process_count() > 1:
    from_model()  # by all processes together, as Orbax reads; but only one of them prepares data
  return Teacher(None, extra_of(VectorMaker(from_model)), "")


def check_settings(*, model: str, when: str, vectors: str, texts: str) -> None:
  """Raises UserError where the settings contradict each other; see `load`."""
  if bool(model) == bool(vectors):
    raise UserError(
      f"teacher.model={model!r} and teacher.vectors={vectors!r}: an objective that is on needs a"
      " teacher, so give just one of them"
    )
  if bool(vectors) != bool(texts):
    raise UserError(
      f"teacher.vectors={vectors!r} and teacher.texts={texts!r}: expected two files, line i of the"
      " texts being row i of the vectors"
    )
  if when not in WHEN:
    raise UserError(f"teacher.when={when!r} is none of {', '.join(WHEN)}")


def refuse_other(teacher: Teacher, info: Mapping[str, Any]) -> None:
  """Raises UserError where a run that goes on has another network than it began with.

  Args:
    teacher: of this start.
    info: of the prepared data, `store.Corpus.info`.
  """
  began = info["extras"]["teacher"].get("digest", "")
  if began != teacher.digest:
    raise UserError(
      f"teacher.model is not the one that this run began with: {teacher.digest[:12]}, then"
      f" {began[:12]} (a digest of weights and settings); put it back, or use another --workdir"
    )


def open_model(*, model: str, max_tokens: int, compute_dtype: str) -> Embedder:
  """Any model that `embedder.load` takes. Raises UserError that says it is about the teacher."""
  if max_tokens < 2:
    raise UserError(f"teacher.max_tokens={max_tokens}: expected 2 or more")
  try:
    return embedder.load(model, max_tokens=max_tokens, compute_dtype=compute_dtype)
  except UserError as error:
    raise UserError(f"teacher.model={model}, max_tokens={max_tokens}: {error}") from error


class FeatureMaker(Protocol):
  """Makes features of texts, one view at a time."""

  @property
  def features(self) -> tuple[Feature, ...]:
    """What it makes."""
    ...

  def make(self, texts: Sequence[str | None]) -> dict[str, list[np.ndarray] | np.ndarray]:
    """Name of a feature -> its values, as in `FeatureValues`; None is a text that is not read."""
    ...

  def tables(self) -> dict[str, np.ndarray]:
    """See `extras.Extra`."""
    ...

  def report(self) -> dict[str, Any]:
    """What is worth knowing of the teacher."""
    ...


class TeacherExtra:
  """The `extras.Extra` of a teacher: what `maker` makes of the texts in the languages it reads.

  With several languages, `teacher_side` int32 [B, K - 1, 1] says whose language it trusts more:
  0 = the pivot's, 1 = the translation's.
  """

  # All that a model's vectors go through: how it is read, placed and run.
  sources: tuple[str, ...] = (
    *("core", "distributed", "hub", "inference", "model", "training/teacher", "workdir"),
  )

  def __init__(self, maker: FeatureMaker, *, pivot: str, languages: tuple[str, ...]):
    self._maker, self._pivot, self._languages = maker, pivot, languages

  @property
  def features(self) -> tuple[Feature, ...]:
    side = Feature("teacher_side", "pair", length=1, columns=0, fill=0, dtype="int32")
    return (*self._maker.features, side) if self._languages else self._maker.features

  def open(self) -> None:
    """Nothing: the model or the files are read when a feature first needs them."""

  def compute(
    self,
    language: str,
    texts: Sequence[tuple[str, str]],
    tokens: tokenizer.Tokenizer,
    *,
    advance: Callable[[int], None],
  ) -> FeatureValues:
    del tokens  # the teacher has its own
    trusted_first = self._languages or (self._pivot,)
    values: FeatureValues = {}
    for number, (side, code) in enumerate(zip(SIDES, (self._pivot, language), strict=True)):
      is_read = code in trusted_first
      of_side = [normalise(pair[number]) if is_read else None for pair in texts]
      values |= {(side, name): made for name, made in self._maker.make(of_side).items()}
    if self._languages:
      trusts_translation = language in trusted_first and (
        trusted_first.index(language) < trusted_first.index(self._pivot)
      )
      values["pair", "teacher_side"] = [np.array([trusts_translation], np.int32)] * len(texts)
    advance(len(texts))
    return values

  def tables(self) -> dict[str, np.ndarray]:
    return self._maker.tables()

  def report(self) -> dict[str, Any]:
    return {"teacher": self._maker.report()}


class IdMaker:
  """`teacher_ids` int32 and `teacher_mask` bool [B, K, L_T], for a network in the step."""

  def __init__(self, model: Embedder, *, digest: str):
    self._tokenizer, self._length, self._digest = model.tokenizer, model.max_tokens, digest
    self._prompt = model.prompt

  @property
  def features(self) -> tuple[Feature, ...]:
    make = functools.partial(Feature, of="view", length=self._length, columns=0)
    return (
      make("teacher_ids", fill=self._tokenizer.pad_id, dtype="int32"),
      make("teacher_mask", fill=0, dtype="bool"),
    )

  def make(self, texts: Sequence[str | None]) -> dict[str, list[np.ndarray] | np.ndarray]:
    encoded = self._tokenizer.encode_ragged([f"{self._prompt}{text or ''}" for text in texts])
    ids = [
      np.array([] if text is None else sequence, np.int32)
      for text, sequence in zip(texts, encoded, strict=True)
    ]
    return {"teacher_ids": ids, "teacher_mask": [np.ones(len(each), bool) for each in ids]}

  def tables(self) -> dict[str, np.ndarray]:
    return {}

  def report(self) -> dict[str, Any]:
    return {"digest": self._digest}
