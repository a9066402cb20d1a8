"""A teacher's vectors of texts, kept with the data: computed by a model here, or read from files.

N texts, D_T the teacher's width.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import numpy as np
from etils import epath
from jax.sharding import NamedSharding, PartitionSpec

from dap_jax.data.elements import Feature
from dap_jax.data.texts import text_files
from dap_jax.data.texts.normal_forms import normalise
from dap_jax.distributed import sharding
from dap_jax.inference.embedder import Embedder
from dap_jax.utils.atomic import replacing
from dap_jax.utils.errors import UserError, reading, writing
from dap_jax.utils.progress import Progress

logger = logging.getLogger(__name__)


class VectorSource(Protocol):
  """Where vectors of texts come from. width: D_T."""

  width: int

  def encode(self, texts: Sequence[str]) -> np.ndarray:
    """float32 [len(texts), D_T], zeros for a text that has no vector."""
    ...


class VectorMaker:
  """Makes `teacher_vectors` float32 [B, K, D_T]; a text's is kept once, however often it occurs.

  Args:
    source: where they come from; called, more than once, when the data is prepared.
  """

  def __init__(self, source: Callable[[], VectorSource]):
    self._source = source
    self._rows: dict[str, int] = {}  # text -> row of the table; row 0 is that of no text
    self._without = 0

  @property
  def features(self) -> tuple[Feature, ...]:
    width = self._source().width
    return (Feature("teacher_vectors", "view", width, columns=0, fill=0, dtype="float32"),)

  def make(self, texts: Sequence[str | None]) -> dict[str, list[np.ndarray] | np.ndarray]:
    rows = [0 if text is None else self._row(text) for text in texts]
    return {"teacher_vectors": np.array(rows, np.int32)}

  def _row(self, text: str) -> int:
    return self._rows.setdefault(text, len(self._rows) + 1)

  def tables(self) -> dict[str, np.ndarray]:
    """Raises UserError where most of the texts have no vector."""
    texts = list(self._rows)
    vectors = self._source().encode(texts)
    without = np.flatnonzero((vectors == 0).all(axis=1))
    self._without = len(without)
    if self._without:
      message = (
        f"{self._without} of the {len(texts)} texts have no teacher's vector,"
        f" {texts[without[0]]!r} say"
      )
      if 2 * self._without > len(texts):
        raise UserError(
          f"{message}: name files in teacher.vectors and teacher.texts that are not there yet, and"
          " the texts that are needed will be written"
        )
      logger.warning("%s: objectives that need it pass over their pairs", message)
    return {"teacher_vectors": np.concatenate([np.zeros_like(vectors[:1]), vectors])}

  def report(self) -> dict[str, Any]:
    return {"texts": len(self._rows), "texts_without_vector": self._without}


class ModelVectors:
  """A `VectorSource`: a model computes them, on this process's devices."""

  def __init__(self, model: Embedder):
    if jax.process_count() > 1:  # the others do not prepare data: they would not take part
      mesh = sharding.make_mesh(devices=jax.local_devices())
      whole = NamedSharding(mesh, PartitionSpec())
      params = jax.tree.map(lambda leaf: jax.device_put(np.asarray(leaf), whole), model.params)
      model = dataclasses.replace(model, mesh=mesh, params=params)
    self._model, self.width = model, model.width

  def encode(self, texts: Sequence[str]) -> np.ndarray:
    with Progress("the teacher's vectors", total=len(texts), unit="text") as progress:
      return self._model.encode(texts, advance=progress.advance)


class FileVectors:
  """A `VectorSource`: the rows of a file, looked up by their texts.

  Args:
    vectors: float [N, D_T].
    texts: N of them; where one occurs twice, its first vector counts.
  """

  def __init__(self, vectors: np.ndarray, texts: Sequence[str]):
    self._vectors, self.width = vectors, vectors.shape[1]
    self._rows: dict[str, int] = {}
    for row, text in enumerate(texts):
      self._rows.setdefault(normalise(text), row)

  def encode(self, texts: Sequence[str]) -> np.ndarray:
    rows = np.array([self._rows.get(text, -1) for text in texts])  # -1: it has none
    vectors = self._vectors[rows].astype(np.float32)
    vectors[rows < 0] = 0
    return vectors


class MissingVectors:
  """A `VectorSource` that has no vectors yet: it writes the texts that need some, and stops."""

  width = 1

  def __init__(self, vectors: str, texts: epath.Path):
    self._vectors, self._texts = vectors, texts

  def encode(self, texts: Sequence[str]) -> np.ndarray:
    with writing(f"teacher.texts={self._texts}"), replacing(self._texts) as temporary:
      temporary.write_text("".join(f"{text}\n" for text in texts))
    raise UserError(
      f"teacher.texts={self._texts} was not there: it is written now, {len(texts)} texts. Make"
      f" teacher.vectors={self._vectors} of them, float32 [{len(texts)}, width], e.g. with"
      f" python -m dap_jax.embed --model=... --input={self._texts} --output={self._vectors},"
      " and start again"
    )


def open_files(vectors: str, texts: str) -> VectorSource:
  """The files of vectors and texts.

  Raises:
    UserError: one of them is missing or damaged, or they do not fit together.
  """
  exist = [epath.Path(name).exists() for name in (vectors, texts)]
  if not any(exist):
    return MissingVectors(vectors, epath.Path(texts))
  if not all(exist):
    key, name = ("teacher.texts", texts) if exist[0] else ("teacher.vectors", vectors)
    raise UserError(f"{key}={name} is not there, though the file that goes with it is")
  array, lines = load_vectors(vectors), list(text_files.lines(epath.Path(texts)))
  if len(lines) != len(array):
    raise UserError(
      f"teacher.vectors={vectors} has {len(array)} rows, teacher.texts={texts} has {len(lines)}"
      " lines: expected as many"
    )
  return FileVectors(array, lines)


def load_vectors(path: str) -> np.ndarray:
  """Reads a .npy file, float [N, D_T]. Raises UserError where it is none, or not finite."""
  # Its header is a Python expression, so much can be wrong with it; it may also claim any size.
  with (
    reading(f"teacher.vectors={path} is no .npy file that can be read"),
    epath.Path(path).open("rb") as file,
  ):
    array = np.load(file, allow_pickle=False)
  if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind != "f":
    shape = getattr(array, "shape", type(array).__name__)
    raise UserError(
      f"teacher.vectors={path} holds {shape} of {getattr(array, 'dtype', 'other')}: expected an"
      " array of floats [texts, width]"
    )
  bad = np.flatnonzero(~np.isfinite(array).all(1))
  if len(bad):
    raise UserError(
      f"teacher.vectors={path}: row {bad[0]} and {len(bad) - 1} more hold numbers that are not"
      " finite"
    )
  return array
