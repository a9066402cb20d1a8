"""Fine-tuning for classification: `run.py` is the run, `batches.py` its data."""
