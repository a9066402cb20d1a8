"""Files of named arrays (.npz, not compressed) that are written and read without fitting in memory.

numpy reads and writes the same files, all of an array at a time.
"""

from __future__ import annotations

import hashlib
import itertools
import struct
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

import numpy as np

BLOCK = 1 << 22  # bytes that are in memory at a time
LOCAL_HEADER = struct.Struct("<26xHH")  # of a zip archive's member: lengths of name and extra field


def write(
  path: Path, parts: Mapping[str, Iterable[np.ndarray]], lengths: Mapping[str, int]
) -> None:
  """Writes arrays that come in parts.

  Args:
    path: the file.
    parts: name -> the parts of an array, one after the other; at least one.
    lengths: name -> how many rows they have together.
  """
  with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
    for name, of_array in parts.items():
      following = iter(of_array)
      first = next(following)
      header = {
        "descr": np.lib.format.dtype_to_descr(first.dtype),
        "fortran_order": False,
        "shape": (lengths[name], *first.shape[1:]),
      }
      # As numpy does, without a time of writing.
      with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
        np.lib.format.write_array_header_1_0(member, header)
        for part in itertools.chain([first], following):
          member.write(np.ascontiguousarray(part).data.cast("B"))


def digest(path: Path) -> str:
  """SHA-256 of what the archive says of its members: their names, sizes and CRC-32s."""
  with zipfile.ZipFile(path) as archive:
    members = [(info.filename, info.file_size, info.CRC) for info in archive.infolist()]
  return hashlib.sha256(repr(members).encode()).hexdigest()


def read(path: Path, expected: str | None = None) -> dict[str, np.ndarray]:
  """The arrays of a local file, on the disk until they are used.

  Every byte is read once, and compared with the archive's checksums.

  Args:
    path: the file.
    expected: its `digest`; None where it is not known.

  Raises:
    zipfile.BadZipFile, ValueError, OSError, struct.error: the file is damaged, or another one.
  """
  if expected not in (None, digest(path)):
    raise ValueError("it is another file than the one that was prepared")
  arrays = {}
  with zipfile.ZipFile(path) as archive, path.open("rb") as file:
    for info in archive.infolist():
      with archive.open(info) as member:
        while member.read(BLOCK):
          pass
      if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{info.filename} is compressed")
      file.seek(info.header_offset)
      file.seek(sum(LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))), 1)
      arrays[info.filename.removesuffix(".npy")] = mapped(file, path)
  return arrays


def mapped(file: IO[bytes], path: Path) -> np.ndarray:
  """The array whose .npy header begins here."""
  version = np.lib.format.read_magic(file)
  read_header = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
  }[version]
  shape, fortran_order, dtype = read_header(file)
  if 0 in shape:
    return np.zeros(shape, dtype)
  if fortran_order:
    raise ValueError("an array is in Fortran's order")
  # As a plain array: slices of a memmap, of which every batch needs thousands, take twice as long.
  return np.memmap(path, dtype, "r", offset=file.tell(), shape=shape).view(np.ndarray)
