#!/bin/bash
# `p` in a real terminal on screens that are no figure, after runs, ticks by key and by mouse, an intervention and
# samples: each picture is made again byte for byte without a terminal, and opened again in one. Argument: the program.
set -u
. "$(dirname "$0")/tmux.sh"
export SACCADE_SAMPLES=${SACCADE_SAMPLES:-$(cd "$(dirname "$0")/.." && pwd)/samples}
[ -d "$SACCADE_SAMPLES" ] || exit 77
mkdir -p "$work/home" "$work/again"
cd "$work/home" || exit 1
run="env COLORTERM=truecolor TERM=tmux-256color $saccade"
again()
{
    (cd "$work/again" && "$saccade" snapshot --again "../home/$1" -o "$1" > out.txt 2> err.txt) || bad "again $1: $(cat "$work/again/err.txt")"
    cmp "$1" "$work/again/$1" || bad "--again made another picture of $1"
}
# The run that was asked for is over: what the screen says of it stays, as the one before says 100 % too.
rest()
{
    local still=0 end=$((SECONDS + 180))
    while [ $still -lt 8 ] && [ $SECONDS -le $end ]; do
        still=$((still + 1))
        cap > screen.txt
        grep -q 'overall .*100 %' screen.txt || still=0
        grep -qE 'layer [0-9]+/|queued [0-9]|measuring|making the prompt|decode [0-9]+/' screen.txt && still=0
        sleep 0.1
    done
    [ $still = 8 ] || { bad "the run does not end"; cat screen.txt; }
}
start 120 40 "cd $work/home; $run --task niah --length 256 --max-tokens 8 --method quest --method snapkv:sparsity=0.5"
wait_for 'overall .*100 %' || exit 1
keys p; wait_for 'wrote saccade-screen.png'
keys j j j Space r; wait_for '1 method queued'
gone 'layer [0-9]+/|queued [0-9]|measuring'; wait_for 'overall .*100 %'
keys p; wait_for 'wrote saccade-screen-2.png'
line=$(cap | grep -n 'block_sparse' | head -1 | cut -d: -f1)
raw "$(printf '\033[<0;5;%dM\033[<0;5;%dm' "$line" "$line")"; wait_for '\[x\] block_sparse'
keys 3; wait_for 'Map '; keys J J F
keys 1; wait_for 'intervention on'; gone 'measuring'
keys p; wait_for 'wrote saccade-screen-3.png'
keys 7; wait_for 'Scores'; keys ':'; raw 'samples 1'; keys Enter r
wait_for 'of 1 right'; keys p; wait_for 'wrote saccade-screen-4.png'
keys ':'; raw 'prompt One line of my own, then nothing.'; keys Enter; keys 1 r; wait_for 'own prompt'; rest
keys p; wait_for 'wrote saccade-screen-5.png'
keys Q; wait_for 'EXIT=0'
for i in '' -2 -3 -4 -5; do again saccade-screen$i.png; done
# Opened in a terminal: the Tasks screen with its samples run again.
start 120 40 "cd $work/home; $run open saccade-screen-4.png"
wait_for 'of 1 right'
keys Q; wait_for 'EXIT=0'
# In the middle of a run: the picture says that it cannot be made again.
length=16000                               # long enough for a key; a layer of it takes minutes with the sanitizers
grep -q __asan_init "$saccade" && length=3000
start 120 40 "cd $work/home; $run --task niah --length $length --method quest"
wait_for 'layer [1-9]/10'; keys p; wait_for 'wrote saccade-screen-6.png'
keys Q; wait_for 'EXIT=0'
"$saccade" snapshot --again saccade-screen-6.png -o no.png 2> err.txt && bad "work in progress was made again"
grep -q 'work in progress' err.txt || bad "says: $(cat err.txt)"
[ ! -e no.png ] || bad "a refused picture left a file"
exit $failed
