#!/bin/sh
# Writes requirements/*.txt anew: every package pinned and hashed, none named by host, index or path.
# Compiled with the oldest Python that is supported, because its set of packages contains those of the newer ones;
# tests/test_packaging.py looks after the rest. Needs pip-tools (the development environment has it) and a registry.
# usage: tools/lock.sh PYTHON [pip-compile options, for example --upgrade]
set -eu

python=$1
shift
cd "$(dirname "$0")/.."

version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if [ "$version" != 3.11 ]; then
    echo "lock: needs Python 3.11, not $version; give it with: make lock PYTHON=python3.11" >&2
    exit 1
fi

compile() {
    CUSTOM_COMPILE_COMMAND="make lock" "$python" -m piptools compile --quiet --generate-hashes --strip-extras \
        --allow-unsafe --resolver=backtracking --newline=lf \
        --no-emit-options --no-emit-index-url --no-emit-trusted-host --no-emit-find-links "$@" pyproject.toml
}

compile "$@" --only-build-deps --all-build-deps --output-file requirements/build.txt
compile "$@" --output-file requirements/run.txt
compile "$@" --extra dev --constraint requirements/run.txt --constraint requirements/build.txt \
    --output-file requirements/dev.txt
