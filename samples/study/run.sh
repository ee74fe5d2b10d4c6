#!/usr/bin/env bash
# The study of the bundled model, as it stands in this folder: five tasks at 1024 and 4096 tokens and variable tracking
# at 1024, three methods at four sparsities, dense beside them. Two idle cores need about a quarter of an hour. Started
# again it goes on where it was stopped; results.jsonl, report.md and the figures are then made again.
#
#     samples/study/run.sh [FOLDER]        default: study-results in the current folder
#     SAMPLES=16 samples/study/run.sh      samples at 1024 tokens (default 8); three eighths of it at 4096
#     EXTRA="8192 16384" ...               further lengths with a quarter of it, for more of error against length
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-study-results}
saccade=${SACCADE:-saccade}
samples=${SAMPLES:-8}
command -v "$saccade" >/dev/null || { echo "run.sh: no $saccade on the path; set SACCADE to the built program" >&2; exit 1; }
mkdir -p "$out/figures"
export SACCADE_SAMPLES=${SACCADE_SAMPLES:-$here/..}
five=niah,story_retrieval,story_multihop,story_filtering,cwe
part() { # part TASKS LENGTH SAMPLES
    "$saccade" eval --task "$1" --length "$2" --samples "$3" --brief -o "$out/results.jsonl" \
        --method vertical_slash --method snapkv --method quest --sparsity 0.5,0.8,0.9,0.95
}
part "$five,vt" 1024 "$samples"
part "$five" 4096 $(( (3 * samples + 4) / 8 ))
for length in ${EXTRA:-}; do part "$five" "$length" $(( (samples + 3) / 4 )); done
"$saccade" report --format markdown -o "$out/report.md" "$out/results.jsonl"
"$saccade" report --plots "$out/figures/.png" --force --quiet "$out/results.jsonl"
echo "$out/report.md and $out/figures"
