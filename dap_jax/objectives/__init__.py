"""The objectives: one file, one formula of one paper; docs/adding-an-objective.md adds one.

May import `core` and `model`. Start with `translation_ranking.py`, and `core/objective.py` for what
an objective may read. A file `objectives/NAME.py` has a function

    def objective(context: Context, *, ...your settings...) -> tuple[Mean, dict[str, Mean]]

and a config names it: `config.objectives.NAME = dict(weight=1.0, ...your settings...)`.
`training/selection.py` finds it by that name and passes the settings as keyword arguments (a
misspelt one is an error at start); the loss is the sum of weight x mean; the mean is logged under
NAME, and the extra means of the dictionary under their keys. Beside it the file may have

    SENTENCE_LEVEL = True       it reads only z and negatives: Matryoshka dimensions apply to it
    def needs(settings) -> set  which of `NEEDS` it uses with these settings; none without it
"""
