"""The tokenizer against sentencepiece itself and against transformers, on text of ten scripts."""

import subprocess

import pytest
import sentencepiece
import transformers

from dap_jax.data import tokenizer_training
from dap_jax.data.readers import gettext_catalogues
from dap_jax.data.tokenizer import Tokenizer
from dap_jax.utils.errors import UserError
from dap_jax.utils.progress import Progress

HOSTILE = ["", "   ", "a\tb", " a  b ", "x" * 10_000, "\x00a\x01", "👩‍👩‍👧 🎉", "ﬁ ½ Ⅷ", "a\u200bb"]
HOSTILE += ["\u3000全角　スペース", "é e\u0301", "מלון", "ok\u2028ok", "\ufeffx"]


@pytest.fixture(scope="module")
def texts():
  """2,000 real interface strings of ten scripts."""
  languages = ("ru", "el", "ja", "zh_Hans", "ar", "he", "hi", "ko", "th", "ka")
  rows = gettext_catalogues.read_catalogues(["django"], pivot="en")
  strings = [row[lang] for row in rows for lang in languages if lang in row]
  return strings[:: max(len(strings) // 2000, 1)]


@pytest.fixture(scope="module")
def folder(texts, tmp_path_factory):
  folder = tmp_path_factory.mktemp("tokenizer")
  tokenizer_training.train(texts, vocabulary_size=2000, directory=folder)
  return folder


def test_ids_are_those_of_sentencepiece(folder, texts):
  ours = Tokenizer.load(folder, max_tokens=20_000)
  reference = sentencepiece.SentencePieceProcessor(model_file=str(folder / "sentencepiece.model"))
  for text in texts + HOSTILE:
    assert ours.encode_ragged([text])[0] == [2, *reference.encode(text), 3], repr(text)


def test_ids_are_those_of_transformers_cut_alike(folder, texts):
  ours = Tokenizer.load(folder, max_tokens=16)
  reference = transformers.AutoTokenizer.from_pretrained(folder)
  special = ["[MASK] and [SEP]", "[CLS]x[PAD]"]  # become special tokens in both
  for text in texts + HOSTILE + special:
    expected = reference(text, truncation=True, max_length=16)["input_ids"]
    assert ours.encode_ragged([text])[0] == expected, repr(text)
  names = ("pad_token_id", "unk_token_id", "cls_token_id", "sep_token_id", "mask_token_id")
  assert [getattr(reference, name) for name in names] == [0, 1, 2, 3, 4]


def test_training_twice_gives_the_same_files(folder, texts, tmp_path):
  tokenizer_training.train(texts, vocabulary_size=2000, directory=tmp_path)
  for file in folder.iterdir():
    assert file.read_bytes() == (tmp_path / file.name).read_bytes(), file.name


def test_progress_is_counted_by_what_sentencepiece_logs(texts, monkeypatch):
  """Two steps before each pruning to three quarters; in sentencepiece 0.2.1 two at the end."""
  bars = []

  class Counted(Progress):
    def __init__(self, what, *, total, unit):
      super().__init__(what, total=total, unit=unit)
      bars.append({"total": total, "done": 0})

    def advance(self, number):
      bars[-1]["done"] += number

  monkeypatch.setattr(tokenizer_training, "Progress", Counted)
  tokenizer_training.train_model(texts, vocabulary_size=2000)
  (bar,) = bars
  assert bar["done"] >= 6 and abs(bar["total"] - bar["done"]) <= 2


def test_a_training_that_is_killed_is_told(texts, monkeypatch):
  """As the kernel does where memory is short."""

  class Killed(subprocess.Popen):
    def __init__(self, *args, **options):
      super().__init__(*args, **options)
      self.kill()

  monkeypatch.setattr(tokenizer_training.subprocess, "Popen", Killed)
  with pytest.raises(UserError, match=r"died of signal 9; .* lower tokenizer.sample_texts"):
    tokenizer_training.train_model(texts, vocabulary_size=2000)


def test_text_comes_back(folder):
  tokens = Tokenizer.load(folder, max_tokens=64)
  for text in ("Сохранить и продолжить", "全角 スペース"):
    assert tokens.decode(tokens.encode_ragged([text])[0]) == text


def test_a_vocabulary_too_large_says_the_limit(tmp_path):
  with pytest.raises(UserError, match=r"vocabulary_size=900 .* at most \d+"):
    tokenizer_training.train(
      ["a few words only", "and a few more"], vocabulary_size=900, directory=tmp_path
    )
  with pytest.raises(UserError, match=r"vocabulary_size=6 .* at least \d+"):
    tokenizer_training.train(["a few words only"], vocabulary_size=6, directory=tmp_path)
  assert not list(tmp_path.iterdir())


def test_a_folder_without_a_tokenizer(tmp_path):
  with pytest.raises(UserError, match="no tokenizer.json"):
    Tokenizer.load(tmp_path, max_tokens=8)
