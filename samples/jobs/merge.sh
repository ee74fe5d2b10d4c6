#!/usr/bin/env bash
# All parts of a study in one file, and its report beside it. May be called at any time, also while parts still run.
set -euo pipefail
out=${1:?usage: merge.sh FOLDER}
saccade=${SACCADE:-saccade}
"$saccade" eval --merge --output "$out/all.jsonl" "$out"/part-*.jsonl
"$saccade" report --format markdown --force --output "$out/report.md" "$out/all.jsonl"
echo "$out/all.jsonl and $out/report.md"
