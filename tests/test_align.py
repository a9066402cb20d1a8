"""Word alignments of a bitext: the command against `evaluate`, a kill, mistakes.

Expected values: AER by the suite on the same sentences, the bytes of an undisturbed run.
"""

import json

import pytest

from dap_jax.evals import word_alignment
from dap_jax.inference import embedder, link_files, vector_files
from dap_jax.utils.errors import UserError

HOW = {"method": "mutual", "threshold": 0.0, "unit_of_alignment": "piece"}


def write_bitext(folder, corpus, *, lines=60):
  """aa.txt and en.txt of the tests' corpus, and gold links: the cipher keeps words in order."""
  texts = {
    code: [line.split("\t")[1] for line in (corpus / f"{code}.tsv").read_text().splitlines()][
      :lines
    ]
    for code in ("aa", "en")
  }
  for code, of_code in texts.items():
    (folder / f"{code}.txt").write_text("".join(f"{text}\n" for text in of_code))
  gold = folder / "gold"
  gold.mkdir()
  pairs = list(zip(texts["aa"], texts["en"], strict=True))
  (gold / "aaen.src-tgt").write_text("".join(f"{a} ||| {b}\n" for a, b in pairs))
  links = [" ".join(f"{i}-{i}" for i in range(1, 1 + len(a.split()))) for a, _ in pairs]
  (gold / "aaen.gold").write_text("".join(f"{line}\n" for line in links))
  return pairs


def flags_of(commands, folder, output, **more):
  flags = {"model": commands.straight, "source": folder / "aa.txt", "target": folder / "en.txt"}
  return [f"--{key}={value}" for key, value in (flags | {"output": output} | more).items()]


def read_links(path, *, first):
  lines = [line.split() for line in path.read_text().splitlines()]
  return [{tuple(int(x) - first for x in link.split("-")) for link in line} for line in lines]


@pytest.mark.parametrize("method", ["mutual", "itermax", "optimal_transport"])
def test_it_has_the_aer_of_the_suite(commands, tmp_path, method):
  write_bitext(tmp_path, commands.corpus)
  output, scores = tmp_path / "links", tmp_path / "scores.json"
  said = commands.run("align", *flags_of(commands, tmp_path, output, method=method, first_index=1))
  assert "the pieces of layer 1" in said  # of one layer and the embeddings
  flags = [f"--model={commands.straight}", "--suite=word_alignment", f"--data={tmp_path}/gold"]
  settings = ["--setting=layer=1", f"--setting=method={method}"][: 1 + (method != "mutual")]
  commands.run("evaluate", *flags, *settings, f"--output={scores}")
  content = json.loads(scores.read_text())
  (aer,) = (value for name, value in content.items() if name.endswith("/aer/aaen"))
  corpus = word_alignment.read_alignments(tmp_path / "gold", first_index=1)["aaen"]
  total = word_alignment.Counts(0, 0, 0, 0)
  for links, pair in zip(read_links(output, first=1), corpus.pairs, strict=True):
    total = total.add(word_alignment.compare(links, pair))
  assert total.scores()["aer"] == pytest.approx(aer, abs=1e-12) and aer < 1


def test_gold_chooses_the_layer(commands, tmp_path):
  """It says the layer and its error: the least of those that the suite gives."""
  write_bitext(tmp_path, commands.corpus)
  said = commands.run(
    "align", *flags_of(commands, tmp_path, tmp_path / "l", gold=tmp_path / "gold")
  )
  model = embedder.load(commands.straight)
  scores = word_alignment.evaluate(model, str(tmp_path / "gold")).scores
  errors = [scores[f"aer_layer_{layer}/mean"] for layer in range(2)]
  assert f"layer {errors.index(min(errors))} has the least AER" in said
  assert f"{min(errors):.3f}" in said


def test_lines_stay_in_their_places_and_nltk_reads_them(commands, tmp_path):
  """A blank line on one side has no link; words that are equal are linked, with cosine 1."""
  (tmp_path / "aa.txt").write_text("the red page\n \nthe old user\n")
  (tmp_path / "en.txt").write_text("the red page\nthe new file\nthe old user\n")
  for scores, link in ((False, "{i}-{i}"), (True, "{i}-{i}:1.0000")):
    output = tmp_path / f"links{scores}"
    flags = flags_of(commands, tmp_path, output, layer=0, unit="word", scores=str(scores).lower())
    commands.run("align", *flags)
    whole = " ".join(link.format(i=i) for i in range(3))
    assert output.read_text() == f"{whole}\n\n{whole}\n"
  nltk = pytest.importorskip("nltk", reason="needs nltk")
  first = (tmp_path / "linksFalse").read_text().splitlines()[0]
  assert sorted(nltk.Alignment.fromstring(first)) == [(0, 0), (1, 1), (2, 2)]


def test_a_killed_run_continues(commands, tmp_path, monkeypatch):
  """It dies in the third block, with half a line behind the second."""
  write_bitext(tmp_path, commands.corpus, lines=40)
  monkeypatch.setattr(link_files, "BLOCK_LINES", 10)
  model = embedder.load(commands.straight)
  sides = tuple(vector_files.examine(str(tmp_path / f"{code}.txt")) for code in ("aa", "en"))
  settings = {"layer": 1, "how": HOW, "form": link_files.Form(0, True)}
  link_files.write_links(sides, str(tmp_path / "whole"), model, **settings)

  class DyingError(Exception):
    pass

  encoded = []

  def dies(*arguments, **named):
    if len(encoded) == 2:
      raise DyingError
    encoded.append(1)
    return links_of(*arguments, **named)

  links_of = link_files.links_of
  monkeypatch.setattr(link_files, "links_of", dies)
  output = tmp_path / "links"
  with pytest.raises(DyingError):
    link_files.write_links(sides, str(output), model, **settings)
  partial = tmp_path / "links.partial"
  assert len(partial.read_text().splitlines()) == 20 and not output.exists()
  with partial.open("a") as file:
    file.write("0-0:0.9 1-")
  with pytest.raises(UserError, match="was begun with another text, model or setting"):
    link_files.write_links(sides, str(output), model, **settings | {"layer": 0})
  monkeypatch.setattr(link_files, "links_of", links_of)
  link_files.write_links(sides, str(output), model, **settings)
  assert output.read_bytes() == (tmp_path / "whole").read_bytes()
  assert sorted(path.name for path in tmp_path.glob("links*")) == ["links"]


@pytest.mark.parametrize(
  ("more", "status", "message"),
  [
    ({"target": "short.txt"}, 1, "short.txt 1: line i of one must be the translation of line i"),
    ({"layer": 9}, 1, "--layer=9: the model has layers 0 (embeddings) to 1"),
    ({"layer": 1, "gold": "gold"}, 2, "--layer and --gold exclude each other"),
    ({"gold": "."}, 1, "has no files NAME.src-tgt"),
    ({"output": "en.txt"}, 1, "en.txt"),
  ],
)
def test_mistakes(commands, tmp_path, more, status, message):
  write_bitext(tmp_path, commands.corpus, lines=3)
  (tmp_path / "short.txt").write_text("the page\n")
  paths = {"target", "gold", "output"}
  more = {key: tmp_path / value if key in paths else value for key, value in more.items()}
  before = sorted(tmp_path.iterdir())
  output = more.pop("output", tmp_path / "links")
  said = commands.fail("align", *flags_of(commands, tmp_path, output, **more), status=status)
  assert message in said
  assert sorted(tmp_path.iterdir()) == before
