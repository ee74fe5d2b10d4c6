#!/usr/bin/env bash
# The study of the bundled model: six tasks, two lengths, three methods at three sparsities, dense beside them. Started
# again it goes on where it was stopped; results.jsonl, report.md and the figures are then made again.
#
#     samples/study/run.sh [FOLDER]        default: study-results in the current folder; SAMPLES=6 for fewer or more
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-study-results}
saccade=${SACCADE:-saccade}
samples=${SAMPLES:-6}
command -v "$saccade" >/dev/null || { echo "run.sh: no $saccade on the path; set SACCADE to the built program" >&2; exit 1; }
mkdir -p "$out"
export SACCADE_SAMPLES=${SACCADE_SAMPLES:-$here/..}
grid=(--task niah,story_retrieval,story_multihop,story_filtering,cwe,vt
      --method vertical_slash --method quest --method snapkv --sparsity 0.5,0.8,0.9)
"$saccade" eval "${grid[@]}" --length 1024 --samples "$samples" -o "$out/results.jsonl"
"$saccade" eval "${grid[@]}" --length 4096 --samples $(( (samples + 1) / 2 )) -o "$out/results.jsonl"
"$saccade" report --format markdown -o "$out/report.md" "$out/results.jsonl"
"$saccade" report --plots "$out/.svg" --force --quiet "$out/results.jsonl"
echo "$out/report.md"
