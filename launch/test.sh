#!/usr/bin/env bash
# Style and tests, in an environment it makes itself.
#   bash launch/test.sh [flags of pytest, e.g. -k golden]
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh" requirements-dev.txt

.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/python -m pytest "$@"
