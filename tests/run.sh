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
need make make
need go golang-go
need c++ g++
need shellcheck shellcheck
need docker docker.io
need strip binutils
need ssh-agent openssh-client
need skopeo skopeo
need docker-registry docker-registry
need git git
need aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu
need arm-linux-gnueabihf-gcc gcc-arm-linux-gnueabihf
need qemu-aarch64-static qemu-user-static
[ -e /usr/aarch64-linux-gnu/lib/libc.a ] || missing="$missing libc6-dev-arm64-cross"
[ -e /usr/arm-linux-gnueabihf/lib/libc.a ] || missing="$missing libc6-dev-armhf-cross"
engine_host=${EDGECTL_TEST_DOCKER_HOST:-${DOCKER_HOST:-unix:///var/run/docker.sock}}
has_engine() { docker -H "$engine_host" version >/dev/null 2>&1; }
has_engine || need dockerd docker.io
for header in mosquitto:libmosquitto-dev cjson/cJSON:libcjson-dev curl/curl:libcurl4-openssl-dev; do
    echo "#include <${header%%:*}.h>" | cc -E - >/dev/null 2>&1 || missing="$missing ${header##*:}"
done
python3 -c 'import venv, ensurepip' 2>/dev/null || missing="$missing python3-venv"

if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        apt-get update -qq
        # The packages are words to apt-get, not one name.
        # shellcheck disable=SC2086
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
        # Newer systems have the engine's client in a package of its own.
        command -v docker >/dev/null 2>&1 || apt-get install -y -qq --no-install-recommends docker-cli
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

# Rust for arm64 is compiled by Debian's compiler, which has the libraries for it.
if [ -z "${EDGECTL_TEST_CROSS_RUSTC:-}" ] && grep -q '^VERSION_CODENAME=bookworm' /etc/os-release 2>/dev/null &&
    [ "$(id -u)" = 0 ] && [ "$(dpkg --print-architecture)" = amd64 ]; then
    EDGECTL_TEST_CROSS_RUSTC=$(tests/cross_rust.sh "$PWD/target/cross-rust")
    export EDGECTL_TEST_CROSS_RUSTC
fi

# The tests of containers need an engine: the one there is, else one of their own that touches nothing else.
engine=""
start_engine() {
    engine=$(mktemp -d)
    engine_host="unix://$engine/docker.sock"
    dockerd --host "$engine_host" --data-root "$engine/data" --exec-root "$engine/exec" --pidfile "$engine/pid" \
        --bridge=none --iptables=false >"$engine/log" 2>&1 &
    engine_process=$!
    tries=0
    until has_engine; do
        tries=$((tries + 1))
        if [ "$tries" -gt 300 ] || ! kill -0 "$engine_process" 2>/dev/null; then
            cat "$engine/log" >&2
            echo "error: the container engine for the tests does not start" >&2
            exit 6
        fi
        sleep 0.2
    done
}
stop_engine() {
    if [ -z "$engine" ]; then
        # An engine that was there keeps nothing of the tests.
        docker -H "$engine_host" images --format '{{.Repository}}:{{.Tag}}' | grep '^edgectl-tests[/:]' |
            xargs -r docker -H "$engine_host" rmi -f >/dev/null || true
        return
    fi
    kill "$engine_process" 2>/dev/null || true
    wait "$engine_process" || true
    # What the kernel still holds of it is left to the next start of the machine.
    rm -rf "$engine" 2>/dev/null || true
}
trap stop_engine EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
if ! has_engine; then
    if [ "$(id -u)" != 0 ]; then
        echo "error: the tests need a container engine, and there is none at $engine_host" >&2
        echo "hint: start Docker, or name another engine with DOCKER_HOST, or run this as root" >&2
        exit 6
    fi
    start_engine
fi
export EDGECTL_TEST_DOCKER_HOST="$engine_host"

cargo test --workspace --locked "$@"
if [ $# -eq 0 ]; then
    # Engines of its own need root and the engine's program, which an engine that was there says nothing of.
    if [ -n "$engine" ]; then
        tests/swarm.sh "${CARGO_TARGET_DIR:-target}/debug/edgectl" 30
    fi
    # The short form of fuzzing belongs to a whole run; fuzz/run.sh alone is the long one.
    fuzz/run.sh 10
fi
