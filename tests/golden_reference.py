"""DAP's losses, gradients and optimizer steps in plain torch, on inputs that a seed gives.

An implementation of its own, for golden.json: written from the paper (arXiv 2305.09148, sections
3.1 and 3.2) and the description of the released program, with none of this package's code. On the
released program's own weights and batch it gives that program's numbers (`test_golden_numbers.py`,
where ../shared is there), so its numbers on our inputs stand for the released program's.

    python -m tests.golden_reference     writes tests/golden.json anew

Shapes: B = 8 pairs, K = 2 views (0: x, any language; 1: y, English), L = 16 tokens, D = 64.
"""

import json
import math
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from tests.golden_inputs import DEPTH, LENGTH, REBUILT, VOCABULARY, inputs

PATH = Path(__file__).with_name("golden.json")
ABOUT = (
  "Numbers, float64, of tests/golden_reference.py: DAP in plain torch, written from the paper, on"
  " inputs that golden_inputs.inputs() draws from RandomState(0). On the released PyTorch"
  " program's own inputs (commit 4482838 of its repository, transformers 4.24) the same code gives"
  " that program's numbers to 1e-10: tests/test_golden_numbers.py. loss = tr_loss + 0.1 rtl_loss."
  " gradient_norm: of all parameters. gradient_sine: sum over the parameters, and over the places i"
  " of each, flattened, of g_i sin(1 + i): it sees sign and place. losses, change_norm,"
  " change_sine: of three steps of the optimizer, and of the parameters after less before."
)
HEADS, EPS = 4, 1e-12
POOLED = {"cls_before_pooler": "cls", "avg": "mean", "avg_top2": "top2", "avg_first_last": "ends"}
# Pooling: "mlp" is the last [CLS] state through a dense layer and tanh.
PLAIN = {"pooling": "mlp", "margin": 0.0, "both": False, "english": False}
MARGIN = float(np.float32(0.3))  # the released program subtracts it in float32
CASES = {
  "tr_fwd_m0": {},
  "tr_fwd_m0.3": {"margin": MARGIN},
  "tr_both_m0": {"both": True},
  "tr_both_m0.3": {"both": True, "margin": MARGIN},
  **{f"tr_pool_{name}": {"pooling": pooling} for name, pooling in POOLED.items()},
  "rtl_target": {},
  "rtl_target_en": {"english": True},
  "rtl_target_en_p5": {"english": True},
  "rtl_target_clsbp": {"pooling": "cls"},
  "rtl_source": {},
  "rtl_both": {},
  "rtl_both_p5": {},
}
OPTIMIZERS = {"opt_A": (5e-5, 0.0, 0), "opt_B": (1e-3, 0.01, 2)}  # rate, decay, warm-up steps


class Network:
  """BERT encoder and RTL decoder, of tensors by the released program's names."""

  def __init__(self, tensors):
    self.tensors = tensors

  def linear(self, x, name):
    return functional.linear(x, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"])

  def norm(self, x, name):
    scale, shift = (self.tensors[f"{name}.{leaf}"] for leaf in ("weight", "bias"))
    return functional.layer_norm(x, x.shape[-1:], scale, shift, EPS)

  def place(self, x, positions, prefix):
    """x + position + type 0, then LayerNorm."""
    tables = (self.tensors[f"{prefix}.{kind}_embeddings.weight"] for kind in
              ("position", "token_type"))  # fmt: skip
    position, token_type = tables
    return self.norm(x + position[positions] + token_type[0], f"{prefix}.LayerNorm")

  def layer(self, x, readable, name):
    """One post-LayerNorm layer; readable [N, L]: the columns that attention may see."""
    rows, length, width = x.shape
    query, key, value = (
      self.linear(x, f"{name}.attention.self.{part}")
      .view(rows, length, HEADS, width // HEADS)
      .transpose(1, 2)
      for part in ("query", "key", "value")
    )
    scores = query @ key.transpose(2, 3) / math.sqrt(width // HEADS)
    scores = scores.masked_fill(~readable[:, None, None], -torch.inf)
    mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(x.shape)
    attended = self.linear(mixed, f"{name}.attention.output.dense")
    x = self.norm(x + attended, f"{name}.attention.output.LayerNorm")
    hidden = functional.gelu(self.linear(x, f"{name}.intermediate.dense"))
    return self.norm(x + self.linear(hidden, f"{name}.output.dense"), f"{name}.output.LayerNorm")

  def encode(self, ids, mask):
    """[N, L] -> the states of the embeddings and of every layer, [N, L, D] each."""
    words = self.tensors["bert.embeddings.word_embeddings.weight"][ids]
    states = [self.place(words, torch.arange(ids.shape[1]), "bert.embeddings")]
    for i in range(DEPTH):
      states.append(self.layer(states[-1], mask, f"bert.encoder.layer.{i}"))
    return states

  def pool(self, states, mask, pooling):
    if pooling in ("cls", "mlp"):
      first = states[-1][:, 0]
      return self.linear(first, "mlp.dense").tanh() if pooling == "mlp" else first
    chosen = {"mean": states[-1:], "top2": states[-2:], "ends": [states[0], states[-1]]}[pooling]
    average, weights = sum(chosen) / len(chosen), mask[..., None].to(states[0].dtype)
    return (average * weights).sum(1) / weights.sum(1)

  def rebuild(self, source, target, *, replaced, language, english):
    """Logits [B, L, ids] of the target side from (states, mask, first position) of the source.

    The slots pass through the embedding layer twice. Neither [CLS] may be read.
    """
    (h, source_mask, first), (target_h, target_mask, second) = source, target
    embeddings, places = "decoder.bert.embeddings", torch.arange(LENGTH)
    mask_vector = self.tensors[f"{embeddings}.word_embeddings.weight"][4]
    slots = self.place(mask_vector.expand(target_h.shape), places, embeddings)
    slots = torch.where(replaced[..., None], slots, target_h)
    if language is not None:
      slots = slots + self.tensors["decoder_lang_embedding.weight"][language][:, None]
    positions = torch.cat([first + places, second + places])
    x = self.place(torch.cat([h, slots], 1), positions, embeddings)
    readable = torch.cat([source_mask, target_mask], 1)
    readable[:, [0, LENGTH]] = False
    for i in range(2):
      x = self.layer(x, readable, f"decoder.bert.encoder.layer.{i}")
    head = "decoder.cls.predictions"
    x = functional.gelu(self.linear(x[:, LENGTH:], f"{head}.transform.dense"))
    x = self.norm(x, f"{head}.transform.LayerNorm")
    if english:
      weight, bias = self.tensors[f"{head}.decoder.weight@en"], self.tensors[f"{head}.bias@en"]
    else:
      weight = self.tensors[f"{embeddings}.word_embeddings.weight"]  # tied
      bias = self.tensors[f"{head}.bias"]
    return functional.linear(x, weight, bias)


def losses_of(tensors, arrays, case):
  """loss, tr_loss and rtl_loss of a case, scalars; `arrays` as `inputs` gives them."""
  settings, meta = PLAIN | CASES[case], json.loads(str(arrays["meta"]))
  network = Network(tensors)
  ids, mask = (torch.from_numpy(arrays[f"in/{name}"]) for name in ("input_ids", "attention_mask"))
  mask, (pairs, _, length) = mask.bool(), ids.shape
  states = network.encode(ids.view(-1, length), mask.view(-1, length))
  z = network.pool(states, mask.view(-1, length), settings["pooling"]).view(pairs, 2, -1)
  x, y = functional.normalize(z, dim=-1).unbind(1)
  scores = x @ y.T / 0.05 - settings["margin"] * torch.eye(pairs, dtype=z.dtype)
  diagonal = torch.arange(pairs)
  ranking = functional.cross_entropy(scores, diagonal)
  if settings["both"]:
    ranking = (ranking + functional.cross_entropy(scores.T, diagonal)) / 2
  zero = torch.zeros((), dtype=z.dtype)
  h, rebuilt = states[-1].view(pairs, 2, length, -1), []
  rows = torch.tensor(meta["en_ids"])
  compact = torch.full((VOCABULARY,), -100)
  compact[rows] = torch.arange(len(rows))
  targets = REBUILT.get(case, ())
  for side in targets:
    # y's half begins at position L, wherever it stands.
    halves = [(h[:, 0], mask[:, 0], 0), (h[:, 1], mask[:, 1], length)]
    source, target, number = (*halves, 1) if side == "tgt" else (*halves[::-1], 0)
    replaced = torch.from_numpy(arrays[f"{case}/in/rtl_mask_{side}"]).bool()
    language = None if side == "tgt" else torch.from_numpy(arrays["in/langs"])[:, number, 0]
    given = {"replaced": replaced, "language": language, "english": settings["english"]}
    logits = network.rebuild(source, target, **given)
    counted = mask[:, number] & replaced
    counted[:, 0] = False
    if len(targets) == 2:  # half of the batch each
      counted &= ((torch.arange(pairs) >= pairs // 2) == (side == "tgt"))[:, None]
    labels = compact[ids[:, number]] if settings["english"] else ids[:, number]
    labels = torch.where(counted, labels, -100)
    rebuilt.append(functional.cross_entropy(logits.flatten(0, 1), labels.flatten()))
  rebuilding = sum(rebuilt) / len(rebuilt) if rebuilt else zero
  return ranking + meta["rtl_weight"] * rebuilding, ranking, rebuilding


def tensors_of(arrays):
  """The weights, float64, with gradients."""
  names = [name for name in arrays if name.startswith("w/")]
  return {name[2:]: torch.from_numpy(arrays[name]).double().requires_grad_() for name in names}


def sine(arrays):
  """The sum of g_i sin(1 + i) over each array, flattened; over all arrays."""
  return float(sum(array.ravel() @ np.sin(1 + np.arange(array.size)) for array in arrays))


def norm(arrays):
  return float(np.sqrt(sum((array**2).sum() for array in arrays)))


def gradients_of(tensors, loss):
  """name -> gradient of the parameters that the loss has."""
  found = torch.autograd.grad(loss, list(tensors.values()), allow_unused=True)
  return {name: g for name, g in zip(tensors, found, strict=True) if g is not None}


def numbers_of(arrays, case):
  """What golden.json says of a case."""
  tensors = tensors_of(arrays)
  losses = losses_of(tensors, arrays, case)
  gradients = [g.numpy() for g in gradients_of(tensors, losses[0]).values()]
  numbers = dict(zip(("loss", "tr_loss", "rtl_loss"), (x.item() for x in losses), strict=True))
  return numbers | {"gradient_norm": norm(gradients), "gradient_sine": sine(gradients)}


def three_steps(arrays, name):
  """Losses and parameters of three of ten steps: clip, transformers' AdamW, linear schedule."""
  rate, decay, warmup = OPTIMIZERS[name]
  tensors = tensors_of(arrays)
  moments = {key: (torch.zeros_like(w), torch.zeros_like(w)) for key, w in tensors.items()}
  losses = []
  for step in range(3):
    loss = losses_of(tensors, arrays, "rtl_target_en")[0]
    losses.append(loss.item())
    gradients = gradients_of(tensors, loss)
    length = math.sqrt(sum(float((g**2).sum()) for g in gradients.values()))
    lr = rate * (step / warmup if step < warmup else (10 - step) / (10 - warmup))
    with torch.no_grad():
      for key, gradient in gradients.items():
        gradient = gradient * min(1.0, 1 / (length + 1e-6))  # as torch clips
        m, v = moments[key]
        m.mul_(0.9).add_(0.1 * gradient)
        v.mul_(0.999).add_(0.001 * gradient**2)
        scale = lr * math.sqrt(1 - 0.999 ** (step + 1)) / (1 - 0.9 ** (step + 1))
        tensors[key] -= scale * m / (v.sqrt() + 1e-8)
        if "LayerNorm" not in key and ".bias" not in key:
          tensors[key] -= lr * decay * tensors[key]
  return losses, {key: tensors[key].detach().numpy() for key in gradients}


def changes_of(arrays, after):
  """The changes of the parameters that training moved.

  Keys' biases have no gradient: Adam would make steps of rounding noise of it.
  """
  return [
    after[name] - arrays[f"w/{name}"]
    for name in sorted(after)
    if "attention.self.key.bias" not in name
  ]


def main():
  arrays = inputs()
  numbers = {"about": ABOUT, "cases": {case: numbers_of(arrays, case) for case in CASES}}
  numbers["optimizers"] = {}
  for name in OPTIMIZERS:
    losses, after = three_steps(arrays, name)
    changes = changes_of(arrays, after)
    numbers["optimizers"][name] = {
      "losses": losses,
      "change_norm": norm(changes),
      "change_sine": sine(changes),
    }
  PATH.write_text(json.dumps(numbers, indent=2) + "\n")


if __name__ == "__main__":
  main()
