"""Tags of words, parts of speech or named entities, as a task of fine-tuning.

As XTREME's scripts do it: words are tokenised one by one, the first piece of each carries its tag.
A word of no piece, or of more than fit, becomes the unknown token. A sentence that is too long is
cut between words into several, never cut off, and its tags are joined again.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

from dap_jax.data.texts.tagged_sentences import Split, TaggedSentences
from dap_jax.data.tokenizer import Tokenizer
from dap_jax.evals import Result
from dap_jax.evals.measures.chunks import chunk_scores
from dap_jax.evals.transfer import transfer_result
from dap_jax.training.finetuning.batches import Sequences
from dap_jax.training.finetuning.task import Predict
from dap_jax.utils.errors import UserError

METRICS = ("f1", "accuracy", "majority_f1", "majority_accuracy")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TagsTask:
  """See `Task`.

  Attributes:
    sentences: of all languages.
    tokens: of the model.
  """

  sentences: TaggedSentences
  tokens: Tokenizer

  head, has_types, pool = "tokens", False, 16

  @property
  def classes(self) -> Sequence[str]:
    """The tags."""
    return self.sentences.classes

  @property
  def metric(self) -> str:
    """The F1 of chunks, where there is a development split."""
    return "eval/dev/f1" if self.sentences.dev.words else ""

  def digest(self) -> str:
    """See `Task`."""
    return self.sentences.digest()

  def train(self) -> Sequences:
    """See `Task`: labels are on the first pieces of words, -1 elsewhere."""
    split = self.sentences.train
    ids, places = self.encode(split.words)
    numbers = {tag: number for number, tag in enumerate(self.classes)}
    tags = iter([numbers[tag] for sentence in split.tags for tag in sentence])
    labels = [[-1] * len(sequence) for sequence in ids]
    for label, of_words in zip(labels, places, strict=True):
      for place in of_words:
        label[place] = next(tags)
    return Sequences(ids, labels)

  def encode(self, sentences: Sequence[Sequence[str]]) -> tuple[list[list[int]], list[list[int]]]:
    """Sequences of ids in the order of the sentences, and of each the places of its words.

    Words keep their order: a sequence has the next of them, never of two sentences.
    """
    if self.tokens.unk_id is None:
      raise UserError(
        "the model's tokenizer has no unknown token, which a tag may have to stand on"
      )
    words = list(dict.fromkeys(word for sentence in sentences for word in sentence))
    pieces = dict(zip(words, self.tokens.pieces(words), strict=True))
    room = self.tokens.max_tokens - 2  # [CLS] and [SEP]
    ids: list[list[int]] = []
    places: list[list[int]] = []
    for sentence in sentences:
      sequence, of_words = [self.tokens.cls_id], list[int]()
      for word in sentence:
        own = pieces[word] if 0 < len(pieces[word]) <= room else [self.tokens.unk_id]
        if len(sequence) - 1 + len(own) > room:
          ids.append([*sequence, self.tokens.sep_id])
          places.append(of_words)
          sequence, of_words = [self.tokens.cls_id], []
        of_words.append(len(sequence))
        sequence += own
      ids.append([*sequence, self.tokens.sep_id])
      places.append(of_words)
    return ids, places

  def _predicted(self, split: Split, predict: Predict) -> list[list[str]]:
    """The tags of each sentence: those of the largest logits."""
    ids, places = self.encode(split.words)
    logits = predict(Sequences(ids, []))
    numbers = iter(
      [
        int(i)
        for rows, of_words in zip(logits, places, strict=True)
        for i in rows[of_words].argmax(-1)
      ]
    )
    return [[self.classes[next(numbers)] for _ in sentence] for sentence in split.words]

  def dev_scores(self, predict: Predict) -> dict[str, float]:
    """See `Task`: F1 and accuracy."""
    dev = self.sentences.dev
    scores = measure(dev.tags, self._predicted(dev, predict))
    return {f"eval/dev/{name}": value for name, value in scores.items()}

  def evaluate(self, predict: Predict) -> tuple[Result, Mapping[str, str]]:
    """See `Task`: F1 of chunks and accuracy of words, and those of the most frequent tag alone.

    Predictions are a word and its tag a line, an empty line behind a sentence.
    """
    tests, train = self.sentences.test, self.sentences.train
    majority = Counter(tag for tags in train.tags for tag in tags).most_common(1)[0][0]
    scores: dict[str, dict[str, float]] = {metric: {} for metric in METRICS}
    texts = {}
    for code, split in tests.items():
      predicted = self._predicted(split, predict)
      of_majority = measure(split.tags, [[majority] * len(tags) for tags in split.tags])
      of_model = measure(split.tags, predicted)
      for name, value in of_model.items():
        scores[name][code], scores[f"majority_{name}"][code] = value, of_majority[name]
      texts[code] = as_text(split.words, predicted)
    about = {
      **self.sentences.protocol(),
      "f1": "chunks by seqeval 0.0.12's rules",
      "labels": "on the first piece of a word",
    }
    return transfer_result(scores, about, train_language=self.sentences.train_language), texts


def measure(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, float]:
  """`f1` of chunks and `accuracy` of words, in [0, 1]."""
  hits = [
    tag == guess
    for tags, guesses in zip(gold, predicted, strict=True)
    for tag, guess in zip(tags, guesses, strict=True)
  ]
  return {"f1": chunk_scores(gold, predicted).f1 / 100, "accuracy": sum(hits) / max(len(hits), 1)}


def as_text(sentences: Sequence[Sequence[str]], tags: Sequence[Sequence[str]]) -> str:
  """Sentences and their tags as the two columns that `data.texts.tagged_sentences` reads."""
  blocks = (
    "".join(f"{word}\t{tag}\n" for word, tag in zip(words, of_words, strict=True))
    for words, of_words in zip(sentences, tags, strict=True)
  )
  return "\n".join(blocks)
