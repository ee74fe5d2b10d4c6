#!/usr/bin/env bash
# Every measure of a run reaches the user, in text and in JSON, under a name that says what it is.
set -u
bin=$1
root=${SOURCE_DIR:-$(cd "$(dirname "$0")/.." && pwd)}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
bad() { echo "check_measures: $*"; failed=1; }

run() { "$bin" run "$root/samples/models/saccade-sample-q8_0.gguf" --task niah --length 512 --max-tokens 12 -q "$@"; }

run --method quest:sparsity=0.7 --method vertical_slash:sparsity=0.5+snapkv:sparsity=0.99 --json --heads --batch 64 \
    >"$tmp/json" 2>"$tmp/err" || bad "run --json fails: $(head -c 300 "$tmp/err")"
for key in pattern kernel work read mass mass_vs_dense mass_min mass_p5 set top10 top64 oracle regret sink_adjusted evidence \
    evidence_mass need90 need95 need99 entropy_bits out_err kl top1 kl_free top1_free nll_gold overlap group steps layers \
    layer_out_err cost exact paper prefill_flops selection_flops decode_elements metadata_elements speedup heads kv_head \
    kept_tokens kv_bytes note; do
    grep -q "\"$key\":" "$tmp/json" || bad "no $key in the JSON"
done
grep -q '"batch": 64' "$tmp/json" || bad "the batch is not taken over"
grep -q 'out of reach on' "$tmp/json" || bad "no note about the sparsity that cannot be had"

run --method quest:sparsity=0.7 --measures >"$tmp/text" 2>"$tmp/err" || bad "run --measures fails: $(head -c 300 "$tmp/err")"
for name in 'decode, keys read' 'decode, elements read' 'sink-adjusted recall' "mass recall, dense lane's" 'set recall, own size' \
    'set recall, top 10' 'evidence recall' 'keys needed for 0.95' 'entropy, bits' 'output error, heads' 'output error, layers' \
    'regret' 'overlap of steps' 'KL, teacher-forced' 'KL, free-running' 'decode speed-up, measured' 'decode speed-up, exact form' \
    'decode speed-up, paper form'; do
    grep -qF -- "$name" "$tmp/text" || bad "no '$name' in the text"
done
exit $failed
