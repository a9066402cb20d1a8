"""What everything may use: errors, settings, JSON files, progress, nested dicts.

Imports nothing of ours. Start with `errors.py`: `UserError` is every mistake a user can cure.
"""
