"""Small checkpoints as folders of the hub, for the tests of what reads them."""

from dap_jax.data import tokenizer
from tests.models import transformers_model

TEXTS = ["red page", "old user opens the page", "new file"]


def small_bert(folder, *, seed=0):
  """Writes a BERT checkpoint of 23 ids and width 48, with its tokenizer."""
  tokenizer.train(TEXTS * 9, vocabulary_size=23, directory=folder)
  module = transformers_model("bert", vocabulary_size=23)
  for parameter in module.parameters():
    parameter.data.mul_(1 + seed)
  module.save_pretrained(folder)
  return folder
