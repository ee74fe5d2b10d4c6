#!/usr/bin/env bash
# The study of the bundled model: five tasks at 1024, 4096 and 8192 tokens and variable tracking at 1024, three methods
# at four sparsities, dense beside them. The default grid is two thirds of the one in this folder and needs about 23
# minutes on two AVX2 cores; SAMPLES=24 is the whole one. Started again it goes on where it was stopped; results.jsonl,
# report.md and the figures are then made again.
#
#     samples/study/run.sh [FOLDER]        default: study-results in the current folder
#     SAMPLES=24 samples/study/run.sh      samples at 1024 tokens (default 16); five twelfths of it at 4096, a sixth
#                                          at 8192
#     EXTRA=16384 ...                      further lengths with a twelfth of it, for more of error against length
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-study-results}
saccade=${SACCADE:-saccade}
samples=${SAMPLES:-16}
command -v "$saccade" >/dev/null || { echo "run.sh: no $saccade on the path; set SACCADE to the built program" >&2; exit 1; }
mkdir -p "$out/figures"
export SACCADE_SAMPLES=${SACCADE_SAMPLES:-$here/..}
five=niah,story_retrieval,story_multihop,story_filtering,cwe
part() { # part TASKS LENGTH SAMPLES
    "$saccade" eval --task "$1" --length "$2" --samples "$3" --brief -o "$out/results.jsonl" \
        --method vertical_slash --method snapkv --method quest --sparsity 0.5,0.8,0.9,0.95
}
part "$five,vt" 1024 "$samples"
part "$five" 4096 $(( (5 * samples + 11) / 12 ))
part "$five" 8192 $(( (samples + 5) / 6 ))
for length in ${EXTRA:-}; do part "$five" "$length" $(( (samples + 11) / 12 )); done
"$saccade" report --format markdown --force -o "$out/report.md" "$out/results.jsonl"
"$saccade" report --plots "$out/figures/.png" --force --quiet "$out/results.jsonl"
echo "$out/report.md and $out/figures"
