"""The same step in torch: as the released program computes it, and with the savings of this one."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from benchmarks.training_step import batches, torch_weights
from benchmarks.training_step.ours import OBJECTIVES, Ours
from benchmarks.training_step.sizes import Sizes

TEMPERATURE, CLIP_NORM, LEARNING_RATE = 0.05, 1.0, 5e-5  # configs/base.py's
IGNORED = -100  # a label of no token
Tensors = dict[str, torch.Tensor]


class Peer:
  """Modules, an AdamW, and the loop's step; a subclass computes the loss.

  `compiled` gives the loss to torch.compile.
  """

  def __init__(self, modules: torch.nn.Module, sizes: Sizes, *, compiled: bool):
    self.device = "cuda" if torch.cuda.is_available() else "cpu"
    self.modules = modules.to(self.device).train()
    self.optimizer = torch.optim.AdamW(modules.parameters(), LEARNING_RATE, weight_decay=0.0)
    self.dtype = getattr(torch, sizes.dtype)
    self._loss = torch.compile(self.loss) if compiled else self.loss

  def put(self, batch: dict[str, np.ndarray]) -> Any:
    """What `loss` reads of a batch, on the device."""
    raise NotImplementedError

  def loss(self, batch: Any) -> torch.Tensor:
    raise NotImplementedError

  def step(self, batch: Any) -> float:
    """One update; returns the loss, so the device has finished."""
    self.optimizer.zero_grad(set_to_none=True)
    narrow = self.dtype == torch.bfloat16
    with torch.autocast(self.device, torch.bfloat16, enabled=narrow):
      loss = self._loss(batch)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(self.modules.parameters(), CLIP_NORM)
    self.optimizer.step()
    return float(loss.detach())


class TorchPeer(Peer):
  """TR, DAP or TR+TLM.

  `lean`: logits at the target positions alone and, in RTL, of the English ids alone; not lean:
  logits of all ids at every position, as the released program has them.
  """

  def __init__(self, ours: Ours, step: str, sizes: Sizes, *, lean: bool, compiled: bool):
    params = ours.params()
    modules = torch.nn.ModuleDict(
      {
        "encoder": torch_weights.encoder(params, sizes),
        "projection": torch_weights.projection(params),
      }
    )
    if step == "DAP":
      decoder, head = torch_weights.decoder(params, sizes, every_id=not lean)
      modules.update({"decoder": decoder, "head": head})
    if step == "TR+TLM":
      modules["masked_lm"] = torch_weights.masked_lm_head(params, sizes)
    super().__init__(modules, sizes, compiled=compiled)
    self._ours, self._kind, self._sizes, self._lean = ours, step, sizes, lean

  def put(self, batch: dict[str, np.ndarray]) -> Tensors:
    """Ids and masks; and labels, [..., T], with the places that have one, which lean heads read.

    TLM's tokens are hidden here, by our own draw: the peer's time is without it.
    """
    made = {"ids": batch["ids"], "mask": batch["mask"]}
    if self._kind == "DAP":
      labels = np.where(batch["mask"][:, 0], batch["ids"][:, 0], IGNORED)
      labels[:, 0] = IGNORED
      rows = np.full(self._sizes.vocabulary, IGNORED)
      english = batches.english_ids(self._sizes)
      rows[english] = np.arange(len(english)) if self._lean else english
      made["labels"] = np.where(labels == IGNORED, IGNORED, rows[labels])
    if self._kind == "TR+TLM":
      drawn, mask = self._ours.first_draw(batch)
      labels = np.full(drawn["ids"].shape, IGNORED)
      hidden = np.where(drawn["counted"], drawn["labels"], IGNORED)
      # Places that only fill up come last; written first, they do not hide a place that counts.
      for place in reversed(range(hidden.shape[-1])):
        at, label = drawn["positions"][..., place, None], hidden[..., place, None]
        np.put_along_axis(labels, at, label, axis=-1)
      made |= {"pair_ids": drawn["ids"][:, 0], "pair_mask": mask[:, 0], "labels": labels[:, 0]}
    if "labels" in made:
      (made["places"],) = (made["labels"].ravel() != IGNORED).nonzero()
    return {name: self._to_device(array) for name, array in made.items()}

  def loss(self, batch: Tensors) -> torch.Tensor:
    ids, mask = batch["ids"], batch["mask"]
    output = self.modules["encoder"](ids.flatten(0, 1), attention_mask=mask.flatten(0, 1))
    h = output.last_hidden_state.unflatten(0, ids.shape[:2])
    z = torch.tanh(self.modules["projection"](h[:, :, 0])).float()
    z = functional.normalize(z, dim=-1)
    targets = torch.arange(len(z), device=z.device)
    loss = functional.cross_entropy(z[:, 1] @ z[:, 0].T / TEMPERATURE, targets)
    if self._kind == "DAP":
      loss = loss + self._rtl(h[:, 1], batch)
    if self._kind == "TR+TLM":
      loss = loss + OBJECTIVES["TR+TLM"]["masked_lm"]["weight"] * self._tlm(batch)
    return loss

  def _rtl(self, h: torch.Tensor, batch: Tensors) -> torch.Tensor:
    decoder, (rows, length) = self.modules["decoder"], h.shape[:2]
    slots = decoder.embeddings(torch.full((rows, length), batches.MASK, device=h.device))
    first = torch.arange(length, device=h.device)
    readable = batch["mask"].flip(1).clone()  # x, then y
    readable[..., 0] = 0
    output = decoder(
      inputs_embeds=torch.cat([h, slots.to(h.dtype)], dim=1),
      attention_mask=readable.flatten(1),
      position_ids=torch.cat([first, self._sizes.tokens + first])[None],
    )
    states = output.last_hidden_state
    if self._lean:
      return self._cross_entropy(self.modules["head"], states[:, length:], batch)
    of_x = torch.full_like(batch["labels"], IGNORED)
    labels = torch.cat([of_x, batch["labels"]], dim=1)
    return self._cross_entropy(self.modules["head"], states, batch | {"labels": labels})

  def _tlm(self, batch: Tensors) -> torch.Tensor:
    first = torch.arange(batch["ids"].shape[-1], device=self.device)
    output = self.modules["encoder"](
      batch["pair_ids"],
      attention_mask=batch["pair_mask"],
      position_ids=torch.cat([first, first])[None],
    )
    tied = self.modules["encoder"].embeddings.word_embeddings.weight
    return self._cross_entropy(
      lambda states: self.modules["masked_lm"](states, tied), output.last_hidden_state, batch
    )

  def _cross_entropy(self, head: Any, states: torch.Tensor, batch: Tensors) -> torch.Tensor:
    """At the places that have labels [B, T], of states [B, T, D]."""
    states, labels = states.flatten(0, 1), batch["labels"].flatten()
    if self._lean:
      states, labels = states[batch["places"]], labels[batch["places"]]
    return functional.cross_entropy(head(states).float(), labels, ignore_index=IGNORED)

  def _to_device(self, array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.int64)).to(self.device)


class RankingPeer(Peer):
  """TR by sentence-transformers: its modules and its loss in a plain loop, without its trainer.

  Its trainer needs accelerate, and would add callbacks and logging to every step. Each column of a
  batch is padded to its own longest text, as its collator pads.
  """

  def __init__(self, ours: Ours, sizes: Sizes, *, compiled: bool):
    import sentence_transformers
    from sentence_transformers.sentence_transformer import losses, modules

    params = ours.params()
    dense = modules.Dense(sizes.width, sizes.width, activation_function=torch.nn.Tanh())
    dense.linear.load_state_dict(torch_weights.projection(params).state_dict())
    with tempfile.TemporaryDirectory() as folder:
      write_bert(Path(folder), torch_weights.encoder(params, sizes))
      chain = [modules.Transformer(folder), modules.Pooling(sizes.width, "cls"), dense]
    model = sentence_transformers.SentenceTransformer(modules=chain)
    loss = losses.MultipleNegativesRankingLoss(model, scale=1 / TEMPERATURE)
    super().__init__(loss, sizes, compiled=compiled)

  def put(self, batch: dict[str, np.ndarray]) -> list[Tensors]:
    columns = []
    for side in (1, 0):  # the anchor is the translation
      ids, mask = batch["ids"][:, side], batch["mask"][:, side]
      longest = mask.sum(1).max()
      column = {"input_ids": ids[:, :longest], "attention_mask": mask[:, :longest]}
      columns.append(
        {key: torch.from_numpy(x.astype(np.int64)).to(self.device) for key, x in column.items()}
      )
    return columns

  def loss(self, batch: list[Tensors]) -> torch.Tensor:
    # A module may write to the features that it is given.
    loss: torch.Tensor = self.modules([dict(column) for column in batch], None)
    return loss


def write_bert(folder: Path, module: torch.nn.Module) -> None:
  """A folder that sentence-transformers loads: weights, and a tokenizer that nothing calls."""
  import transformers

  transformers.utils.logging.set_verbosity_error()  # that the pooler, which is not used, is new
  module.save_pretrained(folder)
  words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
  tokenizer = transformers.BertTokenizer(vocab={word: i for i, word in enumerate(words)})
  tokenizer.save_pretrained(folder)
