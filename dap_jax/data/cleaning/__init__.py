"""Rows of texts -> the pairs to train on and those held out: filters, duplicates, the split.

May import its subpackage, `data.engines`, `data.readers`, `data.texts` and `utils`. Start with
`corpus.py`, which reads and cleans a whole corpus, then `selection.py`.
"""
