#!/usr/bin/env bash
# Trains, evaluates and exports a small DAP model on real translations: one command, no other step.
#   bash launch/local.sh [flags of dap_jax.train, e.g. --config.steps=200]
# The same command again resumes, or does nothing twice. RUN=DIR puts the run elsewhere.
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh" requirements.txt requirements-demo.txt

run=${RUN:-runs/demo}
python=.venv/bin/python
$python -m dap_jax.train --config=configs/demo.py --workdir="$run" "$@"
if [ ! -e "$run/final" ]; then
  $python -m dap_jax.export --workdir="$run" --output="$run/final"
fi
$python -m dap_jax.evaluate --model="$run/final" --data="$run" --output="$run/retrieval.json"
echo "
the model: $run/final      with sentence-transformers: SentenceTransformer('$run/final')
curves:    .venv/bin/tensorboard --logdir $run"
