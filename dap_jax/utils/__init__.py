"""What all packages may use: errors, config sections, files, progress, nested dicts.

Imports none of them. Start with `errors.py`: `UserError` is for mistakes that a user can correct.
"""
