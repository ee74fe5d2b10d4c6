#!/usr/bin/env bash
# Configures and builds one preset quietly: build.sh PRESET TARGET [-DNAME=VALUE...]. An option that the build folder
# already has costs nothing. The log is shown when something fails.
set -u
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
preset=$1 target=$2
shift 2
dir=$root/build/$preset
mkdir -p "$dir" || exit 1
log=$dir/build.log
[ -e "$dir/CMakeCache.txt" ] || echo "Building saccade ($preset), about a minute" >&2
# Homebrew keeps it out of the default search path.
for keg in ncurses; do
    for prefix in /opt/homebrew /usr/local; do
        [ -d "$prefix/opt/$keg/lib/pkgconfig" ] &&
            export PKG_CONFIG_PATH="$prefix/opt/$keg/lib/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}"
    done
done
cd "$root" || exit 1

configured() # does the build folder have every option asked for?
{
    [ -e "$dir/build.ninja" ] || return 1
    local option name
    for option; do
        name=${option#-D}
        grep -q "^${name%%=*}:[A-Z]*=${name#*=}$" "$dir/CMakeCache.txt" || return 1
    done
}

if { configured "$@" || cmake --preset "$preset" "$@"; } >"$log" 2>&1 &&
    cmake --build "$dir" --target "$target" >>"$log" 2>&1; then
    exit 0
fi
grep -nE 'error|Error|FAILED|warning' "$log" | head -n 40 >&2
tail -n 20 "$log" >&2
echo "The build failed; all of it is in $log" >&2
exit 1
