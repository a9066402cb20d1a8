"""What is asked of the texts of one pair: the rules of `data.rules`, scripts, languages, markup.

May import `data.readers`, `data.texts` and `utils`. Start with `rules.py`, the table of all rules.
"""
