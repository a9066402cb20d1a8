"""The model card: README.md of an exported folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def model_card(
  *,
  name: str,
  languages: Sequence[str],
  metrics: Mapping[str, float],
  pairs: Mapping[str, int],
  max_tokens: int,
  commit: str,
  config: Mapping[str, Any],
  license: str,
) -> str:
  """The model card.

  Args:
    name: of the folder.
    languages: codes.
    metrics: of the exported step, by their full names.
    pairs: training pairs of each language.
    max_tokens: where texts are cut.
    commit: of the program that trained.
    config: the whole resolved config.
    license: of the model, a name of the hub's list; "other" leaves it open.
  """
  codes = sorted({language.split("_")[0] for language in languages})
  head = "\n".join(f'- "{code}"' for code in codes)  # quoted: YAML takes no for false
  scores = "\n".join(
    f"| `{metric}` | {value:.4f} |" for metric, value in metrics.items() if metric.count("/") == 2
  )
  counts = ", ".join(f"{language} {number:,}" for language, number in sorted(pairs.items()))
  return f"""---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
license: {license}
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

Texts are cut after {max_tokens} tokens. The data's licences bind what may be done with the model.

## Results

On held-out sentences, 1-nearest neighbour by cosine.

| metric | value |
|---|---|
{scores}

## Training data

Pairs with English: {counts}.

## Config

```json
{json.dumps(config, indent=1)}
```

Made by dap_jax, commit {commit}.
"""
