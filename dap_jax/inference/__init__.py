"""A trained model that encodes texts, words and whole files.

May import `core`, `model`, `data`, `hub`, `distributed`, `workdir`, `mining`, and `evals` for its
`Model` protocol and its links of words. Start with `embedder.py`: `load` makes an `Embedder` of a
workdir, a folder or a hub id. `sentence_encoder.py` is what a Python program sees of it.
"""
