"""The model card: README.md of an exported folder."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import babel

HEAD = """---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
license: {license}
{base_model}tags:
- sentence-transformers
- feature-extraction
- dap_jax
"""

TEMPLATE = (
  HEAD
  + """language:
{languages}
---

# {name}

A cross-lingual sentence encoder, trained by dap_jax with {objectives}: sentences that mean the same
lie close to each other, whatever their language.

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{name}")
vectors = model.encode({examples})
```

Texts are cut after {max_tokens} tokens. The data's licences bind what may be done with the model.

## Results

`eval/retrieval` is on held-out sentences of the training data: is the nearest neighbour by cosine
the translation? The model is step {step:,} of the run{compared}.

{scores}

## Training data

Pairs with {pivot}: {pairs}.

## Config

```json
{config}
```

Made by dap_jax, commit {commit}.
"""
)


DERIVED = (
  HEAD
  + """---

# {name}

`{source}`, {changes}: written by dap_jax. It was not trained any further.

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{name}")
vectors = model.encode(["Egypt", "Ägypten", "مصر"])
```

Texts are cut after {max_tokens} tokens. The licence is that of the model that it was made of.
"""
)


ONNX = """
## Without PyTorch

`{file}` has the transformer with weights of 8 bits, for CPUs. Its last states become a vector by
{pooling} pooling{behind}:

```python
import onnxruntime
from transformers import AutoTokenizer

inputs = AutoTokenizer.from_pretrained("{name}")(["Egypt"], padding=True, return_tensors="np")
session = onnxruntime.InferenceSession("{name}/{file}")
feed = {{key: inputs[key] for key in ("input_ids", "attention_mask")}}
(states,) = session.run(None, feed)  # [N, L, D]
```
"""


# What an objective of the config is called in a sentence.
OBJECTIVES = {
  "translation_ranking": "translation ranking",
  "split_softmax": "hard negatives in a softmax of their own",
  "representation_translation": "representation translation learning",
  "masked_lm": "masked language modelling",
  "mexma": "MEXMA",
  "bag_of_tokens": "the bag of a translation's tokens",
  "vector_translation": "translation through the sentence vector",
  "soft_alignment": "soft contrast with a teacher's similarities",
  "distillation": "distillation",
  "token_alignment": "dictionary-based token contrast",
  "multiway": "multi-way contrast",
}
DAP = {"translation_ranking", "representation_translation"}
COUNTS = ("queries", "_random")  # ends of names that are no results
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+(@[\w./-]+)?")


def model_card(
  *,
  name: str,
  step: int,
  metrics: Mapping[str, float],
  before: Mapping[str, float],
  pairs: Mapping[str, int],
  max_tokens: int,
  commit: str,
  config: Mapping[str, Any],
  license: str,
) -> str:
  """Fills in the template.

  Args:
    name: of the folder.
    step: the exported one.
    metrics: scores of the exported step, `eval/SUITE/METRIC` -> value; the card leaves out those of
      single languages, whose names are longer, and counts.
    before: those of step 0; empty where that was not evaluated.
    pairs: language -> number of its training pairs.
    max_tokens: where texts are cut.
    commit: of the program that trained the model.
    config: the whole resolved config.
    license: of the model, a name of the hub's list; "other" leaves it open.
  """
  pivot, init_from = config["data"]["pivot"], config.get("init_from", "")
  codes = sorted({language.split("_")[0] for language in (pivot, *pairs)})
  most = sorted(pairs, key=lambda language: (-pairs[language], language))
  return TEMPLATE.format(
    name=name,
    license=license,
    base_model=base_model(init_from),
    languages="\n".join(f'- "{code}"' for code in codes),  # quoted: YAML reads a bare no as false
    objectives=objectives_in_words(config.get("objectives", {})),
    examples=json.dumps(examples([pivot, *most]), ensure_ascii=False),
    max_tokens=max_tokens,
    step=step,
    compared=", beside step 0, before training" if before else "" if step else ", untrained",
    scores=score_table(metrics, before),
    pivot=english_name(pivot),
    pairs=", ".join(f"{language} {number:,}" for language, number in sorted(pairs.items())),
    config=json.dumps(without_folders(config), indent=1),
    commit=commit,
  )


def score_table(metrics: Mapping[str, float], before: Mapping[str, float]) -> str:
  """The results as a table; with a column of the scores before training where there are any."""
  names = [
    name
    for name in dict.fromkeys([*metrics, *before])
    if name.count("/") == 2 and not name.endswith(COUNTS)
  ]
  if not names:
    return "It was not evaluated."
  columns = {"value": metrics} | ({"before training": before} if before else {})
  rows = [["metric", *columns], ["---"] * (1 + len(columns))]
  for name in names:
    values = (scores.get(name) for scores in columns.values())
    rows.append([f"`{name}`", *("–" if value is None else f"{value:.4f}" for value in values)])
  return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def derived_card(
  *, name: str, source: str, changes: Sequence[str], max_tokens: int, license: str
) -> str:
  """The card of a model that was only written anew.

  Args:
    name: of the folder.
    source: the folder or the hub id that it was made of.
    changes: what is different, in words.
    max_tokens, license: as in `model_card`.
  """
  is_path = os.path.exists(source)
  return DERIVED.format(
    name=name,
    license=license,
    base_model=base_model(source),
    source=os.path.basename(os.path.abspath(source)) if is_path else source,
    changes=" and ".join(changes) or "as it is",
    max_tokens=max_tokens,
  )


def onnx_section(*, name: str, file: str, model_config: Mapping[str, Any]) -> str:
  """A section of a card about a file of 8 bits.

  Args:
    name: of the folder.
    file: in it.
    model_config: the config's `model` section.
  """
  steps = ["the dense layer"] if model_config["dense"]["width"] else []
  steps += ["a division by its length"] if model_config["normalize"] else []
  behind = f", and then {' and '.join(steps)}" if steps else ""
  return ONNX.format(name=name, file=file, pooling=model_config["pooling"] or "cls", behind=behind)


def base_model(source: str) -> str:
  """The line of a card's head that names a hub id; nothing for a folder or a workdir."""
  is_on_hub = HUB_ID.fullmatch(source) and not os.path.exists(source)
  return f"base_model: {source.partition('@')[0]}\n" if is_on_hub else ""


def objectives_in_words(objectives: Mapping[str, Mapping[str, Any]]) -> str:
  """What the model was trained with, as the end of a sentence."""
  on = [name for name, section in objectives.items() if section.get("weight")]
  names = sorted(on, key=[*OBJECTIVES, *on].index)
  words = [OBJECTIVES.get(name, name) for name in names]
  text = " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]])) or "no objective"
  if set(names) >= DAP:
    text += " (as in [dual-alignment pre-training](https://arxiv.org/abs/2305.09148))"
  return text


def examples(languages: Sequence[str]) -> list[str]:
  """The name of Egypt in at most three of the languages, as CLDR has it."""
  names = []
  for language in languages:
    with contextlib.suppress(babel.UnknownLocaleError, ValueError):
      locale = babel.Locale.parse(language, sep=separator_of(language))
      names.append(locale.territories.get("EG"))  # CLDR names no country in some languages
  return list(dict.fromkeys(filter(None, names)))[:3] or ["Egypt"]


def english_name(language: str) -> str:
  """What a language is called in English; its code where CLDR has no name."""
  with contextlib.suppress(babel.UnknownLocaleError, ValueError):
    return str(babel.Locale.parse(language, sep=separator_of(language)).english_name or language)
  return language


def separator_of(language: str) -> str:
  """What stands between the parts of a code: pt-BR, zh_Hant."""
  return "-" if "-" in language else "_"


def without_folders(value: Any) -> Any:
  """A config whose absolute paths are cut to their last part: they are nobody else's business."""
  if isinstance(value, Mapping):
    return {key: without_folders(item) for key, item in value.items()}
  if isinstance(value, list | tuple):
    return [without_folders(item) for item in value]
  if isinstance(value, str) and value.startswith(("/", "~")):
    return os.path.basename(value.rstrip("/"))
  return value
