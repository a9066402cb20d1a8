"""Corpora in users' formats -> rows: a sentence and its translations, as they are in the files.

May import `data.texts` and `utils`. Start with `formats.py`, where `data.format` is looked up, and
`row.py`, what a reader yields; each format has a file.
"""
