"""The pairs that are left out, kept for people to read: which, why, and where they stand."""

from __future__ import annotations

import gzip
import io
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from dap_jax.data.cleaning.clean import Rejected

SAMPLES = 3  # of each reason and language, for stats.json


class Rejections:
  """FOLDER/REASON.jsonl.gz: a line a pair. A context, which closes the files.

  Attributes:
    counts: reason -> how many pairs.
    by_language: (reason, language) -> how many.
    samples: (reason, language) -> the first ones.
  """

  def __init__(self, folder: Path):
    self._folder = folder
    self._files: dict[str, io.TextIOWrapper] = {}
    self.counts: Counter[str] = Counter()
    self.by_language: Counter[tuple[str, str]] = Counter()
    self.samples: dict[tuple[str, str], list[Rejected]] = {}

  def __enter__(self) -> Rejections:
    return self

  def __exit__(self, *_) -> None:
    for file in self._files.values():
      file.close()

  def add(self, rejected: Iterable[Rejected]) -> None:
    """Writes and counts them."""
    for each in rejected:
      self.counts[each.reason] += 1
      key = each.reason, each.language
      self.by_language[key] += 1
      if len(samples := self.samples.setdefault(key, [])) < SAMPLES:
        samples.append(each)
      line = {name: text for name, text in each._asdict().items() if name != "reason" and text}
      self._file(each.reason).write(json.dumps(line, ensure_ascii=False) + "\n")

  def _file(self, reason: str) -> io.TextIOWrapper:
    """The file of a reason; mtime: its bytes say nothing of the time."""
    if reason not in self._files:
      self._folder.mkdir(parents=True, exist_ok=True)
      raw = gzip.GzipFile(self._folder / f"{reason}.jsonl.gz", "wb", compresslevel=1, mtime=0)
      self._files[reason] = io.TextIOWrapper(raw, encoding="utf-8")
    return self._files[reason]
