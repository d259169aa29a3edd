# labels: core
# test_lora.sh - an adapter from training to use: made, gone on with to the same bits, opened like a model, merged; the
# base stays as it was; what cannot be is refused.
. "$(dirname "$0")/common.sh"

base=$work/base
small="--n-layer 2 --n-head 2 --n-embd 32 --block-size 32 --batch-size 8 --warmup-steps 2 --threads 1"
"$GENET" train gpt2 --data "$text" --out "$base" $small --max-steps 20 > /dev/null 2>&1 || fail "no model to adapt"
before=$(cksum < "$base/model.safetensors")
loss_of() { "$GENET" eval "$1" --data "$text" 2>&1 | sed -n 's/^loss  *\([0-9.]*\).*/\1/p'; }
less() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a > 0 && a < b) }'; }
lora="--from $base --data $text --lora-rank 3 --lora-modules all-linear --lora-dropout 0.1 --batch-size 8 --learning-rate 1e-2 --warmup-steps 2 --threads 1"

expect 0 'the model is in' "$GENET" train lm $lora --max-steps 40 --save-steps 20 --out "$work/one"
less "$(loss_of "$work/one")" "$(loss_of "$base")" || fail "the adapter has not learned: $(loss_of "$work/one"), base $(loss_of "$base")"
[ "$(cksum < "$base/model.safetensors")" = "$before" ] || fail "the base was changed"
[ -e "$work/one/adapter_model.safetensors" ] && [ ! -e "$work/one/model.safetensors" ] || fail "the folder is not PEFT's"
[ "$(stat -c %s "$work/one/adapter_model.safetensors")" -lt "$(stat -c %s "$base/model.safetensors")" ] || fail "the adapter is as large as the base"

# gone on with from half way: the same bits
cp -r "$work/one" "$work/two"
rm -r "$work/two/training/step-40"
expect 0 'going on' "$GENET" train lm --out "$work/two" --resume
same "$work/one/adapter_model.safetensors" "$work/two/adapter_model.safetensors"

# merged, it writes the same
expect 0 'weights as f32' "$GENET" export "$work/one" --out "$work/merged"
"$GENET" generate "$work/one" -p "a" -n 20 --temp 0 > "$work/a.txt" 2>&1 || fail "no text by the adapter"
"$GENET" generate "$work/merged" -p "a" -n 20 --temp 0 > "$work/b.txt" 2>&1 || fail "no text by the merged model"
same "$work/a.txt" "$work/b.txt"

# named beside its base it is the same
"$GENET" generate "$base" --adapter "$work/one" -p "a" -n 20 --temp 0 > "$work/c.txt" 2>&1 || fail "no text with --adapter"
same "$work/a.txt" "$work/c.txt"
[ "$("$GENET" eval "$base" --adapter "$work/one" --data "$text" 2>&1 | sed -n 's/^loss  *\([0-9.]*\).*/\1/p')" = "$(loss_of "$work/one")" ] || fail "eval --adapter differs"
expect 2 'adapter.s folder already' "$GENET" generate "$work/one" --adapter "$work/two" -p a
expect 1 'adapter_config' "$GENET" generate "$base" --adapter "$base" -p a

expect 2 'lora_rank needs --from' "$GENET" train gpt2 --data "$text" --lora-rank 2 --out "$work/none"
expect 2 'no layer' "$GENET" train lm --from "$base" --data "$text" --lora-rank 2 --lora-modules wrong --out "$work/none"
expect 2 'f32' "$GENET" train lm --from "$base" --data "$text" --lora-rank 2 --dtype bf16 --out "$work/none"
[ ! -e "$work/none" ] || fail "a refused run left its folder"
mv "$base" "$work/gone"
expect 1 'adapts .*base' "$GENET" generate "$work/one" -p a
finish
