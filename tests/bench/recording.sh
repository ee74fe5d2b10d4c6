#!/usr/bin/env bash
# What recording costs: prefill time with everything recorded and with nothing, in turns, as a ratio; and the whole
# command, measures included. Usage: recording.sh [SACCADE [LENGTH [ROUNDS [OPTION...]]]], such as --threads 1
set -euo pipefail
saccade=${1:-build/release/saccade} length=${2:-4096} rounds=${3:-5}
shift $(($# < 3 ? $# : 3))
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

for ((i = 0; i < rounds; i++)); do
    for how in record plain; do
        opts=(--task niah --length "$length" -m dense --no-reference --no-kl --max-tokens 1 --json "$@")
        [ "$how" = record ] || opts+=(--no-recall)
        /usr/bin/env bash -c 'TIMEFORMAT="%R %U %S"; time "$@"' - "$saccade" run "${opts[@]}" -o "$dir/$how.$i" 2> "$dir/$how.$i.time"
    done
done
python3 - "$dir" "$rounds" "$length" <<'PY'
import json, sys
folder, rounds, length = sys.argv[1], int(sys.argv[2]), sys.argv[3]
def best(how):
    runs = []
    for i in range(rounds):
        lane = json.load(open(f"{folder}/{how}.{i}"))["lanes"][0]
        wall, user, system = map(float, open(f"{folder}/{how}.{i}.time").read().split()[-3:])
        runs.append((lane["timing"]["prefill_s"], wall, user + system))
    return [min(r[k] for r in runs) for k in range(3)]
record, plain = best("record"), best("plain")
print(f"{length} tokens, best of {rounds}: recorded, not recorded, ratio")
for k, name in enumerate(("prefill, wall s", "command, wall s", "command, CPU s")):
    print(f"  {name:16} {record[k]:7.3f} {plain[k]:7.3f} {record[k] / plain[k]:6.2f}")
PY
