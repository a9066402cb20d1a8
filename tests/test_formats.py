"""Readers: every format on small files written here; expected rows are those files' own texts."""

import gzip
import subprocess
import sys

import pytest

from dap_jax.data.readers import formats
from dap_jax.utils.errors import UserError

DE = [{"de": "ein Hund", "en": "a dog"}, {"de": "eine Katze", "en": "a cat"}]


def rows(format, **arguments):
  return list(formats.read_rows(format, pivot="en", **arguments))


def write(path, text):
  path.parent.mkdir(parents=True, exist_ok=True)
  data = text if isinstance(text, bytes) else text.encode()
  path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
  return str(path)


# ---- tsv


@pytest.mark.parametrize(
  ("name", "text"),
  [
    ("de-en.tsv", "ein Hund\ta dog\neine Katze\ta cat\n"),
    ("en-de.tsv", "a dog\tein Hund\na cat\teine Katze"),  # no newline at the end
    ("Corpus.de-en.tsv.gz", "ein Hund\ta dog\neine Katze\ta cat\n"),
    ("de-en.tsv", "\ufeffein Hund\ta dog\r\neine Katze\ta cat\r\n"),  # as Windows writes
    ("de-en.tsv", "ein Hund\ta dog\t0.9\tx\neine Katze\ta cat\t1\n"),  # further columns
    ("de-en.tsv", "source\ttarget\nein Hund\ta dog\neine Katze\ta cat\n"),
    ("de-en.tsv", "english\tnon_english\na dog\tein Hund\na cat\teine Katze\n"),
    ("en-de.tsv", "source\ten\nein Hund\ta dog\neine Katze\ta cat\n"),  # the DAP program's
    ("train.tsv", "en\tde\na dog\tein Hund\na cat\teine Katze\n"),
  ],
)
def test_tsv(tmp_path, name, text):
  assert rows("tsv", paths=write(tmp_path / name, text)) == DE


def test_tsv_languages_by_argument(tmp_path):
  path = write(tmp_path / "train.tsv", "anchor\tpositive\na dog\tein Hund\na cat\teine Katze\n")
  assert rows("tsv", paths=[path], languages=["en", "de"]) == DE


def test_tsv_language_code_with_subtag(tmp_path):
  path = write(tmp_path / "en-pt-BR.tsv", "a dog\tum cachorro\n")
  assert rows("tsv", paths=path) == [{"en": "a dog", "pt-BR": "um cachorro"}]


def test_tsv_folders_and_globs_are_read_in_order(tmp_path):
  write(tmp_path / "b" / "fr-en.tsv.gz", "un chien\ta dog\n")
  write(tmp_path / "a" / "de-en.tsv", "ein Hund\ta dog\n")
  expected = [{"de": "ein Hund", "en": "a dog"}, {"fr": "un chien", "en": "a dog"}]
  assert rows("tsv", paths=[str(tmp_path / "*" / "*.tsv*")]) == expected
  assert rows("tsv", paths=[str(tmp_path / "a"), str(tmp_path / "b")]) == expected


def test_only_newline_ends_a_line(tmp_path):
  # U+2028, U+0085 and form feed end lines for str.splitlines, but not in a corpus file.
  path = write(tmp_path / "de-en.tsv", "ein\u2028Hund\x0c\ta\x85dog\n")
  assert rows("tsv", paths=path) == [{"de": "ein\u2028Hund\x0c", "en": "a\x85dog"}]


def test_blank_texts_are_missing(tmp_path):
  path = write(tmp_path / "de-en.tsv", "ein Hund\ta dog\n \ta bird\neine Katze\ta cat\nBaum\t\n")
  assert rows("tsv", paths=path) == DE


@pytest.mark.parametrize(
  ("name", "text", "arguments", "message"),
  [
    ("de-en.tsv", b"ein Hund\ta dog\nKatze\xff\ta cat\n", {}, r"de-en\.tsv:2: not UTF-8"),
    ("de-en.tsv", "ein Hund\ta dog\nKatze\n", {}, r"de-en\.tsv:2: one column"),
    ("de-en.tsv", "", {}, "gave no pair"),
    ("de-en.tsv", "\t\n", {}, "gave no pair"),
    ("train.tsv", "ein Hund\ta dog\n", {}, r"train\.tsv: of which languages\?"),
    ("de-fr.tsv", "ein Hund\tun chien\n", {}, r"de-fr\.tsv: of which languages\?"),
    ("train.tsv", "ein Hund\ta dog\n", {"languages": ["de", "fr"]}, "one of them data.pivot='en'"),
    ("train.tsv", "ein Hund\ta dog\n", {"languages": ["en"]}, "expected two"),
  ],
)
def test_tsv_mistakes(tmp_path, name, text, arguments, message):
  path = write(tmp_path / name, text)
  with pytest.raises(UserError, match=message):
    rows("tsv", paths=path, **arguments)


def test_missing_and_damaged_files(tmp_path):
  with pytest.raises(UserError, match="'.*nowhere-en.tsv' matches no file"):
    rows("tsv", paths=str(tmp_path / "nowhere-en.tsv"))
  with pytest.raises(UserError, match="matches no file"):
    rows("tsv", paths=str(tmp_path / "*.tsv"))
  whole = gzip.compress(b"ein Hund\ta dog\n" * 1000)
  for damaged in (whole[: len(whole) // 2], whole[:20] + b"\xff" * 20 + whole[40:]):
    (tmp_path / "de-en.tsv.gz").write_bytes(damaged)
    with pytest.raises(UserError, match=r"cannot read .*de-en\.tsv\.gz"):
      rows("tsv", paths=str(tmp_path / "de-en.tsv.gz"))


# ---- moses


def test_moses(tmp_path):
  write(tmp_path / "train.en", "a dog\na cat\n")
  write(tmp_path / "train.de.gz", "ein Hund\neine Katze\n")
  write(tmp_path / "train.fr", "un chien\n\n")  # the second line has no translation
  prefix = str(tmp_path / "train")
  assert rows("moses", prefixes=prefix, languages="de") == DE
  pairs = rows("moses", prefixes=[prefix], languages=["de", "fr", "xx"])
  assert pairs == [*DE, {"en": "a dog", "fr": "un chien"}]


def test_moses_mistakes(tmp_path):
  prefix = str(tmp_path / "train")
  write(tmp_path / "train.en", "a dog\na cat\na bird\n")
  with pytest.raises(UserError, match=r"no file .*train\.de or fr"):
    rows("moses", prefixes=prefix, languages=["de", "fr"])
  write(tmp_path / "train.de", "ein Hund\n")
  with pytest.raises(UserError, match=r"train\.en has 3, .*train\.de has 1"):
    rows("moses", prefixes=prefix, languages=["de"])
  with pytest.raises(UserError, match=r"no file .*other\.en"):
    rows("moses", prefixes=str(tmp_path / "other"), languages=["de"])
  with pytest.raises(UserError, match=r"data\.arguments\.languages=\[\]"):
    rows("moses", prefixes=prefix, languages=[])


# ---- multiway


def test_multiway_keyed(tmp_path):
  write(tmp_path / "en.tsv", "k1\ta dog\nk2\ta cat\nk3\ta bird\n")
  write(tmp_path / "de.tsv.gz", "k2\teine Katze\nk1\tein Hund\nk9\tnur deutsch\n")
  write(tmp_path / "pt-BR.tsv", "k1\tum cachorro\n")
  write(tmp_path / "README.txt", "not a language\n")
  assert rows("multiway", folder=str(tmp_path)) == [
    {"en": "a dog", "de": "ein Hund", "pt-BR": "um cachorro"},
    {"en": "a cat", "de": "eine Katze"},
  ]


def test_multiway_line_aligned(tmp_path):
  write(tmp_path / "en.txt", "a dog\na cat\n")
  write(tmp_path / "de.txt.gz", "ein Hund\neine Katze\n")
  write(tmp_path / "fr.txt", "\nun chat\n")
  assert rows("multiway", folder=str(tmp_path)) == [DE[0], {**DE[1], "fr": "un chat"}]


@pytest.mark.parametrize(
  ("files", "message"),
  [
    ({"en.txt": "a\nb\n", "de.txt": "a\n"}, r"de\.txt has 1, .*en\.txt has 2"),
    ({"en.tsv": "k\ta\nk\tb\n", "de.tsv": "k\tA\n"}, r"en\.tsv:2: the key 'k' occurs twice"),
    ({"en.tsv": "k\ta\n", "de.tsv": "A\n"}, r"de\.tsv:1: no tab"),
    ({"en.tsv": "k\ta\n", "de.tsv": "k\tA\n", "de.tsv.gz": "k\tA\n"}, "are the same language"),
    ({"en.tsv": "k\ta\n", "de.txt": "A\n"}, "not both"),
    ({"fr.tsv": "k\ta\n", "de.tsv": "k\tA\n"}, "en among them; found 2 keyed and 0 line-aligned"),
    ({"en.tsv": "k\ta\n", "de.tsv": "j\tA\n"}, "gave no pair"),
    ({"en.tsv": "k\ta\n"}, "gave no pair"),
  ],
)
def test_multiway_mistakes(tmp_path, files, message):
  for name, text in files.items():
    write(tmp_path / name, text)
  with pytest.raises(UserError, match=message):
    rows("multiway", folder=str(tmp_path))


def test_multiway_needs_a_folder(tmp_path):
  with pytest.raises(UserError, match="is no folder"):
    rows("multiway", folder=str(tmp_path / "nowhere"))


def test_multiway_reads_tico19(shared):
  # Its SOURCE.md: 3071 ids, all present in all 33 files.
  texts = rows("multiway", folder=str(shared / "data" / "tico19"))
  assert [len(row) for row in texts] == [33] * 3071


# ---- tfds


@pytest.fixture(scope="module")
def tfds_folder(tmp_path_factory):
  """A real TFDS data folder: each set one TFRecord file and its metadata."""
  import tensorflow as tf
  import tensorflow_datasets as tfds

  folder = tmp_path_factory.mktemp("tfds")

  def add(name, features, examples):
    data = folder / name / "1.0.0"
    data.mkdir(parents=True)
    dataset = name.split("/")[0]
    with tf.io.TFRecordWriter(str(data / f"{dataset}-train.tfrecord-00000-of-00001")) as writer:
      for example in examples:
        writer.write(features.serialize_example(features.encode_example(example)))
    template = tfds.core.ShardedFileTemplate(
      data_dir=str(data), dataset_name=dataset, split="train", filetype_suffix="tfrecord"
    )
    split = tfds.core.SplitInfo(
      name="train", shard_lengths=[len(examples)], num_bytes=0, filename_template=template
    )
    tfds.folder_dataset.write_metadata(
      data_dir=str(data), features=features, split_infos=[split], description="made by a test"
    )

  translation = tfds.features.Translation(languages=("de", "en"))
  add("tiny_translate/de-en", translation, DE)
  nested = tfds.features.FeaturesDict({"id": tfds.features.Text(), "translation": translation})
  add("tiny_nested", nested, [{"id": str(i), "translation": row} for i, row in enumerate(DE)])
  add("tiny_text", tfds.features.FeaturesDict({"text": tfds.features.Text()}), [{"text": "a"}])
  return str(folder)


@pytest.mark.parametrize("name", ["tiny_translate/de-en:1.0.0", "tiny_nested:1.0.0"])
def test_tfds(tfds_folder, name):
  assert rows("tfds", name=name, split="train", data_dir=tfds_folder) == DE
  assert rows("tfds", name=name, split="train[1:]", data_dir=tfds_folder) == DE[1:]


@pytest.mark.parametrize(
  ("name", "split", "message"),
  [
    ("tiny_translate/de-en", "train", "version number"),
    ("tiny_translate/de-en:1.0.0", "test", r"Unknown split 'test'\. Should be one of \['train'\]"),
    ("tiny_missing:1.0.0", "train", "tiny_missing not found"),
    ("tiny_text:1.0.0", "train", "its examples have text; expected texts by language"),
  ],
)
def test_tfds_mistakes(tfds_folder, name, split, message):
  with pytest.raises(UserError, match=message):
    rows("tfds", name=name, split=split, data_dir=tfds_folder)


# ---- the entry


def test_unknown_format_and_arguments(tmp_path):
  with pytest.raises(UserError, match="data.format='text' is none of tsv, csv, "):
    formats.read_rows("text", pivot="en")
  with pytest.raises(UserError, match=r"has path, but data.format='tsv' takes paths, languages, "):
    formats.read_rows("tsv", pivot="en", path="x")
  with pytest.raises(UserError, match=r"data.format='multiway' takes .*missing .* 'folder'"):
    formats.read_rows("multiway", pivot="en", extension="x")


def test_import_is_light():
  code = "import sys, dap_jax.data.readers.formats; print(*sys.modules)"
  modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
  heavy = {"tensorflow", "seqio", "jax", "torch", "django", "sphinx", "wagtail"}
  assert not heavy & set(modules.stdout.split())
