"""The similarities of the words of one sentence and its translation, by several models.

    python -m benchmarks.token_alignment.similarities --data=DATA/word_alignment --name=enfr
        --line=9 'masked LM=runs/alignment/mlm' TR=WORKDIR DAP=WORKDIR --output=sentence.json

DATA is a folder of `dap_jax.evals.word_alignment`. Of two words it takes the largest cosine of
their pieces, in the last layer. `picture.py` draws what this writes.
"""

from __future__ import annotations

import argparse
import json
import pathlib

import numpy as np

from benchmarks import measuring
from dap_jax.evals import Pieces, word_alignment
from dap_jax.inference import embedder
from dap_jax.utils.unit_vectors import unit


def similarities(source: Pieces, target: Pieces, pair: word_alignment.Pair) -> np.ndarray:
  """The cosines of all words, [source, target]; -1 of a word without a piece."""
  cosines = np.full((len(pair.source), len(pair.target)), -1.0)
  of_pieces = unit(source.states[-1]) @ unit(target.states[-1]).T
  np.maximum.at(cosines, (source.words[:, None], target.words[None]), of_pieces)
  return cosines


def main() -> None:
  parser = argparse.ArgumentParser(description="Word similarities of a sentence by some models.")
  parser.add_argument("models", nargs="+", help="TITLE=MODEL, a workdir or an exported folder")
  parser.add_argument("--data", required=True, help="a folder of word alignments")
  parser.add_argument("--name", required=True, help="NAME.src-tgt is the file")
  parser.add_argument("--line", type=int, required=True, help="of the sentence, from 1")
  parser.add_argument("--output", type=pathlib.Path, required=True, help="a .json")
  flags = parser.parse_args()
  pair = word_alignment.read_alignments(flags.data, first_index=1)[flags.name].pairs[flags.line - 1]
  result = pair._asdict() | {"sure": sorted(pair.sure), "possible": sorted(pair.possible)}
  result["models"] = {}
  measuring.print_header("model", "largest similarity", "smallest")
  for argument in flags.models:
    title, _, model = argument.partition("=")
    cosines = similarities(*embedder.load(model).word_states([pair.source, pair.target]), pair)
    result["models"][title] = np.round(cosines, 3).tolist()
    measuring.print_row(title, f"{cosines.max():.3f}", f"{cosines.min():.3f}")
  flags.output.write_text(json.dumps(result, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
  main()
