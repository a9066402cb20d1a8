"""`tokenizer.prune`, of every model type, against the whole vocabulary and transformers' models."""

import json
import random
import types

import jax
import numpy as np
import pytest
import safetensors.numpy
import sentence_transformers
import tokenizers
import torch
import transformers

from dap_jax.data import manifest, store, tokenizer_pruning
from dap_jax.data.tokenizer import Tokenizer
from dap_jax.hub import configs, to_hf
from dap_jax.hub import tokenizer_files as hub_tokenizer
from dap_jax.training import initial_weights
from dap_jax.utils.errors import UserError
from tests.commands import lines_of
from tests.hub_folders import LINES, WORDS, sentence_folder
from tests.models import ENCODERS, model_section
from tests.test_data import prepare
from tests.test_warm_start import parts_of

# Of the first nine words alone, so that pieces of the others are not used.
SENTENCES = [" ".join(random.Random(-i).choices(WORDS[:9], k=2 + i % 4)) for i in range(1, 90)]
PAIRS = [*zip(SENTENCES[::2], SENTENCES[1::2], strict=False)]
CORPUS = [text for pair in PAIRS for text in pair]
CHARACTERS = sorted(set("".join(LINES)))
# Texts of the same characters that no vocabulary was trained on.
OTHERS = ["".join(random.Random(i).choices(CHARACTERS, k=12)).strip() for i in range(200)] + LINES


def tokens_of(definition, texts):
  """The token strings of each text."""
  backend = tokenizers.Tokenizer.from_str(definition)
  return [encoding.tokens for encoding in backend.encode_batch(texts)]


def tied_folder(folder, model_type):
  """`sentence_folder` whose masked-LM head has the word embeddings, as ours and nearly all do."""
  sentence_folder(folder, model_type)
  tensors = safetensors.numpy.load_file(folder / "model.safetensors")
  words = next(array for name, array in tensors.items() if array.shape == (400, 32))
  for name, array in tensors.items():
    if array.shape == (400, 32):
      tensors[name] = words
    elif array.shape == (400,):
      tensors[name] = np.linspace(-1, 1, 400, dtype=np.float32)
  safetensors.numpy.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
  return folder


def write_pairs(path):
  path.write_text("".join(f"{translation}\t{pivot}\n" for pivot, translation in PAIRS))
  return path


class Pruned:
  """A checkpoint of a type, and the data of a run that prunes it.

  Attributes:
    source: the checkpoint.
    folder: with data/ and tokenizer/ of the run; the checkpoint is in model/.
    whole, part: both tokenizers; kept: the whole's ids of the part's.
  """

  def __init__(self, folder, model_type):
    self.folder = folder
    tied_folder(folder / "model", model_type)
    self.source = initial_weights.open_source(str(folder / "model"))
    hub_tokenizer.write_tokenizer(self.source.tokenizer_files, folder / "tokenizer")
    arguments = {"paths": str(write_pairs(folder / "aa-en.tsv"))}
    none = {"sentences": 0, "min_words": 3, "min_languages": 1}
    fixed = self.source.model["encoder"].get("position_offset", 0)
    how = {"max_tokens": 4, "prune": 1, "fixed_ids": fixed, "heldout": none}
    prepare(folder, arguments=arguments, **how)
    self.whole = Tokenizer.from_files(self.source.tokenizer_files, where="", max_tokens=24)
    self.part = Tokenizer.load(folder / "tokenizer", max_tokens=24)
    self.kept = initial_weights.kept_ids(self.source, self.part)


@pytest.fixture(scope="module", params=list(ENCODERS))
def pruned(request, tmp_path_factory):
  return Pruned(tmp_path_factory.mktemp("pruned"), request.param)


def test_texts_of_the_corpus_have_the_tokens_of_before(pruned):
  """Whole texts, though the run cuts them at 4 ids; in a vocabulary that is smaller."""
  whole = pruned.source.tokenizer_files["tokenizer.json"]
  part = (pruned.folder / "tokenizer" / "tokenizer.json").read_text()
  assert tokens_of(part, CORPUS) == tokens_of(whole, CORPUS)
  ids = pruned.part.encode_ragged(CORPUS)
  for ours, theirs in zip(ids, pruned.whole.encode_ragged(CORPUS), strict=True):
    np.testing.assert_array_equal(pruned.kept[ours], theirs)
  assert pruned.part.size < pruned.whole.size
  assert (np.diff(pruned.kept) > 0).all()


def test_no_other_text_becomes_unknown(pruned):
  """As many unknown tokens as before, in texts of any characters that the vocabulary has."""
  unknown, before = pruned.part.unk_id, pruned.whole.unk_id
  ids, whole = pruned.part.encode_ragged(OTHERS), pruned.whole.encode_ragged(OTHERS)
  for ours, theirs in zip(ids, whole, strict=True):
    if before not in theirs:
      assert unknown not in ours
  assert ids != whole


def test_special_tokens_have_their_roles(pruned):
  """The ids of each role stand for the same tokens, and RoBERTa's first ones stay."""
  for ours, theirs in zip(pruned.part.special_ids, pruned.whole.special_ids, strict=True):
    assert pruned.kept[ours] == theirs
  if "roberta" in pruned.source.model["encoder"]["model_type"]:
    assert [pruned.part.ids()[token] for token in ("<s>", "<pad>", "</s>", "<unk>")] == [0, 1, 2, 3]
    assert pruned.part.pad_id + 1 == pruned.source.model["encoder"]["position_offset"]


def test_the_data_is_that_of_the_part(pruned):
  """info.json has its ids and its checksums."""
  info = manifest.read_info(pruned.folder / "data")
  pivots = [pruned.part.encode_ragged([pivot])[0] for pivot, _ in PAIRS]
  cut = {i for ids in pivots for i in (ids if len(ids) <= 4 else [*ids[:3], ids[-1]])}
  assert info["english_ids"] == sorted(cut)
  file = pruned.folder / "tokenizer" / "tokenizer.json"
  assert info["files"]["tokenizer.json"] == manifest.sha256(file.read_bytes())


@pytest.mark.parametrize("padded", [0, 120])
def test_transformers_has_the_vectors_and_logits_of_before(pruned, padded, tmp_path):
  """Of a run at its start: the same vectors of texts, the same logits of the tokens it keeps."""
  source, part, kept = pruned.source, pruned.part, pruned.kept
  rows = padded and part.size + part.size % 2 + padded
  english_ids = manifest.english_ids(pruned.folder / "data")
  decided = types.SimpleNamespace(model=initial_weights.decided_by(source, prunes=True))
  train_program = parts_of(decided, part, english_ids, layers=1, rows=rows, masked_lm=1.0)
  params, said = initial_weights.first_params(
    source, train_program.abstract_state.params, english_ids=english_ids, kept=kept
  )
  assert f"{part.size:,} of its 400 rows are kept" in said
  state = jax.device_get(train_program.init(params).params)
  size = len(state["encoder"]["embeddings"]["word"]["embedding"])
  assert size == (rows or part.size)
  to_hf.write_folder(
    tmp_path / "out",
    params=state,
    model_config=model_section(
      **{**source.model, "encoder": {**source.model["encoder"], "vocabulary_size": size}}
    ),
    english_ids=english_ids,
    tokenizer_directory=pruned.folder / "tokenizer",
    special_ids={"pad": part.pad_id, "cls": part.cls_id, "sep": part.sep_id},
    max_tokens=24,
    readme="",
    dtype="float32",
  )
  folders = pruned.folder / "model", tmp_path / "out"
  models = [sentence_transformers.SentenceTransformer(str(folder)) for folder in folders]
  before, after = (model.encode(CORPUS) for model in models)
  np.testing.assert_allclose(after, before, atol=1e-5)
  head = state["decoder"]["head"]["vocabulary"]
  words = state["encoder"]["embeddings"]["word"]["embedding"]
  np.testing.assert_array_equal(head["kernel"], words[english_ids].T)
  if source.model["encoder"]["model_type"] in configs.WITHOUT_MASKED_LM:
    return
  logits = []
  for folder in folders:
    tokens = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder).eval()
    with torch.no_grad():
      logits.append(model(**tokens(CORPUS[:9], return_tensors="pt", padding=True)).logits.numpy())
  np.testing.assert_allclose(logits[1][..., : part.size], logits[0][..., kept], atol=1e-5)


def test_rare_ids_are_left_out(pruned):
  """The ids that a part of those seen at least n times has, counted here one by one."""
  counts = np.bincount(np.concatenate(pruned.whole.encode_ragged(CORPUS)))
  definition = pruned.source.tokenizer_files["tokenizer.json"]
  sizes = []
  for n in (1, 20, 10**6):
    used = np.flatnonzero(counts >= n).tolist()
    part = tokenizers.Tokenizer.from_str(tokenizer_pruning.prune(definition, used, fixed_ids=0))
    tokens = pruned.whole.ids()
    assert {token for token, i in tokens.items() if i in set(used)} <= part.get_vocab().keys()
    assert sorted(part.get_vocab().values()) == list(range(part.get_vocab_size()))
    sizes.append(part.get_vocab_size())
  assert sizes[0] == pruned.part.size
  assert sizes == sorted(sizes, reverse=True) and sizes[0] > sizes[2]


def test_merges_by_hand():
  """abc is merged of ab and c: it keeps ab. bc, which nothing uses, goes, and its merge with it."""
  model = tokenizers.models.BPE(
    {"x": 0, "a": 1, "bc": 2, "b": 3, "c": 4, "ab": 5, "abc": 6},
    [("b", "c"), ("a", "b"), ("ab", "c")],
  )
  part = tokenizer_pruning.prune(tokenizers.Tokenizer(model).to_str(), [6], fixed_ids=0)
  assert json.loads(part)["model"]["vocab"] == {
    "x": 0,
    "a": 1,
    "b": 2,
    "c": 3,
    "ab": 4,
    "abc": 5,
  }
  assert json.loads(part)["model"]["merges"] == [["a", "b"], ["ab", "c"]]


def test_first_ids_keep_their_numbers():
  """Else the id of padding could change, from which RoBERTa counts its positions."""
  model = tokenizers.models.WordPiece({"ab": 0, "a": 1, "b": 2, "##b": 3, "[UNK]": 4})
  definition = tokenizers.Tokenizer(model).to_str()
  kept = json.loads(tokenizer_pruning.prune(definition, [], fixed_ids=0))["model"]["vocab"]
  assert kept == {"a": 0, "b": 1, "##b": 2, "[UNK]": 3}
  kept = json.loads(tokenizer_pruning.prune(definition, [], fixed_ids=1))["model"]["vocab"]
  assert kept["ab"] == 0


def test_a_vocabulary_of_another_kind_is_refused():
  words = tokenizers.models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]")
  with pytest.raises(UserError, match=r"tokenizer.prune: .* it is WordLevel, expected WordPiece"):
    tokenizer_pruning.prune(tokenizers.Tokenizer(words).to_str(), [0], fixed_ids=0)


@pytest.fixture(scope="module")
def run(commands, tmp_path_factory):
  """A folder with a checkpoint, model/, and run/, the shortest that prunes it; flags for more.

  The learning rate of its only step is 0, since it rises from there.
  """
  folder = tmp_path_factory.mktemp("run")
  tied_folder(folder / "model", "xlm-roberta")
  write_pairs(folder / "aa-en.tsv")
  flags = (
    "--config.data.format=tsv",
    f"--config.data.arguments.paths={folder}/aa-en.tsv",
    f"--config.data.cache={folder}/cache",
    "--config.data.heldout.sentences=2",
    "--config.data.heldout.min_languages=1",
    "--config.max_tokens=8",
    "--config.batch_size=8",
    "--config.steps=1",
    "--config.optimizer.warmup_steps=1",
    "--config.objectives.masked_lm.weight=1",
  )
  source = f"--config.init_from={folder}/model", "--config.tokenizer.prune=1"
  said = commands.run(*commands.train_flags(folder / "run", *source, *flags))
  commands.run("export", f"--workdir={folder}/run", f"--output={folder}/out", "--include_decoder")
  return folder, said, flags


def test_the_shortest_run_changes_no_weight(run):
  folder, said, _ = run
  size = Tokenizer.load(folder / "run" / "tokenizer", max_tokens=8).size
  assert f"{size:,} of its 400 rows are kept" in said
  (entry,) = (folder / "cache").glob("*/depends.json")
  assert json.loads(entry.read_text())["data"]["prune"] == 1
  models = [
    sentence_transformers.SentenceTransformer(str(folder / name)) for name in ("model", "out")
  ]
  heldout = {row["en"] for row in store.heldout(folder / "run" / "data")}
  pivots = [pivot for pivot, _ in PAIRS if pivot not in heldout]
  before, after = (model.encode(pivots) for model in models)
  np.testing.assert_allclose(after, before, atol=1e-5)
  names = "embeddings.word_embeddings.weight", "encoder.layer.1.output.dense.weight"
  for name in names:
    ours, theirs = (
      transformers.AutoModel.from_pretrained(folder / each).state_dict()[name].numpy()
      for each in ("out", "model")
    )
    if "word" in name:
      source = initial_weights.open_source(str(folder / "model"))
      theirs = theirs[
        initial_weights.kept_ids(source, Tokenizer.load(folder / "out", max_tokens=8))
      ]
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_a_pruned_run_resumes_and_is_pruned_again(commands, run, tmp_path):
  """It resumes without its source. From it, or its folder, others start alike, on two devices."""
  folder, _, flags = run
  size = Tokenizer.load(folder / "run" / "tokenizer", max_tokens=8).size
  (folder / "model").rename(folder / "moved")
  source = f"--config.init_from={folder}/model", "--config.tokenizer.prune=1"
  said = commands.run(*commands.train_flags(folder / "run", *source, *flags))
  assert "resumed at step 1" in said
  (folder / "moved").rename(folder / "model")
  said = commands.run(*commands.train_flags(tmp_path / "cached", *source, *flags))
  assert "where another run prepared it" in said and "rows are kept" in said
  losses = []
  for name in ("run", "out"):
    again, source = tmp_path / name, f"--config.init_from={folder / name}"
    more = "--config.tokenizer.prune=40", "--config.mesh.model=2", "--config.steps=2"
    rows = "--config.log_steps=1", "--config.model.encoder.vocabulary_size=130"
    said = commands.run(*commands.train_flags(again, source, *flags, *more, *rows), devices=2)
    left = Tokenizer.load(again / "tokenizer", max_tokens=8).size
    assert left < size and f"{left:,} of its {size:,} rows are kept; {130 - left} rows" in said
    losses.append([line["loss"] for line in lines_of(again) if "loss" in line])
  assert losses[0] and losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_mistakes(commands, tmp_path):
  run = tmp_path / "run"
  output = commands.fail(*commands.train_flags(run, "--config.tokenizer.prune=1"))
  assert "tokenizer.prune=1: without init_from there is no vocabulary to prune" in output
  output = commands.fail(*commands.train_flags(run, "--config.tokenizer.prune=-1"))
  assert "tokenizer.prune=-1: expected a whole number of 0 or more" in output
