"""Texts in users' formats -> clean rows and pairs: formats, filters, held-out split, dictionaries.

May import `utils` only. Start with `corpus.py`, which reads a whole corpus, and `formats.py`: one
function for each format, one row for each sentence.
"""
