#!/bin/sh
# Generates the wire's code anew and fails, naming the difference, if the tree held anything else.
# usage: tools/check_proto.sh PYTHON
set -eu

python=$1
cd "$(dirname "$0")/.."
before=$(mktemp -d)
trap 'rm -rf "$before"' EXIT

cp -R camomile_trio/wire "$before/wire"
tools/generate_proto.sh "$python"
if ! diff -ru --exclude=__pycache__ "$before/wire" camomile_trio/wire; then
    echo "check-proto: the generated code was not what schemas/packet.proto gives; it is now: commit it" >&2
    exit 1
fi
