"""Mining of parallel sentences: search for nearest neighbours, margin scores, pairs, their files.

May import `core.unit_vectors`, `data.texts` and `distributed`. Start with `exact_search.py`, the
search, which compares by `kernels/`; `pairing.py` turns neighbours into pairs of translations;
`modes/` writes what `mine` is asked for.
"""
