#!/usr/bin/env bash
# Runs one command in N processes of this machine, as N hosts would: to try out a pod.
#   bash launch/processes.sh N COMMAND [its flags]
# COMMAND: prepare, train, evaluate, export, embed, mine, align, selfcheck. JAX_NUM_CPU_DEVICES=D gives
# each process D devices. If one ends with an error, all of them do; SIGTERM is passed on to all.
usage="usage: processes.sh N COMMAND [its flags]"
processes=${1:?$usage}
command=${2:?$usage}
shift 2
if ! [[ $processes =~ ^[1-9][0-9]*$ && $command != -* ]]; then
  echo "error: $usage" >&2
  exit 2
fi
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh" requirements.txt requirements-demo.txt

free='import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
address=127.0.0.1:$(.venv/bin/python -c "$free")
pids=()
trap 'kill -TERM "${pids[@]}" 2>/dev/null || true' TERM INT
for ((i = 0; i < processes; i++)); do
  .venv/bin/python -m "dap_jax.$command" --coordinator="$address" --processes="$processes" \
    --process_id="$i" "$@" &
  pids+=($!)
done

first=0  # the first exit status that is an error
for ((ended = 0; ended < processes; )); do
  status=0
  wait -n || status=$?
  case $status in
    127) break ;;                                 # none is left
    143) jobs -pr | grep -q . && continue ;;      # the trap's own signal: the others still save
  esac
  ended=$((ended + 1))
  if [ "$status" != 0 ]; then
    [ "$first" != 0 ] || first=$status
    kill -TERM "${pids[@]}" 2>/dev/null || true
  fi
done
exit "$first"
