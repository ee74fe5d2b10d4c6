#!/usr/bin/env bash
# The rules of the tree that no compiler enforces: its size, who includes what, headers that stand alone.
set -u
cd "${SOURCE_DIR:-$(dirname "$0")/..}" || exit 1
failed=0
bad() { echo "check_tree: $*"; failed=1; }

list() # files of the tree, with or without git
{
    git ls-files -- "$@" 2>/dev/null || find . -path ./build -prune -o -path ./.git -prune -o -type f -print | sed 's|^\./||'
}
mapfile -t all < <(list | while read -r f; do [ -f "$f" ] && echo "$f"; done)
mapfile -t sources < <(printf '%s\n' "${all[@]}" | grep -E '^(src|ui|engine|kernels|include|tests)/.*\.[ch]$')
mapfile -t product < <(printf '%s\n' "${sources[@]}" | grep -v '^tests/')
[ ${#sources[@]} -gt 20 ] || bad "only ${#sources[@]} source files found"

# The whole tree stays under 60 MB, as it is fetched with the bundled model.
bytes=$(printf '%s\0' "${all[@]}" | xargs -0 cat | wc -c)
[ "$bytes" -lt 60000000 ] || bad "the tree has $bytes bytes; 60000000 is the limit"

# Include paths say who may see whom; ../ would get around them.
grep -nE '#include *"[^"]*\.\./' "${sources[@]}" && bad "an include goes through ../"

# A header with a foreign name would hide the foreign one, or be hidden by it.
for h in "${sources[@]}"; do
    case $h in include/saccade/* | *.c) continue ;; esac
    [ -e "/usr/include/$(basename "$h")" ] && bad "$h has the name of a system header"
done

# Public headers can be included alone and in any order, by gcc and clang.
for cc in gcc clang; do
    command -v $cc >/dev/null || continue
    for h in include/saccade/*.h; do
        echo "#include <saccade/$(basename "$h")>" |
            $cc -std=c17 -Wall -Wextra -Wpedantic -Werror -Iinclude -fsyntax-only -x c - || bad "$h does not compile alone with $cc"
    done
done

# A foreign library lives in one file; the engine knows no screens and the screens no kernels.
for lib in curses.h png.h cblas.h; do
    n=$(grep -lE "#include *[<\"](ncursesw/)?$lib" "${product[@]}" | wc -l)
    [ "$n" -le 1 ] || bad "$lib is included in $n files: $(grep -lE "#include *[<\"](ncursesw/)?$lib" "${product[@]}" | tr '\n' ' ')"
done
grep -nE '#include *[<"](curses|ncurses|cairo|png)' $(printf '%s\n' "${product[@]}" | grep -E '^(engine|kernels|src)/') &&
    bad "a library of the screens is used outside ui/"

# Every file opens with what it owns, and stays short enough to be one idea.
for f in "${sources[@]}"; do
    case $(head -c 2 "$f") in '/*' | '//') ;; *) bad "$f does not open with what it is about" ;; esac
    n=$(wc -l <"$f")
    [ "$n" -le 800 ] || bad "$f has $n lines; 800 is the limit"
done
grep -nE '\b(TODO|FIXME|XXX|HACK)\b' "${product[@]}" && bad "something is said to be unfinished"

for f in README.md LICENSE CHANGELOG.md run.sh test.sh .ci/run CMakePresets.json .clang-format kernels/SPEED.md \
    samples/models/saccade-sample-q8_0.gguf samples/models/README.md; do
    [ -s "$f" ] || bad "$f is missing"
done
exit $failed
