#!/usr/bin/env bash
# Trains under Slurm, a task a node with all its GPUs; queued again until the run is finished.
#   sbatch --nodes=4 --gpus-per-node=8 launch/slurm.sh --config=... --workdir=... [flags of train]
# Install first, where the nodes see it: JAX_PLATFORMS=cuda bash launch/gpu.sh --help
#SBATCH --job-name=dap_jax
#SBATCH --ntasks-per-node=1
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=TERM@120
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?slurm.sh is for sbatch}"
output=$(mktemp)
trap 'rm -f "$output"' EXIT
# SIGTERM, on preemption and two minutes before the time limit, reaches train on every node: it saves.
srun --kill-on-bad-exit=1 .venv/bin/python -m dap_jax.train --distributed "$@" 2>&1 | tee "$output"
# Slurm requeues jobs that it preempted or lost, but not those that reached their time limit.
grep -q "^finished at step" "$output" || scontrol requeue "$SLURM_JOB_ID"
