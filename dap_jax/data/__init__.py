"""Training data: prepared once by SeqIO, then read as a function of the step number.

May import `data.readers` and `utils`. Start with `store.py` (what is prepared and kept) and
`loader.py` (which batch belongs to which step); what users hold is read in `readers/`.
"""
