"""Tatoeba as XTREME has it: for each English sentence the nearest one of the other language.

Files: `tatoeba.xxx-eng.{xxx,eng}` of LASER's tatoeba/v1, plain or .gz. The English sentences are
sorted, so that a row tells nothing; the label of each is the row of its translation. White space
around a sentence goes, double quotes stay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from etils import epath

from dap_jax.data.texts import text_files
from dap_jax.evals.xtreme.tasks import TASKS, TATOEBA
from dap_jax.utils.errors import UserError
from dap_jax.utils.unit_vectors import unit

POOLING = "mean"  # over all tokens, the special ones too
# In the order of XTREME's codes, which are sorted.
CODES_OF_FILES = (
  "afr ara bul ben deu ell spa est eus pes fin fra heb hin hun ind ita jpn jav kat kaz kor mal mar"
  " nld por rus swh tam tel tha tgl tur urd vie cmn"
)
CODES = dict(zip(TASKS[TATOEBA].languages, CODES_OF_FILES.split(), strict=True))


class Sentences(NamedTuple):
  """The sentences of one language.

  Attributes:
    texts: N of them.
    english: their N translations, sorted.
    rows: the row of `texts` that each of `english` translates.
  """

  texts: list[str]
  english: list[str]
  rows: list[int]


def files_of(folder: epath.Path, language: str) -> list[epath.Path]:
  """The two files of a language of `CODES`, where they are or would be."""
  stem = f"tatoeba.{CODES[language]}-eng"
  plain = [folder / f"{stem}.{side}" for side in (CODES[language], "eng")]
  zipped = [path.with_name(f"{path.name}.gz") for path in plain]
  return [gz if gz.exists() else path for path, gz in zip(plain, zipped, strict=True)]


def read(folder: epath.Path, language: str) -> Sentences:
  """Reads a language. Raises UserError: an empty line, or the files differ in length."""
  sides = []
  paths = files_of(folder, language)
  for path in paths:
    sides.append([line.strip() for line in text_files.lines(path)])
    for number, line in enumerate(sides[-1], 1):
      if not line:
        raise UserError(f"{path}:{number}: expected a sentence, found an empty line")
  texts, english = sides
  if not texts or len(texts) != len(english):
    raise UserError(
      f"{paths[0]} has {len(texts)} lines, {paths[1].name} {len(english)}: expected equally many"
    )
  rows = sorted(range(len(english)), key=english.__getitem__)
  return Sentences(texts, [english[row] for row in rows], rows)


def labels_of(sentences: Sentences) -> list[str]:
  """The lines of the labels' file."""
  return [str(row) for row in sentences.rows]


def predict(sentences: Sentences, encode: Callable[[Sequence[str]], np.ndarray]) -> list[str]:
  """The row with the largest cosine, for each English sentence; of equal ones the first.

  Args:
    sentences: see `read`.
    encode: N texts -> vectors [N, D] of any length.
  """
  vectors = unit(encode([*sentences.texts, *sentences.english]))
  texts, english = np.split(vectors, [len(sentences.texts)])
  return [str(row) for row in (english @ texts.T).argmax(1)]
