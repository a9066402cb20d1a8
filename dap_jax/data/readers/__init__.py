"""What users hold -> rows of texts: formats, cleaning, the held-out split, dictionaries.

May import `utils` only. Start with `formats.py`: one function a format, one row a sentence.
"""
