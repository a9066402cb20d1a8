"""Tables of translations as other tools write them; expected rows are those files' own texts."""

import csv
import json
import tracemalloc

import datasets
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dap_jax.data.readers import formats
from dap_jax.utils.errors import UserError
from tests.hub_server import COMMITS, serving
from tests.test_hub_download import point_at

DE = [{"de": "ein Hund", "en": "a dog"}, {"de": "eine Katze", "en": "a cat"}]
ODD = [{"de": 'Er sagte:\n"ja",\tdann', "en": "He said, “yes”; then"}, {"de": "zwei", "en": "two"}]


def rows(format, **arguments):
  return list(formats.read_rows(format, pivot="en", **arguments))


def write(path, text):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  return str(path)


def records(path, lines, **dialect):
  """A file that the csv module writes."""
  with open(path, "w", newline="", encoding=dialect.pop("encoding", "utf-8")) as file:
    csv.writer(file, **dialect).writerows(lines)
  return str(path)


def json_lines(path, objects):
  return write(path, "".join(json.dumps(each) + "\n" for each in objects))


def workbook(path, sheets):
  book = openpyxl.Workbook()
  book.remove(book.active)
  for title, lines in sheets.items():
    sheet = book.create_sheet(title)
    for line in lines:
      sheet.append(line)
  book.save(path)
  return str(path)


def parquet(path, columns, **options):
  path.parent.mkdir(parents=True, exist_ok=True)
  pq.write_table(pa.table(columns), path, **options)
  return str(path)


# ---- which columns: the same for every kind of table

# name of the file, the names of its columns, its lines, arguments, the rows
LAYOUTS = {
  "by code": ("x", ["de", "en"], [["ein Hund", "a dog"]], {}, DE[:1]),
  "an id first": ("x", ["id", "de", "en"], [["d1", "ein Hund", "a dog"]], {}, DE[:1]),
  "Indonesian": (
    *("x", ["id", "en"], [["seekor anjing", "a dog"]], {}),
    [{"id": "seekor anjing", "en": "a dog"}],
  ),
  "the header decides": ("de-en", ["en", "de"], [["a dog", "ein Hund"]], {}, DE[:1]),
  "scripts": (
    *("x", ["eng_Latn", "deu_Latn", "ayr_Latn"], [["a dog", "ein Hund", "anu"]], {}),
    [{"en": "a dog", "deu_Latn": "ein Hund", "ayr_Latn": "anu"}],
  ),
  "codes as asked for": (
    *("x", ["eng", "deu_Latn", "fra"], [["a dog", "ein Hund", "un chien"]]),
    *({"languages": ["de", "en"]}, DE[:1]),
  ),
  "names": ("x", ["German", "ENGLISH", "Note"], [["ein Hund", "a dog", "ok"]], {}, [DE[0]]),
  "english": ("de-en", ["non_english", "english"], [["ein Hund", "a dog"]], {}, DE[:1]),
  "the order of english": (
    "de-en",
    ["english", "non_english"],
    [["a dog", "ein Hund"]],
    {},
    DE[:1],
  ),
  "source": ("en-de", ["lp", "source", "target"], [["x", "a dog", "ein Hund"]], {}, DE[:1]),
  "src": (
    *("x", ["src", "trg"], [["a dog", "ein Hund"]]),
    *({"languages": ["en", "de"]}, DE[:1]),
  ),
  "sentence1": ("de-en", ["sentence1", "sentence2"], [["ein Hund", "a dog"]], {}, DE[:1]),
  "each line its languages": (
    *("x", ["src_lang", "src_text", "tgt_lang", "tgt_text", "domain"]),
    [
      ["deu_Latn", "ein Hund", "eng_Latn", "a dog", "a"],
      ["eng_Latn", "a cat", "fr", "un chat", ""],
    ],
    {},
    [{"deu_Latn": "ein Hund", "en": "a dog"}, {"en": "a cat", "fr": "un chat"}],
  ),
  "numbers": (
    *("de-en", ["a", "b", "c"], [["x", "ein Hund", "a dog"]]),
    *({"columns": ["b", "c"]}, DE[:1]),
  ),
  "columns of languages": (
    *("x", ["en", "fr", "de"], [["a dog", "un chien", "ein Hund"]]),
    *({"columns": ["de", "en"]}, DE[:1]),
  ),
  "missing": (
    *("x", ["de", "en", "fr"], [["ein Hund", "a dog", ""], ["eine Katze", "", ""]], {}),
    DE[:1],
  ),
}


def tsv_file(path, heads, lines):
  return write(path, "".join("\t".join(line) + "\n" for line in [heads, *lines]))


WRITERS = {
  "tsv": tsv_file,
  "csv": lambda path, heads, lines: records(path, [heads, *lines]),
  "jsonl": lambda path, heads, lines: json_lines(
    path, [dict(zip(heads, line, strict=True)) for line in lines]
  ),
  "parquet": lambda path, heads, lines: parquet(
    path, {head: [line[i] for line in lines] for i, head in enumerate(heads)}
  ),
  "xlsx": lambda path, heads, lines: workbook(path, {"one": [heads, *lines]}),
}


@pytest.mark.parametrize("format", WRITERS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_columns(tmp_path, format, layout):
  name, heads, lines, arguments, expected = LAYOUTS[layout]
  path = WRITERS[format](tmp_path / f"{name}.{format}", heads, lines)
  assert rows(format, paths=path, **arguments) == expected
  assert rows(format, paths=str(tmp_path), **arguments) == expected


@pytest.mark.parametrize("format", WRITERS)
@pytest.mark.parametrize(
  ("heads", "arguments", "message"),
  [
    (["source", "target"], {}, "of which languages"),
    (["zh-Hans", "zh-Hant", "en"], {"languages": ["zh", "en"]}, "are both of zh: set data.arg"),
    (["a", "b", "c"], {"columns": ["d", "c"]}, "no column 'd', the first line has 'a', 'b', 'c'"),
    (["a", "b"], {"columns": [1, "b"]}, "expected two numbers, counted from 1, or two names"),
    (["a", "b"], {"columns": ["a"], "languages": ["de", "en"]}, "1 columns of texts in the 2 lang"),
    (["source", "target"], {"languages": ["de", "fr"]}, "one of them data.pivot='en'"),
  ],
)
def test_mistakes_in_columns(tmp_path, format, heads, arguments, message):
  path = WRITERS[format](tmp_path / f"x.{format}", heads, [["ein Hund"] * len(heads)])
  with pytest.raises(UserError, match=message):
    rows(format, paths=path, **arguments)


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet", "xlsx"])
def test_unknown_columns_are_listed(tmp_path, format):
  path = WRITERS[format](tmp_path / f"de-en.{format}", ["a", "b", "c"], [["1", "x", "y"]])
  with pytest.raises(UserError, match=r"Set data.arguments.columns to two of: 'a', 'b', 'c'"):
    rows(format, paths=path)


@pytest.mark.parametrize("format", WRITERS)
def test_a_score_is_no_text(tmp_path, format):
  lines = [[f"1.{n}", f"ein Hund {n}", f"a dog {n}"] for n in range(1500)]
  heads = ["score", "eins", "zwei"]
  path = WRITERS[format](tmp_path / f"de-en.{format}", heads, lines)
  with pytest.raises(
    UserError, match=r":100[01]: column (1|'score') holds numbers .*arguments\.columns"
  ):
    rows(format, paths=path, columns=[1, 3])
  with pytest.raises(UserError, match=r"column 1 holds numbers .*columns=\[2, 3\]"):
    rows("tsv", paths=tsv_file(tmp_path / "de-en.tsv", lines[0], lines[1:]))  # as of WikiMatrix


def test_numbers_at_the_beginning_are_texts(tmp_path):
  pairs = [[str(n), str(n)] for n in range(200)] + [["ein Hund", "a dog"]] * 800
  assert len(rows("tsv", paths=tsv_file(tmp_path / "de-en.tsv", *pairs[:1], pairs[1:]))) == 1000


def test_a_long_run_of_digits_takes_no_time(tmp_path):
  path = write(tmp_path / "de-en.tsv", ("1" * 400_000 + "x\ta dog\n") * 2)
  assert len(rows("tsv", paths=path)) == 2


# ---- csv, and tsv with quotes


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv(tmp_path, delimiter, end):
  path = tmp_path / "x.csv"
  lines = [["de", "en"], *([row["de"], row["en"]] for row in ODD)]
  records(path, lines, delimiter=delimiter, lineterminator=end, encoding="utf-8-sig")
  assert rows("csv", paths=str(path)) == ODD
  assert rows("csv", paths=str(path), delimiter=delimiter) == ODD
  if delimiter == "\t":
    assert rows("tsv", paths=str(path), quoted=True) == ODD


def test_quotes_of_a_tsv_are_text(tmp_path):
  path = write(tmp_path / "de-en.tsv", '"Ja" sagte er.\t"Yes", he said.\n')
  assert rows("tsv", paths=path) == [{"de": '"Ja" sagte er.', "en": '"Yes", he said.'}]
  with pytest.raises(UserError, match=r"de-en\.tsv:1: .* after '\"': is a quote not closed\?"):
    rows("tsv", paths=path, quoted=True)


def test_a_record_is_counted_by_its_first_line(tmp_path):
  path = records(tmp_path / "x.csv", [["de", "en"], ["ein\nHund", "a dog"], ["zwei", "two"]])
  found = list(formats.read_rows("csv", pivot="en", paths=path))
  assert [row.where.rpartition(":")[2] for row in found] == ["2", "4"]


def test_two_columns_without_names(tmp_path):
  path = records(tmp_path / "de-en.csv", [["ein Hund", "a dog"], ["eine Katze", "a cat"]])
  assert rows("csv", paths=path) == DE


@pytest.mark.parametrize(
  ("text", "arguments", "message"),
  [
    ('de,en\n"ein Hund,a dog\n', {}, r"x\.csv:2: unexpected end of data: is a quote not closed"),
    ("de,en\nein Hund\n", {}, r"x\.csv:2: one column, expected texts in columns 1 and 2, sep"),
    ("ein Hund\n", {}, r"x\.csv:1: one column, whether commas, semicolons"),
    ("de,en\n", {"delimiter": "#"}, "delimiter='#': expected one of ','"),
    ('de,en\n"' + "x\n" * 700_000, {}, r"x\.csv:2: (field larger|a record of over)"),
    ("de,en\n", {}, "gave no pair"),
  ],
)
def test_csv_mistakes(tmp_path, text, arguments, message):
  with pytest.raises(UserError, match=message):
    rows("csv", paths=write(tmp_path / "x.csv", text), **arguments)


# ---- jsonl


def test_translation_of_json_lines(tmp_path):
  objects = [{"id": 1, "translation": {"de": "ein Hund", "en": "a dog", "fr": None}}]
  objects += [{"id": 2, "translation": None}, {"translation": {"en": "a cat", "de": "eine Katze"}}]
  assert rows("jsonl", paths=json_lines(tmp_path / "x.jsonl", objects)) == DE


def test_keys_may_come_late_or_be_absent(tmp_path):
  objects = [{"en": "a dog", "de": "ein Hund"}, *([{"en": "two", "de": "zwei"}] * 30)]
  objects += [{"de": None, "en": "three"}, {"fr": "un chat", "en": "a cat"}]
  found = rows("jsonl", paths=json_lines(tmp_path / "x.jsonl", objects))
  assert found[0] == DE[0] and found[-1] == {"fr": "un chat", "en": "a cat"} and len(found) == 32


def test_half_a_character_leaves_a_row_out(tmp_path):
  path = write(
    tmp_path / "x.jsonl", '{"de": "\\ud83d", "en": "a"}\n{"de": "\\ud83d\\ude00", "en": "b"}\n'
  )
  found = list(formats.read_rows("jsonl", pivot="en", paths=path))
  assert [(dict(row), row.reason) for row in found] == [
    ({}, "surrogate"),
    ({"de": "😀", "en": "b"}, ""),
  ]


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ('{"de": "a", "en": "b"}\n{"de": "a", \n', r"x\.jsonl:2: no JSON: "),
    ('[{"de": "a", "en": "b"}]\n', r"x\.jsonl:1: .*, expected an object; .*jq -c"),
    ('[\n{"de": "a", "en": "b"}]\n', r"x\.jsonl:1: no JSON: .*jq -c"),
    ('{"de": ["a"], "en": "b"}\n', r"x\.jsonl:1: \['a'\] is no text"),
    ('{"translation": {"de": "a", "en": "b"}}\n{"translation": "x"}\n', ":2: translation='x', exp"),
    ("[" * 100_000 + "\n", r"x\.jsonl:1: no JSON"),
    ('{"de": ' + "1" * 10_000 + ', "en": "b"}\n', r"x\.jsonl:1: no JSON"),
  ],
)
def test_jsonl_mistakes(tmp_path, text, message):
  with pytest.raises(UserError, match=message):
    rows("jsonl", paths=write(tmp_path / "x.jsonl", text))


# ---- parquet


def test_translation_of_parquet(tmp_path):
  texts = [*DE, {"de": "drei", "en": None}, None]
  path = parquet(tmp_path / "x.parquet", {"translation": texts}, row_group_size=1)
  assert rows("parquet", paths=path) == DE


@pytest.mark.parametrize(
  "kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_types_of_parquet(tmp_path, kind):
  columns = {"vector": [[0.5], [1.5]], "picture": [b"\xff", b"\x00"]}
  columns |= {code: pa.array([row[code] for row in DE]).cast(kind) for code in ("de", "en")}
  path = parquet(tmp_path / "x.parquet", columns, compression="zstd")
  assert rows("parquet", paths=path) == DE
  assert rows("parquet", paths=path, columns=[3, 4]) == DE
  with pytest.raises(UserError, match="no column 9, it has 4: 'vector'"):
    rows("parquet", paths=path, columns=[3, 9])


def test_damaged_parquet(tmp_path):
  path = tmp_path / "x.parquet"
  parquet(path, {"de": ["ein Hund"], "en": ["a dog"]})
  data = path.read_bytes()
  for damaged in (
    data[:50],
    b"",
    b"PAR1" + bytes(60),
    data.replace(b"ein Hund", b"ein H\xff\xffd"),
  ):
    path.write_bytes(damaged)
    with pytest.raises(UserError, match=r"cannot read .*x\.parquet as Parquet"):
      rows("parquet", paths=str(path))


# ---- xlsx


def test_xlsx(tmp_path):
  lines = [["de", "en", "n"], *([row["de"], row["en"], 1] for row in ODD), [], ["drei", None]]
  path = workbook(tmp_path / "x.xlsx", {"one": lines, "two": [["en", "de"], ["a dog", "ein Hund"]]})
  assert rows("xlsx", paths=path) == ODD
  assert rows("xlsx", paths=path, sheet="two") == DE[:1]
  with pytest.raises(UserError, match="sheet='three': no such sheet, it has 'one', 'two'"):
    rows("xlsx", paths=path, sheet="three")


def test_cells_that_are_no_texts(tmp_path):
  path = workbook(
    tmp_path / "de-en.xlsx", {"a": [["source", "target"], [7.0, 7], ["a_x000D_\nb", "c"]]}
  )
  assert rows("xlsx", paths=path) == [{"de": "7", "en": "7"}, {"de": "a\r\nb", "en": "c"}]


def test_what_is_no_workbook(tmp_path):
  path = tmp_path / "de-en.xlsx"
  for content in (b"", b"ein Hund\ta dog\n", b"PK\x03\x04" + bytes(80)):
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"cannot read .*de-en\.xlsx: File is not a zip file"):
      rows("xlsx", paths=str(path))
  workbook(tmp_path / "de-en.tsv", {"a": [["a", "b"]]})
  with pytest.raises(UserError, match="data.format='xlsx'"):
    rows("tsv", paths=str(tmp_path / "de-en.tsv"))


# ---- hugging_face

README = (
  "---\nconfigs:\n- config_name: de-en\n  data_files:\n  - split: train\n    path: a/*.parquet\n"
)
README += "- config_name: fr-en\n  data_files: b/x.csv\n---\n"


@pytest.fixture
def folder(tmp_path):
  """A repository whose README says where its files are."""
  write(tmp_path / "set" / "README.md", README)
  parquet(tmp_path / "set" / "a" / "0.parquet", {"translation": DE})
  write(tmp_path / "set" / "b" / "x.csv", "source,target\nun chien,a dog\n")
  write(tmp_path / "set" / "vectors.bin", b"not asked for")
  return tmp_path / "set"


def test_a_folder_with_configs(folder):
  assert rows("hugging_face", name=str(folder), config="de-en") == DE
  french = rows("hugging_face", name=str(folder), config="fr-en")
  assert french == [{"fr": "un chien", "en": "a dog"}]
  for arguments, message in (
    ({}, "config='', expected one of 'de-en', 'fr-en'"),
    ({"config": "it-en"}, "config='it-en', expected one of 'de-en', 'fr-en'"),
    ({"config": "de-en", "split": "test"}, "split='test', expected one of 'train'"),
  ):
    with pytest.raises(UserError, match=message):
      rows("hugging_face", name=str(folder), **arguments)


@pytest.mark.parametrize(
  ("files", "arguments"),
  [
    (["data/train-00000-of-00002.parquet", "data/test-00000-of-00001.parquet"], {}),
    (
      ["de-en/train-0.parquet", "de-en/test-0.parquet", "fr-en/train-0.parquet"],
      {"config": "de-en"},
    ),
    (["de-en/partial-train/0000.parquet", "de-en/test/0.parquet"], {"config": "de-en"}),
    (["de-en-train.parquet", "de-en-dev.parquet", "fr-en-train.parquet"], {"config": "de-en"}),
    (["de-en/texts.parquet"], {"config": "de-en"}),
    (["texts.parquet"], {}),
    (["validation.parquet", "train.parquet", "dev.parquet"], {"split": "train"}),
  ],
)
def test_files_by_their_names(tmp_path, files, arguments):
  for name in files:
    right = name == files[0] or ("train" in name and len(files) == 3 and name == "train.parquet")
    other = [{"de": "falsch", "en": "wrong"}]
    if arguments.get("split"):
      right = name == "train.parquet"
    parquet(tmp_path / name, {"translation": DE if right else other})
  assert rows("hugging_face", name=str(tmp_path), **arguments) == DE


def test_what_datasets_writes(tmp_path):
  features = datasets.Features({"translation": datasets.Translation(languages=["de", "en"])})
  data = datasets.Dataset.from_dict({"translation": DE}, features=features)
  data.to_parquet(tmp_path / "train.parquet")
  assert rows("hugging_face", name=str(tmp_path)) == DE
  (tmp_path / "train.parquet").unlink()
  data.to_json(tmp_path / "train.jsonl")
  assert rows("hugging_face", name=str(tmp_path)) == DE
  (tmp_path / "train.jsonl").unlink()
  datasets.Dataset.from_list(DE).to_csv(tmp_path / "train.csv")
  assert rows("hugging_face", name=str(tmp_path)) == DE


def test_no_data_and_scripts(tmp_path):
  with pytest.raises(UserError, match="neither Parquet nor JSON lines nor CSV"):
    rows("hugging_face", name=str(tmp_path))
  write(tmp_path / "set.py", "import datasets\n")
  with pytest.raises(UserError, match="a dataset script, which is not run: .*refs/convert/parquet"):
    rows("hugging_face", name=str(tmp_path))
  write(tmp_path / "README.md", "---\nconfigs: [&a [*a\n---\n")
  with pytest.raises(UserError, match="cannot read the YAML"):
    rows("hugging_face", name=str(tmp_path))


def test_paths_of_a_readme_stay_in_its_folder(tmp_path):
  write(tmp_path / "secret.csv", "de,en\nein Hund,a dog\n")
  for path in ("../secret.csv", str(tmp_path / "secret.csv"), "**", "a**b"):
    head = f"---\nconfigs:\n- config_name: x\n  data_files: '{path}'\n---\n"
    write(tmp_path / "set" / "README.md", head)
    with pytest.raises(UserError, match="no data files|data_files"):
      rows("hugging_face", name=str(tmp_path / "set"))


def test_a_set_of_the_hub(folder, tmp_path, monkeypatch):
  plain = tmp_path / "plain"
  parquet(plain / "de-en" / "train-0.parquet", {"de": ["ein Hund"], "en": ["a dog"]})
  parquet(plain / "de-en" / "test-0.parquet", {"de": ["falsch"], "en": ["wrong"]})
  script = tmp_path / "script"
  write(script / "old.py", "import datasets\n")
  sets = {"org/set": folder, "org/plain": plain, "org/old": script}
  with serving({name: {COMMITS["main"]: path} for name, path in sets.items()}) as hub:
    point_at(monkeypatch, hub.address, tmp_path / "cache")
    assert rows("hugging_face", name="org/set", config="de-en", revision="main") == DE
    assert {name for name, _ in hub.served} == {"README.md", "0.parquet"}
    assert rows("hugging_face", name="org/plain", config="de-en") == DE[:1]
    assert "test-0.parquet" not in {name for name, _ in hub.served}
    with pytest.raises(UserError, match="org/old: it is a dataset script"):
      rows("hugging_face", name="org/old")
    with pytest.raises(UserError, match="has no such data set"):
      rows("hugging_face", name="org/nothing")
    with pytest.raises(UserError, match="no folder, and no id of a data set"):
      rows("hugging_face", name="a b")
  point_at(monkeypatch, hub.address, tmp_path / "cache", offline=True)
  assert rows("hugging_face", name="org/set", config="de-en") == DE


def test_memory_does_not_grow_with_a_parquet_file(tmp_path):
  """30 MB in 30 row groups; what is read of the file is held for a few of them at a time."""
  path = tmp_path / "de-en.parquet"
  schema = pa.schema([("de", pa.string()), ("en", pa.string())])
  with pq.ParquetWriter(path, schema, compression="none") as writer:
    for group in range(30):
      texts = [f"{group} {number} " + "x" * 490 for number in range(1000)]
      columns = [pa.array(texts), pa.array([text[::-1] for text in texts])]
      writer.write_table(pa.table(columns, schema=schema))
  tracemalloc.start()
  try:
    rows = sum(1 for _ in formats.read_rows("parquet", pivot="en", paths=(str(path),)))
    peak = tracemalloc.get_traced_memory()[1]
  finally:
    tracemalloc.stop()
  assert rows == 30_000 and peak < 10e6 < path.stat().st_size / 2.5
