"""The pairs that are left out, kept for people to read: which, why, and where they stand."""

from __future__ import annotations

import gzip
import io
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dap_jax.data.cleaning.clean import Rejected

ENDING = ".jsonl.gz"
SAMPLES = 10  # of each reason, for stats.json


class Rejections:
  """FOLDER/REASON.jsonl.gz: a line a pair. A context, which closes the files.

  Attributes:
    counts: reason -> how many pairs.
  """

  def __init__(self, folder: Path):
    self._folder = folder
    self._files: dict[str, io.TextIOWrapper] = {}
    self.counts: Counter[str] = Counter()
    self._of_language: dict[str, dict[str, int]] = {}
    self._samples: dict[str, list[dict[str, str]]] = {}

  def __enter__(self) -> Rejections:
    return self

  def __exit__(self, *_) -> None:
    self.close()

  def close(self) -> None:
    """Writes what is not yet on the disk. Only pairs with other reasons can be added after that."""
    for file in self._files.values():
      file.close()
    self._files.clear()

  def add(self, rejected: Iterable[Rejected]) -> None:
    """Writes and counts them."""
    for each in rejected:
      self.counts[each.reason] += 1
      of_reason = self._of_language.setdefault(each.reason, {})
      of_reason[each.language] = of_reason.get(each.language, 0) + 1
      line = {name: text for name, text in each._asdict().items() if name != "reason" and text}
      if len(samples := self._samples.setdefault(each.reason, [])) < SAMPLES:
        samples.append(line)
      self._file(each.reason).write(json.dumps(line, ensure_ascii=False) + "\n")

  def start_anew(self) -> None:
    """Removes what a killed run left."""
    shutil.rmtree(self._folder, ignore_errors=True)

  def restore(self, statistics: Mapping[str, Any]) -> None:
    """Goes on after what `statistics` said when the files were closed; later ones are removed."""
    for path in self._folder.glob(f"*{ENDING}"):
      if path.name.removesuffix(ENDING) not in statistics:
        path.unlink()
    for reason, of_reason in statistics.items():
      self.counts[reason] = of_reason["pairs"]
      self._of_language[reason] = dict(of_reason["languages"])
      self._samples[reason] = list(of_reason["samples"])

  def statistics(self) -> dict[str, Any]:
    """Reason -> how many pairs of each language, the most first, and the first samples."""
    return {
      reason: {
        "pairs": count,
        "languages": dict(sorted(self._of_language[reason].items(), key=lambda item: -item[1])),
        "samples": self._samples[reason],
      }
      for reason, count in self.counts.most_common()
    }

  def _file(self, reason: str) -> io.TextIOWrapper:
    """The file of a reason; mtime: its bytes say nothing of the time."""
    if reason not in self._files:
      self._folder.mkdir(parents=True, exist_ok=True)
      raw = gzip.GzipFile(self._folder / f"{reason}{ENDING}", "wb", compresslevel=1, mtime=0)
      self._files[reason] = io.TextIOWrapper(raw, encoding="utf-8")
    return self._files[reason]
