#!/usr/bin/env bash
# One run on N processes of this machine, as on N hosts: to try what a pod does.
#   bash launch/processes.sh N [flags of dap_jax.train]
# JAX_NUM_CPU_DEVICES=D gives each D devices. If one of them ends, so do all; SIGTERM goes to all.
processes=${1:?usage: processes.sh N [flags of dap_jax.train]}
shift
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh" requirements.txt requirements-demo.txt

free='import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
address=127.0.0.1:$(.venv/bin/python -c "$free")
pids=()
trap 'kill -TERM "${pids[@]}" 2>/dev/null || true' TERM INT
for ((i = 0; i < processes; i++)); do
  .venv/bin/python -m dap_jax.train --coordinator="$address" --processes="$processes" \
    --process_id="$i" "$@" &
  pids+=($!)
done

worst=0
for ((ended = 0; ended < processes; )); do
  status=0
  wait -n || status=$?
  case $status in
    127) break ;;                                 # all have ended
    143) jobs -pr | grep -q . && continue ;;      # the trap's own signal: they save, wait on
  esac
  ended=$((ended + 1))
  if [ "$status" != 0 ]; then
    worst=$status
    kill -TERM "${pids[@]}" 2>/dev/null || true
  fi
done
exit "$worst"
