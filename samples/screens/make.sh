#!/usr/bin/env bash
# Makes every picture of this folder anew: records the two runs with the bundled model, then draws each screen
# from a script. Takes some minutes and about 500 MB under $TMPDIR, removed at the end.
#
#   samples/screens/make.sh              all pictures
#   samples/screens/make.sh map pages    those whose name holds one of the words
#   SACCADE=path/to/saccade, TRACES=folder that keeps the two recordings between calls
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
saccade=${SACCADE:-$here/../../build/release/saccade}
traces=${TRACES:-}
words=("$@")
[ -x "$saccade" ] || { echo "$saccade: not built yet; ./run.sh builds it" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[ -n "$traces" ] || traces=$work

# record NAME TASK LENGTH: a run of the bundled model, unless $TRACES has it.
record() {
    [ -e "$traces/$1.trace" ] || "$saccade" trace record --task "$2" --length "$3" -o "$traces/$1.trace" \
        -m vertical_slash:sparsity=0.9 -m snapkv:sparsity=0.9 -m ada_snapkv:sparsity=0.9 -m quest:sparsity=0.9
}

wanted() {
    [ ${#words[@]} -eq 0 ] && return 0
    for w in "${words[@]}"; do case $1 in *"$w"*) return 0 ;; esac; done
    return 1
}

# shot NAME TRACE 'command; command; ...': NAME-120x40.png and NAME-80x24.png.
shot() {
    local name=$1 trace=$2 size
    wanted "$name" || return 0
    tr ';' '\n' <<< "$3" | sed 's/^ *//' > "$work/script"
    for size in 120x40 80x24; do
        rm -f "$here/$name-$size.png"
        "$saccade" replay "$work/script" "$traces/$trace.trace" --headless --size $size --color rgb \
            --theme dark --dump "$here/$name-$size.png"
        echo "$name-$size.png"
    done
}

# live NAME TASK LENGTH 'command; ...': the same from a run of its own, for the screens that show work.
live() {
    local name=$1 task=$2 length=$3 size
    wanted "$name" || return 0
    tr ';' '\n' <<< "$4" | sed 's/^ *//' > "$work/script"
    for size in 120x40 80x24; do
        rm -f "$here/$name-$size.png"
        "$saccade" replay "$work/script" ${MODEL:+"$MODEL"} --task "$task" --length "$length" --headless --size $size \
            --color rgb --theme dark --dump "$here/$name-$size.png"
        echo "$name-$size.png"
    done
}

record needle niah 4096
record story story_retrieval 16384

# A needle task of 4096 tokens: which keys hold the numbers that were asked for? SnapKV forgot one before anybody knew
# that it would be needed; Quest's pages still have it.
shot needle-heads   needle 'method snapkv; screen heads; cancel'
shot needle-map     needle 'method snapkv; screen map; cancel'
shot needle-compare needle 'method snapkv; screen compare; cancel'
shot needle-text    needle 'method snapkv; screen text; cancel'
shot needle-pages   needle 'method quest; screen pages; cancel'

# A story of 16384 tokens with questions about its chapters; SnapKV drops what the answer needs, and Why says how
# far it was from keeping it.
shot story-heads    story 'method snapkv; screen heads; cancel; sort worst'
shot story-map      story 'method snapkv; screen map; cancel; why on'
shot story-compare  story 'method snapkv; screen compare; cancel'
shot story-text     story 'method snapkv; screen text; cancel'
shot story-pages    story 'method ada_snapkv; screen pages; cancel'

# Screens of work: the run itself, and tasks against methods.
live needle-run     niah 4096 'screen run'
live needle-tasks   niah 4096 'screen tasks; samples 4; run; move down 3; run; move up 3; move right; open'
live story-run      story_retrieval 16384 'screen run'
live story-tasks    story_retrieval 16384 'screen tasks; samples 2; move down 3; run; move right; open'
