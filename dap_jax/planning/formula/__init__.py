"""What a step costs where no compiler is at hand (GPUs): an estimate from its trace.

May import what `planning` may. Start with `estimate.py`; `trace.py` flattens a traced step, and
`footprint.py` says which of its arrays lie in memory.
"""
