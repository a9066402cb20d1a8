"""Many runs from one file: what the command `sweep` does.

May import `cli`, `evals`, `report_page` and `workdir`. Start with `hyper.py`, which
says what a sweep file holds, then `plan.py`:

hyper      what a sweep file builds its runs from     state      how far each run is
plan       a sweep file -> runs and their commands    runner     one run after the other
overrides  keys of a config that a run changes        results    the table
                                                      plot       the plot
"""
