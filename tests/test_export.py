"""`export` of folders and of parts of a vocabulary.

Expected values: the vectors, logits and tokens of the whole model, in our own code and in
transformers and sentence-transformers.
"""

import json

import numpy as np
import pytest
import safetensors.numpy
import sentence_transformers
import torch
import transformers

from dap_jax.inference import embedder, exporting
from dap_jax.workdir import layout, records, restore
from tests.hub_folders import LINES, WORDS, sentence_folder
from tests.test_tokenizer_pruning import CORPUS, OTHERS, tied_folder, tokens_of

TYPES = ("bert", "roberta", "xlm-roberta", "xlm-roberta-xl", "distilbert", "modernbert", "m2m_100")


def vectors_of(folder, texts):
  return sentence_transformers.SentenceTransformer(str(folder), device="cpu").encode(texts)


@pytest.fixture
def texts(tmp_path):
  """Two files; the second is gzipped."""
  paths = [tmp_path / "de.txt", tmp_path / "en.txt"]
  for path, lines in zip(paths, (CORPUS[::2], CORPUS[1::2]), strict=True):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
  return ",".join(map(str, paths))


@pytest.mark.parametrize("model_type", TYPES)
def test_a_part_of_a_folders_vocabulary(commands, tmp_path, texts, model_type):
  """Texts of the files have the same tokens and vectors, from fewer rows; others stay readable."""
  whole, part = tied_folder(tmp_path / "whole", model_type), tmp_path / "part"
  said = commands.run(
    "export", f"--model={whole}", f"--output={part}", f"--prune_vocabulary={texts}"
  )
  np.testing.assert_allclose(vectors_of(part, CORPUS), vectors_of(whole, CORPUS), atol=1e-6)
  np.testing.assert_allclose(
    embedder.load(part).encode(CORPUS), vectors_of(whole, CORPUS), atol=1e-5
  )
  assert np.isfinite(vectors_of(part, OTHERS)).all()
  sizes = [
    max(len(array) for array in safetensors.numpy.load_file(folder / "model.safetensors").values())
    for folder in (whole, part)
  ]
  assert sizes[1] < sizes[0] and "ids are kept" in said
  assert (part / "model.safetensors").stat().st_size < (whole / "model.safetensors").stat().st_size
  definitions = [
    transformers.AutoTokenizer.from_pretrained(folder).backend_tokenizer.to_str()
    for folder in (whole, part)
  ]
  assert tokens_of(definitions[0], CORPUS) == tokens_of(definitions[1], CORPUS)


def logits_of(folder, text):
  """Token -> the masked LM's logit for it at the first word of a text."""
  tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
  model = transformers.AutoModelForMaskedLM.from_pretrained(folder).eval()
  with torch.no_grad():
    logits = model(**tokenizer([text], return_tensors="pt")).logits[0, 1].numpy()
  return {token: logits[number] for token, number in tokenizer.get_vocab().items()}


def test_its_masked_lm_head_comes_along(commands, tmp_path, texts):
  """With the logits of before for the tokens that are kept."""
  whole, part = tied_folder(tmp_path / "whole", "bert"), tmp_path / "part"
  commands.run("export", f"--model={whole}", f"--output={part}", f"--prune_vocabulary={texts}")
  before, after = logits_of(whole, CORPUS[0]), logits_of(part, CORPUS[0])
  assert len(after) < len(before)
  for token, logit in after.items():
    assert logit == pytest.approx(before[token], abs=1e-5)


def test_a_head_that_is_not_tied_is_left_out(commands, tmp_path):
  whole = tied_folder(tmp_path / "whole", "bert")
  path = whole / "model.safetensors"
  tensors = safetensors.numpy.load_file(path)
  tensors["cls.predictions.decoder.weight"] = tensors["cls.predictions.decoder.weight"] + 1
  safetensors.numpy.save_file(tensors, path, metadata={"format": "pt"})
  said = commands.run("export", f"--model={whole}", f"--output={tmp_path}/out")
  assert "is left out" in said
  assert json.loads((tmp_path / "out" / "config.json").read_text())["architectures"] == [
    "BertModel"
  ]
  np.testing.assert_allclose(
    vectors_of(tmp_path / "out", LINES[:9]), vectors_of(whole, LINES[:9]), atol=1e-6
  )


def test_a_folder_as_it_is(commands, tmp_path):
  """Prompts, pooling and limit stay; the card says what it was made of."""
  changes = {
    "config_sentence_transformers.json": {"prompts": {"query": "q: "}},
    "1_Pooling/config.json": {"pooling_mode": ["cls", "max"], "include_prompt": False},
  }
  whole, out = sentence_folder(tmp_path / "whole", "xlm-roberta", changes), tmp_path / "out"
  commands.run("export", f"--model={whole}", f"--output={out}", "--license=mit")
  models = [
    sentence_transformers.SentenceTransformer(str(folder), device="cpu") for folder in (whole, out)
  ]
  assert models[0].prompts == models[1].prompts
  assert models[0].max_seq_length == models[1].max_seq_length == 24
  for prompt_name in (None, "query"):
    expected, found = (model.encode(LINES[:20], prompt_name=prompt_name) for model in models)
    np.testing.assert_allclose(found, expected, atol=1e-6)
  modes = {path.stat().st_mode for path in out.rglob("*") if path.is_file()}
  assert len(modes) == 1, modes  # the umask's: safetensors' own are for the owner alone
  card = (out / "README.md").read_text()
  assert "`whole`, in float32: written by dap_jax. It was not trained any further." in card
  assert "license: mit" in card and str(tmp_path) not in card and "base_model" not in card


def test_a_part_of_a_runs_vocabulary(commands, tmp_path):
  """The demo's case: the vectors of its training texts stay."""
  lines = (commands.corpus / "en.tsv").read_text().splitlines()
  texts = [line.split("\t")[1] for line in lines][:40]
  (tmp_path / "en.txt").write_text("".join(f"{text}\n" for text in texts))
  out, flags = tmp_path / "out", [f"--workdir={commands.straight}"]
  commands.run("export", *flags, f"--output={out}", f"--prune_vocabulary={tmp_path}/en.txt")
  expected = embedder.load(commands.straight).encode(texts)
  np.testing.assert_allclose(vectors_of(out, texts), expected, atol=1e-5)
  words = safetensors.numpy.load_file(out / "model.safetensors")[
    "embeddings.word_embeddings.weight"
  ]
  assert len(words) < embedder.load(commands.straight).tokenizer.size


def test_the_log_tells_how_good_a_step_is(tmp_path, monkeypatch):
  """The checkpoint that was saved when a run was interrupted has no score."""
  metric = "eval/retrieval/to_pivot_accuracy"
  section = {"best_metric": metric}
  monkeypatch.setattr(layout, "read_config", lambda folder: {"checkpoint": section})
  records.append_record(tmp_path, {"step": 100, metric: 0.48})
  monkeypatch.setattr(restore, "newest_step", lambda folder: 172)
  assert exporting.about_step(tmp_path, 100) == (
    f"step 100 has {metric} 0.480; the newest, 172, was not evaluated"
  )
  assert exporting.about_step(tmp_path, 172) == "step 172 was not evaluated"
  section["best_metric"] = ""
  assert exporting.about_step(tmp_path, 172) == ""


@pytest.mark.parametrize(
  ("flags", "message", "status"),
  [
    (["--output=x"], "--workdir or --model", 2),
    (["--output=x", "--workdir={run}", "--model={run}"], "--workdir or --model", 2),
    (["--output=x", "--model={run}"], "is a workdir: say --workdir=", 1),
    (["--output=x", "--model=y/z", "--step=best"], "--step has no effect with --model", 2),
    (["--output=x", "--workdir={run}", "--prune_vocabulary=a", "--include_decoder"], "exclude", 2),
    (["--output={tmp}/x", "--workdir={run}", "--prune_vocabulary={tmp}/none.txt"], "none.txt", 1),
  ],
)
def test_mistakes(commands, tmp_path, flags, message, status):
  flags = [flag.format(run=commands.straight, tmp=tmp_path) for flag in flags]
  assert message in commands.run("export", *flags, status=status)
  assert not list(tmp_path.iterdir())


def test_words_outside_fall_to_smaller_pieces(commands, tmp_path, texts):
  """None of them becomes unknown, and the words of the files keep their tokens."""
  whole, part = tied_folder(tmp_path / "whole", "bert"), tmp_path / "part"
  commands.run("export", f"--model={whole}", f"--output={part}", f"--prune_vocabulary={texts}")
  tokenizers = [transformers.AutoTokenizer.from_pretrained(folder) for folder in (whole, part)]
  for word in WORDS:
    before, after = (tokenizer.tokenize(word) for tokenizer in tokenizers)
    assert len(after) >= len(before) and (tokenizers[1].unk_token in after) == (
      tokenizers[0].unk_token in before
    )
