"""Scores of predictions: readers of the benchmark's files, its metrics, and its averages.

`score.py` is where to start. What a metric computes is a function of lists of strings: `chunks.py`
part-of-speech and entity tags, `answers.py` questions, `counts.py` the rest.
"""
