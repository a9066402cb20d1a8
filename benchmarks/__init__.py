"""Measurements beside other programs, and of machines that are not at hand.

Each script is a module, `python -m benchmarks.NAME`, run from the repository's root; its docstring
says what it measures and what it needs. `measuring.py` is what they share. tests/test_benchmarks.py
runs every one of them at its smallest size.
"""
