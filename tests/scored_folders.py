"""Workdirs of `finetune` and `xtreme` as far as the report reads them, with scores made up here."""

import json

HOSTILE = "<img src=x onerror=alert(1)>"
LANGUAGES = ("en", "de", "sw", "zh")


def write_finetuning(folder, *, scores=True, dev="eval/dev/f1"):
  """Scores: F1 of en 0.9, de 0.65, sw 0.31, zh 0.7; accuracy 0.05 above."""
  folder.mkdir(parents=True)
  (folder / "finetune.json").write_text("{}")
  lines = []
  for step in range(10, 101, 10):
    lines.append({"step": step, "loss": 30 / step, "accuracy": step / 120, "learning_rate": 1e-5})
    if step % 50 == 0:
      lines.append({"step": step, dev: step / 150})
  (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
  if scores:
    suite = "finetune[batch_size=32,task=tags]"
    content = {
      "model": "m",
      "protocol": {suite: {"head": HOSTILE, "no": ""}},
    }
    for code, f1 in zip(LANGUAGES, (0.9, 0.65, 0.31, 0.7), strict=True):
      content |= {f"eval/{suite}/f1/{code}": f1, f"eval/{suite}/accuracy/{code}": f1 + 0.05}
    content[f"eval/{suite}/f1/zero_shot_mean"] = 1.66 / 3
    (folder / "scores.json").write_text(json.dumps(content))
  return folder


def write_xtreme(folder):
  """Two fine-tunings; scores of UDPOS and XQuAD, some with settings in the names."""
  write_finetuning(folder / "udpos", scores=False)
  write_finetuning(folder / "squad", scores=False, dev="eval/dev/exact_match")
  quad = "eval/xtreme[windows=characters]/xquad"
  content = {
    "protocol": {"xtreme/udpos": {"metric": "F1"}, "xtreme[windows=characters]/xquad": {"a": 1}},
    "eval/xtreme/udpos/seqeval_0.0.12_f1/mean": 61.0,
    "eval/xtreme/udpos/seqeval_0.0.12_f1/de": 99.99,
    "eval/xtreme/udpos/token_accuracy/de": 97.0,
    f"{quad}/squad_1.1_exact_match/de": 50.0,
    f"{quad}/squad_1.1_f1/de": 60.0,
    "eval/xtreme/udpos/figure": 61.0,
    "eval/xtreme[windows=characters]/group/question_answering": 55.0,
  }
  (folder / "scores.json").write_text(json.dumps(content))
  return folder
