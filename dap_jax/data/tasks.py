"""SeqIO: one Task per language, and a Mixture that samples languages by temperature.

    rate(language) ~ pairs(language) ^ (1 / temperature)

Registration happens in `register`, never at import. An example has two features, `pivot` and
`translation`: int32 ids as the tokenizer gives them, [CLS] and [SEP] included.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import seqio
import tensorflow as tf

from dap_jax.data.cleaning.split import Pair
from dap_jax.data.tokenizer import Tokenizer
from dap_jax.data.vocabulary import TokenizerVocabulary

SIDES = ("pivot", "translation")


def register(
  pairs: Sequence[Pair], *, name: str, tokenizer: Tokenizer, temperature: float
) -> seqio.Mixture:
  """Registers a Task per language, see `task_names`, and the Mixture `NAME` over them.

  Args:
    pairs: the training pairs of all languages.
    name: of the mixture; tasks registered earlier under it are replaced.
    tokenizer: text -> ids.
    temperature: of the sampling; 1 keeps the corpus's own shares, larger evens them out.
  """
  by_language = defaultdict(list)
  for pair in pairs:
    by_language[pair.language].append(pair)
  vocabulary = TokenizerVocabulary(tokenizer)
  features = {side: seqio.Feature(vocabulary, add_eos=False, dtype=tf.int32) for side in SIDES}
  tokenize = functools.partial(seqio.preprocessors.tokenize, copy_pretokenized=False)
  tasks = task_names(name, by_language)
  for task_name, language in tasks.items():
    pairs_of_language = by_language[language]
    if task_name in seqio.TaskRegistry.names():
      seqio.TaskRegistry.remove(task_name)
    seqio.TaskRegistry.add(
      task_name,
      source=seqio.FunctionDataSource(
        examples_of(pairs_of_language),
        splits=["train"],
        num_input_examples={"train": len(pairs_of_language)},
      ),
      preprocessors=[tokenize],
      output_features=features,
    )
  if name in seqio.MixtureRegistry.names():
    seqio.MixtureRegistry.remove(name)
  rate = functools.partial(seqio.mixing_rate_num_examples, temperature=temperature)
  return seqio.MixtureRegistry.add(name, list(tasks), default_rate=rate)


def task_names(name: str, languages: Iterable[str]) -> dict[str, str]:
  """Task -> language, by language. SeqIO's names take no dash, as in pt-BR, so they are numbers."""
  return {f"{name}_{number:04}": code for number, code in enumerate(sorted(languages))}


def examples_of(pairs: Sequence[Pair]) -> Callable[..., tf.data.Dataset]:
  """The function that SeqIO calls for a task's examples: these pairs, in this order."""

  def examples(split: str, shuffle_files: bool, seed: int | None = None) -> tf.data.Dataset:
    del split, shuffle_files, seed  # there is one split, and its order is the corpus's
    columns = {side: [getattr(pair, side) for pair in pairs] for side in SIDES}
    return tf.data.Dataset.from_tensor_slices(columns)

  return examples


def tokenised(task: seqio.Task) -> dict[str, list[np.ndarray]]:
  """All examples of a task in order: side -> int32 ids of each text."""
  columns = defaultdict(list)
  for example in task.get_dataset(split="train", shuffle=False).as_numpy_iterator():
    for side in SIDES:
      columns[side].append(example[side])
  return columns
