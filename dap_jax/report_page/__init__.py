"""The page of `dap_jax.report`: what is read and measured, the charts, and their HTML.

May import `data`, `evals`, `inference` and `workdir`; only this package and `sweeps` use Altair.
Start with `page.py`, which puts together what the others give:

runs        what a workdir holds              scripts   the writing system of texts
heldout     the held-out vectors, measured    tokens    token alignment of sentence pairs
measure     all of these for a checkpoint     charts    Vega-Lite specifications
comparison  several runs side by side         page      the HTML: page.html, run.html
html        one file of all parts             transfer  the page of fine-tunings: transfer.html
"""
