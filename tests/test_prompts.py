"""Prompts, from a folder of the hub to training, to the commands and back.

Expected values: sentence-transformers with the same prompts; the same model on texts that the test
itself put the prompt before.
"""

import json

import datasets
import mteb
import numpy as np
import pytest
import sentence_transformers
import torch

from dap_jax.data import store
from dap_jax.data.tokenizer import Tokenizer
from dap_jax.evals import sts, tatoeba
from dap_jax.evals.retrieval import retrieval
from dap_jax.inference import embedder, mteb_model
from dap_jax.training.evaluation import prompted
from dap_jax.utils import prompts
from dap_jax.utils.errors import UserError
from dap_jax.workdir import layout
from tests.hub_folders import LINES, sentence_folder
from tests.test_mteb_model import Bitext, Similarity

SETTINGS, POOLING = "config_sentence_transformers.json", "1_Pooling/config.json"
E5 = {"query": "query: ", "passage": "passage: "}
TEXTS = LINES[:24]


@pytest.fixture(scope="module")
def e5(tmp_path_factory):
  """An XLM-R with mean pooling and two prompts, no default one, as E5's folders are."""
  folder = tmp_path_factory.mktemp("e5")
  return sentence_folder(folder, "xlm-roberta", {SETTINGS: {"prompts": E5}})


@pytest.fixture(scope="module")
def peer(e5):
  return sentence_transformers.SentenceTransformer(str(e5), device="cpu")


def assert_close(ours, theirs):
  np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=0)


# ---- the model ----


@pytest.mark.parametrize("options", [{"prompt_name": "passage"}, {"prompt": "Find: "}, {}])
def test_vectors_are_those_of_sentence_transformers(e5, peer, options):
  assert_close(embedder.load(e5, **options).encode(TEXTS), peer.encode(TEXTS, **options))


def test_each_prompt_gives_other_vectors(e5):
  vectors = [embedder.load(e5, prompt=prompt).encode(TEXTS) for prompt in ("", *E5.values())]
  for i, j in ((0, 1), (0, 2), (1, 2)):
    assert np.abs(vectors[i] - vectors[j]).max() > 1e-3


@pytest.mark.parametrize("model_type", ["bert", "roberta", "distilbert", "modernbert", "m2m_100"])
def test_the_default_prompt_goes_before_every_text(tmp_path, model_type):
  settings = {"prompts": E5, "default_prompt_name": "query"}
  folder = sentence_folder(tmp_path, model_type, {SETTINGS: settings})
  theirs = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
  model = embedder.load(folder)
  assert_close(model.encode(TEXTS), theirs.encode(TEXTS))
  without = embedder.load(folder, prompt="")
  assert_close(without.encode(TEXTS), theirs.encode(TEXTS, prompt=""))
  assert model.describe()["prompt"] == "query: " and "prompt" not in without.describe()
  assert not model.changed and without.changed == {"prompt": ""}
  assert model.digest() != without.digest()


def test_words_and_layers_come_behind_the_prompt(e5):
  """A word has the states that it has in the same text behind the prompt's words."""
  model = embedder.load(e5, prompt_name="query")
  sentence = TEXTS[4].split()
  (pieces,) = model.word_states([sentence])
  (whole,) = embedder.load(e5).word_states([["query:", *sentence]])
  of_text = whole.words > 0
  np.testing.assert_array_equal(pieces.words, whole.words[of_text] - 1)
  assert_close(pieces.states, whole.states[:, of_text])
  bare = embedder.load(e5).layer_vectors([f"query: {text}" for text in TEXTS])
  assert_close(model.layer_vectors(TEXTS), bare)


def test_suites_with_a_prompt_are_those_of_sentence_transformers(e5, peer):
  """STS and Tatoeba, of vectors that agree."""
  model = embedder.load(e5, prompt_name="query")

  def encode(texts):
    return peer.encode(texts, prompt_name="query")

  gold = np.random.default_rng(0).uniform(0, 5, 12)
  track = {"en": sts.Track(gold, TEXTS[:12], TEXTS[12:])}
  expected = sts.sts(track, encode)
  assert sts.sts(track, model.encode) == pytest.approx(expected, abs=1e-3)
  pairs = {"aa": (TEXTS[:12], TEXTS[12:])}
  assert tatoeba.tatoeba(pairs, model.encode) == tatoeba.tatoeba(pairs, encode)


@pytest.mark.filterwarnings("ignore")  # mteb's, of names that it does not know
def test_mteb_chooses_prompts_as_for_sentence_transformers(tmp_path):
  """By the task's kind, and by side."""
  texts = {
    "query": "query: ",
    "document": "passage: ",
    "STS": "Same? ",
    "BitextMining-query": "Translate: ",
  }
  folder = sentence_folder(tmp_path, "bert", {SETTINGS: {"prompts": texts}})
  theirs = mteb.models.SentenceTransformerEncoderWrapper(str(folder), device="cpu")
  ours, one = mteb_model.load(str(folder)), mteb_model.load(str(folder), prompt_name="query")
  of_query = embedder.load(folder, prompt_name="query").encode(TEXTS)
  sides = mteb.types.PromptType
  loader = torch.utils.data.DataLoader(datasets.Dataset.from_dict({"text": TEXTS}), batch_size=7)
  chosen = set()
  for task in (Bitext, Similarity):
    for side in (None, sides.query, sides.document):
      how = {"task_metadata": task.metadata, "hf_split": "test", "hf_subset": "x"}
      vectors = ours.encode(loader, prompt_type=side, **how)
      assert_close(vectors, theirs.encode(loader, prompt_type=side, **how))
      assert_close(one.encode(loader, prompt_type=side, **how), of_query)
      chosen.add(vectors.tobytes())
  assert len(chosen) == 4  # none, "Translate: ", "passage: ", and "Same? " on all sides


def test_mteb_gives_documents_the_prompt_of_passages(e5):
  """E5's name for it. sentence-transformers 6.2 has an empty prompt called document first."""
  how = {"task_metadata": Bitext.metadata, "hf_split": "", "hf_subset": ""}
  side = mteb.types.PromptType.document
  vectors = mteb_model.load(str(e5)).encode([{"text": TEXTS}], prompt_type=side, **how)
  assert_close(vectors, embedder.load(e5, prompt_name="passage").encode(TEXTS))


# ---- mistakes ----


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"prompt_name": "doc"}, r"prompt_name='doc': no prompt .* known: 'query', 'passage'"),
    ({"prompt_name": "query", "prompt": "x"}, "give one of them"),
  ],
)
def test_a_prompt_that_there_is_not(e5, options, message):
  with pytest.raises(UserError, match=message):
    embedder.load(e5, **options)


def test_a_pooling_that_leaves_prompts_out(tmp_path):
  """Without a prompt it is like any other; with one it would be a different vector."""
  pooling = {"include_prompt": False}
  folder = sentence_folder(tmp_path, "bert", {POOLING: pooling, SETTINGS: {"prompts": E5}})
  theirs = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
  assert_close(embedder.load(folder).encode(TEXTS), theirs.encode(TEXTS))
  for options in ({"prompt_name": "query"}, {"prompt": "x "}):
    with pytest.raises(UserError, match="include_prompt=false"):
      embedder.load(folder, **options)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"prompts": ["query: "]}, "expected names with texts"),
    ({"prompts": {"query": 3}}, "expected names with texts"),
    ({"prompts": E5, "default_prompt_name": "q"}, r"'q'; expected one of 'query', 'passage'"),
    ({"default_prompt_name": "q"}, "of which it has none"),
    ({"prompts": E5, "default_prompt_name": ["query"]}, "default_prompt_name is"),
  ],
)
def test_damaged_prompts_of_a_folder(tmp_path, settings, message):
  folder = sentence_folder(tmp_path, "bert", {SETTINGS: settings})
  with pytest.raises(UserError, match=message):
    embedder.load(folder)


def section(texts=None, **names):
  return {"texts": texts or {}, "pivot": "", "translation": "", "default": "", **names}


def test_the_section_of_a_run_and_the_prompts_of_its_start():
  stored = prompts.Prompts(E5, "query")
  own = {"query": "", "document": "", "passage": "p: "}
  resolved = prompts.resolve(section(own), stored)
  assert resolved["texts"] == {"query": "query: ", "document": "", "passage": "p: "}
  assert resolved["default"] == "query"
  assert prompts.of_section(**resolved)[1] == ("query: ", "query: ")  # the default, on both sides
  both = prompts.resolve(section(pivot="passage", translation="passage"), stored)
  assert both["default"] == "passage"  # what all its texts were trained with
  sides = prompts.resolve(section(pivot="passage", translation="query"), prompts.Prompts(E5))
  assert sides["default"] == "" and prompts.of_section(**sides)[1] == ("passage: ", "query: ")
  assert prompts.resolve(resolved, prompts.Prompts()) == resolved  # of a run that goes on
  for wrong in (section(pivot="x"), section(default="x"), section(texts={"a": 1}), section(["a"])):
    with pytest.raises(UserError, match=r"prompts\.(pivot|default|texts)"):
      prompts.of_section(**prompts.resolve(wrong, stored))


# ---- training and the commands ----


@pytest.fixture(scope="module")
def run(commands):
  """Trained with a prompt on each side, and none by default."""
  folder = commands.folder / "prompted"
  flags = ["--config.prompts.texts.query=the big ", "--config.prompts.texts.document=old "]
  flags += ["--config.prompts.pivot=document", "--config.prompts.translation=query"]
  commands.run(*commands.train_flags(folder, *flags, "--config.steps=4", "--config.eval_steps=4"))
  return folder


def test_training_reads_the_prompts_of_both_sides(commands, run):
  """The ids are those of the texts behind them; the held-out texts stay as they are."""
  tokens = Tokenizer.load(run / "tokenizer", max_tokens=12)
  corpus = store.load(run / "data", pad_id=tokens.pad_id)
  texts = {
    code: [
      line.split("\t")[1] for line in (commands.corpus / f"{code}.tsv").read_text().splitlines()
    ]
    for code in ("en", "aa")
  }
  expected = {
    tuple(tuple(ids) for ids in tokens.encode_ragged(["old " + english, "the big " + other]))
    for english, other in zip(texts["en"], texts["aa"], strict=True)
    if english not in {row["en"] for row in corpus.heldout}
  }
  source = corpus.sources["aa"]
  examples = source.gather(range(len(source)))
  seen = {
    tuple(tuple(view[mask].tolist()) for view, mask in zip(*example, strict=True))
    for example in zip(examples["ids"], examples["mask"], strict=True)
  }
  assert seen <= expected and len(seen) > 40  # many are equal, cut after 12 ids


def test_the_run_is_evaluated_with_the_prompts_of_its_sides(run):
  last = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
  metrics = {key: value for entry in last for key, value in entry.items()}
  corpus = store.load(run / "data", pad_id=0)
  model, sides = embedder.load(run), prompts.Sides("old ", "the big ")
  rows = [prompted(row, sides, pivot="en") for row in corpus.heldout]
  assert rows[0]["en"].startswith("old ") and rows[0]["aa"].startswith("the big ")
  scores = retrieval(rows, model.encode, pivot="en")
  name = "eval/retrieval/to_pivot_accuracy"
  assert metrics[name] == pytest.approx(scores["to_pivot_accuracy"], abs=1e-6)


def test_a_run_keeps_its_prompts(commands, run):
  """Another prompt is another run: the data was tokenised with it."""
  flags = commands.train_flags(run, "--config.prompts.texts.query=a ", "--config.steps=4")
  assert "prompts." in commands.run(*flags, status=1)


def test_an_export_has_them_and_a_run_from_it_too(commands, run, tmp_path):
  folder = tmp_path / "out"
  commands.run("export", f"--workdir={run}", f"--output={folder}")
  theirs = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
  assert theirs.prompts == {"query": "the big ", "document": "old "}
  texts = ["red page opens it", "new user finds more"]
  for name in theirs.prompts:
    ours = embedder.load(run, prompt_name=name).encode(texts)
    assert_close(ours, theirs.encode(texts, prompt_name=name))
  again = tmp_path / "again"
  flags = [f"--config.init_from={folder}", "--config.steps=2", "--config.eval_steps=2"]
  sides = ["--config.prompts.pivot=query", "--config.prompts.translation=query"]
  commands.run(*commands.train_flags(again, *flags, *sides))
  config = layout.read_config(again)
  assert config["prompts"] == section(
    {"query": "the big ", "document": "old "}, pivot="query", translation="query", default="query"
  )
  assert embedder.load(again).prompt == "the big "
  commands.run(*commands.train_flags(again, *flags, *sides))  # it goes on, with nothing to do


def test_embed_and_mine_take_prompts(commands, run, tmp_path):
  lines = ["red page opens it", "new user finds more", "big file needs them"]
  (tmp_path / "a.txt").write_text("\n".join(lines) + "\n")
  files = [f"--input={tmp_path}/a.txt", f"--output={tmp_path}/a.npy"]
  commands.run("embed", f"--model={run}", *files, "--prompt_name=query")
  expected = {
    name: embedder.load(run, prompt_name=name).encode(lines) for name in ("query", "document")
  }
  np.testing.assert_allclose(np.load(tmp_path / "a.npy"), expected["query"], atol=1e-6)
  flags = [f"--source={tmp_path}/a.txt", f"--target={tmp_path}/a.txt", f"--output={tmp_path}/o"]
  flags += ["--mode=search", "--neighbours=3", f"--model={run}", "--prompt_name=query"]
  commands.run("mine", *flags, "--target_prompt=old ")
  cosines = expected["query"] @ expected["document"].T
  found = [line.split("\t") for line in (tmp_path / "o").read_text().splitlines()]
  assert len(found) == 9
  for source, _, cosine, target, *_ in found:
    assert float(cosine) == pytest.approx(cosines[int(source) - 1, int(target) - 1], abs=1e-5)
  message = commands.run("mine", *flags, "--target_prompt_name=none", status=1)
  assert "prompt_name='none'" in message
  vectors = [f"--source_vectors={tmp_path}/a.npy", f"--target_vectors={tmp_path}/a.npy"]
  message = commands.run("mine", *vectors, *flags[2:3], "--prompt=x", status=2)
  assert "--prompt has no effect without --model" in message


def test_words_of_a_prompt_are_no_words_of_the_text(run):
  """All characters but the blanks have ids, with the prompt and without; none is beyond them."""
  tokens, text = Tokenizer.load(run / "tokenizer", max_tokens=99), "red page"
  for prompt in ("", "the big "):
    ids, spans = tokens.encode_spans([text], prompt=prompt)[0]
    assert ids == tokens.encode_ragged([prompt + text])[0]
    covered = {place for start, end in spans for place in range(start, end)}
    assert {place for place in covered if text[place] != " "} == {0, 1, 2, 4, 5, 6, 7}
