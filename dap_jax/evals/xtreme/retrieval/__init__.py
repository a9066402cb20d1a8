"""XTREME's Tatoeba and BUCC 2018: predictions of a model that is not fine-tuned, from one layer.

`run.py` is where to start. The benchmark's protocol, as its scripts have it, is not that of
`dap_jax/evals/`: a layer in the middle, English as the query, and another split of BUCC.
"""
