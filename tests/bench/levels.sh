#!/bin/sh
# The same measurement with each instruction set this CPU has, best last.
# usage: tests/bench/levels.sh [SACCADE [MODEL]]      LENGTH=256 overrides
set -e
root=$(cd "$(dirname "$0")/../.." && pwd)
saccade=${1:-$root/build/release/saccade}
model=${2:-$root/samples/models/saccade-sample-q8_0.gguf}
for level in scalar avx2 avx512 vnni bf16 amx; do
    SACCADE_CPU=$level "$saccade" bench "$model" --prefill "${LENGTH:-256}" --repeats 1 --decode 8 --context "${LENGTH:-256}"
done
