# labels: core
# test_gguf.sh - models as GGUF files: what `export --gguf` writes is opened as a folder is, with the same text, loss and
# weights; other forms of weights and data are refused with what to do.
. "$(dirname "$0")/common.sh"

options="$tiny --n-embd 32 --max-steps 5"
"$GENET" train gpt2 --data "$text" --out "$work/gpt2" --tokenizer bpe:300 $options > /dev/null 2>&1 || fail "no gpt2"
"$GENET" train llama --data "$text" --out "$work/llama" --tokenizer bpe:300 $options > /dev/null 2>&1 || fail "no llama"
"$GENET" train gpt2 --data "$text" --out "$work/letters" $options > /dev/null 2>&1 || fail "no letters"
written() { "$GENET" generate "$1" -p "int main" --temperature 0 --max-new-tokens 8 2>&1; }
loss_of() { "$GENET" eval "$1" --data "$text" 2>&1 | sed -n 's/^loss  *\([0-9.]*\).*/\1/p'; }

# --- there and back ------------------------------------------------------------------
for name in gpt2 llama letters; do
    expect 0 "weights, matrices as f32" "$GENET" export "$work/$name" --gguf "$work/$name.gguf"
    [ "$(written "$work/$name.gguf")" = "$(written "$work/$name")" ] || fail "$name.gguf writes another text"
    [ -n "$(loss_of "$work/$name")" ] && [ "$(loss_of "$work/$name.gguf")" = "$(loss_of "$work/$name")" ] || fail "another loss of $name"
    expect 0 "as f32 in 1 file" "$GENET" export "$work/$name.gguf" --out "$work/$name-back"
    same "$work/$name/model.safetensors" "$work/$name-back/model.safetensors"
    [ "$(written "$work/$name-back")" = "$(written "$work/$name")" ] || fail "$name-back writes another text"
    expect 0 "parameters" "$GENET" info "$work/$name.gguf"
done
mkdir "$work/only" && cp "$work/llama.gguf" "$work/only/some.gguf"
[ "$(written "$work/only")" = "$(written "$work/llama")" ] || fail "a folder of one GGUF file writes another text"
expect 0 "val_loss" "$GENET" train llama --from "$work/llama.gguf" --data "$text" --out "$work/tuned" --max-steps 2 --batch-size 4 \
    --threads 1
cp "$work/gpt2.gguf" "$work/only/other.gguf"
expect 1 "holds 2 GGUF files: say which" "$GENET" info "$work/only"

# --- types: the blocks are those of quantize ----------------------------------------------
for type in q8_0 q4_0; do
    expect 0 "matrices as $type" "$GENET" export "$work/llama" --gguf "$work/$type.gguf" --type $type
    "$GENET" quantize "$work/llama" --type $type --out "$work/$type" > /dev/null 2>&1 || fail "not quantised"
    [ "$(loss_of "$work/$type.gguf")" = "$(loss_of "$work/$type")" ] || fail "another loss of $type"
    expect 0 " $type " "$GENET" info "$work/$type.gguf"
    expect 1 "quantised weights are used, not learned" "$GENET" train llama --from "$work/$type.gguf" --data "$text" --out "$work/no"
done
for type in f16 bf16; do
    expect 0 "matrices as $type" "$GENET" export "$work/gpt2" --gguf "$work/$type.gguf" --type $type
    expect 0 " $type " "$GENET" info "$work/$type.gguf"
done


# --- what is refused -----------------------------------------------------------------------
expect 2 "say one of them" "$GENET" export "$work/gpt2" --gguf "$work/x.gguf" --out "$work/x"
expect 2 "one of f32.f16.bf16.q8_0.q4_0" "$GENET" export "$work/gpt2" --gguf "$work/x.gguf" --type q5_0
"$GENET" train gpt2 --data "$text" --out "$work/words" --tokenizer word:200 $options > /dev/null 2>&1 || fail "no words"
expect 2 "llama.cpp has nothing that gives the same tokens" "$GENET" export "$work/words" --gguf "$work/x.gguf"
[ ! -e "$work/x.gguf" ] && [ ! -e "$work/x.gguf.tmp" ] || fail "something was written"
head -c 300 "$work/llama.gguf" > "$work/cut.gguf"
expect 1 "cut.gguf: .*damaged" "$GENET" generate "$work/cut.gguf" -p x
echo "no model" > "$work/text.gguf"
expect 1 "is no GGUF file" "$GENET" info "$work/text.gguf"

mkdir "$work/foreign"
for file in pytorch_model.bin tf_model.h5 flax_model.msgpack model.onnx; do
    cp "$work/gpt2/config.json" "$work/foreign"; : > "$work/foreign/$file"
    expect 1 "model.safetensors.*; $file (is|holds) " "$GENET" generate "$work/foreign" -p x
    case $file in
        *.onnx) expect 1 "take the model that it was made from" "$GENET" generate "$work/foreign" -p x ;;
        *) expect 1 "from_pretrained\\(\"$work/foreign\".*save_pretrained" "$GENET" generate "$work/foreign" -p x ;;
    esac
    rm -r "$work/foreign"; mkdir "$work/foreign"
done
for file in model.pt model.pth model.ckpt; do
    : > "$work/$file"
    expect 1 "is never read" "$GENET" generate "$work/$file" -p x
    expect 1 "torch.load\\(\"$work/$file\", weights_only=True" "$GENET" info "$work/$file"
done
printf 'PAR1\025\0\025\377' > "$work/rows.parquet"
expect 1 "is a parquet file.*JSON lines" "$GENET" train gpt2 --data "$work/rows.parquet" --out "$work/no"
cp "$work/rows.parquet" "$work/rows.csv"
expect 1 "pandas.read_parquet" "$GENET" train mlp --data "$work/rows.csv" --target y --out "$work/no"
finish
