#!/usr/bin/env bash
# Trains on a slice of Cloud TPUs: creates it, installs, trains on every host, resumes, deletes it.
#
#   bash launch/tpu.sh train --name=dap --zone=europe-west4-b --type=v5litepod-16 --spot \
#     --config=configs/dap_xlmr.py --workdir=gs://BUCKET/dap [-- flags of dap_jax.train]
#   bash launch/tpu.sh logs   --name=dap --zone=...      its log, from the beginning
#   bash launch/tpu.sh delete --name=dap --zone=...
#
# `train` goes on until the last step: a slice that is preempted is requested again, and the run
# resumes from its newest checkpoint. Run again, it does what is left. Options:
#
#   --name NAME      of the slice                  --project P   instead of gcloud's default
#   --zone ZONE                                    --spot        cheaper, may be preempted
#   --type TYPE      v5litepod-16, v4-32, ...      --version V   of the software on its hosts
#   --config FILE    the config                    --env FILE    lines NAME=VALUE for the hosts: the
#   --workdir DIR    gs://...                                    place for tokens
#   --keep           leaves the slice when done    --dry_run     only prints the commands
#
# Needs gcloud, logged in. The committed tree, HEAD, goes to ~/dap_jax of each host.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
  echo "error: $*" >&2
  exit 2
}

command=${1:-}
case "$command" in train | logs | delete) shift ;; *) fail "expected train, logs or delete, not '$command'" ;; esac
name='' zone='' type='' config='' workdir='' project='' env='' version='' spot='' keep='' dry=''
while [ $# -gt 0 ]; do
  flag=${1%%=*}
  case "$flag" in
    --)
      shift
      break
      ;;
    --spot) spot=1 ;;
    --keep) keep=1 ;;
    --dry_run) dry=1 ;;
    --name | --zone | --type | --config | --workdir | --project | --env | --version)
      if [ "$flag" = "$1" ]; then
        [ $# -gt 1 ] || fail "$flag needs a value"
        shift
        value=$1
      else
        value=${1#*=}
      fi
      [[ $value != --* ]] || fail "$flag needs a value, not $value"
      printf -v "${flag#--}" %s "$value"
      ;;
    *) fail "unknown option $1; flags of dap_jax.train come after --" ;;
  esac
  shift
done
needed=(name zone)
[ "$command" != train ] || needed+=(type config workdir)
for option in "${needed[@]}"; do
  [ -n "${!option}" ] || fail "--$option is needed"
done
[ -z "$env" ] || [ -r "$env" ] || fail "--env=$env cannot be read"
# What would end the run on the hosts costs nothing yet.
[ -n "$dry" ] || type gcloud > /dev/null 2>&1 || fail "gcloud is needed: cloud.google.com/sdk/docs/install"
case "${config%%:*}" in
  /*) ;;
  *.py) git cat-file -e "HEAD:${config%%:*}" 2> /dev/null \
    || fail "--config=$config is not in the committed tree, which the hosts get: commit it" ;;
esac
if [ -z "$version" ]; then
  case "$type" in
    v6e*) version=v2-alpha-tpuv6e ;;
    v5p*) version=v2-alpha-tpuv5 ;;
    v5lite*) version=v2-alpha-tpuv5-lite ;;
    *) version=tpu-ubuntu2204-base ;;
  esac
fi
where=(--zone="$zone")
[ -z "$project" ] || where+=(--project="$project")
pause=${TPU_PAUSE:-30} # seconds between two looks

# Runs a command; with --dry_run prints it as one could type it.
run() {
  if [ -n "$dry" ]; then
    printf '%q ' "$@"
    echo
  else
    "$@"
  fi
}

slice() { run gcloud compute tpus queued-resources "$@" "${where[@]}"; }

# ACTIVE, WAITING_FOR_RESOURCES, ...; NONE where there is none.
state() {
  [ -z "$dry" ] || {
    echo ACTIVE
    return
  }
  gcloud compute tpus queued-resources describe "$name" "${where[@]}" \
    --format='value(state.state)' 2>/dev/null || echo NONE
}

on_hosts() { # WORKER COMMAND
  run gcloud compute tpus tpu-vm ssh "$name" "${where[@]}" --worker="$1" --command="$2"
}

delete() { slice delete "$name" --force --quiet; }

# Requests the slice until it is ready.
create() {
  local options=(--node-id="$name" --accelerator-type="$type" --runtime-version="$version")
  [ -z "$spot" ] || options+=(--spot)
  [ -z "$dry" ] || slice create "$name" "${options[@]}"
  while true; do
    case "$(state)" in
      ACTIVE) return ;;
      NONE) slice create "$name" "${options[@]}" ;;
      SUSPENDED | SUSPENDING | FAILED) delete ;;
    esac
    echo "waiting for $type in $zone: $(state)"
    sleep "$pause"
  done
}

# Copies the tree and installs it, on hosts that do not have this commit yet.
install() {
  local archive commit
  commit=$(git rev-parse HEAD)
  archive=$(mktemp)
  git archive --format=tar.gz --output="$archive" HEAD
  run gcloud compute tpus tpu-vm scp "$archive" "$name":dap_jax.tar.gz "${where[@]}" --worker=all
  if [ -n "$env" ]; then
    run gcloud compute tpus tpu-vm scp "$env" "$name":dap_jax.env "${where[@]}" --worker=all
  fi
  rm -f "$archive"
  on_hosts all "set -e
    touch dap_jax.env && chmod 600 dap_jax.env
    [ \"\$(cat dap_jax/commit 2>/dev/null)\" != $commit ] || exit 0
    mkdir -p dap_jax && tar -xzf dap_jax.tar.gz -C dap_jax && cd dap_jax
    if ! command -v python3.1{1..9} > /dev/null; then  # images of Ubuntu 22.04 have Python 3.10
      sudo apt-get update --quiet=2 && sudo apt-get install --quiet=2 --yes python3.11-venv
    fi
    PYTHON=\$(command -v python3.1{1..9} | head -n 1) && export PYTHON
    bash -c '. launch/environment.sh requirements.txt'
    .venv/bin/python -m pip install --quiet \"jax[tpu]==\$(.venv/bin/python -c 'import jax; print(jax.__version__)')\"
    echo $commit > commit"
}

# Starts the run on every host where it is not running; it survives this connection.
start() {
  local flags
  flags=$(printf ' %q' --config="$config" --workdir="$workdir" "$@")
  on_hosts all "cd dap_jax
    if [ -e run.pid ] && kill -0 \$(cat run.pid) 2>/dev/null; then exit 0; fi
    set -a && . ../dap_jax.env && set +a
    rm -f run.status
    nohup bash -c '.venv/bin/python -m dap_jax.train --distributed \"\$@\"; echo \$? > run.status' train$flags > run.log 2>&1 &
    echo \$! > run.pid"
}

# These commands are expanded by the hosts' shells, not by this one.
# shellcheck disable=SC2016
{
  # Shows the first host's log until the run ends there.
  follow() { on_hosts 0 'cd dap_jax && tail -n +1 --pid=$(cat run.pid) -F run.log'; }
  finished() { on_hosts 0 'cd dap_jax && [ "$(cat run.status)" = 0 ] && grep -q "^finished at step" run.log'; }
  failed() { on_hosts 0 'cd dap_jax && [ -e run.status ] && [ "$(cat run.status)" != 0 ]'; }
}

train() {
  while true; do
    create
    if install && start "$@" && follow; then
      if [ -n "$dry" ] || finished; then break; fi
      # Status 0 without the last step: it was told to stop, since the slice is being preempted.
      if [ "$(state)" = ACTIVE ] && failed; then
        echo "error: training failed on $name; its log is above. Mended, the same command resumes" >&2
        exit 1
      fi
    fi
    echo "$name was interrupted; resuming"
    sleep "$pause"
  done
  [ -n "$keep" ] || delete
}

case "$command" in
  train) train "$@" ;;
  logs) follow ;;
  delete) delete ;;
esac
