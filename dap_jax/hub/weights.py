"""Tensors in safetensors files: found, checked, mapped into memory when they are needed; written.

Nothing is unpickled. A tensor is a memory map of its file, so a checkpoint is never loaded whole.
"""

from __future__ import annotations

import hashlib
import json
import math
import shlex
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy
from etils import epath

from dap_jax.hub import names
from dap_jax.utils import trees
from dap_jax.utils.errors import UserError, cause
from dap_jax.utils.json_files import read_json

FILE = "model.safetensors"
DTYPES = {
  "F64": np.float64,
  "F32": np.float32,
  "F16": np.float16,
  "BF16": ml_dtypes.bfloat16,
  "I64": np.int64,
  "I32": np.int32,
}
FLOATS = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
DIGEST = "sha256_of_tensors"  # key of a safetensors file's metadata, see `digest_of`
BLOCK = 1 << 22  # bytes that are in memory at a time
SHOWN = 40  # names or problems in one message
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "model.ckpt")


class StoredTensor(NamedTuple):
  """A tensor in a file; offset: of its first byte."""

  file: Path
  dtype: np.dtype
  shape: tuple[int, ...]
  offset: int

  def map(self) -> np.ndarray:
    """The tensor, read-only; its pages are read when they are accessed."""
    return np.memmap(self.file, self.dtype, "r", self.offset, self.shape)


def digest_of(tensors: Mapping[str, Iterable[bytes | memoryview]]) -> str:
  """The SHA-256 of tensors, by rising name: the name in UTF-8 and the bytes, given in parts."""
  digest = hashlib.sha256()
  for name in sorted(tensors):
    digest.update(name.encode())
    for part in tensors[name]:
      digest.update(part)
  return digest.hexdigest()


def parts_of(stored: StoredTensor) -> Iterator[bytes]:
  """The bytes of a tensor in a file."""
  left = stored.dtype.itemsize * math.prod(stored.shape)
  with stored.file.open("rb") as file:
    file.seek(stored.offset)
    while part := file.read(min(BLOCK, left)):
      left -= len(part)
      yield part


def read_header(file: Path) -> dict[str, StoredTensor]:
  """The tensors of one file.

  Raises:
    UserError: it is no complete safetensors file, or not what `write_tensors` wrote.
  """
  try:
    with safetensors.safe_open(file, framework="numpy"):  # checks header, offsets and length
      pass
    with file.open("rb") as opened:
      (size,) = struct.unpack("<Q", opened.read(8))
      header = json.loads(opened.read(size))
  except (OSError, ValueError, safetensors.SafetensorError) as error:
    raise UserError(f"{file} cannot be read: {cause(error)}; fetch it again") from error
  stored = {}
  for name, entry in header.items():
    if name == "__metadata__":
      continue
    if entry["dtype"] not in DTYPES:
      raise UserError(f"{file}: {name} is {entry['dtype']}; known are {', '.join(DTYPES)}")
    start = 8 + size + entry["data_offsets"][0]
    stored[name] = StoredTensor(
      file, np.dtype(DTYPES[entry["dtype"]]), tuple(entry["shape"]), start
    )
  digest = header.get("__metadata__", {}).get(DIGEST)
  if digest not in (None, digest_of({name: parts_of(each) for name, each in stored.items()})):
    raise UserError(
      f"{file} is damaged: its tensors are not those that were exported; fetch it again"
    )
  return stored


def find_tensors(
  folder: epath.PathLike, *, model_folder: epath.PathLike
) -> dict[str, StoredTensor]:
  """All tensors of a folder: `model.safetensors`, or the files that its index lists.

  Args:
    folder: with the tensors.
    model_folder: the folder of the whole model, in which `folder` lies, or the same.

  Raises:
    UserError: there are no tensors or only pickled ones, a file is damaged, or the index names a
      file outside the folder.
  """
  folder = Path(folder)
  index = folder / f"{FILE}.index.json"
  if (folder / FILE).exists():
    return read_header(folder / FILE)
  if not index.exists():
    if any((folder / name).exists() for name in PICKLES):
      raise UserError(f"{folder} {pickled(str(model_folder), epath.Path(model_folder))}")
    raise UserError(f"{folder} has no {FILE}: give a folder of a model")
  file_of = read_json(epath.Path(index)).get("weight_map")
  if not isinstance(file_of, dict) or not file_of:
    raise UserError(f"{index} has no weight_map: fetch it again")
  tensors: dict[str, StoredTensor] = {}
  for name in sorted({str(file) for file in file_of.values()}):
    if Path(name).name != name or name in (".", ".."):
      raise UserError(f"{index} names {name!r}: expected a file of the same folder")
    part = read_header(folder / name)
    if twice := sorted(set(part) & set(tensors)):
      raise UserError(f"{index}: {listed(twice)} in more than one file")
    tensors |= part
  absent = sorted(set(file_of) - set(tensors))
  if absent:
    raise UserError(f"{index} lists tensors that its files lack: {listed(absent)}")
  return tensors


def listed(names: Sequence[str]) -> str:
  """Names or problems for a message, the first `SHOWN` of them."""
  more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
  return "; ".join(names[:SHOWN]) + more


def pickled(name: str, folder: epath.Path) -> str:
  """The message for a model that has pickled weights only, with the command that converts them.

  Args:
    name: of the folder, or a hub id.
    folder: with the model's JSON files.
  """
  if (folder / "modules.json").exists():
    code = "from sentence_transformers import SentenceTransformer as M"
    code += "; M(sys.argv[1]).save_pretrained(sys.argv[2])"
  else:
    config = read_json(folder / "config.json") if (folder / "config.json").exists() else {}
    architectures = str(config.get("architectures"))
    has_head = architectures.endswith(("ForMaskedLM']", "ForPreTraining']"))
    # AutoModelForMaskedLM would add a random head to a checkpoint without one, AutoModel take
    # nothing of an encoder that is stored without its decoder.
    kind = "transformers import " + ("AutoModelForMaskedLM" if has_head else "AutoModel")
    if architectures == "['M2M100Encoder']":
      kind = "transformers.models.m2m_100.modeling_m2m_100 import M2M100Encoder"
    code = f"from {kind} as M; from transformers import AutoTokenizer as T"
    code += "; [x.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[2]) for x in (M, T)]"
  return (
    "has pickled weights only, which can run code when they are read; if you trust them, convert:"
    f' python -c "import sys; {code}" {shlex.quote(name)} NEW_FOLDER'
  )


class Leaf(NamedTuple):
  """A parameter that is still in its file.

  Attributes:
    stored: torch's tensor.
    transposed: whether it is a kernel, see `names`.
    rows: int [V_en], the rows of torch's tensor to take; None = all.
  """

  stored: StoredTensor
  transposed: bool
  rows: np.ndarray | None = None

  def read(self, shape: tuple[int, ...]) -> np.ndarray:
    """The parameter in our shape; a view of the file where no rows are taken."""
    array = self.stored.map()
    if self.rows is not None:
      array = array[self.rows]
    return names.leaf_from_torch(array, shape, transposed=self.transposed)


def check_tensors(
  tensors: Mapping[str, StoredTensor],
  expected: Mapping[str, tuple[int, ...]],
  *,
  where: str,
  known: Callable[[str], bool] = lambda name: False,
) -> None:
  """Compares the tensors of a folder with those of the model.

  Args:
    tensors: of the folder.
    expected: name -> torch's shape.
    where: the folder, for the message.
    known: whether another name is fine.

  Raises:
    UserError: it lists all tensors that are missing, unknown, of a wrong shape or no floats.
  """
  problems = [f"missing {name}" for name in expected if name not in tensors]
  problems += [f"unknown {name}" for name in tensors if name not in expected and not known(name)]
  problems += [
    f"{name} holds {tensors[name].dtype}, expected floats"
    for name in expected
    if name in tensors and tensors[name].dtype.kind == "i"
  ]
  problems += [
    f"{name} is {list(tensors[name].shape)}, expected {list(shape)}"
    for name, shape in expected.items()
    if name in tensors and tensors[name].shape != tuple(shape)
  ]
  if problems:
    raise UserError(
      f"{where}: its tensors are not those that its config.json describes:"
      f" {listed(sorted(problems))}"
    )


def leaves(tensors: Mapping[str, StoredTensor], entries: Iterable[names.Entry]) -> dict[str, Any]:
  """The tree of `Leaf` of these entries."""
  return trees.nest(
    {entry.path: Leaf(tensors[entry.torch_name], entry.transposed) for entry in entries}
  )


def cast(tensors: Mapping[str, np.ndarray], dtype: str) -> dict[str, np.ndarray]:
  """The tensors, their floats in a dtype of `FLOATS`. Raises UserError where one is too large."""
  casted = {}
  for name, array in tensors.items():
    with np.errstate(over="ignore"):  # told below
      casted[name] = array.astype(FLOATS[dtype]) if array.dtype.kind == "f" else array
    if not np.isfinite(casted[name]).all() and np.isfinite(array).all():
      raise UserError(f"{name} has values that are too large for {dtype}: use bfloat16 or float32")
  return casted


def write_tensors(path: epath.Path, tensors: Mapping[str, np.ndarray]) -> None:
  """Writes a safetensors file with its `DIGEST`, on a local or a remote file system."""
  octets = {
    name: [np.ascontiguousarray(array).reshape(-1).view(np.uint8).data]
    for name, array in tensors.items()
  }
  metadata = {"format": "pt", DIGEST: digest_of(octets)}
  with tempfile.TemporaryDirectory() as local:
    remote = "://" in str(path)
    target = Path(local) / FILE if remote else Path(path)
    target.touch()
    mode = target.stat().st_mode  # as of any file of the user's: the library's are 0600
    safetensors.numpy.save_file(dict(tensors), target, metadata=metadata)
    target.chmod(mode)
    sort_header(target)
    if remote:
      epath.Path(target).copy(path)


def sort_header(file: Path) -> None:
  """Gives the entries of a file's header a fixed order; the library's differs each time."""
  with file.open("r+b") as opened:
    (size,) = struct.unpack("<Q", opened.read(8))
    header = json.loads(opened.read(size))
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert len(text) <= size
    opened.seek(8)
    opened.write(text.ljust(size))
