"""XTREME's fine-tuned tasks: one fine-tuning each by the benchmark's protocol, then predictions.

May import what `training` may. Start with `run.py`; `protocols.py` has the benchmark's numbers,
`data.py` reads its files.
"""
