"""Hugging Face folders, in and out: weights, configs, tokenizers, model cards.

May import `utils` only. Start with `from_hf.py` and `to_hf.py`; `names.py` is the one table of
weight names.
"""
