#!/usr/bin/env bash
# Puts uv (the given version) into .local/uv, with the first Python 3.11 to 3.13 on the path.
set -euo pipefail
cd "$(dirname "$0")/../.."
for python in python3.12 python3.11 python3.13 python3; do
    if "$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
        echo "environment: fetching uv $1 with $python (once)" >&2
        "$python" -m venv .local/uv
        if ! .local/uv/bin/python -m pip install -q --disable-pip-version-check "uv==$1"; then
            rm -rf .local/uv
            echo "environment: uv $1 could not be installed: is the package index reachable? (pip's own message is above)" >&2
            exit 1
        fi
        exit 0
    fi
done
echo "environment: no Python 3.11, 3.12 or 3.13 with venv on the path: install one (Debian: apt-get install python3 python3-venv)" >&2
exit 1
