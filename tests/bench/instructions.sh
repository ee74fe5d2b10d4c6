#!/bin/sh
# Instructions instead of seconds, where the machine is too noisy for a clock: one thread, AVX2 (what valgrind can
# run), a needle task, counted by callgrind. The same binary gives the same counts to about a thousandth, however busy
# the machine is; memory is not seen. Inclusive millions: prefill, its products with weights, its attention, its
# selection, and decode.
# usage: tests/bench/instructions.sh [SACCADE] [BEFORE]      BEFORE: an earlier output, to print ratios to it
#        LENGTH=512 TOKENS=4 METHODS="dense quest" override; about a minute and a half a method
set -e
root=$(cd "$(dirname "$0")/../.." && pwd)
saccade=${1:-$root/build/release/saccade}
before=${2:-/dev/null}
counts=$(mktemp)
trap 'rm -f "$counts"' EXIT
printf '%-32s %9s %9s %9s %9s %9s %9s\n' method total prefill products attention selection decode
for method in ${METHODS:-dense vertical_slash:sparsity=0.5 block_sparse:sparsity=0.5 flexprefill quest:sparsity=0.5}; do
    SACCADE_CPU=avx2 valgrind --tool=callgrind --callgrind-out-file="$counts" "$saccade" run --task niah \
        --length "${LENGTH:-512}" --max-tokens "${TOKENS:-4}" --threads 1 --method "$method" --no-reference --no-recall \
        --no-kl --quiet >/dev/null 2>&1
    callgrind_annotate --inclusive=yes --threshold=100 --auto=no "$counts" | awk -v method="$method" -v before="$before" '
        BEGIN {
            while ((getline line < before) > 0) { split(line, was, " "); if (was[1] == method) for (i = 2; i <= 7; i++) old[i] = was[i] }
        }
        { gsub(",", "", $1) }
        /PROGRAM TOTALS/ { total = $1 }
        match($0, /:[a-z_0-9.]+( \[|$)/) {
            f = substr($0, RSTART + 1); sub(/ \[.*/, "", f)
            if ($1 + 0 > most[f]) most[f] = $1 + 0      # named again for each file that is inlined there
        }
        END {
            for (f in most) { base = f; sub(/\..*/, "", base); at[base] += most[f] }    # and its specialised copies
            v[2] = total; v[3] = at["session_prefill"]; v[4] = at["linear_many"]
            v[5] = at["attend_prefill"]; v[6] = at["plan_heads"]; v[7] = at["session_decode"]
            printf "%-32s", method
            for (i = 2; i <= 7; i++) printf " %9.1f", v[i] / 1e6
            printf "\n"
            if (old[2]) {
                printf "%-32s", "  to before"
                for (i = 2; i <= 7; i++) printf " %9s", (old[i] > 0 ? sprintf("%.3f", v[i] / 1e6 / old[i]) : "-")
                printf "\n"
            }
        }'
done
