"""The model card: README.md of an exported folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

TEMPLATE = """---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
license: {license}
tags:
- sentence-transformers
- feature-extraction
- dap_jax
language:
{languages}
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

Pairs with English: {pairs}.

## Config

```json
{config}
```

Made by dap_jax, commit {commit}.
"""


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
  """Fills in the template.

  Args:
    name: of the folder.
    languages: their codes.
    metrics: scores of the exported step, `eval/SUITE/METRIC` -> value; the card leaves out those of
      single languages, whose names are longer.
    pairs: language -> number of its training pairs.
    max_tokens: where texts are cut.
    commit: of the program that trained the model.
    config: the whole resolved config.
    license: of the model, a name of the hub's list; "other" leaves it open.
  """
  codes = sorted({language.split("_")[0] for language in languages})
  return TEMPLATE.format(
    name=name,
    license=license,
    languages="\n".join(f'- "{code}"' for code in codes),  # quoted: YAML reads a bare no as false
    max_tokens=max_tokens,
    scores="\n".join(
      f"| `{metric}` | {value:.4f} |" for metric, value in metrics.items() if metric.count("/") == 2
    ),
    pairs=", ".join(f"{language} {number:,}" for language, number in sorted(pairs.items())),
    config=json.dumps(config, indent=1),
    commit=commit,
  )
