"""A program, which tokenizer_training.py runs: texts in, a sentencepiece model out.

    python -P sentencepiece_program.py '{"vocab_size": 32000, ...}' < texts > model

A text is a JSON string on its line; the keys are options of sentencepiece. What it logs on standard
error tells how far it is. It imports nothing of this package, so it runs from anywhere.
"""

import io
import json
import signal
import sys

REFUSED = 3  # the status where the texts do not support the options; the reason is on stderr


def main() -> None:
  for number in (signal.SIGINT, signal.SIGPIPE):  # end at once, also within a call of the library
    signal.signal(number, signal.SIG_DFL)
  import sentencepiece

  model = io.BytesIO()
  try:
    sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=map(json.loads, sys.stdin), model_writer=model, **json.loads(sys.argv[1])
    )
  except RuntimeError as error:
    print(error, file=sys.stderr)
    sys.exit(REFUSED)
  sys.stdout.buffer.write(model.getvalue())


if __name__ == "__main__":
  main()
