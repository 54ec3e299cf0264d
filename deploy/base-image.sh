#!/bin/sh
# Makes a base image for deploy/Dockerfile out of Debian's packages, for a machine whose container engine reaches no
# image registry. About 40 s on an idle machine, and 123 MB. Needs root and debootstrap (apt-get install debootstrap), and
# a Debian mirror: the one that this machine's apt uses, or DEBIAN_MIRROR.
# usage: deploy/base-image.sh [NAME:TAG]        (camomile-base:trixie by default)
set -eu

image=${1:-camomile-base:trixie}
suite=trixie
engine=${CONTAINER_ENGINE:-docker}

fail() {
    echo "base-image: $1" >&2
    exit 1
}

[ "$(id -u)" = 0 ] || fail "needs root, because debootstrap unpacks a system; run it with sudo"
command -v debootstrap >/dev/null || fail "needs debootstrap; install it with: apt-get install debootstrap"
"$engine" version >/dev/null 2>&1 || fail "$engine does not answer; start it, or name another with CONTAINER_ENGINE"

# The first http(s) mirror that apt knows, in either of its two notations; its own choice when it has none.
mirror=${DEBIAN_MIRROR:-$(
    cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
        sed -n -e 's/^URIs: *\(http[^ ]*\).*/\1/p' -e 's/^deb *\(\[[^]]*\] *\)\{0,1\}\(http[^ ]*\).*/\2/p' |
        grep '/debian/*$' | head -n 1 || true
)}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
root=$work/root

echo "base-image: fetching and unpacking Debian's packages; this can take two minutes"
# shellcheck disable=SC2086 # an empty mirror is debootstrap's own
debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$suite" "$root" $mirror >"$work/log" 2>&1 || {
    tail -n 20 "$work/log" >&2
    fail "debootstrap failed; its last lines are above"
}

# So that what runs in the image trusts what this machine trusts: a company's own authority, for example.
if [ -r /etc/ssl/certs/ca-certificates.crt ]; then
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
fi

rm -rf "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/info/* "$root"/usr/share/locale/* \
    "$root"/usr/share/i18n "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/cache/debconf/*-old \
    "$root"/var/log/* "$root"/tmp/*

tar --numeric-owner -C "$root" -c . | "$engine" import --change 'CMD ["python3"]' \
    --change 'ENV LANG=C.UTF-8' --change 'LABEL org.camomile.base=debian-trixie' - "$image" >/dev/null
echo "base-image: made $image"
