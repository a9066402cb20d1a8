"""M2M-100's encoder, which NLLB-200 and SONAR have: every form of its folders, in and out.

Expected values: the states and weights of transformers' own encoder, of random weights. What it has
in common with the other model types is tested with theirs (test_hub.py and its neighbours).
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import sentence_transformers
import torch
import transformers
from transformers.models.m2m_100 import modeling_m2m_100

from benchmarks import import_parity
from dap_jax.hub import configs, from_hf, tokenizer_files
from dap_jax.inference import embedder
from dap_jax.model.architectures.m2m100 import sinusoids
from dap_jax.model.from_config import ENCODER_ALONE, make_family, make_model
from dap_jax.model.vocabulary import Vocabulary
from dap_jax.utils.errors import UserError
from tests.commands import lines_of
from tests.hub_folders import LANGUAGE_CODES, LINES, sentence_folder
from tests.models import encoder_section, model_section
from tests.test_hub import network_of

CLASSES = {
  "the translation model": transformers.M2M100ForConditionalGeneration,
  "without its head": transformers.M2M100Model,
  "the encoder alone": modeling_m2m_100.M2M100Encoder,
}


def config_of(**changes):
  sizes = {"vocab_size": 40, "d_model": 48, "encoder_layers": 3, "encoder_ffn_dim": 96}
  sizes |= {"decoder_layers": 2, "decoder_ffn_dim": 32, "max_position_embeddings": 24}
  heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 2}
  return transformers.M2M100Config(**sizes, **heads, **changes)


def module_of(kind, **changes):
  """A model whose norms and biases are random too, and its encoder."""
  torch.manual_seed(0)
  module = kind(config_of(**changes)).eval()
  with torch.no_grad():
    for name, parameter in module.named_parameters():
      if "norm" in name or name.endswith("bias"):
        parameter.add_(0.1 * torch.randn_like(parameter))
  return module, getattr(module, "get_encoder", lambda: module)()


def states_of(encoder, ids, mask):
  """transformers' last states."""
  inputs = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask).long()}
  with torch.no_grad():
    return encoder(**inputs).last_hidden_state.numpy()


def ours_of(folder, ids, mask):
  """The last states of a folder in our network."""
  network, params = network_of(from_hf.read_folder(folder), size=40)
  arrays = {"params": params["encoder"]}, jnp.array(ids), jnp.array(mask)
  return np.asarray(network.encoder.apply(*arrays, deterministic=True)[-1])


def batch(pad):
  """Ids [3, 24] and their mask, padded; the second text spells out the padding token."""
  ids = np.random.default_rng(0).integers(5, 40, (3, 24))
  mask = np.arange(24) < np.array([[24], [17], [4]])
  ids[1, 3] = pad
  ids[~mask] = pad
  return ids, mask


@pytest.mark.parametrize("changes", [{}, {"scale_embedding": False}, {"pad_token_id": 3}], ids=str)
@pytest.mark.parametrize("form", CLASSES)
def test_states_of_every_form(tmp_path, form, changes):
  """At all positions that it has; the words of a translation model lie under `shared`."""
  module, encoder = module_of(CLASSES[form], **changes)
  module.save_pretrained(tmp_path)
  checkpoint = from_hf.read_folder(tmp_path)
  assert checkpoint.max_tokens == 24 and not from_hf.has_head(checkpoint)
  assert checkpoint.model_config["pooling"] == "mean"
  ids, mask = batch(module.config.pad_token_id)
  expected = states_of(encoder, ids, mask)
  np.testing.assert_allclose(ours_of(tmp_path, ids, mask)[mask], expected[mask], atol=1e-5)


def test_padding_changes_nothing(tmp_path):
  module_of(CLASSES["the encoder alone"])[0].save_pretrained(tmp_path)
  ids, mask = batch(1)
  whole = ours_of(tmp_path, ids, mask)
  for row, length in enumerate(mask.sum(1)):
    alone = ours_of(tmp_path, ids[row : row + 1, :length], mask[row : row + 1, :length])
    np.testing.assert_allclose(alone[0], whole[row, :length], atol=2e-6)


@pytest.mark.parametrize("prefix", ["encoder.", "model.encoder."])
def test_words_under_two_names(tmp_path, prefix):
  """The encoder's own count, as in transformers 5, whatever lies under `shared`."""
  encoder, _ = module_of(CLASSES["the encoder alone"])
  encoder.save_pretrained(tmp_path)
  tensors = {f"{prefix}{name}": x.numpy() for name, x in encoder.state_dict().items()}
  tensors[prefix.replace("encoder", "shared") + "weight"] = np.ones((40, 48), np.float32)
  safetensors.numpy.save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
  theirs = transformers.AutoModel if prefix == "encoder." else CLASSES["the translation model"]
  theirs = theirs.from_pretrained(tmp_path).get_encoder()
  ids, mask = batch(1)
  expected = states_of(theirs.eval(), ids, mask)
  np.testing.assert_allclose(ours_of(tmp_path, ids, mask)[mask], expected[mask], atol=1e-5)
  np.testing.assert_allclose(expected, states_of(encoder, ids, mask), atol=1e-6)


@pytest.mark.parametrize("width", [4, 48, 1024])
def test_sinusoids(width):
  """PyTorch's exp of a few frequencies is a last bit away: at position p a sine by 1.2e-7 p."""
  table = modeling_m2m_100.M2M100SinusoidalPositionalEmbedding.get_embedding(1026, width, 1)
  positions = jnp.arange(1026)
  differences = np.abs(sinusoids(positions, width=width, zero_at=1) - table.numpy()).max(1)
  assert (differences <= 2e-7 + 1.2e-7 * np.arange(1026)).all()
  assert (differences[:10] < 1e-6).all() and not differences[1]


def test_the_config_of_nllb():
  """As nllb-200-distilled-600M has it: two names for the layers, keys of generation, a decoder."""
  config = {"activation_dropout": 0.0, "activation_function": "relu", "attention_dropout": 0.1}
  config |= {"architectures": ["M2M100ForConditionalGeneration"], "model_type": "m2m_100"}
  config |= {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
  config |= {"d_model": 1024, "vocab_size": 256_206, "max_position_embeddings": 1024}
  for side in ("encoder", "decoder"):
    config |= {f"{side}_attention_heads": 16, f"{side}_ffn_dim": 4096, f"{side}_layerdrop": 0}
    config |= {f"{side}_layers": 12}
  config |= {"dropout": 0.1, "init_std": 0.02, "is_encoder_decoder": True, "max_length": 200}
  config |= {"num_hidden_layers": 12, "scale_embedding": True, "tokenizer_class": "NllbTokenizer"}
  config |= {"torch_dtype": "float32", "transformers_version": "4.21.0.dev0", "use_cache": True}
  sizes = {"layers": 12, "width": 1024, "heads": 16, "mlp_width": 4096, "positions": 1026}
  sizes |= {"vocabulary_size": 256_206, "position_offset": 2, "scale_embedding": True}
  assert configs.encoder_section(config, where="") == {"model_type": "m2m_100", **sizes}


@pytest.mark.parametrize("width", [2, 3])
def test_a_width_without_sinusoids(width):
  section = encoder_section("m2m_100", width=width, heads=1)
  with pytest.raises(UserError, match=f"width={width}: m2m_100 has an even one of 4 or more"):
    make_family(
      section, vocabulary=Vocabulary(40, 1, 2, 3, 4, None), dropout=0.0, compute_dtype="float32"
    )


@pytest.mark.parametrize(("compute_dtype", "atol"), [("float32", 1e-5), ("bfloat16", 0.1)])
def test_layers_in_a_loop(compute_dtype, atol):
  """The states of layers one after the other, whatever is kept for the backward pass."""
  given = ENCODER_ALONE | {"vocabulary": Vocabulary(40, 1, 2, 3, 4, None), "max_tokens": 24}
  section = model_section(encoder=encoder_section("m2m_100"), compute_dtype=compute_dtype)
  ids, mask = map(jnp.array, batch(0))
  plain = make_model(**given, **section).encoder
  params = plain.init(jax.random.key(0), ids, mask, deterministic=True)
  looped = make_model(**given | {"scan_layers": True, "remat": "layers"}, **section).encoder
  expected, states = (
    np.float32(encoder.apply(params, ids, mask, deterministic=True)[-1])
    for encoder in (plain, looped)
  )
  np.testing.assert_allclose(states, expected, atol=atol)


def translation_folder(folder):
  """A folder as NLLB has it: the whole translation model, and a tokenizer with language codes."""
  sentence_folder(folder, "m2m_100")
  config = json.loads((folder / "config.json").read_text())
  config |= {"decoder_layers": 1, "decoder_ffn_dim": 32, "decoder_attention_heads": 2}
  tensors = safetensors.numpy.load_file(folder / "model.safetensors")
  words = tensors.pop("embed_tokens.weight")
  tensors = {f"model.encoder.{name}": array for name, array in tensors.items()}
  tensors |= {"model.shared.weight": words, "lm_head.weight": words}
  tensors["model.decoder.layer_norm.bias"] = words[0]
  safetensors.numpy.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
  (folder / "config.json").write_text(json.dumps(config))
  return folder


def test_a_run_from_a_translation_model(commands, tmp_path):
  """Two steps of DAP with a smaller vocabulary, exported; transformers has the same states."""
  source, run, out = translation_folder(tmp_path / "nllb"), tmp_path / "run", tmp_path / "out"
  flags = (f"--config.init_from={source}", "--config.steps=2", "--config.log_steps=1")
  flags += ("--config.tokenizer.prune=1", "--config.objectives.masked_lm.weight=1.0")
  said = commands.run(*commands.train_flags(run, *flags))
  assert "its word embeddings, since it has no masked-LM head" in said
  assert all(np.isfinite(line["loss"]) for line in lines_of(run) if "loss" in line)
  said = commands.run("export", f"--workdir={run}", f"--output={out}", "--include_decoder")
  assert "its masked-LM head is left out: transformers has none for m2m_100" in said
  encoder, report = CLASSES["the encoder alone"].from_pretrained(out, output_loading_info=True)
  assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
  tokens = transformers.AutoTokenizer.from_pretrained(out)
  inputs = tokens(LINES[:9], padding=True, truncation=True, return_tensors="np")
  assert set(inputs["input_ids"][:, 0]) == {tokens.convert_tokens_to_ids(LANGUAGE_CODES[0])}
  mask = inputs["attention_mask"].astype(bool)
  expected = states_of(encoder.eval(), inputs["input_ids"], mask)
  ours = embedder.load(out)
  hidden = ours.network.encoder.apply(
    {"params": ours.params["encoder"]},
    jnp.asarray(inputs["input_ids"], jnp.int32),
    jnp.asarray(mask),
    deterministic=True,
  )
  np.testing.assert_allclose(np.asarray(hidden[-1])[mask], expected[mask], atol=1e-5)
  peer = sentence_transformers.SentenceTransformer(str(out), device="cpu")
  vectors = peer.encode(LINES[:9])
  np.testing.assert_allclose(ours.encode(LINES[:9]), vectors, atol=2e-6)
  trained = embedder.load(run, compute_dtype="float32").encode(LINES[:9])
  np.testing.assert_allclose(trained, vectors, atol=2e-6)
  said = commands.run(
    *commands.train_flags(tmp_path / "on", f"--config.init_from={out}", "--config.steps=1")
  )
  assert "its RTL decoder included" in said


def test_the_source_language_is_that_of_the_folder(tmp_path):
  """One code for all texts: `src_lang` of tokenizer_config.json, eng_Latn where it says none."""
  folder = translation_folder(tmp_path)
  path = folder / "tokenizer_config.json"
  settings = json.loads(path.read_text())
  for language in (None, *LANGUAGE_CODES):
    path.write_text(json.dumps(settings | ({"src_lang": language} if language else {})))
    ours = embedder.load(folder).tokenizer.encode_ragged(LINES[:9])
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    assert ours == theirs(LINES[:9], truncation=True, max_length=24)["input_ids"]
    first, *_, last = theirs.convert_ids_to_tokens(ours[0])
    assert (first, last) == (language or "eng_Latn", "</s>")


def test_m2m100s_own_tokenizer_is_refused(tmp_path):
  """It is sentencepiece and Python: no tokenizer.json can say what it does."""
  folder = sentence_folder(tmp_path, "xlm-roberta")
  (folder / "config.json").write_text('{"model_type": "m2m_100"}')
  (folder / "vocab.json").write_text('{"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}')
  settings = {"tokenizer_class": "M2M100Tokenizer", "src_lang": "en", "num_madeup_words": 8}
  (folder / "tokenizer_config.json").write_text(json.dumps(settings))
  with pytest.raises(UserError) as error:
    tokenizer_files.convert_tokenizer(folder)
  expected = (
    "its tokenizer, M2M100Tokenizer, cannot be written as a tokenizer.json; dap_jax reads no"
  )
  assert str(error.value) == f"{folder}: {expected} other"


@pytest.mark.slow
def test_states_at_sonars_size():
  """24 layers of 1024, 16 heads, an MLP of 8192; fewer ids, since they only take memory."""
  flags = import_parity.parser().parse_args(["--vocabulary=1000", "--tokens=128"])
  with jax.default_matmul_precision("highest"):
    differences = import_parity.compare("m2m_100", flags)
  assert differences["states"] < 1e-5
