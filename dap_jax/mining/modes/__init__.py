"""What `mine` writes, a file for each mode, from the neighbours that it found: `WRITERS`."""

from dap_jax.mining.modes import mine, negatives, score, search

WRITERS = {
  "mine": mine.write,
  "score": score.write,
  "search": search.write,
  "negatives": negatives.write,
}
