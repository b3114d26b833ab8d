#!/usr/bin/env bash
# Copies the broker's jars (44 MB) into the given folder with Maven. Without Java 17+ or Maven it prints that and leaves
# the folder empty: the local stack then uses the built-in broker. LOCAL_BROKER=built-in or given needs no jars.
set -euo pipefail
case $1 in /*) target=$1 ;; *) target=$PWD/$1 ;; esac # Maven reads a relative path from the pom's folder
case ${LOCAL_BROKER:-auto} in built-in | given) exit 0 ;; esac
major=$({ java -version 2>&1 || true; } | sed -nE 's/.*version "([0-9]+).*/\1/p' | head -n 1)
if [ "${major:-0}" -lt 17 ] || ! command -v mvn >/dev/null; then
    echo "kafka: no Java 17+ with Maven here; the built-in broker of librdkafka will be used" >&2
    mkdir -p "$target"
    exit 0
fi
echo "kafka: fetching the broker's jars with Maven (44 MB, once)" >&2
if ! mvn -B -q -f "$(dirname "$0")/pom.xml" dependency:copy-dependencies \
    -DoutputDirectory="$target" -DincludeScope=runtime >&2; then
    echo "kafka: Maven could not fetch the broker (its message is above): check the network and run make again, or go without: LOCAL_BROKER=built-in make demo" >&2
    exit 1
fi
echo "kafka: done in $SECONDS s" >&2
