#!/usr/bin/env bash
# Installs what packages.txt lists and this machine lacks: packages.sh run|test
#
# Nothing missing: says nothing, changes nothing, needs no rights. Otherwise it uses apt-get, dnf, pacman or brew,
# as root or through sudo; with neither it prints the command to give to someone who may.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
want=${1:-run}

found() # cmd:NAME, pc:MODULE, hdr:HEADER or font:FAMILY
{
    case $1 in
        cmd:*) command -v "${1#cmd:}" ;;
        pc:*) command -v pkg-config && pkg-config --exists "${1#pc:}" ;;
        hdr:*) command -v cc && echo "#include <${1#hdr:}>" | cc -E - ;;
        font:*) find /usr/share/fonts /usr/local/share/fonts "${HOME:-/}/.local/share/fonts" -iname "*${1#font:}*" 2>/dev/null | grep . ;;
    esac >/dev/null 2>&1
}

manager() { for m in apt-get dnf pacman brew; do command -v $m >/dev/null 2>&1 && { echo $m; return; }; done; }

m=$(manager)
case $m in
    apt-get) column=3 ;;
    dnf) column=4 ;;
    pacman) column=5 ;;
    brew) column=6 ;;
    *) column=3 ;;
esac

missing=() things=()
while read -r line; do
    case $line in '#'* | '') continue ;; esac
    read -r -a word <<<"$line"
    [ "${word[0]}" = run ] || [ "$want" = test ] || continue
    found "${word[1]}" && continue
    # Sanitizer headers come with the compiler on most systems; where no package is named there is nothing to do.
    [ "${word[column - 1]}" = - ] && continue
    missing+=("${word[column - 1]}")
    things+=("${word[1]#*:}")
done <"$here/packages.txt"
[ ${#missing[@]} = 0 ] && exit 0

case $m in
    apt-get) update="apt-get update" install="apt-get install -y --no-install-recommends" ;;
    dnf) update="" install="dnf install -y" ;;
    pacman) update="" install="pacman -Sy --needed --noconfirm" ;;
    brew) update="" install="brew install" ;;
    *)
        echo "saccade needs: ${things[*]}. Install them (on Debian: ${missing[*]}) and try again." >&2
        exit 1
        ;;
esac

as=""
if [ "$m" != brew ] && [ "$(id -u)" != 0 ]; then
    if command -v sudo >/dev/null 2>&1 && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
        as=sudo
    else
        echo "saccade needs: ${things[*]}. As root, run: $install ${missing[*]}" >&2
        exit 1
    fi
fi

echo "Installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if { [ -z "$update" ] || $as $update; } >"$log" 2>&1 && $as $install "${missing[@]}" >>"$log" 2>&1 </dev/null; then
    exit 0
fi
tail -n 20 "$log" >&2
echo "The packages could not be installed. By hand: $install ${missing[*]}" >&2
exit 1
