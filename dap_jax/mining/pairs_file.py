"""What `mine` gives out: the file of pairs, and warnings of what is probably wrong in it."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np

from dap_jax.mining.files import Half
from dap_jax.mining.pairing import Mined, Proposals

logger = logging.getLogger(__name__)

HUB = 10  # so many times the average choice, and at least so many, make a text a hub
HUBS_SHOWN = 3
PIECE_PAIRS = 65_536
# 12,000 or 12.000 or 12 000, and India's 3,00,000; else digits without a break. A point may be a
# decimal sign as well: both texts are read the same way.
NUMBER = re.compile(
  r"(?<!\d)\d{1,3}(?:[.,'’٬\u00a0\u2009\u202f ]\d{3})+(?!\d)"
  r"|(?<!\d)\d{1,2}(?:,\d{2})+,\d{3}(?!\d)"
  r"|\d+"
)


def warn_of_hubs(proposals: Proposals, chosen: Half) -> None:
  """Says which texts are the choice of many: such pairs are rarely translations.

  Args:
    proposals: of the other side.
    chosen: the side whose texts they choose.
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
  for place, text in zip(worst, texts, strict=True):
    line = f"line {chosen.lines[place] + 1}"
    logger.warning("  %d x %s", counts[place], f"{line}: {text}" if text else line)


def numbers(text: str) -> Counter[str]:
  """The numbers in a text, in digits 0 to 9 whatever its script, without signs and leading zeros.

  Blanks, points and the like between thousands are passed over; a number with decimals counts as
  two, since the sign between them differs between languages.
  """
  found = (re.sub(r"\D", "", match[0]) for match in NUMBER.finditer(text))
  plain = ("".join(str(unicodedata.decimal(digit)) for digit in digits) for digits in found)
  return Counter(digits.lstrip("0") for digits in plain)


def write(mined: Mined, source: Half, target: Half, path: Path) -> None:
  """Writes the pairs, best first; the columns are those of `dap_jax.mine`."""
  differing = 0
  with path.open("w", encoding="utf-8", newline="\n") as file:
    for start in range(0, len(mined.pairs), PIECE_PAIRS):
      piece = slice(start, start + PIECE_PAIRS)
      i, j = mined.pairs[piece].T
      columns = [
        mined.scores[piece],
        mined.cosines[piece],
        source.lines[i] + 1,
        target.lines[j] + 1,
      ]
      texts = zip(source.read(i), target.read(j), strict=True)
      for (score, cosine, *lines), both in zip(zip(*columns, strict=True), texts, strict=True):
        fields = [f"{score:.6f}", f"{cosine:.6f}"]
        if source.texts:
          same = numbers(both[0]) == numbers(both[1])
          differing += not same
          fields += [*both, "same" if same else "differ"]
        file.write("\t".join([*fields, *map(str, lines)]) + "\n")
  if source.texts:
    logger.info("numbers differ in %d of %d pairs", differing, len(mined.pairs))
