#!/usr/bin/env bash
# Trains on every host of a Cloud TPU slice; the same command again resumes.
#   TPU=NAME ZONE=ZONE bash launch/tpu.sh --config=configs/dap_xlmr.py --workdir=gs://BUCKET/RUN
# Needs gcloud, logged in. The tree is copied to ~/dap_jax of each host.
set -euo pipefail
: "${TPU:?set TPU to the name of the slice}" "${ZONE:?set ZONE to its zone}"
cd "$(dirname "${BASH_SOURCE[0]}")/.."

everywhere=(--zone="$ZONE" --worker=all)
archive=$(mktemp)
trap 'rm -f "$archive"' EXIT
git archive --format=tar.gz --output="$archive" HEAD
gcloud compute tpus tpu-vm scp "$archive" "$TPU":dap_jax.tar.gz "${everywhere[@]}"
flags=$(printf ' %q' "$@")
gcloud compute tpus tpu-vm ssh "$TPU" "${everywhere[@]}" --command="
  set -e
  mkdir -p dap_jax && tar -xzf dap_jax.tar.gz -C dap_jax && cd dap_jax
  . launch/environment.sh requirements.txt
  .venv/bin/python -m pip install --quiet 'jax[tpu]==0.10.2'
  .venv/bin/python -m dap_jax.train --distributed$flags"
