"""Hugging Face folders, read and written: weights, configs, tokenizers, model cards.

May import `utils` only. Start with `from_hf.py`, which reads a folder, or `to_hf.py`, which writes
one; `names.py` is the only table of weight names.
"""
