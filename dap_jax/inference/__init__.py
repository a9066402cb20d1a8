"""A trained model that encodes texts, words and whole files.

May import `core`, `model`, `data`, `hub`, `distributed`, `workdir`, and `evals` for its `Model`
protocol. Start with `embedder.py`: `load` makes an `Embedder` of a workdir, a folder or a hub id.
"""
