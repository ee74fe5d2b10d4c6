#!/usr/bin/env bash
# Many compact samples of every task follow the grammar the bundled model was trained on, and can be solved from
# their text alone by a second, independent reader. Arg 1: the saccade binary.
set -euo pipefail
saccade=$1
command -v python3 >/dev/null || { echo "python3 is not there: skipped"; exit 77; }
here=$(cd "$(dirname "$0")" && pwd)
export SOURCE_DIR=${SOURCE_DIR:-$here/..}
for task in niah niah:queries=1 vt:hops=4 vt:chains=3,hops=2 cwe cwe:words=10 story_retrieval story_retrieval:queries=1 \
            story_multihop story_filtering story_filtering:chapters=1; do
    for length in 700 1024 3000; do
        "$saccade" tasks show "$task" --style compact --length $length --samples 12 --seed $length --json
    done
done | python3 "$here/tasks_grammar.py"
