"""Nearest neighbours and mining of parallel sentences: search, margins, pairs, files.

May import `data.readers` and `distributed`. Start with `exact_search.py`; `pairing.py` makes pairs
of neighbours.
"""
