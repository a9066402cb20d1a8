"""Every script in benchmarks/ at its smallest size: it ends well, with its table."""

import csv
import gzip
import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import measuring, padding
from benchmarks.systems import corpus, rtl_plot, sweep
from benchmarks.token_alignment import table
from benchmarks.training_step import batches, rounds, sizes
from tests.commands import ROOT, environment, write_corpus

pytestmark = pytest.mark.slow
TINY = "--config=tests/tiny.py"
# Script -> its arguments, {names} of `inputs` in them; or the command that reads the file, with -m.
SCRIPTS = {
  "batch_sizes.py": "--layers=1 --width=32 --vocabulary=500 --tokens=8 --batches=4,8 --rounds=1"
  " --output={new}.png",
  "checkpoint_stall.py": f"{TINY} --saves=1 --steps=2",
  "embed_speed.py": "{exported} --texts=40 --piece=20",
  "faults/__main__.py": "--runs=1 --output={new} --only=prepared",
  "import_memory.py": "--layers=1 --width=64 --vocabulary=1000",
  "import_parity.py": "--layers=1 --vocabulary=1000 --tokens=40",
  "mine_against_faiss.py": "--rows=500 --width=64 --planted=50",
  "padding.py": "{trained} --max_tokens=8 --every=4 --compile=tiny",
  "plan_formula.py": f"{TINY} --topology=v5e:2x2 --cases=scan",
  "pods/memory.py": f"{TINY} --topology=v5e:2x2 --batches=16 --microbatches=1,2",
  "pods/processes.py": "--processes=1 --meshes=2x2x2",
  "pods/start_up.py": f"{TINY} --layers=scan",
  "prepare_speed.py": "{pairs}/*-en.tsv --vocabulary_size=50 --batches=2",
  "scaling/corpus.py": "--data={texts} --output={new} --pairs=900",
  "scaling/formats.py": "--folder={new} --gigabytes=0.001 tmx parquet moses",
  "scaling/loading.py": "{trained} --seconds=0.1",
  "scaling/measure.py": "{pairs} --results={new} -- --config.tokenizer.vocabulary_size=50"
  " --config.data.heldout.min_languages=1 --config.data.heldout.sentences=20 --config.steps=2"
  " --config.eval_steps=2 --config.batch_size=8",
  "scaling/plot.py": "--results={measured} --output={measured}.png",
  "start_up.py": "{exported} --rounds=1",
  "step_costs.py": "--only=demo",
  "systems/config.py": "-m dap_jax.train --config=benchmarks/systems/config.py:tr --workdir={new}"
  " --config.data.heldout.min_languages=2 --config.tokenizer.vocabulary_size=90 --config.steps=2"
  " --config.eval_steps=2 --config.data.heldout.sentences=20 --config.eval_suites="
  " --config.batch_size=8",
  "systems/corpus.py": "--data={texts} --output={new}",
  "systems/rtl_plot.py": "--sweep={swept} --output={swept}/rtl.png",
  "systems/sweep.py": "-m dap_jax.sweep --sweep=benchmarks/systems/sweep.py --output={new} --print",
  "tagging_parity.py": "{exported} --data={tagged} --seeds=1 --epochs=1 --batch_size=8"
  " --sentences=8 --max_tokens=20",
  "token_alignment/ablations.py": "--results=benchmarks/token_alignment/ablations.json"
  " --output={new}.png",
  "token_alignment/config.py": "-m dap_jax.train"
  " --config=benchmarks/token_alignment/config.py:mlm --workdir={new} --config.steps=2"
  " --config.tokenizer.vocabulary_size=90 --config.data.heldout.sentences=20 --config.batch_size=8"
  " --config.data.heldout.min_languages=2 --config.eval_steps=2",
  "token_alignment/corpus.py": "--data={texts} --output={new} --gold=1 --lines=3",
  "token_alignment/picture.py": "--results=benchmarks/token_alignment/results.json"
  " --output={new}.png",
  "token_alignment/similarities.py": "TR={exported} --data={gold} --name=ende --line=2"
  " --output={new}",
  "token_alignment/sweep.py": "-m dap_jax.sweep --sweep=benchmarks/token_alignment/sweep.py"
  " --output={new} --print",
  "token_alignment/table.py": "{aligned} --json={new}.json",
  "tr_against_dap.py": "{new} --seeds=1 --config=tests/tiny.py:{tiny} --config.steps=2"
  " --config.eval_steps=2",
  "train_step.py": "--size=tiny --layers=1 --width=32 --vocabulary=500 --batch=4 --tokens=8"
  " --rounds=1 --output={new}",
}
# The Bible's language -> the language of the tests' corpus that stands for it.
BIBLE = {"en": "en", "de": "aa", "fr": "bb", "ro": "cc", "ru": "cc", "zh": "bb"}
HELPERS = {"__init__.py", "measuring.py", "texts.py", "scaling/config.py"}
HELPERS |= {f"faults/{name}.py" for name in ("config", "kinds", "trial")}
TRAINING_STEP = ("batches", "ours", "peers", "rounds", "sizes", "torch_weights")
HELPERS |= {f"training_step/{name}.py" for name in TRAINING_STEP}
NEED_LIBTPU = ("plan_formula.py", "pods/memory.py")
# What stdout holds where that is not a Markdown table.
OUTPUTS = {
  "systems/config.py": "",
  "token_alignment/config.py": "",
  "systems/sweep.py": "python -m dap_jax.train --config=",
  "token_alignment/sweep.py": "python -m dap_jax.train --config=",
}


@pytest.fixture(scope="module")
def inputs(commands, tmp_path_factory):
  """Name -> a function that makes a folder."""
  folder = tmp_path_factory.mktemp("benchmarks")
  numbers = itertools.count()

  def exported():
    path = folder / "exported"
    if not path.exists():
      commands.run("export", f"--workdir={commands.straight}", f"--output={path}")
    return path

  return {
    "exported": exported,
    "trained": lambda: commands.straight,
    "new": lambda: folder / f"new{next(numbers)}",
    "swept": lambda: write_sweep_table(folder / "swept"),
    "pairs": lambda: write_pairs(folder / "pairs", commands.corpus),
    "texts": lambda: write_texts(folder / "texts"),
    "tiny": lambda: commands.corpus,
    "tagged": lambda: write_tagged(folder / "tagged", commands.corpus),
    "gold": lambda: write_gold(folder / "gold"),
    "measured": lambda: write_measurements(folder / "measured.jsonl"),
    "aligned": lambda: write_alignment_sweep(folder / "aligned"),
  }


def write_pairs(folder, corpus_folder):
  """aa-en.tsv of the tests' corpus."""
  folder.mkdir(exist_ok=True)
  texts = [
    [line.split("\t")[1] for line in (corpus_folder / f"{code}.tsv").read_text().splitlines()]
    for code in ("aa", "en")
  ]
  lines = [f"{translation}\t{pivot}\n" for translation, pivot in zip(*texts, strict=True)]
  (folder / "aa-en.tsv").write_text("".join(lines))
  return folder


def write_tagged(folder, corpus_folder):
  """Sentences of the tests' corpus, the first word a determiner."""
  folder.mkdir(exist_ok=True)
  for code, split in (("en", "train"), ("en", "test"), ("aa", "test")):
    texts = [
      line.split("\t")[1] for line in (corpus_folder / f"{code}.tsv").read_text().splitlines()
    ]
    blocks = (
      "".join(f"{word}\t{'NOUN' if place else 'DET'}\n" for place, word in enumerate(text.split()))
      for text in texts
    )
    (folder / f"{code}-{split}.tsv").write_text("\n".join(blocks))
  return folder


def write_texts(folder):
  """Verses, everyday sentences and health texts, as `corpus.py` reads them."""
  if folder.exists():
    return folder
  write_corpus(folder)
  keyed = {path.stem: path.read_text().splitlines()[:200] for path in folder.glob("*.tsv")}
  texts = {code: [line.split("\t")[1] for line in lines] for code, lines in keyed.items()}
  files = {f"bible/{language}": keyed[code] for language, code in BIBLE.items()}
  pairs = zip(texts["en"], texts["aa"], strict=True)
  files["tatoeba_challenge/eng-deu"] = ["\t".join((*pair, "flag")) for pair in pairs]
  files |= {f"tico19/{language}": keyed["en"] for language in corpus.HEALTH}
  for name, lines in files.items():
    path = folder / f"{name}.tsv.gz"
    path.parent.mkdir(exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
      file.write("".join(f"{line}\n" for line in lines))
  (folder / "tatoeba_v1").mkdir()
  for language in ("deu", "eng"):  # not in the corpus
    (folder / "tatoeba_v1" / f"tatoeba.deu-eng.{language}").write_text(f"a line of {language}\n")
  return folder


def write_sweep_table(folder):
  """The runs.csv of `sweep.py:rtl`, every accuracy a half."""
  folder.mkdir(exist_ok=True)
  columns = [column for pair in rtl_plot.SETS.values() for column in pair]
  with (folder / "runs.csv").open("w", encoding="utf-8") as file:
    writer = csv.DictWriter(file, ["system", *columns])
    writer.writeheader()
    for run in sweep.get_hyper("rtl"):
      writer.writerow({"system": run["name"], **dict.fromkeys(columns, 0.5)})
  return folder


def write_gold(folder):
  """Two sentences with word alignments."""
  folder.mkdir()
  (folder / "ende.src-tgt").write_text("one two ||| eins zwei\nthree four ||| drei vier\n")
  (folder / "ende.gold").write_text("1-1 2-2\n1-1 2p2\n")
  return folder


def write_measurements(path):
  """Two results of `scaling/measure.py`."""
  keys = ("pairs", "prepare_seconds", "prepare_peak_bytes", "train_peak_bytes")
  lines = [json.dumps(dict.fromkeys(keys, size)) for size in (10_000, 20_000)]
  path.write_text("".join(f"{line}\n" for line in lines))
  return path


def write_alignment_sweep(folder):
  """runs.csv and the runs' metrics of two systems, two seeds and two languages."""
  rows = []
  for system, seed in itertools.product(("TR", "DAP"), (0, 1)):
    workdir = folder / system / f"seed{seed}"
    workdir.mkdir(parents=True)
    aer = {"TR": 0.7 + 0.01 * seed, "DAP": 0.6 - 0.01 * seed}[system]
    scores = {f"eval/word_alignment/aer/{name}": aer for name in ("enfr", "zhen", "mean")}
    scores["eval/retrieval/to_pivot_accuracy"] = 0.5
    (workdir / "metrics.jsonl").write_text(json.dumps({"step": 4, **scores}) + "\n")
    rows.append([system, seed, "complete", workdir])
  with (folder / "runs.csv").open("w", encoding="utf-8") as file:
    csv.writer(file).writerows([["system", "seed", "state", "workdir"], *rows])
  return folder


def test_every_script_is_here():
  folder = measuring.ROOT / "benchmarks"
  files = {str(path.relative_to(folder)) for path in folder.rglob("*.py")}
  assert files == set(SCRIPTS) | HELPERS


def test_differences_are_paired_by_seed_and_language(tmp_path):
  """By hand: all four pairs are negative, so two of the sixteen choices of signs are as far from 0.

  The seeds' means -10 and -12 have the mean -11, its error 1 point; Student's t is 12.7.
  """
  runs = table.read_runs([write_alignment_sweep(tmp_path)])
  rows = table.differences(runs["DAP"], runs["TR"], "AER")
  np.testing.assert_allclose(rows, [[-0.1] * 2, [-0.12] * 2])
  cells = table.comparison(rows, larger_is_better=False)
  assert cells == ["-11.0", "-23.7 to +1.7", "0.12", "4 of 4"]
  assert table.mean_and_deviation(table.language_means(runs["TR"], "AER")) == "0.705 ± 0.007"
  assert table.differences(runs["DAP"], {7: runs["TR"][0]}, "AER") == []  # no seed in common
  assert table.permutation_p([0.1] * 20) < 1e-4


def test_padding_is_counted_by_the_longer_text():
  """By hand: pairs of 4 and 6, 8 and 8 tokens, cut at 7, in buckets of 6 and 7: 26 of 24."""

  class Lengths:
    def longest(self):
      return np.array([6, 8])

    def real_tokens(self):
      return np.array([10, 16])

  sources = {"aa": padding.CutPairs(Lengths(), 7)}
  assert padding.computed_per_real(sources, {"aa": 1.0}, (6, 7)) == pytest.approx(26 / 24)


def test_batches_have_the_lengths_that_were_measured():
  """The medians are the table's own: 10 English tokens, 1.29 of the translation for each."""
  small = sizes.SIZES["small"]
  rng = np.random.default_rng(0)
  lengths = batches.draw_lengths(20_000, small, rng)
  assert np.median(lengths[:, 0]) == 10
  assert np.median(lengths[:, 1] / lengths[:, 0]) == pytest.approx(1.29, abs=0.02)
  plan = batches.of_buckets(lengths, small, rng)
  assert sum(weight for weight, _ in plan) == pytest.approx(1)
  for _, batch in plan:
    longest = batch["mask"].sum(-1).max(-1)
    assert (batch["ids"].shape[-1] - 4 < longest).all()  # a pair of each is in the right bucket
    assert (longest <= batch["ids"].shape[-1]).all()
    assert np.isin(batch["ids"][:, 0][batch["mask"][:, 0]], batches.english_ids(small)).all()


def test_a_round_is_the_mean_over_its_batches_by_their_weights(monkeypatch):
  """By hand: steps of 2 and 4 seconds with weights 3/4 and 1/4 take 2.5 on average."""
  clock = iter([0.0, 2.0, 10.0, 14.0])
  monkeypatch.setattr(rounds.time, "perf_counter", lambda: next(clock))

  class Trainer:
    def put(self, batch):
      return batch

    def step(self, batch):
      return 0.0

  plan = [batches.Weighted(0.75, {}), batches.Weighted(0.25, {})]
  assert rounds.Side(Trainer(), itertools.repeat(plan)).seconds() == 2.5


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_ends_well_with_its_table(script, inputs, tmp_path):
  if script in NEED_LIBTPU:
    pytest.importorskip("libtpu", reason="needs libtpu, the TPU compiler")
  names = re.findall(r"\{(\w+)\}", SCRIPTS[script])
  arguments = SCRIPTS[script].format(**{name: inputs[name]() for name in set(names)}).split()
  module = f"benchmarks.{script.removesuffix('.py').removesuffix('/__main__').replace('/', '.')}"
  command = arguments if arguments[0] == "-m" else ["-m", module, *arguments]
  texts = texts_of(script, inputs, tmp_path)
  process = subprocess.run(
    [sys.executable, *command],
    cwd=ROOT,
    env=environment(inputs["tiny"]().parent / "cache") | texts,
    capture_output=True,
    text=True,
    timeout=600,
    check=False,
  )
  assert process.returncode == 0, f"{process.stdout}\n{process.stderr}"
  if script in OUTPUTS:
    assert OUTPUTS[script] in process.stdout
  else:
    assert re.search(r"^\|(---\|)+\n\| .* \|$", process.stdout, re.MULTILINE), process.stdout


def texts_of(script, inputs, tmp_path) -> dict[str, str]:
  """What a folder's `config.py` reads of the environment: texts that its `corpus.py` wrote."""
  folder, _, name = script.partition("/")
  if name != "config.py" or folder == "faults":
    return {}
  flags = SCRIPTS[f"{folder}/corpus.py"].format(texts=inputs["texts"](), new=tmp_path).split()
  command = [sys.executable, "-m", f"benchmarks.{folder}.corpus", *flags]
  subprocess.run(command, cwd=ROOT, check=True)
  gold = tmp_path / "word_alignment" / "aaen.src-tgt"  # what a config keeps from training
  gold.parent.mkdir(exist_ok=True)
  gold.write_text("no such words ||| nor these\n")
  return {"TEXTS": str(tmp_path), "BENCHMARKS": str(Path(tmp_path))}
