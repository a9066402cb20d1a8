"""The objectives: one file, one formula of one paper; docs/adding-an-objective.md adds one.

A file `objectives/NAME.py` has a function

    def objective(context: Context, *, ...your settings...) -> tuple[Mean, dict[str, Mean]]

and a config names it: `config.objectives.NAME = dict(weight=1.0, ...your settings...)`. `build`
finds it by that name, passes the settings as keyword arguments (a misspelt one is an error at
start), adds weight x the mean to the loss, and logs the mean under NAME and the extra means of the
dictionary under their keys. Beside it the file may have

    SENTENCE_LEVEL = True       it reads only z and negatives: Matryoshka dimensions apply to it
    def needs(settings) -> set  which of `NEEDS` it uses with these settings; none without it
"""
