"""Several devices and several processes: where arrays lie, who waits for whom, how all end.

May import `utils` only. Start with `sharding.py` for devices (the mesh, the table of places) and
with `multihost.py` for processes.
"""
