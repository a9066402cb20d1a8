"""One example of a source, and a plain twin of how its arrays are made."""

import zlib

import numpy as np

from dap_jax.data.elements import Table


def one_example(source, element):
  """The arrays of one example."""
  return {name: values[0] for name, values in source.gather([element]).items()}


def twin(example, layout):
  """What `examples.gather` makes of one example: list of (`Pairs`, index)."""
  first, index = example[0]
  views = [(first, "pivot", index), *((pairs, "translation", i) for pairs, i in example)]
  sequences = [getattr(pairs, side)[i].tolist() for pairs, side, i in views]
  made = {"language": [0, *(pairs.language for pairs, _ in example)]}
  if n := layout.negatives:
    negatives = []
    for pairs, i in example:
      for ids in pairs.negatives_of(i)[:n]:
        if ids.tolist() not in negatives:
          negatives.append(ids.tolist())
    negatives = negatives[:n]
    made["has_negative"] = [k < len(negatives) for k in range(n)]
    missing = [sequences[0][0], sequences[0][-1]]
    sequences += negatives + [missing] * (n - len(negatives))
  length = layout.max_tokens
  made["ids"] = [ids + [layout.pad_id] * (length - len(ids)) for ids in sequences]
  made["mask"] = [[k < len(ids) for k in range(length)] for ids in sequences]
  hashes = [zlib.crc32(np.array(ids, np.int32).tobytes()) for ids in sequences]
  made["text_hash"] = [value - 2**32 * (value >= 2**31) for value in hashes]
  for feature in layout.features:
    of = [(pairs, "pair", i) for pairs, i in example] if feature.of == "pair" else views
    made[feature.name] = [
      twin_of_feature(pairs.extras[side, feature.name], i, feature, length) for pairs, side, i in of
    ]
  return made


def twin_of_feature(stored, index, feature, max_tokens):
  """A feature of one text or pair, padded or cut."""
  values = stored.values[stored.rows[index]] if isinstance(stored, Table) else stored[index]
  entries = values.reshape(-1, feature.columns).tolist() if feature.columns else values.tolist()
  length = max_tokens if feature.length is None else feature.length
  fill = [feature.fill] * feature.columns if feature.columns else feature.fill
  return (entries + [fill] * length)[:length]
