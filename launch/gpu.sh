#!/usr/bin/env bash
# Trains on the NVIDIA GPUs of this machine; the same command again resumes.
#   bash launch/gpu.sh --config=configs/dap_xlmr.py --workdir=runs/dap [flags of dap_jax.train]
# On several machines run it on each, with --coordinator=HOST:PORT --processes=N --process_id=I.
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh" requirements.txt

version=$(.venv/bin/python -c 'import jax; print(jax.__version__)')
mark=.venv/installed-cuda-$version
if [ ! -e "$mark" ]; then
  echo "installing jax[cuda13] $version (minutes, once)"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check "jax[cuda13]==$version"
  touch "$mark"
fi
if [ -z "${JAX_PLATFORMS:-}" ]; then  # without this check JAX would silently train on the CPU
  backend=$(.venv/bin/python -c 'import jax; print(jax.default_backend())')
  if [ "$backend" != gpu ]; then
    echo "error: JAX finds no GPU here: nvidia-smi must list one, with a driver for CUDA 13 (580 or" \
      "newer); JAX_PLATFORMS=cpu trains without" >&2
    exit 1
  fi
fi
exec .venv/bin/python -m dap_jax.train "$@"
