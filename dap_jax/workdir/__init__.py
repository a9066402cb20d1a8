"""A run's folder: its layout, its checkpoints (the only place that imports Orbax), its records.

May import `distributed` and `utils`. Start with `layout.py`: what lies in a workdir, and which
config may resume it. `checkpointing.py` saves and resumes a run, `restore.py` chooses a checkpoint
of a trained one, `records.py` alone parses metrics.jsonl.
"""
