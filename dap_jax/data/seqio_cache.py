"""Prepared data in the form of SeqIO's own cache, for programs that know SeqIO alone.

FOLDER/TASK/                a Task's cache: info.train.json, stats.train.json, TFRecords, COMPLETED
FOLDER/tokenizer/           of the ids
FOLDER/mixture.json         the Tasks, their languages, and which prepared data they are of

    import seqio
    from dap_jax.data import seqio_cache

    mixture = seqio_cache.register(FOLDER)
    mixture.get_dataset({"pivot": 32, "translation": 32}, split="train", use_cached=True)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import seqio
import tensorflow as tf
from etils import epath

from dap_jax.data import manifest, train_file
from dap_jax.data.elements import SIDES, Pairs
from dap_jax.data.tasks import output_features, replace_mixture, replace_task, task_names
from dap_jax.data.tokenizer import FILES, Tokenizer
from dap_jax.utils.errors import UserError, reading, writing
from dap_jax.utils.json_files import read_json, write_json
from dap_jax.utils.progress import Progress

MIXTURE = "mixture.json"
COMPLETED = "COMPLETED"  # SeqIO's last file of a Task
SHARD_PAIRS = 100_000
FEATURES = {side: {"dtype": "int32", "shape": [None]} for side in SIDES}


def write(folder: epath.Path, *, workdir: epath.Path, name: str, temperature: float) -> None:
  """Writes the cache of a workdir's prepared data.

  Args:
    folder: where to; Tasks that a killed run completed are not written again.
    workdir: with data/ and tokenizer/.
    name: of the Mixture; those of the Tasks begin with it.
    temperature: of the languages' shares, see `tasks.register`.

  Raises:
    UserError: the folder holds the cache of other data, or cannot be written.
  """
  info = manifest.read_info(workdir / "data")
  tasks = task_names(name, info["pairs"])
  content = {
    "name": name,
    "temperature": temperature,
    "max_tokens": info["max_tokens"],
    "files": info["files"],
    "tasks": {
      task: {"language": code, "pairs": info["pairs"][code]} for task, code in tasks.items()
    },
  }
  if (folder / MIXTURE).exists():
    if read_json(folder / MIXTURE) != content:
      raise UserError(f"--seqio_cache={folder} is the cache of other data: give another folder")
    if not incomplete(folder, tasks):
      return
  pairs = train_file.load_pairs(
    workdir / "data" / "train.npz", languages=info["rates"], features=()
  )
  total = sum(info["pairs"].values())
  with writing(folder), Progress("writing SeqIO's cache", total=total, unit="pair") as progress:
    (folder / "tokenizer").mkdir(parents=True, exist_ok=True)
    write_json(folder / MIXTURE, content)  # first: a run after this one knows whose Tasks these are
    for file in FILES:
      (workdir / "tokenizer" / file).copy(folder / "tokenizer" / file, overwrite=True)
    for task, code in tasks.items():
      write_task(folder / task, pairs[code], progress)


def incomplete(folder: epath.Path, tasks: Iterable[str]) -> list[str]:
  """The Tasks whose cache is not written, or not to its end."""
  return [task for task in tasks if not (folder / task / COMPLETED).exists()]


def write_task(folder: epath.Path, pairs: Pairs, progress: Progress) -> None:
  """Writes the cache of one Task, in the order of its pairs."""
  count = len(pairs.pivot)
  if (folder / COMPLETED).exists():
    progress.advance(count)
    return
  folder.mkdir(parents=True, exist_ok=True)
  starts = range(0, count, SHARD_PAIRS)
  for shard, start in enumerate(starts):
    path = folder / f"train.tfrecord-{shard:05}-of-{len(starts):05}"
    indices = range(start, min(start + SHARD_PAIRS, count))
    with tf.io.TFRecordWriter(str(path)) as file:
      for index in indices:
        file.write(example_of(pairs, index).SerializeToString())
    progress.advance(len(indices))
  info = {"num_shards": len(starts), "features": FEATURES, "seqio_version": seqio.__version__}
  stats = {"examples": count}
  for side in SIDES:
    lengths = getattr(pairs, side).lengths()
    stats |= {f"{side}_tokens": int(lengths.sum()), f"{side}_max_tokens": int(lengths.max())}
  for file, values in (("info", info), ("stats", stats)):
    (folder / f"{file}.train.json").write_text(json.dumps(values))
  (folder / COMPLETED).write_text("")


def example_of(pairs: Pairs, index: int) -> tf.train.Example:
  """A pair as SeqIO stores it."""

  def ids(values: Any) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

  sides = {"pivot": ids(pairs.pivot[index]), "translation": ids(pairs.translation[index])}
  return tf.train.Example(features=tf.train.Features(feature=sides))


def register(folder: epath.PathLike) -> seqio.Mixture:
  """Registers the Tasks and the Mixture of a cache; a name that is registered is replaced.

  Raises:
    UserError: the folder is no complete cache.
  """
  path = epath.Path(folder)
  if not (path / MIXTURE).exists():
    raise UserError(f"{path} has no {MIXTURE}: give a folder that prepare --seqio_cache wrote")
  content: Mapping[str, Any] = read_json(path / MIXTURE)
  with reading(f"{path / MIXTURE} is damaged"):
    tasks, name = list(content["tasks"]), content["name"]
    tokenizer = Tokenizer.load(path / "tokenizer", max_tokens=content["max_tokens"])
    temperature = content["temperature"]
  if absent := incomplete(path, tasks):
    raise UserError(
      f"{path} has no complete {absent[0]}: the command that wrote it was killed; repeat it"
    )
  seqio.add_global_cache_dirs([str(path)])
  features = output_features(tokenizer)
  for task in tasks:
    replace_task(
      task,
      source=seqio.FunctionDataSource(not_cached, splits=["train"]),
      preprocessors=[seqio.CacheDatasetPlaceholder()],
      output_features=features,
    )
  return replace_mixture(name, tasks, temperature=temperature)


def not_cached(split: str, shuffle_files: bool, seed: int | None = None) -> tf.data.Dataset:
  """What SeqIO would call where use_cached is left out."""
  del split, shuffle_files, seed
  raise UserError("these Tasks have a cache and nothing else: pass use_cached=True")
