"""The search that `mine` asks for: exact or by FAISS, from both sides or from one."""

from __future__ import annotations

from pathlib import Path

from dap_jax.distributed import multihost
from dap_jax.mining import exact_search, faiss_search
from dap_jax.mining.exact_search import Neighbours
from dap_jax.mining.options import Options
from dap_jax.mining.search_checkpoint import SearchCheckpoint
from dap_jax.mining.work_folder import Sentences


def search(
  source: Sentences, target: Sentences, folder: Path, options: Options
) -> tuple[Neighbours, ...]:
  """The neighbours of `options.searched_sides()` sides.

  All processes call it; FAISS searches on process 0 alone, and the others get ().

  Args:
    source, target: the two sides.
    folder: the work folder, for the state of the exact search.
    options: what to search.
  """
  x, y, k, sides = source.side, target.side, options.neighbours, options.searched_sides()
  if not sides:
    return ()
  kind, _, factory = options.index.partition(":")
  if kind != "faiss":
    # By what they hold, so that another mode or k does not take one for its own.
    path = folder / f"{'search' if sides == 2 else 'forward'}-{k}.npz"
    state = SearchCheckpoint(path, seconds=options.save_seconds)
    if sides == 2:
      return exact_search.nearest(x, y, neighbours=k, checkpoint=state, what="searching")
    return (exact_search.one_way(x, y, neighbours=k, checkpoint=state, what="searching"),)
  if not multihost.is_first():
    return ()
  if sides == 2:
    return faiss_search.nearest(x, y, factory=factory, neighbours=k, what="searching")
  return (faiss_search.one_way(x, y, factory=factory, neighbours=k, what="searching"),)
