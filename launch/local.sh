#!/usr/bin/env bash
# Trains, exports, evaluates and reports a small DAP model on real translations: one command.
#   bash launch/local.sh [flags of dap_jax.train, e.g. --config.steps=200]
# Run again, it resumes, or has nothing left to do. RUN=DIR puts the run elsewhere.
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh" requirements.txt requirements-demo.txt

run=${RUN:-runs/demo}
python=.venv/bin/python
$python -m dap_jax.train --config=configs/demo.py --workdir="$run" "$@"
if [ ! -e "$run/final" ]; then
  $python -m dap_jax.export --workdir="$run" --output="$run/final"
fi
$python -m dap_jax.evaluate --model="$run/final" --data="$run" --output="$run/retrieval.json"
$python -m dap_jax.report --workdir="$run"
echo "
the model: $run/final      with sentence-transformers: SentenceTransformer('$run/final')
its page:  $run/report.html    open it in a browser
curves:    .venv/bin/tensorboard --logdir $run"
