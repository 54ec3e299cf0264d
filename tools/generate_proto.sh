#!/bin/sh
# Generates camomile_trio/wire/generated from schemas/packet.proto. The same schema gives the same bytes, given the
# pinned versions of the development environment: the compiler writes its own version into the code.
# usage: tools/generate_proto.sh PYTHON
set -eu

python=$(command -v "$1") || { echo "generate-proto: there is no '$1'" >&2; exit 1; }
scripts=$(cd "$(dirname "$python")" && pwd)
cd "$(dirname "$0")/.."
output=camomile_trio/wire/generated
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
mkdir "$fresh/code"

# The compiler's plugin, and the formatter that it runs, lie beside the environment's Python. They chatter on stderr.
if ! PATH=$scripts:$PATH "$scripts/$(basename "$python")" -m grpc_tools.protoc --proto_path=schemas \
    --python_betterproto2_out="$fresh/code" schemas/packet.proto 2>"$fresh/log"; then
    cat "$fresh/log" >&2
    exit 1
fi

# Only now, so that a failure leaves the old code in place.
rm -rf "$output"
cp -R "$fresh/code" "$output"
