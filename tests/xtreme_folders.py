"""Folders of labels and predictions of XTREME's tasks, small, in every language of a task."""

import json

from dap_jax.evals.xtreme import tasks

QUESTIONS = {"q1": ["the red house", "house"], "q2": ["May 5"]}
GOOD_ANSWERS = {"q1": "A red house!", "q2": "may 5"}


def squad(questions, *, context="the red house, May 5"):
  """A file in SQuAD's format: id -> answers."""
  qas = [
    {
      "id": name,
      "question": "?",
      "answers": [{"text": text, "answer_start": 0} for text in texts],
    }
    for name, texts in questions.items()
  ]
  return json.dumps({"data": [{"paragraphs": [{"context": context, "qas": qas}]}]})


# task -> contents of labels and predictions; {} is the language's code.
CONTENTS = {
  "pawsx": ("0\n1\n", "0\n0\n"),
  "xnli": ("neutral\nentailment\ncontradiction\n", "neutral\nneutral\ncontradiction\n"),
  "udpos": ("NOUN\nNOUN\nVERB\n\nVERB\nX\n", "NOUN\nNOUN\nNOUN\n\nVERB\nX\n"),
  "panx": ("B-PER\nI-PER\nO\n\nB-LOC\n", "B-PER\nI-PER\nO\n\nO\n"),
  "xquad": (squad(QUESTIONS), json.dumps({"q1": "house of cards"})),
  "mlqa": (squad(QUESTIONS), json.dumps(GOOD_ANSWERS)),
  "tydiqa": (squad(QUESTIONS), json.dumps(GOOD_ANSWERS)),
  "bucc2018": ("{0}-1\ten-1\n{0}-2\ten-2\n", "{0}-1\ten-1\n{0}-2\ten-3\n{0}-4\ten-4\n"),
  "tatoeba": ("2\n0\n1\n", "2\n1\n1\n"),
}


def write(folder, *names):
  """Writes labels and predictions of the tasks, all by default; gives both folders."""
  places = [folder / "labels", folder / "predictions"]
  for name in names or tasks.TASKS:
    for code in tasks.TASKS[name].languages:
      for place, content in zip(places, CONTENTS[name], strict=True):
        path = tasks.file_of(place, name, code)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content.replace("{0}", code) if name == "bucc2018" else content
        path.write_text(text)
  return places
