# labels: long
# test_kills.sh - 200 kills (SIGKILL) at random moments of training runs, from
# the learning of the tokenizer to the last save: the run always goes on, and
# always ends with the bits of one that was never interrupted.
. "$(dirname "$0")/common.sh"
options="$tiny --tokenizer bpe:300 --max-steps 40 --eval-steps 10 --save-steps 4 --log-steps 2 --dropout 0.1 --tensorboard"
run() { exec "$GENET" train gpt2 --data "$text" --out "$1" $options "${@:2}" > /dev/null 2> "$work/log"; }
finished() { grep -q '"step": 40' "$1/training/metrics.jsonl" 2> /dev/null && [ -e "$1/training/step-40" ]; }
compare() {
    for file in model.safetensors tokenizer.json config.json training/step-40/model.safetensors training/step-40/optimizer.safetensors; do
        cmp -s "$work/whole/$file" "$1/$file" || fail "after $kills kills: $file differs from the uninterrupted run's"
    done
    for folder in "$work/whole" "$1"; do sed 's/"[a-z]*_per_s".*//' "$folder/training/metrics.jsonl" > "$folder.lines"; done
    same "$work/whole.lines" "$1.lines"
    ls "$1/training" | grep -q 'tmp$' && fail "after $kills kills: leftovers"
}

(run "$work/whole") || { fail "the uninterrupted run"; cat "$work/log"; finish; }
began=$(date +%s%N); (run "$work/time"); took_ms=$((($(date +%s%N) - began) / 1000000))

RANDOM=7
kills=0 runs=0 resumes=0 limit=200
out=$work/run0
while [ $kills -lt $limit ] && [ $failures -eq 0 ]; do
    resume=
    [ -e "$out/training/settings.json" ] && resume=--resume
    run "$out" $resume & pid=$!
    sleep "$(printf '0.%03d' $((RANDOM % (took_ms * 2 / 3 < 999 ? took_ms * 2 / 3 : 999))))"
    if kill -9 $pid 2> /dev/null; then
        wait $pid 2> /dev/null
        kills=$((kills + 1))
        [ -n "$resume" ] && resumes=$((resumes + 1))
    else
        wait $pid || { fail "a run that nobody killed ($resume) failed after $kills kills"; cat "$work/log"; }
    fi
    if finished "$out"; then
        (run "$out" --resume) || { fail "the finished run does not open"; cat "$work/log"; }
        compare "$out"
        rm -rf "$out" "$out.lines"
        runs=$((runs + 1)) out=$work/run$runs
    fi
done
if [ -e "$out/training/settings.json" ]; then (run "$out" --resume); else (run "$out"); fi || { fail "the last run"; cat "$work/log"; }
compare "$out"
echo "$kills kills, $resumes of them of resumed runs; $((runs + 1)) runs ended alike"
[ $kills -ge $limit ] || fail "only $kills kills"
[ $resumes -gt $((limit / 3)) ] || fail "only $resumes kills met a resumed run"
"$GENET" generate "$out" -p "the " -n 20 --seed 1 > "$work/a" 2> "$work/log" && "$GENET" generate "$work/whole" -p "the " -n 20 --seed 1 > "$work/b" || cat "$work/log"
[ -s "$work/a" ] || fail "nothing was generated"
same "$work/a" "$work/b"
finish
