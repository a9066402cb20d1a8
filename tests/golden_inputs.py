"""The inputs of golden.json: weights and a batch from a seed, in the released program's names.

Shapes: B = 8 pairs, K = 2 views (0: x, any language; 1: y, English), L = 16 tokens, D = 64.
"""

import json

import numpy as np

DEPTH, LENGTH, VOCABULARY, ENGLISH = 3, 16, 400, [i for i in range(155) if i != 4]
# Which sides of the pairs each case of RTL rebuilds.
REBUILT = {
  "rtl_target": ("tgt",),
  "rtl_target_en": ("tgt",),
  "rtl_target_en_p5": ("tgt",),
  "rtl_target_clsbp": ("tgt",),
  "rtl_source": ("src",),
  "rtl_both": ("tgt", "src"),
  "rtl_both_p5": ("tgt", "src"),
}


def shapes():
  """The released program's name -> shape of every parameter."""
  width, mlp, found = 64, 128, {}
  for prefix, layers in (("bert.", DEPTH), ("decoder.bert.", 2)):
    tables = {"word": VOCABULARY, "position": 64, "token_type": 2}
    for name, rows in tables.items():
      found[f"{prefix}embeddings.{name}_embeddings.weight"] = (rows, width)
    dense = {"attention.self.query": (width, width), "attention.self.key": (width, width)}
    dense |= {"attention.self.value": (width, width), "attention.output.dense": (width, width)}
    dense |= {"intermediate.dense": (mlp, width), "output.dense": (width, mlp)}
    modules = {"embeddings.LayerNorm": (width,)}
    for i in range(layers):
      layer = dense | {"attention.output.LayerNorm": (width,), "output.LayerNorm": (width,)}
      modules |= {f"encoder.layer.{i}.{name}": shape for name, shape in layer.items()}
    for name, shape in modules.items():
      found |= {f"{prefix}{name}.weight": shape, f"{prefix}{name}.bias": shape[:1]}
  head = "decoder.cls.predictions."
  for name in ("mlp.dense", f"{head}transform.dense"):
    found |= {f"{name}.weight": (width, width), f"{name}.bias": (width,)}
  for leaf in ("weight", "bias"):
    found[f"{head}transform.LayerNorm.{leaf}"] = (width,)
  found |= {f"{head}bias": (VOCABULARY,), f"{head}bias@en": (len(ENGLISH),)}
  found |= {f"{head}decoder.weight@en": (len(ENGLISH), width)}
  return found | {"decoder_lang_embedding.weight": (VOCABULARY, width)}


def inputs():
  """The arrays that the reference and the tests read, named as in ../shared/golden.

  Weights are float32 numbers, so both precisions start from the same. RandomState's stream is the
  same in every version of numpy.
  """
  rng, arrays = np.random.RandomState(0), {}
  for name, shape in sorted(shapes().items()):
    normal = rng.standard_normal(shape)
    if "LayerNorm.weight" in name:
      weights = 1 + 0.1 * normal
    else:
      weights = (0.1 if len(shape) == 1 else 0.15) * normal
    if "word_embeddings" in name:
      weights[0] = 0  # of padding
    arrays[f"w/{name}"] = weights.astype(np.float32)
  ids, mask = np.zeros((2, 8, 2, LENGTH), np.int64)
  lengths = zip((16, 5, 9, 12, 7, 4, 14, 10), (6, 16, 8, 11, 5, 4, 13, 9), strict=True)
  for pair, both in enumerate(lengths):
    for side, length in enumerate(both):
      words = rng.randint(5, 155 if side else VOCABULARY, length - 2)
      ids[pair, side, :length], mask[pair, side, :length] = [2, *words, 3], 1
  languages = np.ones((8, 2, LENGTH), np.int64)
  languages[:, 0] = 2 + np.arange(8)[:, None]
  arrays |= {"in/input_ids": ids, "in/attention_mask": mask, "in/langs": languages}
  for case, sides in REBUILT.items():
    for side in sides:
      replaced = rng.rand(8, LENGTH) < (0.5 if case.endswith("p5") else 1.0)
      arrays[f"{case}/in/rtl_mask_{side}"] = replaced
  meta = {"en_ids": ENGLISH, "rtl_weight": 0.1}
  return arrays | {"meta": np.array(json.dumps(meta))}
