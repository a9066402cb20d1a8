"""The report: its measures by hand and by brute force, its page in a real headless Chromium."""

import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from dap_jax.data import store
from dap_jax.inference import embedder
from dap_jax.report_page import charts, heldout, html, runs, scripts, tokens
from dap_jax.report_page.failures import failures
from dap_jax.utils.errors import UserError
from tests.commands import without_checksums
from tests.scored_folders import write_finetuning, write_xtreme

HOSTILE = '</script><script>window.harmed = 1</script><img src=x onerror="harmed=1">&<>"'
LIMIT_MB = 3


# --- what is read and measured ---


def test_scripts_by_hand():
  """Letters counted by eye; the digits, the spaces and the combining acute do not count."""
  expected = {
    "Date 1": "Latin",
    "дата w 2026": "Cyrillic",
    "صفحة PDF": "Arabic",
    "发布页面": "Han",
    "ページを公開": "Kana",
    "पृष्ठ": "Devanagari",
    "ＡＢ": "Latin",
    "e\u0301": "Latin",
    "12 %": scripts.NO_LETTERS,
  }
  assert {text: scripts.script_of([text]) for text in expected} == expected


def test_the_script_of_several_texts_is_that_of_most_letters():
  assert scripts.script_of(["abc", "дата"]) == "Cyrillic"


def angles(rows, degrees):
  """Held-out rows with vectors in the plane, at a given angle for each text."""

  def encode(texts):
    turns = np.radians([degrees[text] for text in texts])
    return np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)

  return heldout.encoded(rows, encode, pivot="en")


def test_similarities_by_hand():
  """x is 10 degrees from its own sentence and 80 from the other, y 60 and 30."""
  found = heldout.similarities(
    angles([{"en": "a", "de": "x"}, {"en": "b", "de": "y"}], {"a": 0, "b": 90, "x": 10, "y": 30})
  )
  cos = np.cos(np.radians([10, 80, 60, 30]))
  np.testing.assert_allclose(found.true, cos[[0, 2]], rtol=1e-6)
  np.testing.assert_allclose(found.hardest, cos[[1, 3]], rtol=1e-6)
  assert found.other == pytest.approx(cos[[1, 3]].mean(), rel=1e-6)
  for shares in found.shares.values():
    assert shares.sum() == pytest.approx(1)


def test_a_collapsed_run_has_figures():
  """All vectors alike: every cosine is 1, and there is no map."""
  rows = [{"en": f"e{n}", "de": f"d{n}"} for n in range(8)]
  held = angles(rows, {text: 40 for row in rows for text in row.values()})
  found = heldout.similarities(held)
  assert found.other == pytest.approx(1)
  assert found.shares["true"].sum() == found.shares["other"].sum() == 1
  assert heldout.plane(held) is None


def test_a_diverged_run_is_an_error():
  with pytest.raises(UserError, match="diverged"):
    angles([{"en": "a", "de": "b"}], {"a": 0, "b": np.nan})


@pytest.fixture(scope="module")
def scattered():
  """40 sentences in three languages, a quarter of the texts missing, noisy vectors."""
  rng = np.random.default_rng(0)
  rows = [
    {"en": f"en{n}"} | {code: f"{code}{n}" for code in ("aa", "bb") if rng.random() < 0.75}
    for n in range(40)
  ]
  centres = rng.normal(size=(40, 8))

  def encode(texts):
    return np.stack([centres[int(text[2:])] + 0.8 * rng.normal(size=8) for text in texts])

  return heldout.encoded(rows, encode, pivot="en")


def test_pairs_with_the_pivot_are_the_two_directions_of_retrieval(scattered):
  pairs, scores = heldout.pairs(scattered, ["en", "aa", "bb"]), scattered.retrieval()
  for column, code in enumerate(("aa", "bb"), 1):
    assert 0 < scores[f"to_pivot_accuracy/{code}"] < 1
    assert pairs.accuracy[column, 0] == pytest.approx(scores[f"to_pivot_accuracy/{code}"])
    assert pairs.accuracy[0, column] == pytest.approx(scores[f"from_pivot_accuracy/{code}"])


def test_pairs_are_brute_force(scattered):
  vectors = dict(zip(scattered.texts, scattered.vectors, strict=True))
  both = [row for row in scattered.rows if len(row) == 3]
  candidates = [row["bb"] for row in scattered.rows if "bb" in row]
  found = [
    max(candidates, key=lambda text: vectors[row["aa"]] @ vectors[text]) == row["bb"]
    for row in both
  ]
  pairs = heldout.pairs(scattered, ["en", "aa", "bb"])
  assert len(candidates) > len(both) == pairs.common[1, 2] == pairs.common[2, 1]
  assert pairs.accuracy[1, 2] == pytest.approx(np.mean(found))
  assert np.isnan(pairs.accuracy[np.eye(3, dtype=bool)]).all()


def test_the_map_is_seeded(scattered):
  first, second = heldout.plane(scattered), heldout.plane(scattered)
  np.testing.assert_array_equal(first.places, second.places)
  sentences = scattered.sentences[first.rows]
  assert len(set(sentences)) == heldout.MAP_SENTENCES
  assert len(first.rows) == sum(len(scattered.rows[i]) for i in set(sentences))


@pytest.fixture(scope="module")
def altered(commands):
  """The finished run; ten held-out sentences are shorter, and two would like to be markup."""
  run = without_checksums(shutil.copytree(commands.straight, commands.folder / "altered"))
  path = run / "data" / "heldout.jsonl"
  rows = store.heldout(path.parent)
  rows[0]["en"], rows[1]["bb"] = HOSTILE, HOSTILE
  for row in rows[2:12]:
    row |= {code: " ".join(text.split()[:3]) for code, text in row.items()}
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))
  return run


def test_token_pairs_of_a_real_run(altered):
  """The chosen pair is the median by brute force; its cells are the states' cosines."""
  model = embedder.load(str(altered))
  held = heldout.encoded(store.heldout(altered / "data"), model.encode, pivot="en")
  found = tokens.alignments(held, model)
  assert {one.language for one in found} == {"aa", "bb", "cc"}  # each in a script of its own
  for one in found:
    cosines = []
    for row in held.rows:
      pair = [row["en"], row[one.language]]
      if all(4 <= len(ids) - 2 < 10 for ids in model.tokenizer.encode_ragged(pair)):  # 10: cut
        cosines.append(cosine(*model.encode(pair)))
    assert one.similarity == pytest.approx(sorted(cosines)[len(cosines) // 2], abs=1e-5)
    assert "".join(one.pieces).replace(tokens.SPACE, "") == one.text.replace(" ", "")
    x, y = (model.word_states([[text]])[0].states[-1] for text in (one.text, one.pivot_text))
    assert one.cosines.shape == (len(one.pieces), len(one.pivot_pieces)) == (len(x), len(y))
    assert one.cosines[-1, 0] == pytest.approx(cosine(x[-1], y[0]), abs=1e-5)
    assert one.links


def cosine(a, b):
  return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_a_long_curve_is_averaged():
  """1000 points of value = step in 400 stretches: 200 of three points, then 200 of two."""
  records = [{"step": n, "loss": float(n)} for n in range(1000)]
  run = runs.LoadedRun("r", None, {}, {}, records)
  curve = run.curve("loss")
  assert len(curve) == runs.MOST_POINTS
  assert curve[0] == (1.0, 1.0)  # of 0, 1, 2
  assert curve[-1] == (998.5, 998.5)  # of 998, 999
  assert run.curve("absent") == [] and run.last("absent") is None


# --- colours ---

# Full colour blindness of each kind on linear RGB: Machado, Oliveira and Fernandes, 2009, table 1.
VISION = {
  "normal": np.eye(3),
  "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
             [-0.003882, -0.048116, 1.051998]],
  "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
             [-0.011820, 0.042940, 0.968881]],
}  # fmt: skip
# Linear RGB -> LMS -> OKLab: Ottosson, 2020.
TO_LMS = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
          [0.0883024619, 0.2817188376, 0.6299787005]]  # fmt: skip
TO_LAB = [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
          [0.0259040371, 0.7827717662, -0.8086757660]]  # fmt: skip


def linear(color):
  """#rrggbb -> linear RGB."""
  value = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
  return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def luminance(color):
  return linear(color) @ [0.2126, 0.7152, 0.0722]


def contrast(a, b):
  """WCAG 2's ratio."""
  low, high = sorted((luminance(a), luminance(b)))
  return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_are_apart_for_all_eyes(theme):
  blocks = (html.HERE / "page.css").read_text().split("@media (prefers-color-scheme: dark)")
  colors = dict(re.findall(r"--(\w+): (#\w{6})", blocks[theme == "dark"]))
  kinds = [colors[f"c{i}"] for i in range(1, 9)]
  for color in (*kinds, colors["other"], colors["quiet"], colors["link"]):
    assert contrast(color, colors["ground"]) >= 3
  assert contrast(colors["quiet"], colors["ground"]) >= 4.5
  assert contrast(colors["quiet"], colors["raised"]) >= 4.5
  for vision in VISION.values():
    seen = np.clip(np.array([linear(color) for color in kinds]) @ np.transpose(vision), 0, 1)
    lab = np.cbrt(seen @ np.transpose(TO_LMS)) @ np.transpose(TO_LAB)
    distances = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    assert distances[np.triu_indices(8, 1)].min() > 0.13
  shades = [luminance(colors[f"q{i}"]) for i in range(10)]
  assert shades == sorted(shades, reverse=theme == "light")


# --- the command and its page ---


@pytest.fixture(scope="module")
def pages(commands, altered):
  """The pages of one run and of two, the second without records and without a checkpoint."""
  bare = commands.prepared("bare")
  for name in ("config.json", "versions.json"):
    shutil.copy(commands.straight / name, bare / name)
  config = json.loads((bare / "config.json").read_text())
  (bare / "config.json").write_text(json.dumps(config | {"seed": 7}))
  commands.run("report", f"--workdir={altered}")
  both = commands.folder / "both.html"
  said = commands.run("report", f"--workdir={altered}", f"--workdir={bare}", f"--output={both}")
  assert "bare: the page goes without its vectors" in said and "has no checkpoint" in said
  transfers = [commands.folder / f"{name}_report.html" for name in ("finetuning", "xtreme")]
  commands.run(
    "report",
    f"--workdir={write_finetuning(commands.folder / 'report_pos')}",
    f"--workdir={write_finetuning(commands.folder / 'report_ner')}",
    f"--output={transfers[0]}",
  )
  xtreme = write_xtreme(commands.folder / "report_xtreme")
  commands.run("report", f"--workdir={xtreme}", f"--output={transfers[1]}")
  named = dict(zip(("finetuning", "xtreme"), transfers, strict=True))
  return {"one": altered / "report.html", "two": both, **named}


@pytest.fixture(scope="module")
def chromium():
  """A browser that is installed."""
  driver = pytest.importorskip("playwright.sync_api", reason="needs playwright, which is absent")
  names = ("chromium", "chromium-browser", "google-chrome")
  path = next(filter(None, map(shutil.which, names)), None)
  if path is None:
    pytest.skip("needs chromium, which is absent")
  with driver.sync_playwright() as play:
    browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
    yield browser
    browser.close()


def open_page(browser, path, *, width, theme="light"):
  """Opens a file; returns the drawn page and what it said and asked for."""
  tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
  said = []
  tab.on("console", lambda message: said.append(message.text))
  tab.on("pageerror", lambda error: said.append(str(error)))
  tab.on("request", lambda request: said.append(request.url))
  tab.goto(Path(path).as_uri())
  tab.wait_for_function(
    "document.querySelectorAll('.chart').length === document.querySelectorAll('.chart svg').length"
  )
  said.remove(Path(path).as_uri())
  return tab, said


# Texts of a chart that lie on each other, or reach out of it by more than a pixel.
CLASHES = """() => {
  const clashes = [];
  for (const svg of document.querySelectorAll(".chart svg")) {
    const outer = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll("text")]
      .filter((text) => text.textContent.trim() && getComputedStyle(text).opacity > 0)
      .map((text) => [text.textContent, text.getBoundingClientRect()]);
    texts.forEach(([name, a], i) => {
      if (a.left < outer.left - 1 || a.right > outer.right + 1 || a.bottom > outer.bottom + 1)
        clashes.push(`${name} is cut`);
      for (const [other, b] of texts.slice(i + 1))
        if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
            Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3)
          clashes.push(`${name} on ${other}`);
    });
  }
  return clashes;
}"""


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize(
  ("name", "texts"), [("one", 50), ("two", 50), ("finetuning", 30), ("xtreme", 30)]
)
def test_the_page_in_a_browser(pages, chromium, name, texts, width, theme):
  """No word from the console, no request, no overflow, nothing on anything else."""
  assert pages[name].stat().st_size < LIMIT_MB * 1e6
  tab, said = open_page(chromium, pages[name], width=width, theme=theme)
  assert said == []
  assert tab.evaluate("document.documentElement.scrollWidth") <= width
  assert tab.evaluate("document.querySelectorAll('.chart svg text').length") > texts
  assert tab.evaluate(CLASHES) == []
  # The comparison of two runs is there without scrolling.
  tables = "[...document.querySelectorAll('.runs')]"
  assert tab.evaluate(f"{tables}.every((e) => e.scrollWidth <= e.parentElement.clientWidth)")
  ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
  label = tab.evaluate("getComputedStyle(document.querySelector('.chart svg text')).fill")
  light, dark = (sum(map(int, re.findall(r"\d+", color)[:3])) for color in (ground, label))
  assert (light > dark) == (theme == "light")
  tab.close()


@pytest.mark.slow
def test_texts_of_the_data_stay_texts(pages, chromium):
  """In the page's own text, and in the tooltip that Vega makes of a point of the map."""
  tab, said = open_page(chromium, pages["one"], width=1400)
  assert HOSTILE in tab.locator("ul.sentences").inner_text()
  marks = tab.locator(".map svg .mark-symbol path")
  assert marks.count() > heldout.MAP_TEXTS
  seen = set()
  for number in range(marks.count()):
    marks.nth(number).dispatch_event("pointermove", {"bubbles": True})
    seen.add(tab.locator("#vg-tooltip-element").inner_text())
  assert any(HOSTILE in text for text in seen)
  assert tab.evaluate("window.harmed") is None
  assert tab.locator("img").count() == 0 and said == []
  tab.close()


@pytest.mark.slow
def test_the_page_follows_a_window_that_grows(pages, chromium):
  tab, _ = open_page(chromium, pages["one"], width=390)
  widest = "Math.max(...[...document.querySelectorAll('.chart svg')].map((e) => e.clientWidth))"
  narrow = tab.evaluate(widest)
  tab.set_viewport_size({"width": 1000, "height": 900})
  tab.wait_for_function(f"{widest} > 600")
  assert narrow < 390
  tab.close()


def test_what_is_missing_is_said(pages):
  text = pages["two"].read_text()
  assert "No figures of a checkpoint" in text
  assert re.search(r"<th scope=\"row\">seed</th><td>0</td><td>7</td>", text)
  assert "metrics.jsonl has no line yet" not in text  # the first run has lines


def test_what_was_left_out_of_training(commands, tmp_path):
  """Counts and a sample of each reason, as the workdir's stats.json has them; texts stay texts."""
  run = tmp_path / "run"
  shutil.copytree(commands.straight, run)
  sample = {"pivot": "<b>page</b>", "translation": "cntr", "where": "en.tsv:7", "language": "aa"}
  languages = {"aa": 1234, "bb": 5, "cc": 4, "dd": 3}
  of_reason = {"pairs": 1246, "languages": languages, "samples": [sample]}
  (run / "data" / "stats.json").write_text(json.dumps({"rejected": {"equal": of_reason}}))
  commands.run("report", f"--workdir={run}", f"--output={tmp_path}/page.html")
  text = re.sub(r"</?(bdi|span)[^>]*>", "", (tmp_path / "page.html").read_text())
  assert '<tr><th scope="row">equal</th><td>1,246</td>' in text
  assert "<td>aa 1,234, bb 5, cc 4</td>" in text
  assert "<td>&lt;b&gt;page&lt;/b&gt; | cntr</td>" in text
  (run / "data" / "stats.json").write_text('{"rejected": {}}')
  commands.run("report", f"--workdir={run}", f"--output={tmp_path}/page.html")
  assert "Cleaning left no pair out" in (tmp_path / "page.html").read_text()
  (run / "data" / "stats.json").write_text('{"rejected": {"equal": [1]}}')
  message = commands.fail("report", f"--workdir={run}", f"--output={tmp_path}/page.html")
  assert "stats.json is damaged" in message


def test_two_languages_and_one_sentence(commands, tmp_path):
  """Too little for most charts: the page says so, one line each."""
  run = without_checksums(shutil.copytree(commands.straight, tmp_path / "run"))
  (run / "data" / "heldout.jsonl").write_text('{"en": "page", "aa": "cntr"}\n')
  (run / "metrics.jsonl").unlink()
  commands.run("report", f"--workdir={run}", f"--output={tmp_path}/small.html")
  text = (tmp_path / "small.html").read_text()
  for reason in (
    "it needs three languages",
    "it needs two held-out sentences",
    "there are too few held-out texts, or all have one vector",
    "metrics.jsonl has no line yet",
  ):
    assert f"Not shown: {reason}" in text


def test_mistakes(commands, tmp_path):
  """One clear line each, and no page."""
  assert "--workdir is needed" in commands.fail("report", status=2)
  assert "is no workdir" in commands.fail("report", f"--workdir={tmp_path}")
  twice = [f"--workdir={commands.straight}"] * 2
  assert "is given 2 times" in commands.fail("report", *twice, f"--output={tmp_path}/a.html")
  output = tmp_path / "none" / "b.html"
  line = commands.fail("report", f"--workdir={commands.straight}", f"--output={output}")
  assert str(output) in line and "cannot be written" in line
  assert list(tmp_path.iterdir()) == []


def test_colors_of_scripts():
  """The scripts of most languages have their own colours; the eighth shares one."""
  script_of = {"a": "S1", "b": "S1"} | {f"c{i}": f"S{i}" for i in range(2, 10)}
  colors = charts.script_colors(script_of)
  assert colors["S1"] == charts.COLORS[0]
  assert colors["S8"] == colors["S9"] == charts.OTHER
  assert len({colors[f"S{i}"] for i in range(1, 8)}) == charts.SCRIPTS


def test_failures_by_hand():
  """Angles of three sentences; of the translations one is found, two are nearer to another."""
  rows = [
    {"en": "zero", "aa": "a0", "bb": "b0"},
    {"en": "forty", "aa": "a40", "bb": "b40"},
    {"en": "ninety", "aa": "a90"},
  ]
  degrees = {"zero": 0, "forty": 40, "ninety": 90}
  degrees |= {"a0": 5, "b0": 35, "a40": 85, "b40": 40, "a90": 70}
  found = failures(angles(rows, degrees))
  assert [(each.text, each.own, each.found) for each in found] == [
    ("a40", "forty", "ninety"),  # cos 45 - cos 5
    ("b0", "zero", "forty"),  # cos 35 - cos 5
  ]
  assert found[0].own_cosine == pytest.approx(math.cos(math.radians(45)), abs=1e-6)
  assert found[0].found_cosine == pytest.approx(math.cos(math.radians(5)), abs=1e-6)
