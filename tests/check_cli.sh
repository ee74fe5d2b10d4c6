#!/usr/bin/env bash
# The command line as a person or a script meets it: help, mistyped words, bad input. Each mistake gets one sentence on
# stderr, nothing on stdout, and the documented exit code.
set -u
saccade=$1
root=${SOURCE_DIR:-$(cd "$(dirname "$0")/.." && pwd)}
model=$root/samples/models/saccade-sample-q8_0.gguf
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0 checked=0
bad() { echo "check_cli: $*"; failed=1; }

# mistake CODE PATTERN ARGUMENT...: ends with CODE, says one line that matches PATTERN, prints nothing else.
mistake()
{
    local code=$1 pattern=$2 rc
    shift 2
    checked=$((checked + 1))
    "$saccade" "$@" >"$dir/out" 2>"$dir/err" </dev/null
    rc=$?
    [ $rc = "$code" ] || bad "saccade $*: ended with $rc, not $code: $(head -c 300 "$dir/err")"
    grep -qE -- "$pattern" "$dir/err" || bad "saccade $*: nothing like '$pattern' in: $(head -c 300 "$dir/err")"
    [ "$(wc -l <"$dir/err")" = 1 ] || bad "saccade $*: not one line on stderr: $(head -c 600 "$dir/err")"
    [ ! -s "$dir/out" ] || bad "saccade $*: wrote to stdout: $(head -c 200 "$dir/out")"
    [ "$(wc -c <"$dir/err")" -lt 450 ] || bad "saccade $(head -c 100 <<<"$*"): $(wc -c <"$dir/err") bytes of complaint"
    ! LC_ALL=C grep -q "$(printf '[\1-\11\13-\37\177]')" "$dir/err" || bad "saccade $*: control characters on stderr"
}

# good PATTERN ARGUMENT...: ends with 0, and its output matches.
good()
{
    local pattern=$1 rc
    shift
    checked=$((checked + 1))
    "$saccade" "$@" >"$dir/out" 2>"$dir/err" </dev/null
    rc=$?
    [ $rc = 0 ] || bad "saccade $*: ended with $rc: $(head -c 400 "$dir/err")"
    grep -qE -- "$pattern" "$dir/out" || bad "saccade $*: nothing like '$pattern' in: $(head -c 400 "$dir/out")"
    [ ! -s "$dir/err" ] || bad "saccade $*: said on stderr: $(head -c 300 "$dir/err")"
}

# ---- help, from one table ----
good '^saccade [0-9]' --version
good '^Usage: saccade' --help
commands=$("$saccade" help | awk '/^Commands:/{on=1;next} /^$/{on=0} on{print $1}')
[ "$(wc -w <<<"$commands")" -ge 8 ] || bad "the help lists only: $commands"
for c in $commands; do
    good "^Usage: saccade $c" "$c" --help
    good "^Usage: saccade $c" help "$c"
    # Help starts with three examples of the command itself.
    "$saccade" "$c" --help | sed -n '1p;2,4p' >"$dir/top"
    [ "$(head -n 1 "$dir/top")" = Examples: ] && [ "$(grep -c '^  .*saccade' "$dir/top")" = 3 ] ||
        bad "saccade $c --help does not start with three examples"
    "$saccade" man | grep -q "^\\.SS $c" || bad "$c is not in the manual page"
done
good '^sel/dA: selection over the time' bench --help      # a line break in a text begins a line, no more
for shell in bash zsh fish; do good "run" completions $shell; done
"$saccade" completions bash | bash -n || bad "the bash completion is not valid"
bash -c 'eval "$("$1" completions bash)"; COMP_WORDS=(saccade run --no-r) COMP_CWORD=2; _saccade; echo "${COMPREPLY[*]}"' _ \
    "$saccade" | grep -q -- '--no-reference' || bad "bash does not complete saccade run --no-r"

# ---- mistyped words ----
mistake 2 'did you mean info' inof
mistake 2 'did you mean --length' run --lenght 100
mistake 2 "did you mean 'niah'" run --task niha
mistake 2 "did you mean 'quest'" run --method qest
mistake 2 "did you mean 'token_budget'" run --method quest:token_buget=64
mistake 2 '(sixteen|page_size)' run --method quest:page_size=sixteen
mistake 2 'did you mean --temperature' run --temperatur=1
mistake 2 'whole number' run --length many
mistake 2 'from 64 to' run --length 3
mistake 2 'needs a value' run --length
mistake 2 'takes no value' run --json=yes
mistake 2 'unexpected' run one two
mistake 2 'did you mean compact' run --style compakt
mistake 2 'no option -Z' run -Z
mistake 2 'exclude each other' run --task niah --prompt x
mistake 2 'one of --text' tokenize
mistake 2 'one of --text' tokenize --text a --file b
mistake 2 '--ids' logits -o x
mistake 2 'did you mean tokenize' help tokenise

mistake 4 'would fit' bench --prefill 999999999 -q -o "$dir/bench"      # at once, not after making the prompt

# ---- nothing where a name belongs ----
for c in run bench info logits tokenize select eval report snapshot 'trace record'; do
    mistake 2 "--output '': the name is empty" $c -o ''
done
mistake 2 "--script '': the name is empty" tour --script ''
mistake 2 "--file '': the name is empty" run --file=
mistake 2 'an argument is empty; usage' ''
mistake 2 'an argument is empty; usage' info ''
mistake 2 'a file must follow' run --prompt @

# ---- thousands of characters, and characters that act on a terminal: what is wrong is still said ----
long=$(printf 'x%.0s' {1..3000})
mistake 2 'x+ \.\.\. x+: expected a whole number' run --length "$long"
mistake 2 'xxx: expected one of map' snapshot --view "$long"
mistake 2 'xxx: unexpected; usage: saccade tokenize' tokenize m --text a "$long"
mistake 2 'xxx; saccade help lists the commands' "$long"
mistake 2 'xxx; saccade help lists them' help "$long"
mistake 2 'xxx: give columns and lines' tour --size "$long"
mistake 1 'xxx: cannot be written: the name is too long' run -o "$long"
mistake 3 'xxx: cannot open: File name too long' info "$long"
mistake 2 "no task 'a.b.\[31m'" run --task "$(printf 'a\nb\033[31m')"

# ---- a line of a script ----
for what in layer head step row; do
    mistake 5 "there is no $what 4000: they are 0 to" snapshot "$root/samples/traces/tour.trace" --screen map --$what \
        4000 -o "$dir/x.png"
    rm -f "$dir/x.png"
done
printf 'screen map\nscreen nowhere\n' >"$dir/script"
mistake 5 "^saccade: $dir/script: line 2: screen nowhere: screens: run, " \
    tour --script "$dir/script" --headless --dump "$dir/frame"
rm -f "$dir/frame"
mistake 5 "^saccade: $dir/script: line 2: screen nowhere: " replay "$dir/script" "$root/samples/traces/tour.trace" \
    --headless --dump "$dir/frame"

SACCADE_CPU=AVX2 mistake 2 'SACCADE_CPU=AVX2: expected scalar' info

# ---- files ----
mistake 3 'nowhere.gguf' run nowhere.gguf
mistake 3 'nowhere.gguf' info nowhere.gguf
mistake 3 'nowhere' tokenize nowhere.gguf --text a
mistake 3 'nowhere.gguf' nowhere.gguf
mistake 3 'nofile.txt' run --prompt @nofile.txt
mistake 3 'nofile' logits --ids nofile.safetensors -o "$dir/x"
printf 'no model at all' >"$dir/text.gguf"
mistake 3 'text.gguf' info "$dir/text.gguf"
: >"$dir/empty.gguf"
mistake 3 'empty.gguf' info "$dir/empty.gguf"
for n in 8 5000 300000 20000000; do
    head -c $n "$model" >"$dir/cut.gguf"
    mistake 3 'cut.gguf' run "$dir/cut.gguf" --length 256
done
{ head -c 64 "$model"; head -c 4096 /dev/zero | tr '\0' '\377'; tail -c +4161 "$model" | head -c 100000; } >"$dir/torn.gguf"
mistake 3 'torn.gguf' info "$dir/torn.gguf"
mkdir "$dir/folder"
mistake 3 'folder' info "$dir/folder"
if [ "$(id -u)" != 0 ]; then
    cp "$model" "$dir/closed.gguf" && chmod 000 "$dir/closed.gguf"
    mistake 3 'closed.gguf' info "$dir/closed.gguf"
fi

# ---- output that cannot be written: said before the work, not after it ----
mistake 1 'cannot be written' run --length 16K -o "$dir/none/there.json"
mistake 1 'cannot be written' info -o "$dir/none/there"
mistake 1 'cannot be written' tokenize --text a -o "$dir"
mistake 1 'cannot be written' logits --ids nofile -o "$dir/none/x"
if [ -e /dev/full ]; then
    "$saccade" info >/dev/full 2>"$dir/err"
    rc=$?
    [ $rc = 1 ] && grep -q 'cannot be written' "$dir/err" || bad "a full disk: ended with $rc: $(cat "$dir/err")"
fi
if [ -e /dev/full ]; then
    for words in 'bench --prefill 64 --repeats 1' 'snapshot --length 512 -o -' methods 'methods --json' tasks help --help 'run --help' man 'completions zsh' --version; do
        "$saccade" $words >/dev/full 2>"$dir/err"
        rc=$?
        [ $rc = 1 ] && grep -q 'cannot be written: the disk is full' "$dir/err" ||
            bad "$words, a full disk: ended with $rc: $(cat "$dir/err")"
    done
fi
# More than a pipe holds, from commands that close their output themselves and from those that do not.
for words in man "report --json $root/samples/study/results.jsonl.zst" 'tasks show niah --samples 100'; do
    { "$saccade" $words 2>"$dir/err"; echo $? >"$dir/rc"; } | head -c 1 >/dev/null
    [ ! -s "$dir/err" ] || bad "$words: a reader that left early is complained about: $(cat "$dir/err")"
    [ "$(cat "$dir/rc")" = 0 ] || bad "$words: ended with $(cat "$dir/rc") when its reader had left"
done

# A file size limit stands for a full disk: bash counts it in KiB.
if (ulimit -f 3) 2>/dev/null; then
    (ulimit -f 3
     "$saccade" eval --task niah --length 256 --samples 2 --no-kl -m quest -o "$dir/e.jsonl" >"$dir/out" 2>"$dir/err" </dev/null
     [ $? = 1 ]) || bad "eval that cannot write its results does not end with 1"
    [ "$(cat "$dir/err")" = "saccade eval: $dir/e.jsonl: cannot be written: the file would be larger than allowed" ] ||
        bad "eval that cannot write its results says: $(cat "$dir/err")"
fi

# ---- sparsities without a method, or without a number ----
mistake 2 'of which methods' eval --task niah --sparsity 0.5 -o "$dir/none.jsonl"
mistake 2 "quest: sparsity=: the share|sparsity=''|sparsity=" eval --task niah -m quest --sparsity 0.5,,0.9 -o "$dir/none.jsonl"

# ---- too much ----
mistake 2 'was made for' run --task niah --length 100000
awk 'BEGIN { for (i = 0; i < 30000; i++) printf "word%d ", i }' >"$dir/long.txt"
mistake 2 'shorten' run --prompt "@$dir/long.txt"
mistake 4 'MiB' run --length 4096 --memory 20M
mistake 2 'empty' run --prompt ''

# ---- no terminal ----
mistake 2 'terminal' "$model"
mistake 2 'terminal'
TERM=dumb mistake 2 'terminal'

# ---- a recorded run has its prompt and methods ----
recorded=$(ls "$root"/samples/traces/*.trace | head -n 1)
mistake 2 '--task: .*recorded run' snapshot "$recorded" --task niah -o "$dir/x.png"
mistake 2 '--method: .*recorded run' "$recorded" -m quest
echo 'screen map' >"$dir/log"
mistake 2 '--length: .*recorded run' replay "$dir/log" "$recorded" --length 512 --headless
mistake 2 '--length: .*recorded run' "$recorded" --length 512
"$saccade" --plain "$recorded" </dev/null >"$dir/plain" 2>&1 || bad "the explorer does not open a recording: $(cat "$dir/plain")"

mistake 2 "unknown method 'nosuch'" replay "$dir/log" --method nosuch --headless
mistake 2 "unknown method 'nosuch'" snapshot --screen map --method nosuch -o "$dir/x.png"

# ---- lines instead of a screen: one for the gold answer too, and no control character in it ----
printf '%s\n' '{"prompt": "a or b?", "gold": "a\nb\u001b[31m", "metric": "exact"}' >"$dir/task.jsonl"
echo quit | "$saccade" --plain --task user --file "$dir/task.jsonl" --method dense --max-tokens 2 >"$dir/out" 2>"$dir/err"
grep -qF 'gold a\nb\x1b[31m' "$dir/out" || bad "--plain: no gold answer as a line in: $(head -c 400 "$dir/out" "$dir/err")"

# ---- results ----
good '^context +16384' info
good '"context": 16384' info --json
good '^ +[0-9]+ +0 +[0-9]+ +"' tokenize --text 'a needle'
good '"spans":\[\[0,' tokenize --text='a needle' --json
good 'bundled model' doctor
good '^model .*4 threads|^model .*threads' run --task niah --length 512 --method quest:sparsity=0.8
good 'carried|"answer"' run --json --raw --prompt 'Once upon a time' --max-tokens 4 --no-recall
"$saccade" run --task niah --length 512 --expect 'no such answer' >/dev/null 2>"$dir/err"
[ $? = 5 ] || bad "--expect: did not end with 5"
"$saccade" run --task niah --length 512 --fail-under 1 >/dev/null 2>&1 || bad "dense does not solve niah at 512"
echo 'Once upon a time' | "$saccade" run --prompt - --max-tokens 2 --no-recall >/dev/null 2>&1 || bad "--prompt - failed"
"$saccade" run --length 512 -qo "$dir/run.json" --json && grep -q '"schema": "saccade.run/1"' "$dir/run.json" ||
    bad "-qo FILE: no JSON there"
LC_ALL=de_DE.UTF-8 "$saccade" info --json | grep -q '"rope_base": 1000000.0' || bad "numbers follow the locale"

# ---- Ctrl-C keeps what there is and ends with 130, TERM with 143 ----
for sig in INT TERM; do
    "$saccade" run --length 16K --no-kl --json >"$dir/out" 2>/dev/null &
    pid=$!
    sleep 0.5
    kill -$sig $pid
    wait $pid
    rc=$?
    [ $sig = INT ] && want=130 || want=143
    [ $rc = $want ] || bad "SIG$sig: ended with $rc, not $want"
    "$saccade" snapshot --screen map --length 16K -o "$dir/stopped.png" >/dev/null 2>"$dir/err" &
    pid=$!
    sleep 0.5
    kill -$sig $pid
    wait $pid
    rc=$?
    [ $rc = $want ] && grep -q 'nothing was written' "$dir/err" && [ ! -e "$dir/stopped.png" ] ||
        bad "snapshot --screen, SIG$sig: ended with $rc, not $want: $(cat "$dir/err")"
done
echo "$checked command lines checked"
exit $failed
