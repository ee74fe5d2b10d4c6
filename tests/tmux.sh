# Driving the real program in a real terminal: sourced by check_tmux_*.sh.
#
# Each test has a tmux server of its own (-L), without the user's settings (-f /dev/null). Nothing sleeps for a fixed
# time: wait_for watches the screen until a pattern is there, and shows the whole screen when it does not come.
command -v tmux >/dev/null || { echo "tmux is not installed"; exit 77; }
saccade=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
failed=0
work=$(mktemp -d)
socket=saccade.$$
tm() { tmux -L "$socket" -f /dev/null "$@"; }
trap 'tm kill-server 2>/dev/null; rm -rf "$work"' EXIT
export LC_ALL=C.UTF-8 XDG_CONFIG_HOME=$work/config XDG_STATE_HOME=$work/state
unset NO_COLOR TMUX COLORTERM

bad() { echo "$(basename "$0"): $*"; failed=1; }

# start COLUMNS LINES COMMAND: in a shell that then tells the exit code and whether the terminal is as it was.
start()
{
    tm kill-server 2>/dev/null
    socket=saccade.$$.$((++servers))
    tm new-session -d -x "$1" -y "$2" -s t "$3; echo EXIT=\$?; stty -a | tr ' ' '\n' | grep -cxE 'echo|icanon|isig'; sleep 600"
    tm set-option -g status off
    tm set-option -s escape-time 0
    tm resize-window -t t -x "$1" -y "$2"
}
servers=0
cap() { tm capture-pane -p -t t; }         # the screen as text
capc() { tm capture-pane -p -e -t t; }     # with colour sequences
keys() { tm send-keys -t t "$@"; }         # key names: Up BTab C-c Escape, or characters
raw() { tm send-keys -t t -l "$1"; }       # bytes as they are, such as a mouse report
size() { tm resize-window -t t -x "$1" -y "$2"; }

# wait_for PATTERN [SECONDS]: false after that time (three minutes by default), with the screen.
wait_for()
{
    local end=$((SECONDS + ${2:-180}))
    while [ $SECONDS -le $end ]; do
        cap | grep -qE -- "$1" && return 0
        sleep 0.05
    done
    bad "waited for '$1'; the screen is:"
    cap
    return 1
}

# gone PATTERN: the same for something that should disappear.
gone()
{
    local end=$((SECONDS + ${2:-180}))
    while [ $SECONDS -le $end ]; do
        cap | grep -qE -- "$1" || return 0
        sleep 0.05
    done
    bad "'$1' stays; the screen is:"
    cap
    return 1
}

# The program has left: with this exit code, the line settings as before, the cursor visible, the screen restored.
left()
{
    wait_for "EXIT=$1" || return 1
    wait_for '^3$' 5 || bad "the terminal was not restored: echo, icanon or isig is off"
    [ "$(tm display-message -p -t t '#{cursor_flag}')" = 1 ] || bad "the cursor stays hidden"
    [ "$(tm display-message -p -t t '#{alternate_on}')" = 0 ] || bad "the alternate screen stays"
    [ "$(tm display-message -p -t t '#{mouse_any_flag}')" = 0 ] || bad "the mouse stays caught"
    [ "$(tm display-message -p -t t '#{keypad_cursor_flag}')" = 0 ] || bad "the arrow keys stay those of an application"
}
