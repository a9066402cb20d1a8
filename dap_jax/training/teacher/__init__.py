"""A frozen teacher: its network in every step, or vectors that were computed before training.

May import what `training` may. Start with `teachers.py`, which reads the config's `teacher`
section; `teacher_vectors.py` is where vectors come from.
"""
