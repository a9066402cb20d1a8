"""The families of encoders, a file each: sizes, and the modules that they make.

`model/encoder.py` says what a family offers, and runs its layers. May import the shared layers of
`model`.
"""
