"""Rows of texts -> the pairs to train on and those held out: filters, duplicates, the split.

May import `data.readers`, `data.texts` and `utils`. Start with `corpus.py`, which reads and cleans
a whole corpus; `clean.py` has the rules.
"""
