"""Random damage for files, and a count of what their readers make of it.

Right is a result, or a `UserError` of one line; anything else is a fault: another exception (a
panic of a Rust library too, which is no `Exception`), more than 5 seconds, more than 2 GB.
The draws are keyed, so a failure names the number that repeats it.

    DAP_JAX_FUZZ=10000 python -m pytest tests/test_fuzz_*.py -s     10,000 mutations of each file
"""

import collections
import copy
import gc
import json
import os
import random
import resource
import signal
import time
import traceback

from dap_jax.utils.errors import UserError

SECONDS, BYTES = 5.0, 2 << 30  # that one reading may take
NUMBERS = (0, -1, 1, 2, 0.5, 1e308, float("nan"), 2**31, 2**63, 10**30)
VALUES = (*NUMBERS, None, True, False, "", "a", "0", "é\u202e\x00", "../..", [], {}, [[]], {"a": 1})
PIECES = (
  *(b"\x00", b"\xff", b"\r", b"\n", b"\r\n", b"\t", b" ", b"\n\n\n", b'"', b"{", b"}", b"[", b"]"),
  *(b"\xef\xbb\xbf", b"\xc2\xa0", b"\xe2\x80\xa8", b"\xe2\x80\x8b", b"\xed\xa0\x80", b"\xf4\x90"),
  *(b"-", b"-1", b"0", b"99999999999999999999", b"1e999", b"nan", b"null", b"..", b"%s", b"<pad>"),
  *(b"[" * 5000, b"." * 60 + b"5", b"a" * 70_000, "\u0345".encode() * 300, b":a" * 5000),
)


def damaged(data: bytes, rng: random.Random) -> bytes:
  """A copy with one to three bytes flipped, spans cut, doubled or moved, or odd pieces put in."""
  for _ in range(rng.randint(1, 3)):
    start = rng.randrange(len(data) + 1)
    end = min(len(data), start + rng.choice((1, 1, 4, 40, len(data))))
    span = data[start:end]
    kind = rng.randrange(6)
    if kind == 0 and span:
      span = bytes([span[0] ^ (1 << rng.randrange(8))]) + span[1:]
    elif kind == 1:
      span = b""
    elif kind == 2:
      span += span
    elif kind == 3:
      span = rng.choice(PIECES)
    elif kind == 4:
      span = rng.choice(PIECES) + span
    else:
      span = rng.randbytes(len(span) % 64)
    data = data[:start] + span + data[end:]
  return data


def damaged_json(data: bytes, rng: random.Random) -> bytes:
  """A copy of a JSON text with a value replaced, a key gone, renamed or new; or as `damaged`."""
  if rng.random() < 0.25:
    return damaged(data, rng)
  tree = [json.loads(data)]
  for _ in range(rng.randint(1, 2)):
    holder, key = rng.choice(list(places(tree)))
    value = copy.deepcopy(rng.choice(VALUES))
    kind = rng.randrange(4)
    if kind == 0 and holder is not tree:
      del holder[key]
    elif kind == 1 and isinstance(holder, dict):
      holder[rng.choice(("x", "", *holder))] = holder.pop(key)
    elif kind == 2 and isinstance(holder[key], dict):
      holder[key][rng.choice(("x", "0", "type"))] = value
    else:
      holder[key] = value
  return json.dumps(tree[0]).encode()


def damaged_lines(data: bytes, rng: random.Random) -> bytes:
  """A copy of JSON lines with one of them damaged."""
  lines = data.split(b"\n")
  number = rng.choice([n for n, line in enumerate(lines) if line.strip()])
  lines[number] = damaged_json(lines[number], rng)
  return b"\n".join(lines)


def places(tree):
  """(holder, key) of every value in lists and dicts."""
  keys = tree if isinstance(tree, dict) else range(len(tree))
  for key in list(keys):
    yield tree, key
    if isinstance(tree[key], dict | list):
      yield from places(tree[key])


def fuzz(read, original, *, mutate=damaged, count=200, seed=0):
  """Reads `count` damaged copies of a file.

  Args:
    read: bytes -> anything; writes them where the reader looks, and reads. Its result counts.
    original: bytes, the whole file.
    mutate: one of the functions above.
    count: of copies; the environment's DAP_JAX_FUZZ instead, where it is set.
    seed: of the first; the next take the numbers after it.

  Returns:
    Counter of "result" and "UserError".

  Raises:
    AssertionError: there were faults: each kind once, with the number that repeats it.
  """
  outcomes, faults = collections.Counter(), {}
  for number in range(seed, seed + int(os.environ.get("DAP_JAX_FUZZ", count))):
    if number % 500 == 0:
      # TensorStore leaves a thousand objects behind for every checkpoint that is opened. After some
      # thousand the garbage collector would look at them for seconds, in the middle of a reading.
      gc.freeze()
    data = mutate(original, random.Random(number))
    before, start = peak_bytes(), time.monotonic()
    outcome = outcome_of(read, data)
    if time.monotonic() - start > SECONDS:
      outcome = f"took {time.monotonic() - start:.1f} s: {outcome}"
    elif peak_bytes() - before > BYTES:
      outcome = f"took {(peak_bytes() - before) / 1e9:.1f} GB"
    outcomes[outcome] += 1
    if outcome not in ("result", "UserError"):
      faults.setdefault(outcome, f"seed={number}: {data[:300]!r}")
  assert not faults, "\n\n".join(
    f"{n}x {f}\n{faults[f]}" for f, n in outcomes.items() if f in faults
  )
  print(f"\n{getattr(read, '__name__', read)}: {dict(outcomes)}")
  return outcomes


def outcome_of(read, data):
  """ "result", "UserError", or where in our code something else was raised."""

  def give_up(*_):
    raise TimeoutError

  previous = signal.signal(signal.SIGALRM, give_up)
  signal.setitimer(signal.ITIMER_REAL, 2 * SECONDS)
  try:
    read(data)
  except KeyboardInterrupt:
    raise
  except UserError as error:
    return "UserError" if str(error).strip() and "\n" not in str(error) else f"lines: {error}"
  except BaseException as error:  # noqa: BLE001 a PanicException is no Exception
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "dap_jax" in frame.filename] or frames
    place = f"{os.path.basename(ours[-1].filename)}:{ours[-1].lineno}"
    return f"{type(error).__name__} at {place} {ours[-1].line}"
  finally:
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, previous)
  return "result"


def peak_bytes():
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
