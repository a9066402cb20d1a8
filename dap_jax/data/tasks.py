"""SeqIO: one Task per language, and a Mixture that samples languages by temperature.

    rate(language) ~ pairs(language) ^ (1 / temperature)

Registration happens in `register`, never at import. An example has two features, `pivot` and
`translation`: int32 ids, `[CLS] tokens [SEP]`, cut to the task's length.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import seqio
import tensorflow as tf

from dap_jax.data.readers.split import Pair
from dap_jax.data.tokenizer import Tokenizer
from dap_jax.data.vocabulary import TokenizerVocabulary

FEATURES = ("pivot", "translation")


def frame(dataset: tf.data.Dataset, sequence_length, output_features) -> tf.data.Dataset:
  """Cuts each feature to its length less two, then sets it between [CLS] and [SEP]."""

  def framed(example):
    for name, feature in output_features.items():
      ids = example[name][: sequence_length[name] - 2]
      vocabulary = feature.vocabulary
      example[name] = tf.concat([[vocabulary.bos_id], ids, [vocabulary.eos_id]], axis=0)
    return example

  return dataset.map(framed, num_parallel_calls=tf.data.AUTOTUNE)


def register(
  pairs: Sequence[Pair], *, name: str, tokenizer: Tokenizer, temperature: float
) -> seqio.Mixture:
  """Registers a Task `NAME_LANGUAGE` per language and the Mixture `NAME` over them.

  Args:
    pairs: the training pairs of all languages.
    name: of the mixture; tasks registered earlier under it are replaced.
    tokenizer: text -> ids.
    temperature: of the sampling; 1 keeps the corpus's own shares, larger evens them out.
  """
  by_language = defaultdict(list)
  for pair in pairs:
    by_language[pair.language].append((pair.pivot, pair.translation))
  vocabulary = TokenizerVocabulary(tokenizer)
  features = {
    feature: seqio.Feature(vocabulary, add_eos=False, dtype=tf.int32) for feature in FEATURES
  }
  tasks = []
  for language, texts in sorted(by_language.items()):

    def examples(split, shuffle_files, seed=None, texts=texts):
      del split, shuffle_files, seed  # one split, in the order of the corpus
      columns = {FEATURES[i]: [text[i] for text in texts] for i in range(2)}
      return tf.data.Dataset.from_tensor_slices(columns)

    task_name = f"{name}_{language}"
    if task_name in seqio.TaskRegistry.names():
      seqio.TaskRegistry.remove(task_name)
    seqio.TaskRegistry.add(
      task_name,
      source=seqio.FunctionDataSource(
        examples, splits=["train"], num_input_examples={"train": len(texts)}
      ),
      preprocessors=[
        functools.partial(seqio.preprocessors.tokenize, copy_pretokenized=False),
        frame,
      ],
      output_features=features,
    )
    tasks.append(task_name)
  if name in seqio.MixtureRegistry.names():
    seqio.MixtureRegistry.remove(name)
  rate = functools.partial(seqio.mixing_rate_num_examples, temperature=temperature)
  return seqio.MixtureRegistry.add(name, tasks, default_rate=rate)


def tokenised(task: seqio.Task, *, max_tokens: int) -> dict[str, list[np.ndarray]]:
  """All examples of a task in order: feature -> ragged int32 ids."""
  dataset = task.get_dataset(
    sequence_length=dict.fromkeys(FEATURES, max_tokens), split="train", shuffle=False
  )
  columns = defaultdict(list)
  for example in dataset.as_numpy_iterator():
    for feature in FEATURES:
      columns[feature].append(example[feature])
  return columns
