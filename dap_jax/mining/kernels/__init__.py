"""How a block of x is compared with the blocks of y: `on_cpu.py`, or `on_accelerators.py`.

Both classes have the methods that `exact_search.compare_all` calls, and both give the same result;
`best.py` is the selection that they share, `lists.py` what it selects into.
"""
