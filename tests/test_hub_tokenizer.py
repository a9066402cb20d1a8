"""A checkpoint's tokenizer: ids equal transformers' own, from every kind of file."""

import gzip
import io
import json

import pytest
import sentencepiece
import tokenizers
import transformers

from dap_jax.data.tokenizer import Tokenizer
from dap_jax.hub import tokenizer_files as hub_tokenizer
from dap_jax.utils.errors import UserError

SAMPLE = [
  "Log in to your account",
  "Mein Hund läuft, nicht wahr?",
  "私は犬が好きです。",
  "Привет, мир!",
  "مرحبا بالعالم",
  "नमस्ते दुनिया",
  "สวัสดีชาวโลก",
  "e\u0301 \u00e9 \ufb01 \u2460 \U0001f600",
  "",
  "   two  spaces\tand a tab ",
  "[MASK] <mask> </s> [SEP]",
  "x" * 300,
  "one two " * 50,
]
MAX_TOKENS = 32


@pytest.fixture(scope="module")
def lines(request):
  """Every line of Tatoeba where it is at hand, the sample everywhere."""
  folder = request.config.rootpath.parent / "shared" / "data" / "tatoeba_v1"
  texts = list(SAMPLE)
  for path in sorted(folder.glob("*.gz")):
    texts += gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")[:-1]
  return texts


def word_pieces(folder, lines):
  """A WordPiece vocab.txt, as mBERT's folder has it."""
  trained = tokenizers.BertWordPieceTokenizer(lowercase=False)
  trained.train_from_iterator(lines, vocab_size=2000, show_progress=False)
  trained.save_model(str(folder))
  return "bert", "BertTokenizer"


def sentence_pieces(folder, lines):
  """A sentencepiece.bpe.model, as XLM-R's folder has it."""
  model = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(lines),
    model_writer=model,
    vocab_size=2500,
    hard_vocab_limit=False,  # the sample alone does not support so many
    character_coverage=0.98,
    minloglevel=2,
  )
  (folder / "sentencepiece.bpe.model").write_bytes(model.getvalue())
  return "xlm-roberta", "XLMRobertaTokenizer"


@pytest.fixture(scope="module", params=[word_pieces, sentence_pieces])
def checkpoint(request, lines, tmp_path_factory):
  """A folder with a tokenizer in its oldest form and nothing newer."""
  folder = tmp_path_factory.mktemp(request.param.__name__)
  texts = lines[:: max(1, len(lines) // 10_000)]
  model_type, name = request.param(folder, texts)
  (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
  settings = {"tokenizer_class": name, "do_lower_case": False}
  (folder / "tokenizer_config.json").write_text(json.dumps(settings))
  return folder


def test_ids_are_transformers_for_every_line(checkpoint, lines):
  ours = Tokenizer.from_files(
    hub_tokenizer.convert_tokenizer(checkpoint), where="test", max_tokens=MAX_TOKENS
  )
  reference = transformers.AutoTokenizer.from_pretrained(checkpoint)
  assert ours.size == len(reference)
  special = ("pad", "unk", "cls", "sep", "mask")
  for role in special:
    assert getattr(ours, f"{role}_id") == getattr(reference, f"{role}_token_id"), role
  for start in range(0, len(lines), 5000):
    part = lines[start : start + 5000]
    expected = reference(part, truncation=True, max_length=MAX_TOKENS)["input_ids"]
    ids = ours.encode_ragged(part)
    for text, a, b in zip(part, ids, expected, strict=True):
      assert a == b, text
  assert max(map(len, ours.encode_ragged(SAMPLE))) == MAX_TOKENS  # something was cut


def test_xlmr_ids_are_sentencepiece_ids_moved_by_one(lines, tmp_path):
  """fairseq's order: <s> 0, <pad> 1, </s> 2, <unk> 3, then the pieces, <mask> last."""
  sentence_pieces(tmp_path, lines[:: max(1, len(lines) // 10_000)])
  (tmp_path / "config.json").write_text(json.dumps({"model_type": "xlm-roberta"}))
  (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "XLMRobertaTokenizer"}')
  files = hub_tokenizer.convert_tokenizer(tmp_path)
  tokens = Tokenizer.from_files(files, where="test", max_tokens=MAX_TOKENS)
  ids = (tokens.cls_id, tokens.pad_id, tokens.sep_id, tokens.unk_id)
  assert ids == (0, 1, 2, 3)
  model = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "sentencepiece.bpe.model"))
  assert tokens.mask_id == model.get_piece_size() + 1 == tokens.size - 1
  for text in SAMPLE[:7]:
    pieces = [3 if i == 0 else i + 1 for i in model.encode(text)][: MAX_TOKENS - 2]
    assert tokens.encode_ragged([text])[0][1:-1] == pieces, text


def test_what_export_writes_reads_alike_everywhere(checkpoint, tmp_path):
  """Our files through AutoTokenizer: the same ids, and no token types for models without them."""
  files = hub_tokenizer.convert_tokenizer(checkpoint)
  hub_tokenizer.write_tokenizer(files, tmp_path)
  reference = transformers.AutoTokenizer.from_pretrained(tmp_path)
  ours = Tokenizer.load(tmp_path, max_tokens=MAX_TOKENS)
  encoded = reference(SAMPLE, truncation=True, max_length=MAX_TOKENS)
  assert encoded["input_ids"] == ours.encode_ragged(SAMPLE)
  assert set(encoded) == {"input_ids", "attention_mask"}
  assert reference.mask_token_id == ours.mask_id
  assert hub_tokenizer.convert_tokenizer(tmp_path)["tokenizer.json"] == files["tokenizer.json"]


def test_ends_may_be_called_bos_and_eos(tmp_path):
  """Gemma's tokenizer, which mmBERT has: no cls and sep token by name, and no unknown one."""
  backend = tokenizers.Tokenizer(tokenizers.models.BPE(byte_fallback=True))
  backend.add_special_tokens(["<pad>", "<eos>", "<bos>", "<mask>"])
  backend.post_processor = tokenizers.processors.TemplateProcessing(
    single="<bos> $A <eos>", special_tokens=[("<bos>", 2), ("<eos>", 1)]
  )
  names = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "mask_token": "<mask>"}
  fast = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **names)
  fast.save_pretrained(tmp_path)
  (tmp_path / "config.json").write_text('{"model_type": "modernbert"}')
  files = hub_tokenizer.convert_tokenizer(tmp_path)
  tokens = Tokenizer.from_files(files, where="test", max_tokens=8)
  ids = (tokens.pad_id, tokens.sep_id, tokens.cls_id, tokens.mask_id, tokens.unk_id)
  assert ids == (0, 1, 2, 3, None)
  assert tokens.encode_ragged([""]) == [fast("")["input_ids"]] == [[2, 1]]


def test_mistakes(tmp_path):
  with pytest.raises(UserError, match=r"no config\.json"):
    hub_tokenizer.convert_tokenizer(tmp_path)
  (tmp_path / "config.json").write_text('{"model_type": "bert"}')
  with pytest.raises(UserError, match="has no tokenizer"):
    hub_tokenizer.convert_tokenizer(tmp_path)
  backend = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
  backend.save(str(tmp_path / "tokenizer.json"))
  settings = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]"}
  (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
  with pytest.raises(UserError, match="no pad_token, cls_token, sep_token$"):
    hub_tokenizer.convert_tokenizer(tmp_path)
  roles = dict.fromkeys(("pad_token", "cls_token", "sep_token", "mask_token"), "[UNK]")
  (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings | roles))
  files = hub_tokenizer.convert_tokenizer(tmp_path)
  with pytest.raises(UserError, match="not one of an encoder"):
    Tokenizer.from_files(files, where="test", max_tokens=8)
