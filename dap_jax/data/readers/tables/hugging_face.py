"""Data sets of the Hugging Face hub: the data files of a repository, or of such a folder."""

from __future__ import annotations

import dataclasses
import glob
import pathlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from etils import epath

from dap_jax.data.readers.row import Row
from dap_jax.data.readers.tables.columns import wanted
from dap_jax.data.readers.tables.comma_separated import csv_rows
from dap_jax.data.readers.tables.json_lines import jsonl_rows
from dap_jax.data.readers.tables.languages import pair_in
from dap_jax.data.readers.tables.parquet_files import parquet_rows
from dap_jax.utils.errors import UserError, reading

READERS: dict[str, Callable[..., Iterator[Row]]] = {
  "parquet": parquet_rows,
  "jsonl": jsonl_rows,
  "json": jsonl_rows,
  "csv": csv_rows,
  "tsv": csv_rows,
}
DATA = re.compile(rf".*\.({'|'.join(READERS)})(\.(?:gz|bz2|xz|zst|zip))?")
# Other names of splits, by which their files are found.
SYNONYMS = {"train": ("training",), "validation": ("valid", "val", "dev"), "test": ("testing",)}
SPLITS = ("train", "training", "validation", "valid", "val", "dev", "devtest", "test", "testing")
HUB_ID = re.compile(r"[\w-][\w.-]*(?:/[\w.-]+)?")
ABOUT = re.compile(r"(dataset_infos?|dataset_dict|state|config)\.json|\..*")  # no data


def hugging_face(
  *,
  pivot: str,
  name: str,
  config: str = "",
  split: str = "train",
  revision: str = "",
  languages: Sequence[str] = (),
  columns: Sequence[int] | Sequence[str] = (),
) -> Iterator[Row]:
  """A data set of the hub: its Parquet, JSON lines and CSV files; no script of it is run.

  Which files they are is said by `configs:` at the head of its README.md, else by their names:
  `CONFIG/SPLIT-00000-of-00002.parquet`, `data/SPLIT.jsonl`, ... `tables/columns.py` says which
  columns are read. Files are fetched once; HF_ENDPOINT, HF_HOME, HF_TOKEN and HF_HUB_OFFLINE are
  those of `huggingface_hub`.

  Args:
    pivot: the pivot's language code.
    name: the set's id, e.g. `Helsinki-NLP/opus-100`, or a folder of such files.
    config: of the set, e.g. `de-en`; it may be left out where there is one or a default.
    split: `train`, `validation`, ...
    revision: a branch, a tag or a commit.
    languages: of the columns, if neither they nor the names of the config and the files tell them.
    columns: of the texts: names, or numbers, counted from 1.
  """
  for key, value in {"name": name, "config": config, "split": split, "revision": revision}.items():
    if not isinstance(value, str) or (not value and key in ("name", "split")):
      raise UserError(f"data.arguments.{key}={value!r}: expected a name")
  want = wanted(pivot=pivot, languages=languages, columns=columns)
  if not want.languages and (pair := pair_in(config, pivot=pivot)):
    want = dataclasses.replace(want, pair=pair)
  folder = pathlib.Path(name)
  if "://" in name or not folder.is_dir():
    folder = fetched(name, config=config, split=split, revision=revision)
  files = data_files(folder, config=config, split=split)
  if not files:
    raise UserError(f"{name}: {nothing(folder, config=config, split=split)}")
  for path in files:
    yield from READERS[kind_of(path)](epath.Path(path), want=want)


def kind_of(path: pathlib.Path) -> str:
  """A key of `READERS`; "" for what is no data file."""
  match = None if ABOUT.fullmatch(path.name) else DATA.fullmatch(path.name)
  return match[1] if match else ""


def nothing(folder: pathlib.Path, *, config: str, split: str) -> str:
  """Why a folder has no such files, and what to do about it."""
  if any(folder.glob("*.py")) and not any(map(kind_of, files_in(folder))):
    return (
      "it is a dataset script, which is not run: its tables may be in another revision, set"
      " data.arguments.revision='refs/convert/parquet'"
    )
  found = ", ".join(
    repr(str(path.relative_to(folder))) for path in files_in(folder) if kind_of(path)
  )
  return (
    f"no data files of config={config!r} split={split!r}: set data.arguments.config and"
    f" data.arguments.split; it has {found[:300] or 'neither Parquet nor JSON lines nor CSV'}"
  )


def fetched(name: str, *, config: str, split: str, revision: str) -> pathlib.Path:
  """A local copy of the files of a hub's set that one split needs.

  Raises:
    UserError: it is no id, or the hub gives no such set and none is cached.
  """
  if not HUB_ID.fullmatch(name):
    raise UserError(f"data.arguments.name={name!r}: no folder, and no id of a data set either")
  from huggingface_hub import snapshot_download

  from dap_jax.hub.download import refusal  # imported here: with it come the weights' libraries

  def fetch(*patterns: str) -> pathlib.Path:
    try:
      return pathlib.Path(
        snapshot_download(
          name, repo_type="dataset", revision=revision or None, allow_patterns=list(patterns)
        )
      )
    except Exception as error:  # the hub's client raises many types
      reason = refusal(error, what="data set")
      raise UserError(f"data.arguments.name={name!r} is no folder here, and {reason}") from error

  folder = fetch("README.md", f"{name.split('/')[-1]}.py")
  entry = chosen(readme_configs(folder), config=config, folder=folder)
  patterns = patterns_of(entry, split=split, folder=folder) if entry else []
  if patterns:
    return fetch(*patterns, *(each.removeprefix("**/") for each in patterns))
  where = glob.escape(config)
  orders = [(where, each) for each in (split, *SYNONYMS.get(split, ()))]
  folder = fetch(
    *(f"*{a}*{b}*.{kind}*" for pair in orders for a, b in (pair, pair[::-1]) for kind in READERS)
  )
  if split == "train" and not data_files(folder, config=config, split=split):
    folder = fetch(*(f"*{where}*.{kind}*" for kind in READERS))
  return folder


def readme_configs(folder: pathlib.Path) -> list[dict[str, Any]]:
  """The entries of `configs:` at the head of README.md. Raises UserError if it is damaged."""
  path = folder / "README.md"
  if not path.is_file():
    return []
  from huggingface_hub.repocard import metadata_load

  with reading(f"cannot read the YAML at the head of {path}"):
    head = metadata_load(path)
  configs = head.get("configs") if isinstance(head, dict) else None
  if not isinstance(configs, list):
    return []
  return [entry for entry in configs if isinstance(entry, dict) and "data_files" in entry]


def chosen(
  configs: Sequence[dict[str, Any]], *, config: str, folder: pathlib.Path
) -> dict[str, Any] | None:
  """The entry of a config, or the default one; None if the README has none at all.

  Raises:
    UserError: it is not among them, or there is no default.
  """
  if not configs:
    return None
  named = {str(entry.get("config_name", "default")): entry for entry in configs}
  default = [name for name, entry in named.items() if entry.get("default") is True]
  for name in (config,) if config else (*default, "default", *named):
    if name in named and (config or default or name == "default" or len(named) == 1):
      return named[name]
  raise UserError(
    f"{folder}: data.arguments.config={config!r}, expected one of"
    f" {', '.join(map(repr, named))[:300]}"
  )


def patterns_of(entry: dict[str, Any], *, split: str, folder: pathlib.Path) -> list[str]:
  """The glob patterns of a split's files in an entry of the README.

  Raises:
    UserError: there is no such split, or what stands there is no pattern.
  """
  stated, splits = entry["data_files"], {}
  if isinstance(stated, dict):
    splits = dict(stated)
  elif isinstance(stated, list) and all(isinstance(each, dict) for each in stated):
    splits = {str(each.get("split", "train")): each.get("path") for each in stated}
  else:
    splits = {"train": stated}
  if split not in splits:
    raise UserError(
      f"{folder}: data.arguments.split={split!r}, expected one of"
      f" {', '.join(map(repr, splits))[:300]}"
    )
  patterns = [splits[split]] if isinstance(splits[split], str) else splits[split]
  if not isinstance(patterns, list) or not all(isinstance(each, str) for each in patterns):
    raise UserError(f"{folder}/README.md: data_files of {split!r} are {patterns!r:.60}, no paths")
  return [f"{entry['data_dir']}/{each}" for each in patterns] if "data_dir" in entry else patterns


def files_in(folder: pathlib.Path) -> list[pathlib.Path]:
  """All files below a folder but hidden ones, sorted."""
  return [
    path
    for path in sorted(folder.rglob("*"))
    if path.is_file() and not any(p.startswith(".") for p in path.relative_to(folder).parts)
  ]


def data_files(folder: pathlib.Path, *, config: str, split: str) -> list[pathlib.Path]:
  """The data files of a split. Raises UserError if it is not told which config is meant."""
  entry = chosen(readme_configs(folder), config=config, folder=folder)
  files = [path for path in files_in(folder) if kind_of(path)]
  if entry:
    found: set[pathlib.Path] = set()
    for pattern in patterns_of(entry, split=split, folder=folder):
      with reading(f"{folder}/README.md: data_files {pattern!r:.60}"):
        found |= set(folder.glob(pattern))
    return [path for path in files if path in found]
  parts = {path: parts_of(path.relative_to(folder), config=config) for path in files}
  files = [path for path in files if parts[path] is not None]
  told = [path for path in files if any(has_word(parts[path] or "", each) for each in SPLITS)]
  names = (split, *SYNONYMS.get(split, ()))
  if told or split != "train":  # without any name of a split, all is for training
    files = [path for path in files if any(has_word(parts[path] or "", each) for each in names)]
  return of_one_kind(files, folder=folder, config=config)


def parts_of(path: pathlib.Path, *, config: str) -> str | None:
  """What a path says beside its config; None if it is of another one."""
  if not config:
    return str(path)
  if config in path.parts:
    return "/".join(part for part in path.parts if part != config)
  match = re.match(rf"{re.escape(config)}(?![A-Za-z0-9])", path.name)
  return path.name[match.end() :] if match else None


def has_word(text: str, word: str) -> bool:
  """Whether a word stands in a path by itself: `train` in `x/train-0.parquet`, not `training`."""
  return re.search(rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])", text) is not None


def of_one_kind(
  files: Sequence[pathlib.Path], *, folder: pathlib.Path, config: str
) -> list[pathlib.Path]:
  """Those of the first kind of `READERS`: sets are there in several kinds at times.

  Raises:
    UserError: they lie in the folders of several configs, and none was asked for.
  """
  kind = next((kind for kind in READERS if any(kind_of(path) == kind for path in files)), "")
  files = [path for path in files if kind_of(path) == kind]
  tops = {path.relative_to(folder).parts[0] for path in files if path.parent != folder}
  tops = {top for top in tops if top != "data" and not any(has_word(top, s) for s in SPLITS)}
  if not config and len(tops) > 1:
    raise UserError(
      f"{folder}: data.arguments.config: expected one of {', '.join(map(repr, sorted(tops)))[:300]}"
    )
  return list(files)
