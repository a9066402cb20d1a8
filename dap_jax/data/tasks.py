"""SeqIO: one Task per language, and a Mixture that samples languages by temperature.

    rate(language) ~ pairs(language) ^ (1 / temperature)

Registration happens in `register`, never at import. An example has two features, `pivot` and
`translation`: int32 ids as the tokenizer gives them, [CLS] and [SEP] included.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from dap_jax.data.elements import SIDES, Pairs
from dap_jax.data.tokenizer import Tokenizer
from dap_jax.data.vocabulary import TokenizerVocabulary


def register(
  pairs: Mapping[str, Pairs], *, name: str, tokenizer: Tokenizer, temperature: float
) -> seqio.Mixture:
  """Registers a Task per language, see `task_names`, and the Mixture `NAME` over them.

  Args:
    pairs: language -> its tokenised pairs.
    name: of the mixture; tasks registered earlier under it are replaced.
    tokenizer: that made their ids.
    temperature: of the sampling; 1 keeps the corpus's own shares, larger evens them out.
  """
  features, tasks = output_features(tokenizer), task_names(name, pairs)
  for task_name, language in tasks.items():
    replace_task(
      task_name,
      source=seqio.FunctionDataSource(
        examples_of(pairs[language]),
        splits=["train"],
        num_input_examples={"train": len(pairs[language].pivot)},
      ),
      preprocessors=[],
      output_features=features,
    )
  return replace_mixture(name, tasks, temperature=temperature)


def output_features(tokenizer: Tokenizer) -> dict[str, seqio.Feature]:
  """The features of a Task, for SeqIO."""
  vocabulary = TokenizerVocabulary(tokenizer)
  return {side: seqio.Feature(vocabulary, add_eos=False, dtype=tf.int32) for side in SIDES}


def replace_task(name: str, **parts: Any) -> None:
  """Registers a Task, whether or not one is registered under its name."""
  if name in seqio.TaskRegistry.names():
    seqio.TaskRegistry.remove(name)
  seqio.TaskRegistry.add(name, **parts)


def replace_mixture(name: str, tasks: Iterable[str], *, temperature: float) -> seqio.Mixture:
  """Registers the Mixture of some Tasks, whether or not one is registered under its name."""
  if name in seqio.MixtureRegistry.names():
    seqio.MixtureRegistry.remove(name)
  rate = functools.partial(seqio.mixing_rate_num_examples, temperature=temperature)
  return seqio.MixtureRegistry.add(name, list(tasks), default_rate=rate)


def task_names(name: str, languages: Iterable[str]) -> dict[str, str]:
  """Task -> language, by language. SeqIO's names take no dash, as in pt-BR, so they are numbers."""
  return {f"{name}_{number:04}": code for number, code in enumerate(sorted(languages))}


def examples_of(pairs: Pairs) -> Callable[..., tf.data.Dataset]:
  """The function that SeqIO calls for a task's examples: these pairs, in this order."""

  def examples(split: str, shuffle_files: bool, seed: int | None = None) -> tf.data.Dataset:
    del split, shuffle_files, seed  # there is one split, and its order is the corpus's

    def generate() -> Iterator[dict[str, np.ndarray]]:
      for pivot, translation in zip(pairs.pivot, pairs.translation, strict=True):
        yield {"pivot": pivot, "translation": translation}

    ids = tf.TensorSpec([None], tf.int32)
    return tf.data.Dataset.from_generator(generate, output_signature=dict.fromkeys(SIDES, ids))

  return examples
