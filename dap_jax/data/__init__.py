"""Training data: a corpus is prepared once, with SeqIO; then Grain reads batches by step number.

May import its subpackages and `utils`. Start with `store.py` (corpus -> files -> arrays) and
`loader.py` (step -> batch); corpora in users' formats are read in `readers/`, cleaned in
`cleaning/`.
"""
