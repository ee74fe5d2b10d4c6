#!/bin/sh
# Cost against length on a log-log scale: seconds of a dense and of a sparse prefill from 1K up, with the local
# exponent (1: linear, 2: quadratic).
# usage: tests/bench/curve.sh [SACCADE [MODEL]]      LENGTHS=1024,...  METHOD=SPEC override
set -e
root=$(cd "$(dirname "$0")/../.." && pwd)
saccade=${1:-$root/build/release/saccade}
model=${2:-$root/samples/models/saccade-sample-q8_0.gguf}
"$saccade" bench "$model" --prefill "${LENGTHS:-1024,2048,4096,8192,16384}" --repeats 1 \
    --method "${METHOD:-vertical_slash:sparsity=0.9}" --json |
awk -F'[:,]' '
/"method"/ { gsub(/[" ]/, ""); sub(/^method:/, ""); sub(/,$/, ""); m = $0 }
/"tokens"/ { gsub(/[^0-9]/, ""); n = $0 }
/"seconds"/ { v = $2 + 0; if (!(m in last)) order[++k] = m
    e = m in last ? sprintf("%.2f", log(v / last[m]) / log(n / at[m])) : "-"
    w = int(12 * log(v * 1000) / log(10)); bar = sprintf("%*s", w > 0 ? w : 1, "*")
    printf "%-34s %7d %9.3f s  exponent %-5s |%s\n", m, n, v, e, bar; last[m] = v; at[m] = n }'
