"""A trained model that encodes texts.

May import `core`, `data`, `hub`, `workdir`, and from `evals` what a model is to offer. Start with
`embedder.py`: a workdir, a folder or a hub id -> vectors.
"""
