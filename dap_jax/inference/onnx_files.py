"""An exported folder's transformer as ONNX, its weights in 8 bits: for CPUs, without PyTorch.

torch, onnx, onnxscript and onnxruntime are optional packages. The file takes `input_ids` and
`attention_mask`, int64 [N, L], and gives `last_hidden_state`, float32 [N, L, D]; what comes behind
it (pooling, dense layer, normalisation) is small and stays outside, as in sentence-transformers.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from dap_jax.utils.errors import UserError
from dap_jax.utils.quiet import quiet_stderr

FILE = "onnx/model_qint8.onnx"  # where sentence-transformers looks for such files
OPSET = 20
NEEDED = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime")


def check_packages() -> None:
  """Raises UserError that names a package which is missing."""
  import importlib.util

  missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
  if missing:
    raise UserError(f"--quantise=int8 needs {', '.join(missing)}: pip install {' '.join(missing)}")


def write_int8(folder: Path) -> None:
  """Writes `FILE` into a folder that `to_hf.write_folder` wrote.

  Linear layers and the word embeddings have int8 weights with a scale for each output; activations
  are quantised as they come (dynamic quantisation). The second layer of each MLP stays in float32:
  its input has a few large values, beside which 8 bits say little of the rest.

  Args:
    folder: with config.json and the weights.
  """
  import onnx
  from onnxruntime.quantization import QuantType, quantize_dynamic

  target = folder / FILE
  target.parent.mkdir(exist_ok=True)
  with tempfile.TemporaryDirectory() as name, quiet_stderr():
    whole = Path(name) / "model.onnx"
    write_float32(folder, whole)
    graph = onnx.load(whole, load_external_data=False).graph
    quantize_dynamic(
      whole,
      target,
      per_channel=True,
      weight_type=QuantType.QInt8,
      nodes_to_exclude=narrowing(graph),
    )


def narrowing(graph: Any) -> list[str]:
  """The names of the matrix products of a graph whose weights have more rows than columns."""
  shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
  products = [node for node in graph.node if node.op_type == "MatMul"]
  with_weights = [
    (node.name, shapes[node.input[1]]) for node in products if node.input[1] in shapes
  ]
  return [name for name, (rows, columns) in with_weights if rows > columns]


def write_float32(folder: Path, path: Path) -> None:
  """The transformer as it is, in one file."""
  import torch
  from transformers import AutoConfig, AutoModel
  from transformers.models.m2m_100.modeling_m2m_100 import M2M100Encoder

  of_m2m100 = AutoConfig.from_pretrained(folder).model_type == "m2m_100"
  kind = M2M100Encoder if of_m2m100 else AutoModel  # AutoModel would want the decoder too
  module = kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")

  class States(torch.nn.Module):
    """The last states alone."""

    def __init__(self) -> None:
      super().__init__()
      self.model = module.eval()

    def forward(self, input_ids: Any, attention_mask: Any) -> Any:
      return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

  # Two tensors, not one twice: the exporter would take them for a single input.
  ids, mask = torch.ones((2, 8), dtype=torch.int64), torch.ones((2, 8), dtype=torch.int64)
  mask[1, 6:] = 0
  axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens", min=2)}
  torch.onnx.export(
    States(),
    (ids, mask),
    path,
    input_names=["input_ids", "attention_mask"],
    output_names=["last_hidden_state"],
    dynamic_shapes=(axes, axes),
    opset_version=OPSET,
    dynamo=True,
    external_data=False,
    verbose=False,
  )
