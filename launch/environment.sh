# shellcheck shell=bash
# Sourced by the other scripts: makes .venv once, installs what changed, changes to the root folder.
#   . launch/environment.sh requirements.txt [more requirements files]
# PYTHON names the interpreter (default python3, 3.11 or newer).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! "${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "error: ${PYTHON:-python3} is older than Python 3.11: set PYTHON to a newer one" >&2
  exit 1
fi
[ -x .venv/bin/python ] || "${PYTHON:-python3}" -m venv .venv

for requirements in "$@"; do
  # The mark is written last, so that an interrupted installation is repeated.
  mark=".venv/installed-$requirements"
  if ! cmp --silent "$requirements" "$mark"; then
    echo "installing $requirements (minutes, once)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r "$requirements"
    .venv/bin/python -m pip check
    cp "$requirements" "$mark"
  fi
done
