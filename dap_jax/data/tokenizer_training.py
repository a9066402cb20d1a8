"""Trains a vocabulary: a sentencepiece unigram model, converted to transformers' files.

sentencepiece holds Python's lock until it is done, so it has a process of its own: Ctrl-C ends it,
and what it logs shows how far it is.
"""

from __future__ import annotations

import json
import logging
import math
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import IO, Any

import tokenizers
from etils import epath

from dap_jax.data import sentencepiece_program
from dap_jax.data.tokenizer import FILES, ROLES, SPECIALS
from dap_jax.utils.errors import UserError, writing
from dap_jax.utils.progress import Progress

logger = logging.getLogger(__name__)

THREADS = 4  # on every machine: floats are added thread by thread, so the number decides the bits
# sentencepiece prunes to three quarters, after two EM steps each time, until 1.1 times the size is
# left; then come two more (sentencepiece 0.2.3 leaves out these).
PRUNED_TO, BEFORE_LAST, EM_STEPS = 0.75, 1.1, 2
EM_STEP = re.compile(r"EM sub_iter=\d+ size=(\d+)")
LAST_LINES = 10


def is_there(directory: epath.PathLike) -> bool:
  """Whether the folder has a tokenizer: that of `init_from`, or one that was trained."""
  return (epath.Path(directory) / FILES[0]).exists()


def train(
  texts: Sequence[str], *, vocabulary_size: int, directory: epath.PathLike, of: int | None = None
) -> None:
  """Trains a unigram vocabulary and writes the tokenizer's folder.

  The result depends on the texts and the size alone. Writes `sentencepiece.model`, `tokenizer.json`
  and the two files that transformers' AutoTokenizer needs beside it.

  Args:
    texts: of the training split, in a fixed order.
    of: how many texts they are a sample of, for the log; None = all.
    vocabulary_size: number of ids, the five special ones included.
    directory: where to write; created if absent.

  Raises:
    UserError: the texts do not support so many ids, or the folder cannot be written.
  """
  total = of or len(texts)
  logger.info("a vocabulary of %d ids from %d of %d texts", vocabulary_size, len(texts), total)
  model = train_model(texts, vocabulary_size=vocabulary_size)
  directory = epath.Path(directory)
  with writing(directory):
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "sentencepiece.model").write_bytes(model)
    for name, content in transformers_files(model).items():
      (directory / name).write_text(content)


def train_model(texts: Iterable[str], *, vocabulary_size: int) -> bytes:
  """The model, trained by another process behind a bar. Raises UserError where it cannot be."""
  settings = json.dumps(options(vocabulary_size))
  command = [sys.executable, "-P", sentencepiece_program.__file__, settings]
  with ExitStack() as stack:
    inputs, output = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(2))
    with writing(tempfile.gettempdir()):
      inputs.writelines(json.dumps(text).encode() + b"\n" for text in texts)
      inputs.seek(0)
    process = stack.enter_context(
      subprocess.Popen(
        command, stdin=inputs, stdout=output, stderr=subprocess.PIPE, text=True, errors="replace"
      )
    )
    stack.callback(process.kill)  # whatever ends this block
    assert process.stderr is not None
    last_lines = show_progress(process.stderr, vocabulary_size=vocabulary_size)
    status = process.wait()
    if status == 0:
      output.seek(0)
      return output.read()
  if status == sentencepiece_program.REFUSED and "ocabulary size" in last_lines:
    raise UserError(
      f"tokenizer.vocabulary_size={vocabulary_size} does not fit the data{size_limit(last_lines)};"
      " change it in the config"
    )
  reason = last_lines.splitlines()[-1] if status > 0 else f"sentencepiece died of signal {-status}"
  raise UserError(
    f"no vocabulary can be trained: {reason}; where memory is short, lower tokenizer.sample_texts"
  )


def options(vocabulary_size: int) -> dict[str, Any]:
  """sentencepiece's options."""
  specials: dict[str, Any] = {}
  for i, name in enumerate(("pad", "unk", "bos", "eos")):  # what sentencepiece calls them
    specials |= {f"{name}_id": i, f"{name}_piece": SPECIALS[i]}
  return {
    "vocab_size": vocabulary_size,
    "model_type": "unigram",
    "character_coverage": 0.9999,
    "max_sentence_length": 1 << 20,
    "num_threads": THREADS,
    "control_symbols": SPECIALS[4],
    "minloglevel": 0,  # for the lines of EM_STEP
    **specials,
  }


def show_progress(log: IO[str], *, vocabulary_size: int) -> str:
  """Counts the steps that sentencepiece logs; returns the last lines of its log at its end."""
  lines: list[str] = []
  with ExitStack() as stack:
    bar = None
    for line in log:
      lines = [*lines[1 - LAST_LINES :], line]
      if not (step := EM_STEP.search(line)):
        continue
      if bar is None:
        ratio = max(1.0, int(step[1]) / (BEFORE_LAST * vocabulary_size))
        prunings = math.ceil(math.log(ratio) / -math.log(PRUNED_TO))
        total = EM_STEPS * (prunings + 1)
        bar = stack.enter_context(Progress("training the vocabulary", total=total, unit="step"))
      bar.advance(1)
  return "".join(lines)


def size_limit(message: str) -> str:
  """The limit on the vocabulary's size in an error message of sentencepiece, or ""."""
  if most := re.search(r"a value <= (\d+)", message):
    return f": the training split supports at most {most[1]}"
  if least := re.search(r"required_chars\. \d+ vs (\d+)", message):
    return f": its characters alone need at least {least[1]}"
  return ""


def transformers_files(model: bytes) -> dict[str, str]:
  """A sentencepiece model -> the files of a transformers fast tokenizer, name -> content."""
  from sentencepiece import sentencepiece_model_pb2

  proto = sentencepiece_model_pb2.ModelProto.FromString(model)
  pieces = [(piece.piece, piece.score) for piece in proto.pieces]
  assert tuple(piece for piece, _ in pieces[:5]) == SPECIALS
  tokenizer = tokenizers.Tokenizer(tokenizers.models.Unigram(pieces, unk_id=1))
  tokenizer.normalizer = tokenizers.normalizers.Sequence(
    [
      tokenizers.normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap),
      tokenizers.normalizers.Strip(),
      tokenizers.normalizers.Replace(tokenizers.Regex(" {2,}"), " "),
    ]
  )
  tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(prepend_scheme="always")
  tokenizer.decoder = tokenizers.decoders.Metaspace(prepend_scheme="always")
  cls, sep = (SPECIALS[2], 2), (SPECIALS[3], 3)
  tokenizer.post_processor = tokenizers.processors.BertProcessing(sep, cls)
  tokenizer.add_special_tokens(list(SPECIALS))
  names = dict(zip(ROLES, SPECIALS, strict=True))
  config = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "clean_up_tokenization_spaces": False,
    "model_input_names": ["input_ids", "attention_mask"],
  }
  return {
    "tokenizer.json": tokenizer.to_str(pretty=True),
    "tokenizer_config.json": json.dumps({**config, **names}, indent=1),
    "special_tokens_map.json": json.dumps(names, indent=1),
  }
