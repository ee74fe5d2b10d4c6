#!/usr/bin/env bash
# The tour in a real terminal of two sizes: it reaches its end by itself, stops and goes on, gives the keys away at any
# moment, hides nothing behind its captions, and leaves the terminal as it was.
set -u
. "$(dirname "$0")/tmux.sh"
export SACCADE_SAMPLES=${SACCADE_SAMPLES:-$(cd "$(dirname "$0")/.." && pwd)/samples}
cd "$work" || exit 1
[ -f "$SACCADE_SAMPLES/traces/tour.trace" ] || { echo "no bundled recording"; exit 77; }

# Captions in full: the last line of the box is there, and the hint line of the view stands above the box.
whole() # COLUMNS LINES
{
    cap > frame.txt
    [ "$(wc -l < frame.txt)" = "$2" ] || bad "$(wc -l < frame.txt) lines at $1x$2"
    tail -n 1 frame.txt | grep -q '^┗━*┛$' || bad "the caption is cut at $1x$2"
    grep -n 'Tour  [0-9]* of' frame.txt | cut -d: -f1 > box.txt
    sed -n "$(($(cat box.txt) - 1))p" frame.txt | grep -q '? help' || bad "the view is hidden at $1x$2: $(cat frame.txt)"
}

for at in "120 40" "80 24"; do
    set -- $at
    start "$1" "$2" "env TERM=tmux-256color COLORTERM=truecolor '$saccade' tour --pace 0.01"
    wait_for 'Tour +[0-9]+ of [0-9]+ .* the end' 120
    cap | grep -qE 'Tour +([0-9]+) of \1 ' || bad "the tour did not end with its last caption at $1x$2"
    whole "$1" "$2"
    keys Escape
    gone 'Tour +[0-9]'
    keys 3
    wait_for 'Attention, queries'
    keys Q
    wait_for 'EXIT=0'
done

# Step by step, paused in between, with a look around.
start 120 40 "env TERM=tmux-256color COLORTERM=truecolor '$saccade' tour --pace 20"
wait_for 'Tour +1 of'
whole 120 40
keys Enter
wait_for 'Tour +2 of'
keys Enter
wait_for 'Tour +3 of .*'
wait_for 'Attention, queries'
cap | grep -q 'answer rows only' && bad "the map of the tour shows the answer rows only"
keys Space
wait_for 'paused'
keys ']'
wait_for 'L8 H0'
keys '['
size 80 24
wait_for 'paused'
keys Space
wait_for 'Space stops'
# Enter goes on at once; while the lines of a scene still run, it is spent on them.
for i in $(seq 20); do
    keys Enter
    wait_for 'Space stops' 5
    cap | grep -q 'Tour  [4-9] of' && break
done
wait_for 'Tour +[4-9] of'
keys Escape
gone 'Tour +[0-9]'
keys Q
wait_for 'EXIT=0'
exit $failed
