"""What a training step costs on machines that are not at hand: memory, work, traffic, time.

May import `core`, `model`, `data`, `distributed`, `workdir`, `training`; only commands import it.
Start with `step.py`, which builds the trainer's own step, then `predict.py`. `compiled/` asks the
TPU compiler, `formula/` estimates for GPUs; `checks.py` is what `selfcheck` runs.
"""
