"""Many runs from one file: `launch/sweep.py` calls these.

hyper      what a sweep file builds its runs from     state      how far each run is
plan       a sweep file -> runs and their commands    runner     one run after the other
overrides  keys of a config that a run changes        results    the table
                                                      plot       the plot
"""
