"""What the real TPU compiler says of a step, without a TPU.

May import what `planning` may. Start with `compiler.py`; `hlo.py` and `traffic.py` parse the text
of the compiled program.
"""
