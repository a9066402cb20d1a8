"""docs/your-data.md, command by command, on small files."""

import json
import re
import shlex
import zipfile

import openpyxl
import pyarrow as pa
import pyarrow.parquet
import pytest

from tests import hub_folders
from tests.commands import ROOT

COMMANDS = re.findall(
  r"^python -m dap_jax\.(.+)$", (ROOT / "docs" / "your-data.md").read_text(), re.MULTILINE
)
# The shipped config is for thousands of pairs.
SMALL = {"steps = 500": "steps = 2", "batch_size = 64": "batch_size = 8"}
SMALL |= {"sentences = 200": "sentences = 4"}
WORDS = ["red", "old", "new", "big"], ["page", "user", "file", "word"], ["opens", "shuts", "waits"]


@pytest.fixture(scope="module")
def folder(commands, tmp_path_factory):
  """Every file that the commands name: 48 sentences and their reversal."""
  folder = tmp_path_factory.mktemp("files")
  english = [f"the {a} {b} {c}" for a in WORDS[0] for b in WORDS[1] for c in WORDS[2]]
  pairs = [(text[::-1], text) for text in english]
  (folder / "de-en.tsv").write_text("".join(f"{de}\t{en}\n" for de, en in pairs + pairs[:3]))
  (folder / "pairs.tsv").write_text("".join(f"{de}\t{en}\n" for de, en in pairs))
  scored = "".join(f"1.0{n}\t{de}\t{en}\n" for n, (de, en) in enumerate(pairs))
  (folder / "WikiMatrix.de-en.tsv").write_text(scored)
  with zipfile.ZipFile(folder / "de-en.txt.zip", "w") as archive:
    archive.writestr("Set.de-en.de", "".join(f"{de}\n" for de, _ in pairs))
    archive.writestr("Set.de-en.en", "".join(f"{en}\n" for _, en in pairs))
  (folder / "table.csv").write_text("".join(f"{de},{en}\n" for de, en in [("de", "en"), *pairs]))
  book = openpyxl.Workbook()
  for row in [("de", "en"), *pairs]:
    book.active.append(row)
  book.save(folder / "table.xlsx")
  rows = [{"de": de, "en": en} for de, en in pairs]
  (folder / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  write_memories(folder, pairs)
  table = pa.table({"translation": rows})
  pyarrow.parquet.write_table(table, folder / "table.parquet")
  (folder / "opus-folder" / "de-en").mkdir(parents=True)
  pyarrow.parquet.write_table(
    table, folder / "opus-folder" / "de-en" / "train-00000-of-00001.parquet"
  )
  (folder / "bible").mkdir()
  for side, code in enumerate(("de", "en")):
    lines = [f"{n}\t{pair[side]}\n" for n, pair in enumerate(pairs)]
    (folder / "bible" / f"{code}.tsv").write_text("".join(lines))
  for side, code in enumerate(("de", "en")):
    (folder / f"bitext.{code}").write_text("".join(f"{pair[side]}\n" for pair in pairs))
  hub_folders.sentence_folder(folder / "sentence-transformers" / "all-MiniLM-L6-v2")
  (folder / "configs").mkdir()
  config = (ROOT / "configs" / "finetune_pairs.py").read_text()
  for line, small in SMALL.items():
    assert line in config
    config = config.replace(line, small)
  (folder / "configs" / "finetune_pairs.py").write_text(config)
  return folder


def write_memories(folder, pairs):
  variants = '<tuv xml:lang="de"><seg>{}</seg></tuv><tuv xml:lang="en"><seg>{}</seg></tuv>'
  units = "".join(f"<tu>{variants.format(*pair)}</tu>" for pair in pairs)
  (folder / "memory.tmx").write_text(f"<tmx><body>{units}</body></tmx>")
  segment = "<trans-unit><source>{1}</source><target>{0}</target></trans-unit>"
  units = "".join(segment.format(*pair) for pair in pairs)
  file = '<xliff><file source-language="en" target-language="de">{}</file></xliff>'
  (folder / "project.xlf").write_text(file.format(units))
  messages = "".join(f'msgid "{en}"\nmsgstr "{de}"\n\n' for de, en in pairs)
  (folder / "de.po").write_text(messages)


DRY_RUNS = [line for line in COMMANDS if "--dry_run" in line and "negatives" not in line]


@pytest.mark.parametrize("line", DRY_RUNS)
def test_a_look_at_each_format(commands, folder, line):
  name, *flags = shlex.split(line)
  output = commands.run(name, *flags, folder=folder)
  assert "de  " in output and re.search(r"^(48|51) rows read: (48|51) pairs kept", output, re.M)
  assert "  after   the red page opens  |||  snepo egap der eht" in output


def test_hard_negatives(commands, folder):
  """Of the words, `old`, `new` and `big` have opposites and `red` has none."""
  mine, prepare = (shlex.split(line) for line in COMMANDS if "negatives" in line)
  commands.run(*mine, folder=folder)
  lines = (folder / "triplets.de-en.tsv").read_text().splitlines()
  rows = [line.split("\t") for line in lines[1:]]
  assert lines[0] == "source\ttarget\tnegative_1" and len(rows) == 48
  assert all((text == "") == ("red" in english) for _, english, text in rows)
  assert "48 rows read: 48 pairs kept" in commands.run(*prepare, folder=folder)


def test_prepare_and_train(commands, folder):
  remaining = set(COMMANDS) - set(DRY_RUNS)
  lines = [shlex.split(c) for c in COMMANDS if c in remaining and "negatives" not in c]
  assert [name for name, *_ in lines] == ["prepare", "train"]
  said = [commands.run(name, *flags, folder=folder) for name, *flags in lines]
  assert "51 pairs read, 3 left out: duplicate 3" in said[0]
  assert [path.name for path in folder.glob("runs/mine/data/rejected/*")] == ["duplicate.jsonl.gz"]
  assert "finished at step 2" in said[1] and "preparing" not in said[1]
