#!/usr/bin/env bash
# A study on one or more machines with GNU parallel: N parts, a few at a time, then one file.
#
#     samples/jobs/parallel.sh OUT [N [JOBS]]      MODEL, TASKS, LENGTHS, SAMPLES and SPARSITIES from the environment
#
# Started again it goes on where it was.
set -euo pipefail
out=${1:?usage: parallel.sh OUT [PARTS [JOBS]]}
parts=${2:-8}
jobs=${3:-2}
here=$(cd "$(dirname "$0")" && pwd)
command -v parallel >/dev/null || { echo "parallel.sh: GNU parallel is not installed" >&2; exit 1; }
mkdir -p "$out"
threads=$(( $(nproc) / jobs ))
part() {
    "${SACCADE:-saccade}" eval --quiet ${MODEL:+"$MODEL"} \
        --task "${TASKS:-niah,story_retrieval,cwe}" --length "${LENGTHS:-1024,4096}" --samples "${SAMPLES:-20}" \
        --method vertical_slash --method quest --method snapkv --sparsity "${SPARSITIES:-0.5,0.8,0.9}" \
        --threads "$3" --shard "$1/$2" --output "$4/part-$1.jsonl"
}
export -f part
parallel --jobs "$jobs" --joblog "$out/joblog" part {} "$parts" "$(( threads > 0 ? threads : 1 ))" "$out" ::: $(seq "$parts")
"$here/merge.sh" "$out"
