"""The model card of an exported fine-tuned model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from dap_jax.hub.card import base_model, without_folders

PIPELINES = {  # kind of head -> the hub's name of the task, and transformers' class
  "sequence": ("text-classification", "AutoModelForSequenceClassification"),
  "tokens": ("token-classification", "AutoModelForTokenClassification"),
  "answer": ("question-answering", "AutoModelForQuestionAnswering"),
}
TEMPLATE = """---
library_name: transformers
pipeline_tag: {pipeline}
license: {license}
{base_model}tags:
- dap_jax
---

# {name}

A multilingual encoder with a head, fine-tuned by dap_jax on one language{of_classes}. The model is
step {step:,} of the run.

```python
from transformers import {kind}, AutoTokenizer

model = {kind}.from_pretrained("{name}")
tokenizer = AutoTokenizer.from_pretrained("{name}")
```

## Results

{results}
"""


def task_card(
  *,
  name: str,
  kind: str,
  classes: Sequence[str],
  step: int,
  scores: Mapping[str, Any],
  license: str,
) -> str:
  """The card.

  Args:
    name: of the folder.
    kind: of the head, see `task_heads.CLASSES`.
    classes: their names.
    step: the checkpoint's.
    scores: the content of the run's scores.json; empty where these are not of this step.
    license: of the model, a name of the hub's list; "other" leaves it open.
  """
  pipeline, auto = PIPELINES[kind]
  of_classes = "" if kind == "answer" else f"; its classes are {', '.join(classes)}"
  return TEMPLATE.format(
    pipeline=pipeline,
    license=license,
    base_model=base_model(str(scores.get("model", ""))),
    name=name,
    of_classes=of_classes,
    step=step,
    kind=auto,
    results=results(scores) if scores else "It was not tested.",
  )


def results(scores: Mapping[str, Any]) -> str:
  """The scores as a table with a row a language, and the protocol."""
  ((suite, protocol),) = scores["protocol"].items()
  prefix = f"eval/{suite}/"
  named = {key.removeprefix(prefix): value for key, value in scores.items() if prefix in key}
  columns = list(dict.fromkeys(key.split("/")[0] for key in named if "/" in key))
  rows = list(dict.fromkeys(key.split("/")[1] for key in named if "/" in key))
  lines = [["", *columns], ["---"] * (1 + len(columns))]
  for row in rows:
    values = (named.get(f"{column}/{row}") for column in columns)
    lines.append([row, *("–" if value is None else f"{value:.4f}" for value in values)])
  table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
  about = {key: value for key, value in protocol.items() if value not in ("", None)}
  content = json.dumps(without_folders(about), indent=1, ensure_ascii=False)
  return f"{table}\n\n```json\n{content}\n```"
