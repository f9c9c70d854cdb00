#!/bin/sh
# Runs all tests. Installs what they need and this machine lacks: Debian packages where root may install them.
# Python, Node and Rust packages come from their registries while the tests run.
set -eu
cd "$(dirname "$0")/.."

missing=""
need() { # program, package
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need python3 python3
need unshare util-linux
need nsenter util-linux
need ip iproute2
need cc gcc
need node nodejs
need npm npm
need c++ g++
need shellcheck shellcheck
python3 -c 'import venv, ensurepip' 2>/dev/null || missing="$missing python3-venv"

if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        apt-get update -qq
        # The packages are words to apt-get, not one name.
        # shellcheck disable=SC2086
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
    else
        echo "error: the tests need$missing" >&2
        echo "hint: install them, or run this as root on Debian or Ubuntu" >&2
        exit 6
    fi
fi
if ! command -v cargo >/dev/null 2>&1; then
    echo "error: the tests need a Rust toolchain, 1.95 or later" >&2
    exit 6
fi

cargo test --workspace --locked "$@"
# The short form of fuzzing belongs to a whole run; fuzz/run.sh alone is the long one.
if [ $# -eq 0 ]; then
    fuzz/run.sh 10
fi
