#!/usr/bin/env bash
# saccade eval with the real model: a study that is killed again and again ends with the same results as one that is not,
# shards merge to the whole, and the report reads it. Arg 1: the saccade binary.
set -euo pipefail
saccade=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
study=(eval --task niah:queries=1,cwe:words=2 --length 256,400 --samples 2 --no-kl --method quest --sparsity 0.5,0.8
       --method snapkv:capacity=140,window=32 --quiet)
"$saccade" "${study[@]}" -o "$work/whole.jsonl"
lines=$(wc -l < "$work/whole.jsonl")
[ "$lines" -eq 32 ] || { echo "expected 2 tasks x 2 lengths x 2 samples x 4 methods = 32 lines, got $lines"; exit 1; }

# What must not depend on when it was computed: everything but timings and memory.
strip() {
    python3 -c '
import json, sys
for l in sorted(open(sys.argv[1])):
    o = json.loads(l)
    print(o["task"], o["length"], o["sample"], o["method"], o["score"], o["answer"], o["gold"], o["prompt_tokens"])' "$1" | sort
}
command -v python3 >/dev/null || { echo "python3 is not there: lines are counted, not compared"; strip() { wc -l < "$1"; }; }

for round in 1 2; do
    file=$work/killed-$round.jsonl
    for try in $(seq 200); do
        "$saccade" "${study[@]}" -o "$file" &
        pid=$!
        [ "$try" -gt 8 ] || { sleep "$(( RANDOM % 2 )).$(( RANDOM % 10 ))"; kill -KILL $pid 2>/dev/null || true; }
        if wait $pid 2>/dev/null; then break; fi
        # a crash of the machine may leave half a line
        size=$(stat -c %s "$file" 2>/dev/null || echo 0)
        if [ "$size" -gt 40 ] && [ $(( RANDOM % 2 )) -eq 0 ]; then truncate -s $(( size - RANDOM % 40 )) "$file"; fi
    done
    [ "$(wc -l < "$file")" -eq 32 ] || { echo "round $round: $(wc -l < "$file") lines instead of 32"; exit 1; }
    diff <(strip "$work/whole.jsonl") <(strip "$file") || { echo "round $round: results differ"; exit 1; }
done

# SIGINT: what is done stays, the exit code says so, and the same command finishes.
"$saccade" "${study[@]}" -o "$work/int.jsonl" & pid=$!
sleep 0.4; kill -INT $pid 2>/dev/null || true
rc=0; wait $pid || rc=$?
[ $rc -eq 130 ] || [ $rc -eq 0 ] || { echo "after SIGINT: exit code $rc"; exit 1; }
"$saccade" "${study[@]}" -o "$work/int.jsonl"
diff <(strip "$work/whole.jsonl") <(strip "$work/int.jsonl")

for i in 1 2 3; do "$saccade" "${study[@]}" --shard $i/3 -o "$work/part-$i.jsonl"; done
"$saccade" eval --merge -o "$work/all.jsonl" "$work"/part-?.jsonl > /dev/null
diff <(strip "$work/whole.jsonl") <(strip "$work/all.jsonl") || { echo "merged shards differ from the whole"; exit 1; }

"$saccade" report -o "$work/report.txt" "$work/all.jsonl"
grep -q "Largest tolerable sparsity" "$work/report.txt"
"$saccade" report --format markdown -o "$work/report.md" "$work/all.jsonl"
grep -q '^| ' "$work/report.md"
"$saccade" report --plots "$work/fig.svg" --quiet "$work/all.jsonl"
ls "$work"/fig-score-cwe-words-2-256.svg > /dev/null

rc=0; "$saccade" eval --task niah --method quest:sparsety=0.5 -o "$work/x.jsonl" 2> "$work/err" || rc=$?
[ $rc -eq 2 ] && grep -q sparsity "$work/err" || { echo "a mistyped key: exit $rc"; cat "$work/err"; exit 1; }
rc=0; "$saccade" eval --task nia --method quest -o "$work/x.jsonl" 2> "$work/err" || rc=$?
[ $rc -eq 2 ] && grep -q niah "$work/err" || { echo "a mistyped task: exit $rc"; cat "$work/err"; exit 1; }

# What cannot work is told before anything runs: a length no sample fits, a model that is not there.
rc=0; "$saccade" eval --task niah:queries=1,story_filtering --length 200 --method quest:sparsity=0.5 -q -o "$work/x.jsonl" \
    2> "$work/err" || rc=$?
[ $rc -eq 2 ] && grep -q "story_filtering: 200 tokens are too few" "$work/err" && [ ! -s "$work/x.jsonl" ] ||
    { echo "a length too short: exit $rc"; cat "$work/err"; exit 1; }

# Another data file gives other results under the same task; a file with fewer samples than asked for is no failure.
for word in blue red; do
    printf '{"prompt": "The door is %s. What colour is the door?", "gold": "%s"}\n' $word $word > "$work/mine.jsonl"
    "$saccade" eval --task user --file "user=$work/mine.jsonl" --length 100 --samples 3 --method snapkv:capacity=140,window=32 \
        --brief --json -q -o "$work/mine-results.jsonl" > "$work/sum" 2> "$work/err"
    grep -q '"new":2,.*"samples_absent":2' "$work/sum" || { echo "user file with $word:"; cat "$work/sum"; exit 1; }
done
grep -q '"tokens"' "$work/mine-results.jsonl" && { echo "--brief keeps token ids"; exit 1; }
[ "$("$saccade" report --table scores --format csv "$work/mine-results.jsonl" | wc -l)" -eq 5 ] ||
    { echo "results of two files were mixed"; exit 1; }
echo ok
