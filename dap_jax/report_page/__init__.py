"""The page of `dap_jax.report`: what is read and computed, the charts, and their HTML.

runs        what a workdir holds              scripts   the writing system of texts
heldout     the held-out vectors, measured    tokens    token alignment of sentence pairs
measure     all of these for a checkpoint     charts    Vega-Lite specifications
comparison  several runs side by side         page      the HTML: page.html, run.html, .css, .js
"""
