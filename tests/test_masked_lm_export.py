"""The masked-LM head out and in, of every type that has one, against transformers' classes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import torch
import transformers

from dap_jax.hub import configs, from_hf
from dap_jax.inference import embedder
from dap_jax.model.from_config import ENCODER_ALONE, make_model
from dap_jax.model.vocabulary import Vocabulary
from dap_jax.utils import trees
from tests.models import ENCODERS, logits_of, model_section, transformers_model
from tests.test_hub import network_of, saved, tokenizer_folder, written  # noqa: F401 a fixture

TYPES = [kind for kind in ENCODERS if kind not in configs.WITHOUT_MASKED_LM]
SIZE = 23


def head_of(checkpoint, shapes):
  """The head's arrays, as a run that starts from the checkpoint has them."""
  leaves = trees.flatten(from_hf.head_from_checkpoint(checkpoint))
  return trees.nest({path: leaf.read(shapes[path].shape) for path, leaf in leaves.items()})


def network_with_head(checkpoint):
  """A network with a masked-LM head, and the head's shapes."""
  vocabulary = Vocabulary(SIZE, 0, 2, 3, 4, None)
  how = ENCODER_ALONE | {"vocabulary": vocabulary, "max_tokens": 24, "masked_lm": True}
  network = make_model(**how, **model_section(**checkpoint.model_config, projection=False))
  ids = jax.ShapeDtypeStruct((1, 2, 2), jnp.int32), jax.ShapeDtypeStruct((1, 2, 2), bool)
  shapes = jax.eval_shape(
    lambda ids, mask: network.init(jax.random.key(0), ids, mask, method="initialise"), *ids
  )
  return network, trees.flatten(shapes["params"]["masked_lm"])


@pytest.fixture(scope="module", params=TYPES)
def exported(request, tmp_path_factory, tokenizer_folder):  # noqa: F811
  """transformers' module, our network and parameters, and the folder that we write of them."""
  folder = tmp_path_factory.mktemp("masked_lm")
  module = transformers_model(request.param, vocabulary_size=SIZE)
  checkpoint = from_hf.read_folder(saved(folder / "in", module, tokenizer_folder))
  params = network_of(checkpoint, size=SIZE)[1]
  network, shapes = network_with_head(checkpoint)
  params["masked_lm"] = head_of(checkpoint, shapes)
  section = model_section(**checkpoint.model_config, pooling="mean")
  pad = module.config.pad_token_id
  written(folder / "out", params, section, tokenizer_folder, pad=pad, max_tokens=24)
  return module, network, params, folder / "out"


def test_the_tensors_are_the_ones_that_came_in(exported):
  module, _, params, folder = exported
  stored = safetensors.numpy.load_file(folder / "model.safetensors")
  expected = {name: array.numpy() for name, array in module.state_dict().items()}
  for name, array in stored.items():
    if "pooler" in name:
      assert not array.any()
    else:
      assert array.tobytes() == expected[name].tobytes(), name
  aliases = {name for name in set(expected) - set(stored) if "decoder" in name or "proj" in name}
  assert set(expected) - set(stored) == aliases  # the projection and its bias, tied
  checkpoint = from_hf.read_folder(folder)
  shapes = trees.flatten(params["masked_lm"])
  again = trees.flatten(head_of(checkpoint, shapes))
  assert set(again) == set(shapes)
  for path, array in shapes.items():
    assert again[path].tobytes() == array.tobytes(), path


def test_transformers_fills_masks_as_we_do(exported):
  """`AutoModelForMaskedLM` has equal logits, and `fill-mask` our probabilities."""
  module, network, params, folder = exported
  loaded, report = transformers.AutoModelForMaskedLM.from_pretrained(
    folder, output_loading_info=True
  )
  assert type(loaded) is type(module)
  assert not report["missing_keys"]
  assert all("pooler" in name for name in report["unexpected_keys"])
  tokens = transformers.AutoTokenizer.from_pretrained(folder)
  text = f"old user {tokens.mask_token} the page"
  ids = tokens(text, return_tensors="np")["input_ids"].astype(np.int32)
  with torch.no_grad():
    expected = loaded(torch.from_numpy(ids).long()).logits.numpy()
  arrays = jax.tree.map(jnp.asarray, params)
  mask, places = jnp.ones(ids.shape, bool), jnp.arange(ids.shape[1])[None]
  h = network.apply(
    {"params": arrays}, jnp.asarray(ids)[None], mask[None], deterministic=True, method="encode"
  ).h[0]
  logits = logits_of(network, arrays, "predict", h, mask, places)
  np.testing.assert_allclose(logits, expected, atol=1e-5)
  fill = transformers.pipeline("fill-mask", model=loaded, tokenizer=tokens, top_k=SIZE)
  (place,) = np.flatnonzero(ids[0] == tokens.mask_token_id)
  ours = jax.nn.softmax(logits[0, place])
  theirs = {answer["token"]: answer["score"] for answer in fill(text)}
  assert len(theirs) == SIZE
  np.testing.assert_allclose([theirs[i] for i in range(SIZE)], ours, atol=1e-5)


def test_the_bare_model_and_its_vectors_stay(exported):
  """`AutoModel` finds every tensor that it has, and the vectors are those of the encoder."""
  module, _, _, folder = exported
  loaded, report = transformers.AutoModel.from_pretrained(folder, output_loading_info=True)
  assert not report["missing_keys"]
  expected = module.base_model.state_dict()
  for name, array in loaded.state_dict().items():
    if "pooler" not in name:
      torch.testing.assert_close(array, expected[name], rtol=0, atol=0)
  texts = ["red page", "old user opens the page"]
  from sentence_transformers import SentenceTransformer

  theirs = SentenceTransformer(str(folder)).encode(texts)
  np.testing.assert_allclose(embedder.load(str(folder)).encode(texts), theirs, atol=2e-6)
