#!/bin/sh
# Time of exact map tiles of whole heads.
# usage: tests/bench/tiles.sh [BUILD_DIR [MODEL [SPEC [LENGTH...]]]]
set -e
root=$(cd "$(dirname "$0")/../.." && pwd)
build=${1:-$root/build/release}
model=${2:-$root/samples/models/saccade-sample-q8_0.gguf}
spec=${3:-vertical_slash:sparsity=0.9}
shift $(($# < 3 ? $# : 3))
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
${CC:-cc} -std=c17 -D_GNU_SOURCE -O2 -I"$root/include" "$root/tests/bench/tiles.c" "$build/engine/libsaccade.a" \
    "$build/kernels/libsaccade_kernels.a" $(pkg-config --libs jansson libpcre2-8 libutf8proc libzstd) \
    -lpthread -lm -o "$tmp/tiles"
[ $# -gt 0 ] || set -- 4096 16000
"$tmp/tiles" "$model" "$spec" "$@"
