#!/bin/bash
# Figures, traces, replays and the tour through the program itself, judged by other readers: pngcheck, rsvg-convert,
# Python's own modules. Argument: the program. What is missing on a machine is skipped with a word.
set -u
bin=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
here=$(cd "$(dirname "$0")/.." && pwd)
export SACCADE_SAMPLES=${SACCADE_SAMPLES:-$here/samples} HOME=${TMPDIR:-/tmp} LC_ALL=C.UTF-8
dir=$(mktemp -d "${TMPDIR:-/tmp}/saccade-figures.XXXXXX")
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
export XDG_STATE_HOME=$dir XDG_CONFIG_HOME=$dir
fail=0
bad() { echo "FAIL: $*"; fail=1; }
want() { local code=$1; shift; "$@" > out.txt 2> err.txt; local got=$?; [ $got = "$code" ] || bad "exit $got, expected $code: $*: $(head -c 300 err.txt)"; }
said() { grep -q -- "$1" err.txt || bad "the message does not say '$1': $(cat err.txt)"; }

tour=$SACCADE_SAMPLES/traces/tour.trace
[ -f "$tour" ] || { echo "no bundled recording"; exit 77; }

# ---- every view in every format, from the bundled recording ----
for view in map heads compare text pages recall timeline; do
    for ext in png svg pdf; do
        want 0 "$bin" snapshot "$tour" --view $view --lane 6 --layer 7 --head 0 --step 9 --row 506 -o $view.$ext
        [ -s $view.$ext ] || bad "$view.$ext is empty"
    done
    want 0 "$bin" snapshot "$tour" --view $view --lane 6 --layer 7 --head 0 --theme dark --pixels 1 -o $view-dark.png
    for ext in csv json npy; do
        want 0 "$bin" snapshot "$tour" --view $view --lane 6 --layer 7 --head 0 --step 9 --row 506 -o $view.$ext
    done
done
want 0 "$bin" snapshot "$tour" --view map --lane 1 --layers 7 --heads 0-2 -o batch.png
[ -s batch-L7H2.png ] || bad "no batch file"
want 2 "$bin" snapshot "$tour" --view map --lane 1 --layer 5 -o x.png; said "not in this recording"
want 2 "$bin" snapshot "$tour" --view heads --all-heads -o x.png; said "not in this recording"
want 2 "$bin" snapshot "$tour" --view pages --lane 6 --step 32 -o x.png; said "steps 0 to 31"
want 2 "$bin" snapshot "$tour" --view text --layer 7 --row 529 -o x.png; said "rows 0 to 528"
want 2 "$bin" snapshot "$tour" --view pages --animate -o x.png; said "needs --steps"
want 2 "$bin" snapshot "$tour" --view text --layer 7 --window 0-9,0-9 -o x.png; said "belongs to"
want 0 "$bin" snapshot "$tour" --view pages --lane 6 --steps 3-6 --animate -o steps.png
want 0 "$bin" snapshot "$tour" --view pages --lane 6 --steps 3-5 -o frame.png
[ -s frame-0004.png ] || bad "no frame of step 4"
if command -v pngcheck > /dev/null; then
    for f in *.png; do pngcheck -q "$f" > check.txt 2>&1 || grep -q "fdAT\|acTL\|fcTL" check.txt || bad "pngcheck $f: $(cat check.txt)"; done
else echo "pngcheck is not installed: chunks not checked by it"; fi
if command -v rsvg-convert > /dev/null; then
    for f in *.svg; do rsvg-convert "$f" -o r.png || bad "rsvg-convert $f"; done
else echo "rsvg-convert is not installed: SVG not drawn by it"; fi
for f in *.pdf; do head -c 5 "$f" | grep -q '%PDF-' || bad "$f is no PDF"; done
grep -la 'CreationDate\|ModDate' *.pdf && bad "a PDF tells when it was made"
if command -v pdfinfo > /dev/null; then
    for f in *.pdf; do
        pdfinfo "$f" > info.txt 2> err.txt || bad "pdfinfo $f"
        [ -s err.txt ] && bad "pdfinfo $f complains: $(cat err.txt)"
        grep -q '^Creator: *saccade' info.txt || bad "$f does not say what made it"
    done
else echo "pdfinfo is not installed: PDF not read by it"; fi
# Made again from the recording, in another folder, byte for byte: every view in every format.
mkdir again
for view in map heads compare text pages recall timeline; do
    for f in $view.png $view.svg $view.pdf $view-dark.png; do
        (cd again && "$bin" snapshot --again "../$f" "$tour" -o "$f" > out.txt 2> err.txt) || bad "again $f: $(cat again/err.txt)"
        cmp "$f" "again/$f" || bad "--again made another $f"
    done
done
# How each option reaches the picture, and back.
n=0
for how in "--overlay blocks --group" "--overlay lists --sparse --scale lift --range auto" "--overlay mask --sinks hide" \
    "--scale rank --pool mean --sinks renormalise --colormap grey" "--window 100-300,50-250 --cells 64 --width 700" \
    "--scale linear --pool mass --no-caption --pixels 1.5"; do
    n=$((n + 1))
    want 0 "$bin" snapshot "$tour" --view map --lane 1 --layer 7 --head 1 $how -o how$n.svg
    want 0 "$bin" snapshot --again how$n.svg "$tour" -o again/how$n.svg
    cmp how$n.svg again/how$n.svg || bad "--again made another picture with $how"
done
# Whose machine drew a figure is nobody's business. Short names would be found in compressed bytes by chance.
private=(-e "$dir")
home=${HOME:-}
[ ${#home} -gt 1 ] && private+=(-e "$home/")
user=$(id -un)
[ ${#user} -ge 6 ] && private+=(-e "$user")
grep -lF "${private[@]}" *.svg *.png *.pdf 2> /dev/null | grep . && bad "a user name or a path is in a figure"
grep -q "$dir" *.svg *.png *.pdf *.json && bad "a path is in a figure"

# ---- the numbers, by another reader ----
if command -v python3 > /dev/null; then
    python3 - << 'PY' || bad "numbers"
import csv, json, math, struct, sys, zlib
def npy(path):
    d = open(path, 'rb').read()
    assert d[:8] == b'\x93NUMPY\x01\x00'
    n = struct.unpack('<H', d[8:10])[0]
    head = eval(d[10:10 + n])
    assert head['descr'] == '<f4' and not head['fortran_order'] and (10 + n) % 64 == 0
    count = math.prod(head['shape'])
    v = struct.unpack('<%df' % count, d[10 + n:])
    return head['shape'], v
rows = list(csv.DictReader(open('text.csv', newline='', encoding='utf-8')))
assert abs(sum(float(r['weight']) for r in rows) - 1) < 1e-4, 'a row sums to one'
shape, v = npy('text.npy')
assert shape == (len(rows),) and all(abs(a - float(r['weight'])) < 1e-7 for a, r in zip(v, rows))
shape, v = npy('map.npy')
cells = list(csv.DictReader(open('map.csv', newline='')))
finite = [x for x in v if not math.isnan(x)]
assert len(finite) == len(cells), (len(finite), len(cells))
assert all(abs(float(c['weight']) - x) < 1e-7 for c, x in zip(cells, finite))
for name in ("map", "heads", "compare", "text", "pages", "recall", "timeline"):
    d = json.load(open(name + '.json', encoding='utf-8'))
    assert d['schema'] == 'saccade.data/1' and d['recipe']['view']['name'] == name
    assert d['rows'] and all(len(r) == len(d['columns']) for r in d['rows'])
def chunks(path):
    d = open(path, 'rb').read(); at = 8
    while at < len(d):
        n = struct.unpack('>I', d[at:at + 4])[0]
        assert zlib.crc32(d[at + 4:at + 8 + n]) == struct.unpack('>I', d[at + 8 + n:at + 12 + n])[0]
        yield d[at + 4:at + 8], d[at + 8:at + 8 + n]
        at += n + 12
kinds = [k for k, _ in chunks('map.png')]
assert b'sRGB' in kinds and b'tIME' not in kinds
head = dict(chunks('map.png'))[b'IHDR']
assert head[8] == 8 and head[9] == 2, '8-bit RGB'
texts = {t.split(b'\0')[0].decode() for k, t in chunks('map.png') if k == b'iTXt'}
assert {'Title', 'Software', 'Description', 'Comment', 'Command'} <= texts, texts
assert [k for k, _ in chunks('steps.png')].count(b'fcTL') == 4
pages = list(csv.DictReader(open('pages.csv', newline='')))
assert {p['state'] for p in pages} <= {'chosen', 'forced', 'left out'}
PY
    # Pictures against references: the same size, and nearly all pixels alike. Another rasteriser may draw letters a little
    # differently; another font makes another size, and then there is nothing to compare.
    if fc-list 2> /dev/null | grep -q 'DejaVu Sans:'; then
        for view in map heads compare text pages recall timeline; do
            want 0 "$bin" snapshot "$tour" --view $view --lane 6 --layer 7 --head 0 --step 9 --row 506 --pixels 1 -o ref-$view.png
        done
        [ -z "${UPDATE_REFERENCES:-}" ] || cp ref-*.png "$here/tests/fixtures/figures/"
        python3 - "$here/tests/fixtures/figures" << 'PY' || bad "pictures differ from their references"
import struct, sys, zlib
def pixels(path):
    d = open(path, 'rb').read(); at = 8; idat = b''
    while at < len(d):
        n, k = struct.unpack('>I', d[at:at + 4])[0], d[at + 4:at + 8]
        if k == b'IHDR': w, h = struct.unpack('>II', d[at + 8:at + 16])
        if k == b'IDAT': idat += d[at + 8:at + 8 + n]
        at += n + 12
    raw, rows, last = zlib.decompress(idat), [], bytearray(3 * w)
    for y in range(h):
        f, row = raw[y * (3 * w + 1)], bytearray(raw[y * (3 * w + 1) + 1:(y + 1) * (3 * w + 1)])
        for i in range(3 * w):
            a, b, c = row[i - 3] if i > 2 else 0, last[i], last[i - 3] if i > 2 else 0
            p = a + b - c
            best = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2] if f == 4 else 0
            row[i] = row[i] + (0, a, b, (a + b) // 2, best)[f] & 255
        rows.append(row); last = row
    return w, h, rows
worst = 0
for view in ('map', 'heads', 'compare', 'text', 'pages', 'recall', 'timeline'):
    w, h, a = pixels('ref-%s.png' % view)
    w2, h2, b = pixels('%s/ref-%s.png' % (sys.argv[1], view))
    if (w, h) != (w2, h2): sys.exit('%s is %dx%d, the reference %dx%d' % (view, w, h, w2, h2))
    off = sum(max(abs(x - y) for x, y in zip(p[3 * i:3 * i + 3], q[3 * i:3 * i + 3])) > 48
              for p, q in zip(a, b) if p != q for i in range(w))
    worst = max(worst, off / (w * h))
    if off > 0.01 * w * h: sys.exit('%s: %.1f %% of the pixels differ' % (view, 100 * off / (w * h)))
PY
    else echo "DejaVu Sans is not installed: pictures not compared with references"; fi
else echo "python3 is not installed: numbers not checked by it"; fi

# ---- made again, byte for byte, from a live run ----
want 0 "$bin" snapshot --task niah --length 256 --max-tokens 4 --method quest:sparsity=0.5 --view map --layer 2 --head 1 --theme dark -o live.png
want 0 "$bin" snapshot --again live.png -o again.png
cmp live.png again.png || bad "--again made another picture"
printf '@not a file' > prompt.txt
want 0 "$bin" snapshot --prompt @prompt.txt --raw --max-tokens 1 --view map --scale lift -o own.png
want 0 "$bin" snapshot --again own.png -o own2.png
cmp own.png own2.png || bad "--again made another picture of a prompt of one's own"
want 0 "$bin" open live.png --size 100x30 --dump frame.txt
want 1 "$bin" open live.png --size 100x30 --dump frame.txt; said "exists already"
want 0 "$bin" snapshot --task niah --length 256 --max-tokens 4 --method quest:sparsity=0.5 --view map --layer 2 --head 1 -o live.pdf
want 0 "$bin" open live.pdf --size 100x30 --dump pdf.txt
grep -q 'L2 H1' pdf.txt || bad "open does not show the head of a PDF figure"
grep -q 'L2 H1' frame.txt || bad "open does not show the figure's head: $(head -2 frame.txt)"

# ---- refusals ----
want 1 "$bin" snapshot "$tour" -o map.png; said "exists already"
want 0 "$bin" snapshot "$tour" --layer 4 --force -o map.png
want 1 "$bin" snapshot "$tour" --layer 4 -o nowhere/map.png; said "folder"
want 2 "$bin" snapshot "$tour" --layer 99 -o x.png; said "layers 0 to"
want 2 "$bin" snapshot "$tour" --layer 4 -o x.bmp; said ".png"
want 2 "$bin" snapshot "$tour" --layer 4 --window 5-1 -o x.png; said "window"
want 2 "$bin" snapshot --view compare -o x.png; said "method"
want 3 "$bin" snapshot --again prompt.txt -o x.png; said "PNG"
want 3 "$bin" snapshot --again missing.png -o x.png
[ ! -e x.png ] || bad "a refused snapshot left a file"
ls | grep -q part && bad "a temporary file was left: $(ls | grep part)"
if [ -w /dev/full ]; then
    ln -s /dev/full full.png
    want 1 "$bin" snapshot "$tour" --layer 4 --force -o full.png; said "full"
    rm full.png
fi
(ulimit -f 8; trap '' XFSZ; "$bin" snapshot "$tour" --layer 4 -o limited.png > /dev/null 2> err.txt; [ $? = 1 ]) || bad "a file size limit"
said "cannot be written"
[ ! -e limited.png ] || bad "half a picture was left"
head -c 300 map.png > cut.png; want 3 "$bin" snapshot --again cut.png -o x.png

# ---- traces ----
want 0 "$bin" trace record --task niah --length 256 --max-tokens 3 --method snapkv:sparsity=0.5 -o run.trace
want 0 "$bin" trace info run.trace
want 0 "$bin" trace info --json run.trace
want 0 "$bin" trace check run.trace "$tour"
want 1 "$bin" trace record --task niah --length 256 -o run.trace; said "exists already"
size=$(stat -c %s run.trace)
head -c $((size * 7 / 10)) run.trace > cut.trace
want 3 "$bin" trace check cut.trace
want 0 "$bin" snapshot cut.trace --lane 0 --layer 0 -o from-cut.png
cp run.trace bad.trace; printf 'X' | dd of=bad.trace bs=1 seek=$((size / 2)) conv=notrunc 2> /dev/null
want 3 "$bin" trace check bad.trace; said "damaged at byte"
head -c 40 run.trace > cut.trace; want 3 "$bin" trace check cut.trace; said "cut short at byte 16"
want 2 "$bin" trace record --task niah --length 256 --layers 99 -o x.trace; said "no layer 99"
[ ! -e x.trace.partial ] || bad "a refused recording left a file"
# Precision is traded for size, and said; a prompt that is bytes to the tokenizer is readable from the file.
want 0 "$bin" trace record --task niah --length 512 --max-tokens 2 --method vertical_slash -o fine.trace
want 0 "$bin" trace record --task niah --length 512 --max-tokens 2 --method vertical_slash --max-size $(($(stat -c %s fine.trace) * 9 / 10)) -o less.trace
[ "$(stat -c %s less.trace)" -le $(($(stat -c %s fine.trace) * 9 / 10)) ] || bad "a trace is larger than --max-size"
want 0 "$bin" trace info fine.trace; grep -q 'weights to 0.14 %' out.txt || bad "trace info says: $(grep arrays out.txt)"
want 0 "$bin" trace info less.trace; grep -q 'weights to 0.14 %' out.txt && bad "a smaller trace is as exact"
printf 'ключ \xd7\x9e\xd7\xa4' > script.txt
want 0 "$bin" trace record --prompt @script.txt --raw --max-tokens 1 -o script.trace
want 0 "$bin" snapshot script.trace --layer 2 -o script.svg; want 0 "$bin" snapshot --prompt @script.txt --raw --max-tokens 1 --layer 2 -o script-live.svg
# Cells are left out: the file's weights are rounded, which may move a colour by one step.
words() { grep -v 'Comment\|schema\|crispEdges' "$1"; }
[ "$(words script.svg | wc -l)" -gt 100 ] || bad "labels are no longer told from cells"
cmp <(words script.svg) <(words script-live.svg) || bad "labels of a recording differ from those of the run"
want 3 "$bin" snapshot bad.trace -o x.png; said "damaged at byte"
# A run that is killed leaves what was whole by then; it is not overwritten unasked.
"$bin" trace record --task niah --length 3000 --method vertical_slash --method block_sparse -o killed.trace > out.txt 2> err.txt &
victim=$!
until [ "$(stat -c %s killed.trace.partial 2> /dev/null || echo 0)" -gt 3000000 ] || [ -e killed.trace ]; do
    kill -0 $victim 2> /dev/null || break
    sleep 0.02
done
kill -9 $victim 2> /dev/null; wait $victim 2> /dev/null
if [ -e killed.trace.partial ]; then
    want 3 "$bin" trace check killed.trace.partial
    grep -q "opens as far" out.txt || bad "trace check says nothing of what is left: $(cat out.txt)"
    want 0 "$bin" trace info killed.trace.partial
    want 0 "$bin" snapshot killed.trace.partial --lane 0 --layer 0 -o from-killed.png
    want 1 "$bin" trace record --task niah --length 256 -o killed.trace; said "cut off"
else
    bad "a killed run left nothing: $(cat err.txt)"
fi
# One that is asked to end keeps what it has and says so.
"$bin" trace record --task niah --length 3000 --method vertical_slash --method block_sparse -o ended.trace > out.txt 2> err.txt &
victim=$!
until [ "$(stat -c %s ended.trace.partial 2> /dev/null || echo 0)" -gt 3000000 ]; do
    kill -0 $victim 2> /dev/null || break
    sleep 0.02
done
kill -TERM $victim; wait $victim; got=$?
[ $got = 143 ] || bad "a run that got SIGTERM ended with $got"
want 0 "$bin" trace check ended.trace
[ ! -e ended.trace.partial ] || bad "ended.trace.partial is still there"
want 0 "$bin" snapshot run.trace --lane 1 --layer 1 -o layer.safetensors
want 0 "$bin" select --qkv layer.safetensors --method snapkv:capacity=200 -o picked.safetensors

# What the run selected is what select selects from the exported layer.
if command -v python3 > /dev/null; then
    specs="vertical_slash:sparsity=0.7 block_sparse:sparsity=0.7 snapkv:sparsity=0.5 quest:token_budget=64"
    want 0 "$bin" trace record --exact --task niah --length 384 --max-tokens 4 $(printf -- '--method %s ' $specs) -o sel.trace
    n=0
    for spec in $specs; do
        n=$((n + 1)); last=
        [ $n = 4 ] && last="--decode-last 3"
        want 0 "$bin" snapshot sel.trace --lane $n --layer 5 -o sel$n.safetensors
        want 0 "$bin" select --qkv sel$n.safetensors --method $spec $last -o picked$n.safetensors
    done
    python3 - << 'PY' || bad "select picks something else than the run"
import json, struct
def tensors(path):
    d = open(path, 'rb').read(); n = struct.unpack('<Q', d[:8])[0]; h = json.loads(d[8:8 + n])
    return {k: (v['dtype'], v['shape'], d[8 + n + v['data_offsets'][0]:8 + n + v['data_offsets'][1]])
            for k, v in h.items() if k != '__metadata__'}
for n, part in ((1, 'runs'), (2, 'runs'), (3, 'kept'), (4, 'pages')):
    run, again = tensors('sel%d.safetensors' % n), tensors('picked%d.safetensors' % n)
    mine = {k.replace('plan.', ''): v for k, v in run.items() if k.endswith(part)}
    theirs = {k.split('.', 1)[1]: v for k, v in again.items() if k.endswith(part)}
    assert mine and mine == theirs, (n, part, sorted(mine), sorted(theirs))
PY
fi

# The numbers of a window are those of its rows and keys: another softmax over the exported q and k says the same.
if command -v python3 > /dev/null; then
    for ext in csv json npy; do want 0 "$bin" snapshot sel.trace --lane 0 --layer 5 --head 6 --window 200-209,100-129 -o w.$ext; done
    want 0 "$bin" snapshot sel.trace --lane 0 --layer 5 -o w.safetensors
    python3 - << 'PY' || bad "the numbers of a window are not those of its rows and keys"
import csv, json, math, struct
d = open('w.safetensors', 'rb').read(); n = struct.unpack('<Q', d[:8])[0]; h = json.loads(d[8:8 + n])
def tensor(k):
    a, b = h[k]['data_offsets']
    return h[k]['shape'], struct.unpack('<%df' % ((b - a) // 4), d[8 + n + a:8 + n + b])
((heads, rows, dim), q), ((kv, _, _), k) = tensor('q'), tensor('k')
head, group = 6, 6 // (heads // kv)
npy = open('w.npy', 'rb').read(); at = 10 + struct.unpack('<H', npy[8:10])[0]
assert eval(npy[10:at])['shape'] == (10, 30)
grid = struct.unpack('<300f', npy[at:])
cell = {(int(r['query_lo']), int(r['key_lo'])): float(r['weight']) for r in csv.DictReader(open('w.csv', newline=''))}
assert sorted(cell) == [(i, j) for i in range(200, 210) for j in range(100, 130)]
assert all(int(r['query_hi']) == int(r['query_lo']) + 1 for r in csv.DictReader(open('w.csv', newline='')))
table = json.load(open('w.json', encoding='utf-8'))
col = [table['columns'].index(c) for c in ('query_lo', 'key_lo', 'weight')]
assert {(r[col[0]], r[col[1]]) for r in table['rows']} == set(cell)
for row in (200, 209):
    s = [sum(q[(head * rows + row) * dim + i] * k[(group * rows + j) * dim + i] for i in range(dim)) / dim ** 0.5
         for j in range(row + 1)]
    total = sum(math.exp(x - max(s)) for x in s)
    for j in range(100, 130):
        w = math.exp(s[j] - max(s)) / total
        for got in (cell[row, j], grid[(row - 200) * 30 + j - 100]):
            assert abs(got - w) <= 1e-4 * w, (row, j, got, w)
for r in table['rows']: assert abs(r[col[2]] - cell[r[col[0]], r[col[1]]]) <= 1e-6 * r[col[2]]
PY
fi

# Tables of a report too: whole or not there, and never over another file unasked.
printf 'kept' > report.md
want 1 "$bin" report -o report.md "$SACCADE_SAMPLES/study/results.jsonl.zst"; said "exists already"
[ "$(cat report.md)" = kept ] || bad "report replaced a file"
(ulimit -f 8; trap '' XFSZ; "$bin" report --force -o report.md "$SACCADE_SAMPLES/study/results.jsonl.zst" > /dev/null 2> err.txt; [ $? = 1 ]) || bad "a file size limit for a report"
[ "$(cat report.md)" = kept ] || bad "report left half a file"
want 0 "$bin" report --force -o report.md "$SACCADE_SAMPLES/study/results.jsonl.zst"

# ---- replay and tour ----
printf 'screen map\nlayer 7\nhead 2\n' > log.txt
want 0 "$bin" replay log.txt "$tour" --headless --size 90x28 --dump r.txt
grep -q 'L7 H2' r.txt || bad "the replay is elsewhere"
printf 'screen map\nnonsense 1\n' > wrong.txt
want 0 "$bin" replay log.txt "$tour" --size 90x28 --dump screen.png
command -v pngcheck > /dev/null && { pngcheck -q screen.png || bad "the picture of a screen"; }
want 3 "$bin" replay log.txt missing.trace --headless; said "missing.trace"
want 5 "$bin" replay wrong.txt "$tour" --headless --dump r2.txt; said "nonsense"
want 0 "$bin" replay log.txt "$tour" --cast demo.cast --size 80x24
head -1 demo.cast | grep -q '"version": 2' || bad "no asciicast"
[ "$(wc -l < demo.cast)" -ge 3 ] || bad "the asciicast has too few frames"
want 1 "$bin" replay log.txt "$tour" --cast demo.cast --size 80x24; said "exists already"
want 0 "$bin" tour --cast tour.cast --size 100x30
if command -v python3 > /dev/null; then
    python3 - << 'PY' || bad "the asciicast of the tour"
import json
lines = open('tour.cast', encoding='utf-8').read().splitlines()
head = json.loads(lines[0])
assert head['version'] == 2 and (head['width'], head['height']) == (100, 30) and 'timestamp' not in head
events = [json.loads(l) for l in lines[1:]]
assert all(len(e) == 3 and e[1] == 'o' for e in events)
times = [e[0] for e in events]
assert times == sorted(times) and times[0] == 0 and 200 < times[-1] < 400, times[-1]
assert 'Tour' in events[-1][2]
PY
fi
for size in 120x40 80x24; do
    want 0 "$bin" tour --headless --size $size --dump tour-$size.txt
    grep -q 'Tour  *\([0-9]*\) of \1' tour-$size.txt || bad "the tour did not reach its end at $size"
    [ "$(wc -l < tour-$size.txt)" = "${size#*x}" ] || bad "the tour's frame is not ${size#*x} lines"
done
exit $fail
