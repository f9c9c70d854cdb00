#!/bin/sh
# Fuzzes whatever reads bytes from outside, with libFuzzer on the stable toolchain: there is no unsafe code of ours, so the
# sanitizers that would need another toolchain have nothing to find, and the instrumentation for coverage is in rustc.
#
# Usage: fuzz/run.sh [SECONDS [TARGET…]]        600 seconds for each target by default
#
# A finding ends the run with its input in fuzz/artifacts/TARGET; what was learned is kept in fuzz/corpus/TARGET.
set -eu
cd "$(dirname "$0")"

seconds=${1:-600}
[ $# -gt 0 ] && shift
if [ $# -eq 0 ]; then
    for file in fuzz_targets/*.rs; do
        name=$(basename "$file" .rs)
        set -- "$@" "$name"
    done
fi
if ! command -v c++ >/dev/null 2>&1; then
    echo "error: libFuzzer needs a C++ compiler (Debian package g++)" >&2
    exit 6
fi

target=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing"
# With --target the flags are for the targets alone and not for the build scripts they need.
# The versions are those of the project; what the fuzzer needs beside them is added to the copy.
cp ../Cargo.lock Cargo.lock
cargo build --release --target "$target"
built=${CARGO_TARGET_DIR:-target}/$target/release

for name in "$@"; do
    mkdir -p "corpus/$name" "artifacts/$name"
    echo "fuzzing $name for $seconds s" >&2
    "$built/$name" "corpus/$name" "seeds/$name" -max_total_time="$seconds" -max_len=8192 -timeout=10 \
        -rss_limit_mb=2048 -artifact_prefix="artifacts/$name/" -verbosity=0 -print_final_stats=0 -print_funcs=0
done
