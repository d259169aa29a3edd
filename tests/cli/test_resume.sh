# labels: long
# test_resume.sh - runs that are killed, stopped, continued, and run on other
# numbers of threads end with the same bits.
. "$(dirname "$0")/common.sh"
options="$tiny --max-steps 60 --eval-steps 7 --save-steps 5 --log-steps 3 --dropout 0.1 --gradient-accumulation-steps 2"
begin() { exec "$GENET" train gpt2 --data "$text" --out "$1" $options "${@:2}" > /dev/null 2>> "$work/log"; }
train() { "$GENET" train gpt2 --data "$text" --out "$1" $options "${@:2}" > /dev/null 2>> "$work/log"; }
compare() {         # compare FOLDER WHAT
    for file in model.safetensors training/step-60/model.safetensors training/step-60/optimizer.safetensors; do
        cmp -s "$work/whole/$file" "$1/$file" || fail "$2: $file differs from the uninterrupted run's"
    done
    for folder in "$work/whole" "$1"; do sed 's/"[a-z]*_per_s".*//' "$folder/training/metrics.jsonl" > "$folder.lines"; done
    same "$work/whole.lines" "$1.lines"
    ls "$1/training" | grep -q tmp && fail "$2: leftovers"
}
train "$work/whole" || fail "the uninterrupted run"
train "$work/two" --threads 2 || fail "two threads"
compare "$work/two" "two threads"
sum_of() { md5sum < "$work/$1/model.safetensors"; }
train "$work/seed" --seed 2
[ "$(sum_of seed)" != "$(sum_of whole)" ] || fail "the seed changes nothing"

# killed again and again, at moments that a clock picks
for turn in 1 2 3; do
    out=$work/killed$turn
    begin "$out" & pid=$!
    sleep 0.0$turn; kill -9 $pid 2> /dev/null; wait $pid 2> /dev/null
    for n in 1 2 3 4 5 6; do
        [ -e "$out/training/settings.json" ] || break
        begin "$out" --resume & pid=$!
        sleep "0.$((n * turn + 2))"; kill -9 $pid 2> /dev/null; wait $pid 2> /dev/null
    done
    if [ -e "$out/training/settings.json" ]; then train "$out" --resume; else rm -rf "$out"; train "$out"; fi
    compare "$out" "killed"
done

# SIGTERM and SIGINT save first, say how to go on, and exit with 1
for signal in TERM INT; do
    out=$work/stopped$signal
    "$GENET" train gpt2 --data "$text" --out "$out" $options --max-steps 100000 > /dev/null 2> "$work/words" & pid=$!
    for i in $(seq 100); do grep -q '^step 3' "$work/words" && break; sleep 0.05; done
    expect 2 'another run is at work in' "$GENET" train gpt2 --out "$out" --resume
    kill -$signal $pid
    wait $pid; code=$?
    [ $code -eq 1 ] || fail "SIG$signal: exit code $code"
    grep -q 'stopped after step [0-9]* of 100000 and saved' "$work/words" || { fail "SIG$signal: no words"; cat "$work/words"; }
    grep -q -- "--out $out --resume" "$work/words" || fail "SIG$signal: not said how to go on"
    [ -s "$out/model.safetensors" ] || fail "SIG$signal: no weights on top"
done

# a stop in a step with an evaluation loses nothing: the same lines, bits and best step
options="$options --eval-steps 1"
train "$work/whole1" --max-steps 200
begin "$work/stopped1" --max-steps 200 & pid=$!
for i in $(seq 200); do [ -s "$work/stopped1/training/metrics.jsonl" ] && break; sleep 0.02; done
kill -INT $pid; wait $pid 2> /dev/null
train "$work/stopped1" --max-steps 200 --resume
same "$work/whole1/model.safetensors" "$work/stopped1/model.safetensors"
for run in whole1 stopped1; do sed 's/"[a-z]*_per_s".*//' "$work/$run/training/metrics.jsonl" > "$work/$run.lines"; done
same "$work/whole1.lines" "$work/stopped1.lines"

# what stands in the folder is named and stays; the same text may have moved
mkdir "$work/mine"; echo mine > "$work/mine/README.md"
expect 2 'mine/README.md is there already' "$GENET" train gpt2 --data "$text" --out "$work/mine" $tiny
[ "$(cat "$work/mine/README.md")" = mine ] && [ ! -e "$work/mine/training" ] || fail "a refused run wrote something"
expect 2 'too short' "$GENET" train gpt2 --data "$work/mine/README.md" --out "$work/none" $tiny
[ ! -e "$work/none" ] || fail "a failed start left its folder"
cp "$text" "$work/moved.txt"
expect 0 'has ended already' "$GENET" train gpt2 --data "$work/moved.txt" --out "$work/whole1" --resume
expect 2 'needs validation data' "$GENET" train gpt2 --data "$text" --out "$work/none" $tiny --val-fraction 0 --early-stopping-patience 2

# --max-steps given anew goes on: 60 = 40 and 20 more, but for the schedule
options="$options --lr-schedule constant"
train "$work/long"
train "$work/short" --max-steps 40
train "$work/short" --resume --max-steps 60
same "$work/long/training/step-60/model.safetensors" "$work/short/training/step-60/model.safetensors"
# 8 rows are 4 micro-batches of 2, dropout and all
losses() { sed -n 's/.*"loss": \([^,]*\).*/\1/p' "$1/training/metrics.jsonl"; }
for cut in "8 1" "2 4"; do
    set -- $cut
    "$GENET" train gpt2 --data "$text" --out "$work/cut$1" $tiny --batch-size $1 --gradient-accumulation-steps $2 --dropout 0.1 \
        --max-steps 12 --eval-steps 0 --log-steps 1 > /dev/null 2>&1
done
paste <(losses "$work/cut8") <(losses "$work/cut2") | awk '{ d = $1 - $2; if (d < 0) d = -d; if (d > 1e-5 * $1) bad = 1 }
    END { exit bad || NR != 12 }' || fail "8 rows and 4 times 2 learn differently"

# the default model: threads and activation checkpointing change no bit
for how in "--threads 1" "--threads 2" "--threads 3" "--threads 2 --checkpoint-activations"; do
    "$GENET" train gpt2 --data "$text" --out "$work/default" --dropout 0.1 --max-steps 4 --eval-steps 0 $how > /dev/null 2>&1
    sum_of default >> "$work/default.sums"
    rm -rf "$work/default"
done
[ "$(sort -u "$work/default.sums" | wc -l)" -eq 1 ] || fail "the default model: other bits"
finish
