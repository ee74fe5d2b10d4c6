#!/usr/bin/env bash
# What interrupts the explorer: Ctrl-C, signals, Ctrl-Z, a terminal that is too small, has no colours or no UTF-8, and work
# that never started. Each leaves results where there are some, and the terminal as it was.
set -u
. "$(dirname "$0")/tmux.sh"
cd "$work" || exit 1
rgb="env TERM=tmux-256color COLORTERM=truecolor"

# ---- Ctrl-C stops the work and keeps what there is; twice leaves ----
start 100 30 "$rgb '$saccade' --task niah --length 8K"
wait_for 'prefill' 60
keys C-c
wait_for 'stopped' 60
keys 2
wait_for 'Layer x head|layer' 30
keys 1
keys Q
left 0

# ---- leaving while something runs asks first ----
start 100 30 "$rgb '$saccade' --task niah --length 8K"
wait_for 'prefill' 60
keys q
wait_for '[Qq]uit|[Ll]eave' 20
keys Escape
wait_for 'prefill|layer' 20
cap | grep -q 'EXIT=' && bad "q left while a run was going on"
keys Q
left 0

start 100 30 "$rgb '$saccade' --task niah --length 8K"
wait_for 'prefill' 60
keys C-c
keys C-c
wait_for 'EXIT=(0|130)' 60
wait_for '^3$' 5

# ---- signals restore the terminal ----
for sig in TERM HUP; do
    start 80 24 "$rgb sh -c 'echo \$\$ >\"$work/pid\"; exec \"$saccade\" --no-run'"
    wait_for '1 ?Run' 30
    kill -$sig "$(cat "$work/pid")"
    [ $sig = TERM ] && left 143
    [ $sig = HUP ] && wait_for 'EXIT=' 30
done

# ---- Ctrl-Z gives the shell back, fg comes back to the same screen ----
start 100 30 "PS1='ready ' bash --norc --noprofile -i"
wait_for '^ready' 10
raw "$rgb '$saccade' --task niah --length 300"
keys Enter
wait_for '1 ?Run' 30
keys 3
wait_for 'Attention' 30
keys C-z
wait_for 'Stopped' 20
raw 'fg'
keys Enter
wait_for 'Attention' 20
keys Q
wait_for '^ready' 20

# ---- without colours, without UTF-8, with few colours ----
start 100 30 "env TERM=tmux-256color NO_COLOR=1 '$saccade' --no-run"
wait_for '1 ?Run' 30
capc | grep -qE '[34]8;[25];' && bad "NO_COLOR is set and there are colours"
keys Q
left 0
start 100 30 "env LC_ALL=C TERM=tmux-256color '$saccade' --no-run"
wait_for '1 ?Run' 30
cap | LC_ALL=C grep -q '[^ -~]' && bad "a locale without UTF-8 gets characters beyond ASCII"
keys Q
left 0
start 100 30 "env TERM=tmux-256color '$saccade' --color 256 --no-run"
wait_for '1 ?Run' 30
capc | grep -q '38;2;' && bad "--color 256 uses true colour"
keys Q
left 0

# ---- the prompt through a pipe, keys from the terminal; standard input closed ----
start 100 30 "printf 'Two words' | $rgb '$saccade' --prompt - --raw --max-tokens 4 --method quest:token_budget=32"
wait_for 'own prompt of' 60
keys 5
wait_for 'Two words' 60
keys Q
left 0
start 100 30 "$rgb '$saccade' --no-run <&-"
wait_for '1 ?Run|EXIT=2' 30
cap | grep -q 'EXIT=2' || { keys Q; left 0; }

# ---- an editor that fails leaves the prompt as it was ----
start 100 30 "$rgb EDITOR=false '$saccade' --task niah --length 300"
wait_for 'sample 0' 60
keys e
wait_for 'the editor failed: prompt unchanged' 30
keys Q
left 0

# ---- lines instead of a screen, wherever that is ----
start 100 40 "printf 'screen map\\nhelp\\nquit\\n' | TERM=dumb '$saccade' --plain --task niah --length 300 --method quest:token_budget=48"
wait_for 'EXIT=0' 120
cap | grep -q 'undo : undo a view change' || bad "--plain does not list the commands"

# ---- a terminal that cannot do it ----
start 50 10 "$rgb '$saccade' --no-run"
wait_for '60 ?x ?12|60 by 12' 30
keys Q
left 0
start 100 30 "env TERM=dumb '$saccade' --no-run"
wait_for 'EXIT=2' 30
wait_for 'terminal|TERM' 5

[ $failed = 0 ] && echo "stopped in every way, the terminal intact"
exit $failed
