"""Tatoeba, LASER's benchmark (arXiv 1812.10464): find a translation among up to 1000 candidates.

Protocol: the files `tatoeba.xxx-eng.{xxx,eng}` of LASER's tatoeba/v1, plain or .gz, line i of one
the translation of line i of the other; double quotes removed; the nearest neighbour by cosine, in
both directions, where rounding decides between equal candidates; per language, and the mean over
the languages of a set. Beside it xsim (`evals.xsim`): the error rate of the nearest neighbour by
ratio margin with 4 neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from etils import epath

from dap_jax.data.texts import text_files
from dap_jax.evals import Encode, Model, Result, by_row, encode_lists
from dap_jax.evals.xsim import propose
from dap_jax.utils.errors import UserError

# The sets of DAP's table (arXiv 2305.09148), in the codes of the benchmark: the 14 of XTREME; of
# DAP's 36 training languages the 28 with exactly 1000 pairs; all 36. The whole benchmark has 112.
FOURTEEN = "ara bul deu ell spa fra hin rus swh tha tur urd vie cmn"
FULL = (
  "afr ara bul ben deu ell spa est eus pes fin fra heb hin hun ind ita jpn kor mar nld por rus"
  " tgl tur urd vie cmn"
)
OTHERS = "jav tel tam swh tha kaz mal kat"
SETS = {"14": FOURTEEN.split(), "28": FULL.split(), "36": [*FULL.split(), *OTHERS.split()]}
LANGUAGES = 112
NEIGHBOURS = 4
VERSION = 2  # 1: xsim chose among all candidates, not among the nearest 4

Pairs = tuple[list[str], list[str]]  # texts, their English translations


def evaluate(model: Model, data: str) -> Result:
  """See the module; no settings: the benchmark has one protocol."""
  pairs = read_pairs(data)
  scores = tatoeba(pairs, model.encode)
  metrics = {"to en": "to_english_accuracy", "from en": "from_english_accuracy"}
  metrics |= {"xsim to": "to_english_xsim", "xsim from": "from_english_xsim"}
  columns = {title: by_row(scores, metric) for title, metric in metrics.items()}
  first = columns["to en"]
  order = [row for row in first if row.isdigit()]
  order += sorted(pairs, key=lambda code: -first[code])
  protocol = {
    "split": "test",
    "languages": len(pairs),
    "pairs": sum(len(texts) for texts, _ in pairs.values()),
    "text": "double quotes removed",
    "accuracy": "largest cosine",
    "xsim": f"ratio margin, {NEIGHBOURS} neighbours",
  }
  return Result(protocol, scores, columns, order)


def read_lines(path: epath.Path) -> list[str]:
  """The lines of one file, without double quotes. Raises UserError: not UTF-8, an empty line."""
  lines = [line.replace('"', "") for line in text_files.lines(path)]
  for number, line in enumerate(lines, 1):
    if not line.strip():
      raise UserError(f"{path}:{number}: expected a sentence, found {line!r}")
  return lines


def read_pairs(folder: epath.PathLike) -> dict[str, Pairs]:
  """The pairs of each language of a folder.

  Raises:
    UserError: there are no such files, one is missing or damaged, or two of them differ in length.
  """
  pairs: dict[str, Pairs] = {}
  for path in sorted(epath.Path(folder).glob("tatoeba.*-eng.*")):
    language = path.name.split(".")[1].removesuffix("-eng")
    if path.name.removesuffix(".gz").split(".")[-1] != language:
      continue
    english = path.with_name(path.name.replace(f"-eng.{language}", "-eng.eng"))
    if not english.exists():
      raise UserError(f"{path} has no {english.name} beside it")
    if language in pairs:
      raise UserError(f"{folder} has the language {language} twice, plain and .gz: remove one")
    texts, translations = read_lines(path), read_lines(english)
    if not texts or len(texts) != len(translations):
      raise UserError(
        f"{path} has {len(texts)} lines, {english.name} {len(translations)}: expected equally many"
      )
    pairs[language] = (texts, translations)
  if not pairs:
    raise UserError(f"{folder} has no files tatoeba.xxx-eng.xxx of LASER's tatoeba/v1")
  return pairs


def score(texts: np.ndarray, english: np.ndarray) -> dict[str, float]:
  """Accuracies and xsim error rates of one language; row i of texts is row i of english.

  Args:
    texts, english: unit vectors [N, D].

  Returns:
    metric -> value in [0, 1].
  """
  cosines = texts @ english.T
  gold = np.arange(len(cosines))
  forward, backward = propose(texts, english, margin="ratio", neighbours=NEIGHBOURS)
  return {
    "to_english_accuracy": (cosines.argmax(1) == gold).mean(),
    "from_english_accuracy": (cosines.argmax(0) == gold).mean(),
    "to_english_xsim": (forward != gold).mean(),
    "from_english_xsim": (backward != gold).mean(),
  }


def tatoeba(pairs: Mapping[str, Pairs], encode: Encode) -> dict[str, float]:
  """Every language, and the mean of each set of which no language is missing.

  Args:
    pairs: see `read_pairs`.
    encode: see `evals.Encode`; called once, with all texts.

  Returns:
    `METRIC/LANGUAGE` and `METRIC/SET`, in [0, 1].
  """
  parts = iter(encode_lists([side for both in pairs.values() for side in both], encode))
  scores: dict[str, dict[str, float]] = {}
  for language in pairs:
    texts, english = next(parts), next(parts)
    scores[language] = score(texts, english)
  named = {}
  for metric in next(iter(scores.values())):
    whole = len(pairs) == LANGUAGES and set(SETS["36"]) <= set(pairs)
    sets = SETS | ({str(LANGUAGES): list(pairs)} if whole else {})
    for name, chosen in sets.items():
      if set(chosen) <= set(scores):
        named[f"{metric}/{name}"] = float(np.mean([scores[code][metric] for code in chosen]))
    named |= {f"{metric}/{code}": float(values[metric]) for code, values in scores.items()}
  return named
