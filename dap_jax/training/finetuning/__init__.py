"""Fine-tuning of a model with a head for a task, with the loop and the step of training.

May import what `training` may. Start with `run.py`; `task.py` says what a task is, `labelled.py`,
`tags.py` and `questions.py` are three, of which `settings.py` chooses. `batches.py` makes batches,
`steps.py` trains, `evaluation.py` predicts.
"""
