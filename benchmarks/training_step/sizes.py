"""The sizes of a model and its batches, and the flags that set them; no library of arrays."""

from __future__ import annotations

import argparse
import dataclasses

DECODER_LAYERS, MLP_FACTOR = 2, 4
STEPS = ("TR", "DAP", "TR+TLM", "VECO2")
DTYPES = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
  """Of a model and its batches.

  Attributes:
    layers, width, heads: of the encoder.
    vocabulary, english: ids, and how many of them RTL's head predicts.
    batch: pairs.
    tokens: the longest text, [CLS] and [SEP] included.
    lengths: "full", every text has `tokens`, or "real".
    bucket: padded lengths are its multiples.
    dtype: the compute dtype.
  """

  layers: int
  width: int
  heads: int
  vocabulary: int
  english: int
  batch: int = 64
  tokens: int = 32
  lengths: str = "real"
  bucket: int = 4
  dtype: str = "float32"


# English ids: of a vocabulary of 32,000 for the 93 languages of batches.py 8,353, and that share of
# 16,000; of mBERT's ids 37,000, as `plan` assumes.
SIZES = {
  "tiny": Sizes(layers=2, width=128, heads=4, vocabulary=16_000, english=4_176),
  "small": Sizes(layers=6, width=384, heads=12, vocabulary=32_000, english=8_353),
  "base": Sizes(layers=12, width=768, heads=12, vocabulary=119_547, english=37_000),
}
CHOICES = {"lengths": ("full", "real"), "dtype": DTYPES}


def add_flags(parser: argparse.ArgumentParser) -> None:
  """--size, and one flag for each field of `Sizes`, whose default is that size's."""
  parser.add_argument("--size", choices=tuple(SIZES), default="small")
  for field in dataclasses.fields(Sizes):
    kind = str if field.name in CHOICES else int
    parser.add_argument(f"--{field.name}", type=kind, choices=CHOICES.get(field.name))


def sizes_of(flags: argparse.Namespace) -> Sizes:
  """Of a command's flags; fewer English ids than `--size` has where there are not as many ids."""
  names = [field.name for field in dataclasses.fields(Sizes)]
  given = {name: getattr(flags, name) for name in names if getattr(flags, name) is not None}
  sizes = dataclasses.replace(SIZES[flags.size], **given)
  return dataclasses.replace(sizes, english=min(sizes.english, sizes.vocabulary - 1))
