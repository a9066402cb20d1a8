"""Who works on the parts of a corpus: this machine's cores, or many machines.

May import `utils` only. Start with `processes.py`, which says what an engine does and has the one
that runs where nothing else is asked for; `beam.py` has the other.
"""
