#!/usr/bin/env bash
# saccade select and saccade methods as scripts meet them: output, refusals, exit codes.
set -u
bin=$1
here=$(cd "$(dirname "$0")" && pwd)
qkv=$here/fixtures/select/story.l5.safetensors
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
bad() { echo "check_select: $*"; failed=1; }

expect() # status pattern command... : exit status, and what stdout or stderr says
{
    local want=$1 pattern=$2 got
    shift 2
    "$@" >"$tmp/out" 2>"$tmp/err"
    got=$?
    [ $got -eq "$want" ] || bad "$* exits with $got, expected $want: $(head -c 300 "$tmp/err")"
    grep -qE -- "$pattern" "$tmp/out" "$tmp/err" || bad "$* does not say '$pattern': $(head -c 300 "$tmp/out" "$tmp/err")"
}

expect 0 '"schema": "saccade.select/1"' "$bin" select --qkv "$qkv" --method quest:token_budget=128 --decode-last 4 --json -o "$tmp/quest"
for t in quest.pages quest.rows quest.decode_out quest.density; do
    grep -qaF "\"$t\"" "$tmp/quest" || bad "no $t in the result"
done
expect 0 'work' "$bin" select --qkv "$qkv" --method vertical_slash:vertical_size=64,slash_size=64 -o "$tmp/vs"
for t in vertical_slash.h0.runs vertical_slash.h7.vertical vertical_slash.h3.slash vertical_slash.out.h0 vertical_slash.density; do
    grep -qaF "\"$t\"" "$tmp/vs" || bad "no $t in the result"
done
expect 0 'work' "$bin" select --qkv "$qkv" --method block_sparse -o "$tmp/vs"        # replaces the file
grep -qaF '"block_sparse.h0.blocks"' "$tmp/vs" || bad "no blocks in the result"
expect 0 'KV head' "$bin" select --qkv "$qkv" --method ada_snapkv:capacity=200 -o "$tmp/kept"
grep -qaF '"ada_snapkv.kept"' "$tmp/kept" || bad "no mask in the result"
expect 0 'vertical_slash' "$bin" select --qkv "$qkv" --method vertical_slash:sparsity=0.5+snapkv:sparsity=0.5+quest:sparsity=0.8 --decode-last 2

expect 0 'sparsity=0.99 is out of reach on 1500 tokens' "$bin" select --qkv "$qkv" --method snapkv:sparsity=0.99 --json
expect 0 '"read": 0.1' "$bin" select --qkv "$qkv" --method block_sparse:top_blocks=4+snapkv:sparsity=0.9 --json

expect 2 "did you mean 'snapkv'" "$bin" select --qkv "$qkv" --method snapk
expect 2 'use capacity=133' "$bin" select --qkv "$qkv" --method snapkv:capacity=10
expect 2 'use 1499' "$bin" select --qkv "$qkv" --method quest --decode-last 1500
expect 2 'does not act in decode' "$bin" select --qkv "$qkv" --method block_sparse --decode-last 3
expect 2 'qkv' "$bin" select --method quest
expect 2 'method' "$bin" select --qkv "$qkv"
"$bin" select --qkv "$tmp/none" --method quest >/dev/null 2>"$tmp/err" && bad "a missing file is accepted"
grep -q none "$tmp/err" || bad "a missing file is not named"
expect 3 "no tensor 'q'" "$bin" select --qkv "$tmp/kept" --method quest

expect 0 'vertical_slash' "$bin" methods
expect 0 'token_budget +1024' "$bin" methods quest
expect 0 '"saccade.methods/1"' "$bin" methods --json
expect 2 "did you mean 'quest'" "$bin" methods qest
exit $failed
