#!/bin/sh
# Error of each CPU level's fast path against f32 arithmetic on a real prompt.
# usage: tests/bench/error.sh [BUILD_DIR [MODEL [LENGTH]]]
set -e
root=$(cd "$(dirname "$0")/../.." && pwd)
build=${1:-$root/build/release}
model=${2:-$root/samples/models/saccade-sample-q8_0.gguf}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
${CC:-cc} -std=c17 -D_GNU_SOURCE -O2 -I"$root/include" -I"$root/engine" -I"$root/kernels" "$root/tests/bench/error.c" \
    "$build/engine/libsaccade.a" "$build/kernels/libsaccade_kernels.a" \
    $(pkg-config --libs jansson libpcre2-8 libutf8proc libzstd) -lpthread -lm -o "$tmp/error"
"$tmp/error" "$model" "${3:-1024}"
