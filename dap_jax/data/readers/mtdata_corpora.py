"""Corpora by their ids in mtdata's index, which knows where each lies and how it is read.

mtdata stays a program of its own, found on the PATH: it asks for versions of packages that exclude
some of ours, so it wants an environment to itself (`pipx install mtdata`). It downloads a corpus
once, into its cache ($MTDATA, or ~/.mtdata), and says on the terminal what it does.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence

from dap_jax.data.readers.arguments import names
from dap_jax.data.readers.row import Row
from dap_jax.data.readers.tables.languages import code_of
from dap_jax.data.texts.text_files import buffered, decoded
from dap_jax.utils.errors import UserError

PROGRAM = "mtdata"


def mtdata(*, pivot: str, ids: Sequence[str], languages: Sequence[str] = ()) -> Iterator[Row]:
  """The pairs of corpora that mtdata lists (`mtdata list -l deu-eng -id`).

  Args:
    pivot: the pivot's language code; `en` is mtdata's `eng` too.
    ids: of the corpora, such as `OPUS-ccmatrix-v1-deu-eng`.
    languages: what the other languages are called in rows, `de` for `deu` say; without it, as in
      the ids.

  Raises:
    UserError: mtdata is not installed, does not know an id, or cannot fetch or read a corpus.
  """
  asked = names(languages, "languages") if languages else ()
  sides = {each: sides_of(each, pivot=pivot, languages=asked) for each in names(ids, "ids")}
  program = shutil.which(PROGRAM)
  if program is None:
    raise UserError(
      "data.format='mtdata' needs the program mtdata on the PATH: install it in an environment of"
      " its own, e.g. with `pipx install mtdata`"
    )
  for each, codes in sides.items():
    for number, line in enumerate(echoed(program, each), 1):
      texts = line.split("\t")
      if len(texts) >= 2:
        yield Row(dict(zip(codes, texts, strict=False)), where=f"{each}:{number}")


def sides_of(corpus: str, *, pivot: str, languages: tuple[str, ...]) -> tuple[str, str]:
  """The keys in rows of the two languages at the end of an id."""
  group, *rest = corpus.split("-")
  codes = tuple(
    code_of(name, pivot=pivot, languages=languages, any_code=True) for name in rest[-2:]
  )
  first, second = codes if len(codes) == 2 else (None, None)
  if not group or len(rest) != 4 or first is None or second is None or first == second:
    what = f"{pivot} and {' or '.join(languages) or 'another language'}"
    raise UserError(
      f"data.arguments.ids={corpus!r}: expected GROUP-NAME-VERSION-LANGUAGE-LANGUAGE, of {what};"
      " `mtdata list -l deu-eng -id` lists those of two languages"
    )
  if pivot not in (first, second):
    raise UserError(f"data.arguments.ids={corpus!r}: neither side is {pivot} (data.pivot)")
  return first, second


def echoed(program: str, corpus: str) -> Iterator[str]:
  """The lines of a corpus, tabs between the sides, as mtdata writes them to a pipe."""
  with subprocess.Popen([program, "echo", corpus], stdout=subprocess.PIPE) as process:
    assert process.stdout is not None, "a pipe was asked for"
    try:
      yield from decoded(buffered(process.stdout), name=corpus)
    except BaseException:
      process.kill()  # it would wait for a reader
      raise
  if process.returncode:
    raise UserError(
      f"data.arguments.ids={corpus!r}: `mtdata echo` ended with status {process.returncode};"
      " its own lines above say why"
    )
