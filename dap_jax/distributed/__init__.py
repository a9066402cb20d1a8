"""Several devices and several processes: where arrays lie, how processes wait, fail and end.

May import `utils` only. Start with `sharding.py` for devices (the mesh, the table of places) and
with `multihost.py` for processes.
"""
