#!/usr/bin/env bash
# Style and tests, in an environment it makes itself.
#   bash launch/test.sh [flags of pytest, e.g. -k golden]
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh" requirements.txt requirements-demo.txt requirements-dev.txt

.venv/bin/ruff check .
.venv/bin/ruff format --check .
# Files are shared out among processes, the longest first; each is up to 7 GB of compiled programs.
.venv/bin/python -m pytest -n "$(nproc)" --maxprocesses=4 --dist=loadfile \
  --no-loadscope-reorder "$@"
