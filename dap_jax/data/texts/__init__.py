"""Texts: lines of files, normal forms, words, and the files of words and of labelled texts.

May import `utils` only. Start with `text_files.py`, which reads the lines of a file, and
`normal_forms.py`, which says when two texts are the same.
"""
