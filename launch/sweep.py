#!/usr/bin/env python3
"""`python -m dap_jax.sweep` under the name it had in 0.1; from a checkout, in any folder."""

import os
import sys
from pathlib import Path

# As `python -m` has it, and the project wherever this is started: not launch/, where this lies.
sys.path[0:1] = [os.getcwd(), str(Path(__file__).parents[1])]

from dap_jax.cli import main  # noqa: E402

sys.argv.insert(1, "sweep")
main.main()
