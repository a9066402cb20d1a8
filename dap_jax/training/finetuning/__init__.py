"""Fine-tuning for classification, with the loop and the step of training.

May import what `training` may. Start with `run.py`; `batches.py` is its data, `evaluation.py` its
test on all languages.
"""
