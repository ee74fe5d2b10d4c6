#!/bin/sh
# Speed of the bundled model: dense and every method, as ratios of one run.
# usage: tests/bench/speed.sh [SACCADE [MODEL]]      LENGTHS=512,4096,16384 SPARSITY=0.9 override
set -e
root=$(cd "$(dirname "$0")/../.." && pwd)
saccade=${1:-$root/build/release/saccade}
model=${2:-$root/samples/models/saccade-sample-q8_0.gguf}
s=${SPARSITY:-0.9}
echo "load before: $(cut -d' ' -f1-3 /proc/loadavg 2>/dev/null || uptime)"
"$saccade" bench "$model" --prefill "${LENGTHS:-512,4096,16384}" --decode 64 --context "${CONTEXTS:-0,2500,16000}" \
    --method "vertical_slash:sparsity=$s" --method "block_sparse:sparsity=$s" --method flexprefill \
    --method "snapkv:sparsity=$s" --method "ada_snapkv:sparsity=$s" --method "quest:sparsity=$s"
echo "load after: $(cut -d' ' -f1-3 /proc/loadavg 2>/dev/null || uptime)"
