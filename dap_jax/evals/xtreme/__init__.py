"""XTREME (arXiv 2003.11080): nine tasks in 40 languages, by the letter of the benchmark's programs.

May import what `evals` may. `tasks.py` is the table of tasks, and where to start;
`scoring/` reads predictions and labels in the benchmark's submission format and scores them,
`retrieval/` makes those of the two tasks without fine-tuning, `sentence_pairs.py` reads XNLI and
PAWS-X. Facts are of github.com/google-research/xtreme at 838c13b.
"""
