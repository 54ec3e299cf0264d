#!/bin/sh
# Names the interpreter that make takes where no environment is there and none is named. Of all python3.13, python3.12,
# python3.11 and python3 on PATH that can make environments, one built with profile-guided optimization goes before one
# that was not; then the newer version; then the first on PATH. Where there is none it says python3.
# usage: tools/best_python.sh
set -eu

look=${0%/*}/interpreter.py

found() {
    IFS=:
    for directory in $PATH; do
        for name in python3.13 python3.12 python3.11 python3; do
            python=$directory/$name
            if [ -x "$python" ] && rank=$("$python" -IS "$look" 2>/dev/null); then
                echo "$rank $python"
            fi
        done
    done
}

best=$(found | sort -s -k1,1nr -k2,2nr | sed -e 's/^[^ ]* [^ ]* //' -e 1q)
echo "${best:-python3}"
