# labels: core
# test_mixed.sh - training with --dtype bf16: a stopped run goes on to the same
# bits, whatever the threads; the precision is kept, said and planned; tables too.
. "$(dirname "$0")/common.sh"
options="$tiny --dtype bf16 --eval-steps 5 --save-steps 5 --dropout 0.1"
train() { "$GENET" train gpt2 --data "$text" --out "$@" > "$work/words" 2>&1 || { fail "training of $1"; cat "$work/words"; }; }
train "$work/whole" $options --max-steps 20 --lr-schedule constant
grep -q 'bf16' "$work/words" || fail "the precision is not said"
train "$work/short" $options --max-steps 10 --lr-schedule constant
train "$work/short" --resume --max-steps 20 --threads 2
for file in model.safetensors training/step-20/optimizer.safetensors; do same "$work/whole/$file" "$work/short/$file"; done
expect 2 'dtype = bf16, and f32 is asked for' "$GENET" train gpt2 --out "$work/short" --resume --max-steps 30 --dtype f32
grep -q '"dtype": "bf16"' "$work/whole/training/settings.json" || fail "settings do not say it"
grep -q '"dtype": "float32"' "$work/whole/config.json" || fail "weights on disk are f32"
for how in "--threads 7" "--checkpoint-activations"; do
    rm -rf "$work/again"
    train "$work/again" $options --max-steps 20 --lr-schedule constant $how
    same "$work/whole/model.safetensors" "$work/again/model.safetensors"
done

# f32 is something else, and not far from it
train "$work/f32" $options --dtype f32 --max-steps 20 --lr-schedule constant
cmp -s "$work/whole/model.safetensors" "$work/f32/model.safetensors" && fail "bf16 changes nothing"
val() { sed -n 's/.*"val_loss": \([^,]*\).*/\1/p' "$1/training/metrics.jsonl" | tail -1; }
awk -v a="$(val "$work/whole")" -v b="$(val "$work/f32")" 'BEGIN { d = a - b; exit !(a > 0 && d < 0.005 * b && d > -0.005 * b) }' ||
    fail "val_loss $(val "$work/whole") in bf16 and $(val "$work/f32") in f32"

# accumulation; on from a folder's weights
train "$work/parts" $options --max-steps 6 --gradient-accumulation-steps 3
"$GENET" train lm --from "$work/whole" --data "$text" --out "$work/on" --dtype bf16 --max-steps 3 --batch-size 4 --eval-steps 0 \
    > /dev/null 2>&1 || fail "--from"

# every instruction set
for isa in plain avx2 avx512 amx; do
    GENET_ISA=$isa "$GENET" train gpt2 --data "$text" --out "$work/$isa" $options --max-steps 5 > "$work/words" 2>&1 ||
        grep -q 'GENET_ISA' "$work/words" || { fail "$isa"; cat "$work/words"; }
done

# the plan counts the second form of the weights, and less for what is kept
plan() { "$GENET" plan gpt2 --data "$text" --n-embd 128 --block-size 128 --batch-size 8 --json "$@" 2> /dev/null; }
more=$(field "$(plan --dtype bf16)" params_bytes); less=$(field "$(plan)" params_bytes)
[ "$more" -gt "$less" ] || fail "$more bytes of params in bf16, $less in f32"

expect 0 'checkpointing +saves [0-9.]+ [KM]iB of memory for [0-9.]+ [MG] operations more a step \([0-9]+ %\)' "$GENET" plan gpt2 \
    --data "$text" --block-size 128 --batch-size 8 --dtype bf16 --checkpoint-activations
"$GENET" plan gpt2 --data "$text" --block-size 128 2> /dev/null | grep -q checkpointing && fail "checkpointing is told of unasked"

# a table
awk 'BEGIN { print "a,b,y"; for (i = 0; i < 100; i++) printf "%g,%g,%g\n", i % 10, i % 7, 3 * (i % 10) - i % 7 }' > "$work/t.csv"
expect 0 'val_loss' "$GENET" train mlp --data "$work/t.csv" --target y --out "$work/t" --standardize --max-steps 60 --dtype bf16 \
    --learning-rate 1e-2 --hidden-layer-sizes 16 --threads 1
finish
