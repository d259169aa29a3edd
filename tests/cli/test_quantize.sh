# labels: core
# test_quantize.sh - `genet quantize`: a folder of 8 or 4 bits predicts as the one it
# was made of, writes, completes, goes back to f32; what is refused; nothing half-written.
. "$(dirname "$0")/common.sh"

model=$work/model
small="--n-layer 2 --n-head 2 --n-embd 32 --block-size 32 --batch-size 8 --warmup-steps 2 --threads 1"
"$GENET" train gpt2 --data "$text" --out "$model" $small --learning-rate 1e-2 --max-steps 60 > /dev/null 2>&1 ||
    fail "no model to quantise"
perplexity_of() { "$GENET" eval "$1" --data "$text" 2>&1 | sed -n 's/^perplexity  *\([0-9.]*\).*/\1/p'; }
near() { awk -v a="$1" -v b="$2" -v r="$3" 'BEGIN { exit !(a > 0 && b > 0 && a / b < 1 + r && b / a < 1 + r) }'; }
# Size $1, as a part of $2's, is between $3 and $4 hundredths.
size_within() {
    local a b; a=$(stat -c %s "$1/model.safetensors"); b=$(stat -c %s "$2/model.safetensors")
    [ $((100 * a)) -ge $(($3 * b)) ] && [ $((100 * a)) -le $(($4 * b)) ] || fail "$1 has $a bytes, $2 $b"
}
before=$(perplexity_of "$model")

# --- both types, before and after -------------------------------------------------
expect 0 "q8_0 .*perplexity" "$GENET" quantize "$model" --data "$text"
expect 0 "before .*perplexity $before" "$GENET" quantize "$model/" --type q4_0 --data "$text"
near "$(perplexity_of "$model-q8_0")" "$before" 0.002 || fail "q8_0 is far from f32: $(perplexity_of "$model-q8_0") $before"
near "$(perplexity_of "$model-q4_0")" "$before" 0.1 || fail "q4_0 is far from f32: $(perplexity_of "$model-q4_0") $before"
size_within "$model-q8_0" "$model" 28 40
size_within "$model-q4_0" "$model" 15 30
for f in tokenizer.json tokenizer_config.json generation_config.json; do
    [ ! -e "$model/$f" ] || same "$model/$f" "$model-q4_0/$f"
done
grep -q '"quant_method": "genet"' "$model-q4_0/config.json" || fail "config.json does not say that weights are quantised"
[ ! -e "$model-q4_0/training" ] || fail "more was written than a model"
expect 0 "data FILES would say" "$GENET" quantize "$model" --type q4_0 --embeddings q8_0 --out "$work/mixed"
expect 0 "\"q8_0\": [0-9]+, \"q4_0\": [0-9]+" "$GENET" info "$work/mixed" --json
near "$(perplexity_of "$work/mixed")" "$before" 0.1 || fail "q4_0 with tables of q8_0 is far from f32"
expect 0 "." "$GENET" quantize "$model" --type q4_0 --embeddings f16 --out "$work/tables"
near "$(perplexity_of "$work/tables")" "$before" 0.1 || fail "q4_0 with tables of f16 is far from f32"

# --- what else reads them ---------------------------------------------------------
for q in "$model-q8_0" "$model-q4_0" "$work/tables"; do
    expect 0 "." "$GENET" generate "$q" --prompt "int" --max-new-tokens 40 --seed 3 --threads 1
    cp "$work/out" "$work/one"
    expect 0 "." "$GENET" generate "$q" --prompt "int" --max-new-tokens 40 --seed 3 --threads 2
    same "$work/out" "$work/one"
    expect 0 "." "$GENET" complete "$q" --prompt "GENET_API int"
done
# the same numbers, as f32: what was rounded stays rounded; with blocks products may round activations too
expect 0 "as f32" "$GENET" export "$model-q8_0" --out "$work/wide"
near "$(perplexity_of "$work/wide")" "$(perplexity_of "$model-q8_0")" 0.002 || fail "f32 made of q8_0 predicts differently"
grep -q quantization "$work/wide/config.json" && fail "f32 weights are said to be quantised"
expect 0 "." "$GENET" quantize "$work/wide" --out "$work/again"
same "$work/again/model.safetensors" "$model-q8_0/model.safetensors"
# from narrow weights, which are used where they lie
expect 0 "as f16" "$GENET" export "$model" --out "$work/f16" --dtype f16
expect 0 "." "$GENET" quantize "$work/f16" --type q4_0
near "$(perplexity_of "$work/f16-q4_0")" "$(perplexity_of "$model-q4_0")" 0.02 || fail "another q4_0 of f16"

# --- what is refused ----------------------------------------------------------------
expect 2 "exists already" "$GENET" quantize "$model"
expect 2 "quantised already" "$GENET" quantize "$model-q8_0" --out "$work/new"
expect 2 "one of q8_0.q4_0" "$GENET" quantize "$model" --type q5_0 --out "$work/new"
expect 2 "say which model" "$GENET" quantize --type q4_0
expect 1 "there is no folder" "$GENET" quantize "$work/nothing"
expect 1 "quantised weights are used, not learned" "$GENET" train gpt2 --from "$model-q8_0" --data "$text" --out "$work/new" --max-steps 1
[ -e "$work/new" ] && fail "something was made of what was refused"
"$GENET" train gpt2 --data "$text" --out "$work/narrow" $tiny --max-steps 1 > /dev/null 2>&1 || fail "no narrow model"
expect 0 "[0-9]+ matrices are left" "$GENET" quantize "$work/narrow"           # 16 wide, 64 inside
cp -r "$model" "$work/other"
sed -i 's/"model_type"/"quantization_config": {"quant_method": "gptq"}, "model_type"/' "$work/other/config.json"
expect 1 "weights quantised by gptq" "$GENET" eval "$work/other" --data "$text"

# --- nothing half-written ------------------------------------------------------------
limited() { (trap '' XFSZ; ulimit -f 20; exec "$@"); }
expect 1 "cannot write .*model.safetensors" limited "$GENET" quantize "$model" --out "$work/half"
[ ! -e "$work/half" ] && [ ! -e "$work/half.tmp" ] || fail "something is left of a full disk"
finish
