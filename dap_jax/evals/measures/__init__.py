"""Measures that several benchmarks share, functions of texts and tags: shares of what is right.

May import nothing of ours. Scores are in [0, 100].
"""
