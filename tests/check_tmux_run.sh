#!/usr/bin/env bash
# The complete path in a real terminal: the explorer on the bundled model runs a needle task with four methods, every screen
# shows it, the size changes, help opens, a picture is written, and the terminal is left as it was.
set -u
. "$(dirname "$0")/tmux.sh"
cd "$work" || exit 1        # pictures go to the current folder

# ---- a whole run, watched to its end ----
start 120 40 "env TERM=tmux-256color COLORTERM=truecolor '$saccade' --task niah --length 512"
wait_for '1 Run +2 Heads +3 Map' 30
wait_for 'niah +sample 0 +seed 43' 60
wait_for 'of 4 methods done' 60                      # progress while it goes on
wait_for '4 of 4 methods done, [1-4] answers? right' 500
gold=$(cap | grep -o 'gold answer  *1\. [a-z]*-[a-z]*-[0-9]*: [0-9]*' | grep -o '1\. .*')
[ -n "$gold" ] || bad "no gold answer on the Run screen"
cap | grep -E 'Dense +ok +1\. ' | grep -qF "$gold" || bad "dense attention does not give the gold answer: $gold"
for lane in Vertical-Slash SnapKV Quest; do
    cap | grep -qE "$lane +(ok|[01]\.[0-9]+|WRONG) +1\. " || bad "no answer of $lane beside the gold answer"
done

# ---- every screen, each with something of its own ----
screen() # KEY PATTERN
{
    keys "$1"
    wait_for "$2" 30
}
screen 2 'Layer x head +10 x 8'
screen 3 'Attention, queries \(down\) x keys'
wait_for '▀' 30        # the exact map, as soon as it is computed
capc | grep -q '38;2;' || bad "true colour was asked for and is not used"
screen 4 'B +Dense'
screen 5 'Prompt and answer'
cap | grep -qE '\[ ?[a-z]+-[a-z]+-[0-9]+ is [0-9]+\]' || bad "no gold span is marked in the text"
screen 6 'mass read|KV head|kv'
screen 7 'story_multihop'

# ---- everything measured, over any screen ----
keys F2
wait_for 'Measures: means over layers' 20
wait_for 'decode, keys read +1\.000 +1\.000 +0\.[0-9]+ +0\.' 60
keys G
wait_for "cache's share of them +0\." 20
keys Escape
gone 'Measures: means' 20

# ---- moving about in the map ----
at() { cap | grep -oE 'L[0-9]+ H[0-9]+' | head -n 1; }
screen 3 'L[0-9]+ H[0-9]+'
keys ']'              # whoever has moved is not taken to the head that lost most when that is found
sleep 1
before=$(at)
until sleep 1; [ "$(at)" = "$before" ]; do before=$(at); done
keys ']'
gone "\\| $before " 20
layer=${before% *} layer=${layer#L}
wait_for "\\| L$(((layer + 1) % 10)) " 20
keys '['
wait_for "$before" 20
keys +
raw "$(printf '\033[<64;30;15M')"                    # the wheel over the map
keys =
keys u
keys G
wait_for 'query 5[0-9][0-9]' 20
keys '?'
wait_for '(zoom|layer).*' 20
keys Escape
gone 'type to filter' 20
keys :
raw 'scale lift'
keys Enter
wait_for 'lift' 20

# ---- a picture of what is on the screen ----
keys p
n=0
until ls "$work"/*.png >/dev/null 2>&1 || [ $n = 600 ]; do sleep 0.05; n=$((n + 1)); done
png=$(ls "$work"/*.png 2>/dev/null | head -n 1)
if [ -z "$png" ]; then bad "p wrote no PNG"; cap
else
    [ "$(head -c 8 "$png" | od -An -tx1 | tr -d ' \n')" = 89504e470d0a1a0a ] || bad "$png is no PNG"
fi

# ---- other sizes: nothing breaks, too small is said ----
size 80 24
wait_for 'Attention, queries' 20
size 60 12
wait_for '3 ?Map|Map' 20
size 50 10
wait_for '60 ?x ?12|60 by 12' 20
size 200 60
wait_for 'Attention, queries' 20
size 120 40
wait_for 'Attention, queries' 20

# ---- nothing runs: leaving is one key, once the views above the first are closed ----
keys 1
wait_for 'gold answer' 20
keys Q
left 0

[ $failed = 0 ] && echo "a complete run, seven screens, five sizes"
exit $failed
