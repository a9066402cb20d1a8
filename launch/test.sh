#!/usr/bin/env bash
# Style, types and tests, in an environment it makes itself.
#   bash launch/test.sh [--all] [flags of pytest, e.g. -k golden]
# What is marked slow (several processes, the TPU compiler, a real browser, real models, benchmarks)
# runs with --all. What XLA compiles is kept in ~/.cache/dap_jax/tests: the second time is quicker.
requirements=(requirements.txt requirements-demo.txt requirements-dev.txt)
chosen=(-m "not slow")
flags=()
for flag in "$@"; do
  if [ "$flag" = --all ]; then
    chosen=()
    requirements+=(requirements-plan.txt)
  else
    flags+=("$flag")
  fi
done
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh" "${requirements[@]}"

.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy -p dap_jax  # strict on the numeric core; see pyproject.toml
# A worker that is done takes tests from another; each holds up to 4 GB of compiled programs.
.venv/bin/python -m pytest -n "$(nproc)" --maxprocesses=4 --dist=worksteal \
  "${chosen[@]}" "${flags[@]}"
