#!/bin/bash
# Pictures of whole screens: what is inside, and that they are made again byte for byte, by the program itself. Argument:
# the program.
set -u
bin=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
here=$(cd "$(dirname "$0")/.." && pwd)
export SACCADE_SAMPLES=${SACCADE_SAMPLES:-$here/samples} HOME=${TMPDIR:-/tmp} LC_ALL=C.UTF-8
dir=$(mktemp -d "${TMPDIR:-/tmp}/saccade-screens.XXXXXX")
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
export XDG_STATE_HOME=$dir XDG_CONFIG_HOME=$dir
fail=0
bad() { echo "FAIL: $*"; fail=1; }
want() { local code=$1; shift; "$@" > out.txt 2> err.txt; local got=$?; [ $got = "$code" ] || bad "exit $got, expected $code: $*: $(head -c 300 err.txt)"; }
said() { grep -q -- "$1" err.txt || bad "the message does not say '$1': $(cat err.txt)"; }
mkdir again
# again FILE [SOURCE]: made again in another folder, the same bytes.
again()
{
    (cd again && "$bin" snapshot --again "../$1" ${2:+"$2"} -o "$1" > out.txt 2> err.txt) || bad "again $1: $(cat again/err.txt)"
    cmp "$1" "again/$1" || bad "--again made another picture of $1"
}
tour=$SACCADE_SAMPLES/traces/tour.trace
[ -f "$tour" ] || { echo "no bundled recording"; exit 77; }

# ---- every screen of the recording, in every format, at two sizes, in several colours ----
n=0
for screen in run heads map compare text pages tasks; do
    for look in "--size 120x40 png" "--size 80x24 --theme light svg" "--size 100x30 pdf"; do
        ext=${look##* }
        want 0 "$bin" snapshot "$tour" --screen $screen --lane 2 --layer 7 --head 3 ${look% *} -o $screen.$ext
        again $screen.$ext
        n=$((n + 1))
    done
done
[ $n = 21 ] || bad "$n pictures"
printf 'screen map\nlayer 4\nhead 2\noverlay blocks\ntheme contrast\nfind L7H1\n' > log.txt
for color in never 16 256 rgb; do
    want 0 "$bin" replay log.txt "$tour" --size 90x28 --color $color --dump c-$color.png
    again c-$color.png
done
cmp -s c-never.png c-rgb.png && bad "colours make no difference"
want 0 "$bin" replay log.txt "$tour" --size 90x28 --ascii --dump ascii.png
again ascii.png
for over in help measures method-pick; do
    echo $over > log.txt
    want 0 "$bin" replay log.txt "$tour" --size 100x36 --dump $over.png
    again $over.png
done
want 0 "$bin" tour --size 100x30 --dump tour.png
again tour.png
# A script that is refused leaves the frame up to there, and that can be made again as well.
printf 'screen map\nnonsense 1\nscreen text\n' > log.txt
want 5 "$bin" replay log.txt "$tour" --size 90x28 --dump refused.png
again refused.png

# ---- a live run: measured times are kept as they were ----
want 0 "$bin" snapshot --task niah --length 300 --max-tokens 8 --method quest --method snapkv:sparsity=0.5 --screen run -o live.svg
again live.svg
printf 'screen run\ntick none\ntick snapkv\nrun-all\nscreen tasks\nsamples 1\nrun\nscreen run\n' > log.txt
want 0 "$bin" replay log.txt --task niah --length 256 --max-tokens 4 --method quest --method snapkv --dump acts.png
again acts.png
printf 'screen tasks\nsamples 2\nlength 256\nrun\n' > log.txt
want 0 "$bin" replay log.txt --task niah --length 256 --max-tokens 4 --method quest --dump tasks-live.png
again tasks-live.png
printf '@not a file\nsecond line' > prompt.txt
want 0 "$bin" snapshot --prompt @prompt.txt --raw --max-tokens 2 --screen text -o own.pdf
again own.pdf

# ---- opened: the same frame ----
printf 'screen compare\nlayer 7\nhead 5\ndiff signed\nscale lift\n' > log.txt
want 0 "$bin" replay log.txt "$tour" --size 110x34 --dump cmp.png
want 0 "$bin" replay log.txt "$tour" --size 110x34 --dump cmp.txt
want 0 "$bin" open cmp.png --dump opened.txt
cmp cmp.txt opened.txt || bad "open shows another screen"
want 0 "$bin" open own.pdf --dump opened-own.txt
grep -q 'second line' opened-own.txt || bad "open has another prompt: $(head -5 opened-own.txt)"

# ---- what is inside ----
if command -v python3 > /dev/null; then
    python3 - << 'PY' || bad "the recipe inside"
import json, struct, zlib
def texts(path):
    d = open(path, 'rb').read(); at = 8; out = {}
    while at < len(d):
        n, k = struct.unpack('>I', d[at:at + 4])[0], d[at + 4:at + 8]
        assert zlib.crc32(d[at + 4:at + 8 + n]) == struct.unpack('>I', d[at + 8 + n:at + 12 + n])[0]
        assert k != b'tIME'
        if k == b'iTXt':
            key, rest = d[at + 8:at + 8 + n].split(b'\0', 1)
            text = rest[2:].split(b'\0', 2)[2]
            out[key.decode()] = (zlib.decompress(text) if rest[0] else text).decode()
        at += n + 12
    return out
t = texts('acts.png')
assert {'Title', 'Software', 'Description', 'Comment', 'Command'} <= set(t), t.keys()
r = json.loads(t['Comment'])
assert r['schema'] == 'saccade.screen/1' and r['view']['size'] == [120, 40] and r['view']['color'] == 'rgb'
assert len(r['model']['hash']) == 16 and r['prompt']['task'] == 'niah' and r['prompt']['length'] == 256
assert r['run']['methods'] == ['quest', 'snapkv'] and 'run-all' in r['session']['commands']
assert [l[0].split(':')[0] for l in r['measured']['lanes']] == ['dense', 'snapkv']
assert all(l[1] > 0 for l in r['measured']['lanes']) and r['state']['where']['screen'] == 0
assert r['measured']['samples'] and 'unfinished' not in r
PY
fi
home=${HOME:-}
grep -lF "$dir" *.png *.svg *.pdf 2> /dev/null | grep . && bad "a path is in a picture"

# ---- refusals ----
want 5 "$bin" snapshot --again map.png "$SACCADE_SAMPLES/models/saccade-sample-q8_0.gguf" -o x.png; said "differs from the figure"
rm -f x.png
want 2 "$bin" snapshot "$tour" --screen nothing -o x.png; said "expected one of"
want 2 "$bin" snapshot "$tour" --screen map --steps 1-2 -o x.png; said "belong"
want 2 "$bin" snapshot "$tour" --screen map --size 10 -o x.png; said "120x40"
want 2 "$bin" snapshot --again map.png -o x.csv; said ".png"
want 1 "$bin" snapshot --again map.png -o map.png; said "exists already"
want 1 "$bin" snapshot --again map.png -o nowhere/map.png; said "folder"
cp map.png moved.png
(SACCADE_SAMPLES=$dir/none; export SACCADE_SAMPLES; "$bin" snapshot --again moved.png -o x.png > /dev/null 2> err.txt)
[ -s x.png ] || said "tour.trace"
rm -f x.png
[ ! -e x.png ] || bad "a refused picture left a file"
exit $fail
