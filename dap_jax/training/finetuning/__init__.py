"""Fine-tuning for classification: `run.py` is the run, `batches.py` its data, `evaluation.py` its
test on all languages.

Start with `run.py`.
"""
