#!/usr/bin/env bash
# Trains on the NVIDIA GPUs of this machine; the same command again resumes.
#   bash launch/gpu.sh --config=configs/dap_xlmr.py --workdir=runs/dap [flags of dap_jax.train]
# On several machines run it on each, with --coordinator=HOST:PORT --processes=N --process_id=I.
# JAX_PLATFORMS=cuda installs where there is no GPU, on a login node say; =cpu trains without CUDA.
platforms=${JAX_PLATFORMS:-}
# Before anything is installed: JAX for CUDA takes gigabytes.
if [ -z "$platforms" ] && ! nvidia-smi -L 2>/dev/null | grep -q '^GPU'; then
  echo "error: there is no GPU here: nvidia-smi -L must list one; JAX_PLATFORMS=cpu trains without" >&2
  exit 1
fi
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh" requirements.txt

version=$(.venv/bin/python -c 'import jax; print(jax.__version__)')
mark=.venv/installed-cuda-$version
if [ "$platforms" != cpu ] && [ ! -e "$mark" ]; then
  echo "installing jax[cuda13] $version (minutes, once)"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check "jax[cuda13]==$version"
  touch "$mark"
fi
if [ -z "$platforms" ]; then  # without this check JAX would silently train on the CPU
  backend=$(.venv/bin/python -c 'import jax; print(jax.default_backend())')
  if [ "$backend" != gpu ]; then
    echo "error: JAX cannot use the GPU: nvidia-smi lists one, but its driver must be for CUDA 13 (580" \
      "or newer); JAX_PLATFORMS=cpu trains without" >&2
    exit 1
  fi
fi
exec .venv/bin/python -m dap_jax.train "$@"
