"""Our encoder as a Hugging Face folder that sentence-transformers, old and new, loads as it is.

The classic layout: a Transformer, a Pooling and a Normalize module named in modules.json. Without
that file sentence-transformers would silently fall back to mean pooling.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import safetensors.numpy
from etils import epath

from dap_jax.errors import UserError
from dap_jax.hub import names

POOLING_KEYS = {"cls": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens"}
# The keys of 1_Pooling/config.json as every version of sentence-transformers reads them.
POOLING_MODES = (
  "pooling_mode_cls_token",
  "pooling_mode_mean_tokens",
  "pooling_mode_max_tokens",
  "pooling_mode_mean_sqrt_len_tokens",
)
MODULES = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))


def bert_config(model: Mapping[str, Any], *, vocabulary_size: int) -> dict[str, Any]:
  """The config's `model` section -> transformers' config.json of a BertModel."""
  if model["position_offset"]:
    raise UserError(
      f"model.position_offset={model['position_offset']} is XLM-R's: export writes BERT folders"
      " only, with model.position_offset=0"
    )
  return {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "vocab_size": vocabulary_size,
    "hidden_size": model["width"],
    "num_hidden_layers": model["layers"],
    "num_attention_heads": model["heads"],
    "intermediate_size": model["mlp_width"],
    "max_position_embeddings": model["positions"],
    "type_vocab_size": model["token_types"],
    "layer_norm_eps": model["norm_eps"],
    "hidden_dropout_prob": model["dropout"],
    "attention_probs_dropout_prob": model["dropout"],
    "hidden_act": "gelu",  # transformers' name of the exact, erf form
    "pad_token_id": 0,
    "dtype": "float32",
    "torch_dtype": "float32",  # the name before transformers 5
  }


def modules(model: Mapping[str, Any], *, max_tokens: int) -> dict[str, Any]:
  """The files that make it a sentence-transformers model, name -> JSON content."""
  pooling = model["pooling"]
  if pooling not in POOLING_KEYS:
    raise UserError(
      f"model.pooling={pooling!r} cannot be exported: sentence-transformers' classic layout has"
      f" no such pooling; train with one of {', '.join(POOLING_KEYS)}, or use dap_jax.embed"
    )
  return {
    "modules.json": [
      {
        "idx": i,
        "name": str(i),
        "path": path,
        "type": f"sentence_transformers.models.{kind}",
      }
      for i, (path, kind) in enumerate(MODULES)
    ],
    "sentence_bert_config.json": {
      "max_seq_length": max_tokens,
      "do_lower_case": False,
      # BERT's own pooler is not part of the model: without this transformers would make one up.
      "model_args": {"add_pooling_layer": False},
    },
    "config_sentence_transformers.json": {
      "prompts": {},
      "default_prompt_name": None,
      "similarity_fn_name": "cosine",
    },
    "1_Pooling/config.json": {
      "word_embedding_dimension": model["width"],
      **{mode: mode == POOLING_KEYS[pooling] for mode in POOLING_MODES},
    },
    "2_Normalize/config.json": {},
  }


def card(
  *,
  name: str,
  languages: Sequence[str],
  metrics: Mapping[str, float],
  pairs: Mapping[str, int],
  max_tokens: int,
  commit: str,
) -> str:
  """The model card, README.md of the folder."""
  head = "\n".join(f"- {language.split('_')[0]}" for language in sorted(set(languages)))
  scores = "\n".join(
    f"| `{metric}` | {value:.4f} |" for metric, value in metrics.items() if metric.count("/") == 2
  )
  counts = ", ".join(f"{language} {number:,}" for language, number in sorted(pairs.items()))
  return f"""---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
license: other
tags:
- sentence-transformers
- feature-extraction
- dap_jax
language:
{head}
---

# {name}

A cross-lingual sentence encoder trained with [dual-alignment pre-training]\
(https://arxiv.org/abs/2305.09148) by dap_jax: sentences that mean the same lie close to each other,
whatever their language.

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{name}")
vectors = model.encode(["Log in", "Anmelden", "Se connecter"])  # unit length
```

Texts are cut after {max_tokens} tokens. The licence is that of the training data: set it before you
publish.

## Results

On held-out sentences, 1-nearest neighbour by cosine.

| metric | value |
|---|---|
{scores}

## Training data

Pairs with English: {counts}.

Made by dap_jax, commit {commit}.
"""


def write(
  directory: epath.PathLike,
  *,
  encoder: Mapping[str, Any],
  model: Mapping[str, Any],
  tokenizer_directory: epath.PathLike,
  max_tokens: int,
  readme: str,
) -> None:
  """Writes the folder, all or nothing: into a neighbour first, which is then renamed.

  Args:
    directory: where to; it must not exist, or be an empty folder.
    encoder: the tree `params["encoder"]`, numpy arrays.
    model: the config's `model` section.
    tokenizer_directory: holds the tokenizer's files.
    max_tokens: at which texts are cut.
    readme: the model card.

  Raises:
    UserError: the folder is there already, or the model has no equal in the layout.
  """
  directory = epath.Path(directory)
  if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
    raise UserError(f"--output={directory} exists already: give a new folder, or remove it first")
  tensors = {
    name: np.ascontiguousarray(array, np.float32)
    for name, array in names.encoder_to_torch(encoder).items()
  }
  size = len(tensors["embeddings.word_embeddings.weight"])
  files = {"config.json": bert_config(model, vocabulary_size=size)}
  files |= modules(model, max_tokens=max_tokens)
  temporary = directory.parent / f"{directory.name}.tmp"
  if temporary.exists():
    temporary.rmtree()
  try:
    for path, content in files.items():
      target = temporary / path
      target.parent.mkdir(parents=True, exist_ok=True)
      target.write_text(json.dumps(content, indent=2) + "\n")
    (temporary / "README.md").write_text(readme)
    weights = safetensors.numpy.save(tensors, metadata={"format": "pt"})
    (temporary / "model.safetensors").write_bytes(weights)
    for file in epath.Path(tokenizer_directory).iterdir():
      (temporary / file.name).write_bytes(file.read_bytes())
    limit_tokenizer(temporary / "tokenizer_config.json", max_tokens=max_tokens)
    if directory.exists():
      directory.rmdir()
    temporary.rename(directory)
  except OSError as error:
    raise UserError(f"--output={directory} cannot be written: {error}") from error


def limit_tokenizer(path: epath.Path, *, max_tokens: int) -> None:
  """Tells transformers' tokenizer where texts are cut."""
  config = json.loads(path.read_text())
  path.write_text(json.dumps({**config, "model_max_length": max_tokens}, indent=1))
