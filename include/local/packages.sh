#!/usr/bin/env bash
# Installs Python packages, and ends a failed installation with one line: the reason and the remedy.
#   packages.sh uv VERSION                     uv into .local/uv, with the first Python 3.11 to 3.13 on the path
#   packages.sh sync FOLDER LOCK [OPTION...]   the packages of a hashed lock into the environment FOLDER, with uv
# It needs only bash (3.2 on macOS) and coreutils. All messages go to stderr, because stdout of
# `make demo DEMO_SECONDS=...` has only the JSON status.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# uv and httpx read SSL_CERT_FILE, pip does not.
if [ -n "${SSL_CERT_FILE:-}" ]; then export PIP_CERT=${PIP_CERT:-$SSL_CERT_FILE}; fi

explain() { # WHAT: ends with the reason that the messages in the log give
    local text reason
    text=$(<"$log")
    shopt -s nocasematch
    case $text in
    *certificate*)
        reason="the package index's certificate is not trusted: behind a proxy with its own certificate, name its CA's file in SSL_CERT_FILE" ;;
    *"no interpreter found"*)
        reason="no Python 3.11, 3.12 or 3.13 is on the path: install one" ;;
    *"initialize cache"*)
        reason="uv's cache cannot be written: name another folder in UV_CACHE_DIR" ;;
    *"no space left"*)
        reason="the disk is full: the environments take 1.2 GB" ;;
    *"platform tag"* | *"no usable wheels"* | *"failed to build"*)
        reason="a package has no wheel for this platform: use Linux or macOS on x86-64 or arm64" ;;
    *)
        reason="is the package index reachable? Behind a proxy, set HTTPS_PROXY" ;;
    esac
    echo "environment: $1 could not be installed: $reason"
    exit 1
}

install_uv() { # VERSION
    local python
    for python in python3.12 python3.11 python3.13 python3; do
        if "$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            echo "environment: fetching uv $1 with $python (25 MB, once)"
            rm -rf .local/uv
            "$python" -m venv .local/uv
            if .local/uv/bin/python -m pip install --disable-pip-version-check "uv==$1" >"$log" 2>&1; then return; fi
            rm -rf .local/uv
            tail -n 3 "$log"
            explain "uv $1"
        fi
    done
    echo "environment: no Python 3.11, 3.12 or 3.13 with venv on the path: install one (Debian: apt-get install python3 python3-venv)"
    exit 1
}

without_list() { # uv's lines tell sizes and times; its lists of installed and downloaded packages are left out
    local line
    while IFS= read -r line; do
        case $line in " + "* | " - "* | " ~ "* | " Downloaded "*) ;; *) echo "$line" ;; esac
    done
}

install() { # FOLDER LOCK [OPTION...]
    local python=$1/bin/python
    test -x "$python" || .local/uv/bin/uv venv -q --python '>=3.11,<3.14' "$1" || return
    .local/uv/bin/uv pip sync --require-hashes --python "$python" "${@:3}" "$2"
}

sync() { # FOLDER LOCK [OPTION...]
    local size
    echo "environment: installing $2 into $1"
    install "$@" 2>&1 | tee "$log" | without_list || explain "$2"
    size=$(du -sm "$1")
    echo "environment: $1 is made: ${size%%[!0-9]*} MB, $SECONDS s"
}

case $1 in
uv) install_uv "$2" ;;
sync) sync "${@:2}" ;;
esac
