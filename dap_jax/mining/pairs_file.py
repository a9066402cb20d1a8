"""The output of `mine`: the file of pairs, and warnings about pairs that are probably wrong."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dap_jax.mining.pairing import Mined, Proposals
from dap_jax.mining.table_file import blocks, write_table
from dap_jax.mining.work_folder import Sentences

logger = logging.getLogger(__name__)

HUB = 10  # a text chosen this often, and this many times as often as the average, is a hub
HUBS_SHOWN = 3
# 12,000 or 12.000 or 12 000, and India's 3,00,000; else a run of digits. A point may be a decimal
# point as well, which does no harm: both texts of a pair are read the same way.
NUMBER = re.compile(
  r"(?<!\d)\d{1,3}(?:[.,'’٬\u00a0\u2009\u202f ]\d{3})+(?!\d)"
  r"|(?<!\d)\d{1,2}(?:,\d{2})+,\d{3}(?!\d)"
  r"|\d+"
)
DIGITS = re.compile(r"\d+")
GROUPED = re.compile(r"\d[.,'’٬\u00a0\u2009\u202f ]\d")  # what may be one number of several runs


def warn_of_hubs(proposals: Proposals, chosen: Sentences) -> None:
  """Logs which texts many others have chosen: such pairs are rarely translations.

  Args:
    proposals: the choices of the other side.
    chosen: the side whose texts are chosen.
  """
  partners = proposals.partners[np.isfinite(proposals.scores)]
  counts = np.bincount(partners, minlength=len(chosen.lines))
  hubs = np.flatnonzero(counts >= HUB * max(1.0, len(proposals.partners) / len(counts)))
  if not len(hubs):
    return
  worst = hubs[np.argsort(-counts[hubs], kind="stable")[:HUBS_SHOWN]]
  logger.warning(
    "hubs: %d of %d %s sentences are the choice of %d others, %d or more each; the worst:",
    len(hubs),
    len(counts),
    chosen.name,
    counts[hubs].sum(),
    counts[hubs].min(),
  )
  texts = chosen.read(worst)
  for row, text in zip(worst, texts, strict=True):
    line = f"line {chosen.lines[row] + 1}"
    logger.warning("  %d x %s", counts[row], f"{line}: {text}" if text else line)


def numbers(text: str) -> Counter[str]:
  """The numbers of a text and how often each occurs, in digits 0 to 9 whatever the script.

  Signs, leading zeros and separators between thousands are left out. A number with decimals counts
  as two, since the character between them differs between languages.
  """
  numbers_as_written = (re.sub(r"\D", "", match[0]) for match in NUMBER.finditer(text))
  decimal = (
    "".join(str(unicodedata.decimal(digit)) for digit in digits) for digits in numbers_as_written
  )
  return Counter(digits.lstrip("0") for digits in decimal)


def same_numbers(source: str, target: str) -> bool:
  """Whether two texts have the same `numbers`; most are told by their runs of digits alone."""
  of_both = DIGITS.findall(source), DIGITS.findall(target)
  if of_both[0] == of_both[1] and not (GROUPED.search(source) or GROUPED.search(target)):
    return True
  return numbers(source) == numbers(target)


def write_pairs(
  mined: Mined,
  source: Sentences,
  target: Sentences,
  path: Path,
  *,
  lines: np.ndarray | None = None,
) -> int:
  """Writes pairs in their order, with the columns that `dap_jax.mine` describes.

  Args:
    mined: the pairs.
    source, target: the two sides.
    path: the file.
    lines: int [C], the line of both texts of a pair, from 0; None = each text's first one.

  Returns:
    How many pairs there are.
  """
  differing = 0

  def rows() -> Iterator[list[str]]:
    nonlocal differing
    for block in blocks(len(mined.pairs)):
      i, j = mined.pairs[block].T
      columns = [
        mined.scores[block],
        mined.cosines[block],
        (source.lines[i] if lines is None else lines[block]) + 1,
        (target.lines[j] if lines is None else lines[block]) + 1,
      ]
      texts = zip(source.read(i), target.read(j), strict=True)
      for (score, cosine, *of_both), both in zip(zip(*columns, strict=True), texts, strict=True):
        fields = [f"{score:.6f}", f"{cosine:.6f}"]
        if source.texts:
          same = same_numbers(*both)
          differing += not same
          fields += [*both, "same" if same else "differ"]
        yield [*fields, *map(str, of_both)]

  count = write_table(rows(), path)
  if source.texts:
    logger.info("numbers differ in %d of %d pairs", differing, count)
  return count
