#!/usr/bin/env bash
# From a wrong score to the head and the key that were lost, and what a person can do about it: the Tasks screen fills live,
# Enter goes down and Backspace up, F forces the lost span, b shows another budget at once, a waiting method is moved, the
# prompt is edited and its beginning taken over, W writes the run and it opens again without the model.
set -u
. "$(dirname "$0")/tmux.sh"
cd "$work" || exit 1
rgb="env TERM=tmux-256color COLORTERM=truecolor"
printf '#!/bin/sh\nsed -i "s/What are the values/Say what the values are/; s/^What is/Say what is/" "$1"\n' >"$work/editor"
chmod +x "$work/editor"

# ---- scores, counts and reasons while they come ----
start 120 40 "$rgb EDITOR='$work/editor' '$saccade' --task niah --length 640 --method snapkv:capacity=160,window=32 --method quest:sparsity=0.9"
wait_for 'niah +sample 0 +seed 43' 60
keys 7
wait_for 'Scores' 20
keys : ; raw 'samples 2'; keys Enter
wait_for '2 samples a task' 20
keys r
wait_for '[12] of [46] answers|samples begin' 120           # counted while they run
wait_for 'niah x SnapKV: [0-9] of 2 right, 2 in the asked form' 400
wait_for 'in the asked form +2 of 2 +2 of 2 +2 of 2' 5
wait_for 'tokens an answer +[0-9]+' 5
cap | grep -qE 'niah +fraction +1\.00 \(2/2\) +\[?[0-9.]+ -[0-9.]+ \([0-9]/2\)' || bad "no score of SnapKV against dense"
wait_for 'gold [0-9]+, tokens [0-9]+-[0-9]+, step [0-9]+: SnapKV reads [0-9]+ %' 10
wait_for 'WRONG 0\.|WRONG 0' 5

# ---- down to the key, and back ----
span=$(cap | grep -oE 'tokens [0-9]+-[0-9]+, step' | head -n 1 | grep -oE '[0-9]+-[0-9]+')
keys Enter
wait_for 'samples' 10
keys Enter
wait_for 'B +Dense' 120                                      # Compare
wait_for "loses most evidence" 120                      # the cursor has gone to that head and key
keys Enter
wait_for 'Attention, queries' 20
wait_for '│key +[0-9]+' 20
key=$(cap | grep -oE '│key +[0-9]+' | head -n 1 | grep -oE '[0-9]+')
[ -n "$key" ] && [ "$key" -ge "${span%-*}" ] && [ "$key" -le "${span#*-}" ] ||
    bad "the map is at key ${key:-none}, not in the lost span $span"
keys Enter
wait_for 'Prompt and answer' 20
keys Enter
wait_for 'KV head|kv0' 20
keys BSpace BSpace BSpace BSpace
wait_for 'Scores' 20

# ---- the test: the span forced ----
keys F
wait_for "forced tokens $span in all layers: answer [a-z0-9. ]+ \(was [a-z0-9. ]+\)" 300
keys 1
wait_for '! SnapKV' 20                                       # marked as an intervention

# ---- another budget, seen at once ----
keys 3
wait_for 'Attention, queries' 20
keys b
wait_for 'What if +snapkv:' 20
wait_for 'mass recall [0-9.]+ \(ran: [0-9.]+\)' 60
wait_for '[0-9]+ query heads: mean mass recall [0-9.]+ \(ran: [0-9.]+\)' 60
keys u
gone 'What if' 20
keys B
wait_for 'What if +snapkv:' 20
keys Escape
gone 'What if' 20

# ---- the prompt in an editor: what is the same is taken over ----
keys 1
keys e
wait_for 'r runs it' 30
keys r
wait_for 'prompt tokens were taken over from the run before' 300
wait_for '[34] of [34] methods done' 300

# ---- the run as a file, opened without the model ----
keys W
wait_for 'wrote saccade-.*\.trace' 120
keys Q
left 0
start 100 30 "$rgb '$saccade' '$work'/saccade-*.trace"
wait_for 'recorded run' 60
keys 3
wait_for 'Attention, queries' 60
keys b
wait_for 'What if' 20
wait_for 'mass recall [0-9.]+ \(ran' 60
keys r
wait_for 'no model behind it' 20
keys Q
left 0

# ---- the queue ----
start 120 40 "$rgb '$saccade' --task niah --length 8K"
wait_for 'quest .*queued 3' 120
keys j j j +
wait_for 'quest is number 2 in the queue' 20
wait_for 'quest .*queued 2' 20
keys C-c
wait_for 'stopped' 60
keys Q
left 0

[ $failed = 0 ] && echo "from a score to the lost key and back; forced, tried, edited, saved, reordered"
exit $failed
