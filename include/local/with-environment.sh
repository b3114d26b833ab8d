#!/bin/sh
# Runs a program with the variables of an environment file: with-environment.sh FILE PROGRAM [ARGUMENT...]
set -a
# shellcheck source=/dev/null
. "$1"
set +a
shift
exec "$@"
