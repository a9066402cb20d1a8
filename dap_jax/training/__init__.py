"""A training run, from its config to its last step.

May import everything but the commands, planning, reports and sweeps. Start with `run.py`, which
assembles a run and starts it; `build.py` makes the jitted step, `loop.py` repeats it, `start.py`
decides where it begins. `finetuning/` trains a classifier; `teacher/` is for distillation.
"""
