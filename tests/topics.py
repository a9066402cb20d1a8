"""Files of labelled texts, as classification and fine-tuning read them."""

import numpy as np

HEADER = "split\tlabel\ttext\n"


def write(folder, code, rows, *, header=HEADER):
  lines = ["\t".join(row) + "\n" for row in rows]
  (folder / f"{code}.tsv").write_text(header + "".join(lines), encoding="utf-8")


def write_topics(corpus, folder, code):
  """Sentences `the red page opens it`, the class their third word: 240 to train, 60, 180."""
  of_line = [line.split("\t")[1] for line in (corpus / f"{code}.tsv").read_text().splitlines()]
  english = [line.split("\t")[1] for line in (corpus / "en.tsv").read_text().splitlines()]
  order = np.random.default_rng(0).permutation(len(english))
  splits = ["train"] * 240 + ["dev"] * 60 + ["test"] * 180
  rows = [
    (split, english[row].split()[2], of_line[row]) for split, row in zip(splits, order, strict=True)
  ]
  write(folder, code, rows)
