# labels: core
# test_cli.sh - usage, help, bad input of every kind: a clear error, the right
# exit code, and nothing lost.
. "$(dirname "$0")/common.sh"
run=$work/run

# --- usage and help
expect 2 'usage: genet VERB' "$GENET"
expect 0 'usage: genet VERB' "$GENET" --help
expect 0 '^genet [0-9]+\.[0-9]+\.[0-9]+ \(commit .*, (plain|avx2|avx512|amx)\)' "$GENET" --version
expect 2 'no verb "trian"; did you mean train' "$GENET" trian
for verb in train generate eval predict info plan bench; do expect 0 "usage: genet $verb" "$GENET" $verb --help; done
expect 0 '--gradient-accumulation-steps N +.*\(1\)' "$GENET" train gpt2 --help
expect 0 '--hidden-layer-sizes' "$GENET" train mlp --help
expect 2 'one of lm .*mlp gpt2' "$GENET" train --out "$run"
expect 2 'no task or model "gtp2"' "$GENET" train gtp2 --out "$run"
expect 2 '--learnin-rate; did you mean --learning-rate' "$GENET" train gpt2 --learnin-rate 1
expect 2 'one word too many' "$GENET" train gpt2 more
expect 2 'needs a value' "$GENET" train gpt2 --out
expect 2 '--out FOLDER is missing' "$GENET" train gpt2 --data "$text"
expect 2 '--data is missing' "$GENET" train gpt2 --out "$run"
GENET_ISA=plain expect 0 'plain' "$GENET" --version
GENET_ISA=foo expect 1 '^genet: .*foo' "$GENET" --version

# --- impossible ranges and combinations
for bad in "--batch-size -3" "--dropout 1" "--learning-rate abc" "--lr-schedule cosin" "--n-layer 0" "--max-steps 0" \
           "--val-fraction 2" "--seed -1" "--keep all" "--optimizer adagrad" "--log-steps 0" "--beta1 1.5"; do
    expect 2 "^genet train: ${bad%% *} must be" "$GENET" train gpt2 --data "$text" --out "$run" $bad
done
expect 2 'n_embd 130 is not divisible by n_head 4; 132' "$GENET" train gpt2 --data "$text" --out "$run" --n-embd 130
expect 2 '--min-lr 0.0001 is above --learning-rate' "$GENET" train gpt2 --data "$text" --out "$run" --learning-rate 1e-5 \
    --min-lr 1e-4
expect 1 'needs [0-9.]+ TiB of memory .* is available' "$GENET" train gpt2 --data "$text" --out "$run" \
    --n-embd 65536 --n-layer 48 --n-head 64
expect 1 '--batch-size [0-9]+ with --gradient-accumulation-steps [0-9]+ would fit' "$GENET" train gpt2 --data "$text" \
    --out "$run" --batch-size 4194304

# --- data
: > "$work/empty.txt"; echo hello > "$work/short.txt"; printf 'abc\xff\xfe def' > "$work/bytes.txt"
expect 1 'nosuch.txt' "$GENET" train gpt2 --data "$work/nosuch.txt" --out "$run"
expect 1 'is empty' "$GENET" train gpt2 --data "$work/empty.txt" --out "$run"
expect 2 'too short' "$GENET" train gpt2 --data "$work/short.txt" --out "$run"
expect 1 'UTF-8' "$GENET" train gpt2 --data "$work/bytes.txt" --out "$run"
expect 1 'cannot make' "$GENET" train gpt2 --data "$text" --out /dev/null/run
[ -e "$run" ] && fail "a run that could not begin left $run behind"

# --- a run, and a folder that holds one
expect 0 'val_loss [0-9.]+ +perplexity' "$GENET" train gpt2 --data "$text" --out "$run" $tiny --max-steps 6 --log-steps 2
for file in config.json model.safetensors tokenizer.json tokenizer_config.json README.md training/metrics.jsonl \
            training/corpus.bin training/step-6/manifest.json; do
    [ -s "$run/$file" ] || fail "no $file"
done
[ "$(wc -l < "$run/training/metrics.jsonl")" -eq 4 ] || fail "metrics.jsonl: not the lines of steps 1 2 4 6"
before=$(md5sum "$run/model.safetensors")
expect 2 'holds a model already' "$GENET" train gpt2 --data "$text" --out "$run" $tiny
expect 2 'n_embd = 16, and 32 is asked for' "$GENET" train gpt2 --out "$run" --resume --n-embd 32
expect 2 'holds a run of lm --model gpt2' "$GENET" train mlp --out "$run" --resume
expect 2 'no run in .* to resume' "$GENET" train gpt2 --out "$work/none" --resume
expect 0 'has ended already' "$GENET" train gpt2 --out "$run" --resume
[ "$before" = "$(md5sum "$run/model.safetensors")" ] || fail "refused commands changed the model"
echo "more text" >> "$text"
expect 2 'not what this run began with' "$GENET" train gpt2 --out "$run" --resume --max-steps 8
head -c -10 "$text" > "$text.2"; mv "$text.2" "$text"
expect 0 'step 8' "$GENET" train gpt2 --out "$run" --resume --max-steps 8

# --- using it
expect 0 '^The' "$GENET" generate "$run" -p 'The' -n 20 --seed 3
[ "$("$GENET" generate "$run" -p The -n 40 --seed 3)" = "$("$GENET" generate "$run" -p The -n 40 --seed 3 --threads 1)" ] ||
    fail "the same seed wrote another text"
[ "$("$GENET" generate "$run" -p The -n 40 --seed 3)" != "$("$GENET" generate "$run" -p The -n 40 --seed 4)" ] ||
    fail "another seed wrote the same text"
[ "$("$GENET" generate "$run" -p The -n 100 --temp 0 | wc -m)" -eq 104 ] || fail "not 100 characters after the prompt"
expect 2 "character .*U\+1F642" "$GENET" generate "$run" -p 'a 🙂 b'
expect 2 'prompt is empty' "$GENET" generate "$run" -p ''
expect 2 '--top-p must be' "$GENET" generate "$run" -p a --top-p 7
expect 1 'no folder' "$GENET" generate "$work/none" -p a
json=$("$GENET" eval "$run" --data "$text" --json)
for name in loss perplexity bits_per_byte tokens; do [ -n "$(field "$json" $name)" ] || fail "eval --json has no $name"; done
[ "$(field "$json" tokens)" -eq $(($(wc -m < "$text") - 1)) ] || fail "eval did not predict every token but the first"
expect 0 'parameters' "$GENET" info "$run"
expect 0 '"parameters": [0-9]+' "$GENET" info "$run" --json
expect 0 'seconds a step +[0-9.e-]+ \(estimate: products [0-9.e-]+ s \(f32 at [0-9]+ GFLOP/s, [0-9]+ % of peak\), attention' \
    "$GENET" plan gpt2 --data "$text" $tiny
# bf16 is another rate: what is multiplied is named, and the parts make the whole
expect 0 '"product_gflops": \{.*"bf16": [1-9]' "$GENET" plan gpt2 --data "$text" $tiny --dtype bf16 --json
expect 0 '"product_gflops": \{"f32": [1-9][0-9.e+]*\}' "$GENET" plan gpt2 --data "$text" $tiny --json
part() { sed -n "s/.*\"$1\": \([0-9.e+-]*\).*/\1/p" "$work/out"; }
awk "BEGIN { s = $(part seconds_per_step); p = $(part seconds_of_products) + $(part seconds_of_memory); exit !(p > 0 && p <= s * 1.01) }" ||
    fail "parts of the estimate: $(cat "$work/out")"
expect 0 '"parameters": 124' "$GENET" plan gpt2 --n-layer 12 --n-head 12 --n-embd 768 --block-size 1024 --batch-size 1 --json

# --- weights and batches from elsewhere (the numbers are PyTorch's: tests/golden/golden.json)
golden=$SOURCE/tests/golden/gpt2
expect 0 'step 1/2  loss 4\.7377 .*' "$GENET" train gpt2 --from "$golden" --batches "$golden/batches.npy" --out "$work/golden" \
    --batch-size 4 --dropout 0 --warmup-steps 0 --max-steps 2 --log-steps 1
grep -q 'step 2/2  loss 4\.8176' "$work/out" || fail "the second step's loss"
expect 2 'n_embd 32 is asked for, and the model in .* has 16' "$GENET" train gpt2 --from "$golden" \
    --batches "$golden/batches.npy" --out "$work/golden2" --batch-size 4 --n-embd 32
expect 2 'must hold whole numbers' "$GENET" train gpt2 --from "$golden" --batches "$golden/batches.npy" --out "$work/golden2"

# --- a damaged folder
damaged() { rm -rf "$work/damaged"; cp -r "$run" "$work/damaged"; }
broken() { expect 1 "$1" "$GENET" generate "$work/damaged" -p a; }      # broken WORDS
damaged; truncate -s 9000 "$work/damaged/model.safetensors"; broken 'damaged'
damaged; truncate -s 5 "$work/damaged/model.safetensors"; broken 'too few'
damaged; rm "$work/damaged/model.safetensors"; broken 'model.safetensors'
damaged; echo '{"model_type": ' > "$work/damaged/config.json"; broken 'config.json:'
damaged; echo '{}' > "$work/damaged/config.json"; broken 'model_type'
edit() { damaged; sed -i "$1" "$work/damaged/config.json"; broken "$2"; }
edit 's/"n_embd": 16/"n_embd": 32/' '\[.*,16\], and the model.s config asks for \[.*,32\]'
edit 's/"n_layer": 2/"n_layer": 1/' 'no place for'
edit 's/"n_layer": 2/"n_layer": 3/' 'has no tensor transformer.h.2'
edit 's/"n_head": 2/"n_head": 0/' 'n_head must be'
edit 's/"n_head": 2/"n_head": 3/' 'not divisible'
edit 's/"n_embd": 16/"n_embd": "big"/' 'n_embd'
edit 's/"gpt2"/"rwkv"/' 'rwkv'
edit 's/"n_positions": 16/"n_positions": 9999999/' 'wpe'
damaged; echo '{}' > "$work/damaged/tokenizer.json"; broken 'tokenizer.json'
damaged; head -c 300 "$run/tokenizer.json" > "$work/damaged/tokenizer.json"; broken 'tokenizer.json'
damaged; truncate -s -100 "$work/damaged/training/step-8/model.safetensors"
expect 0 'step-8 is not complete' "$GENET" train gpt2 --out "$work/damaged" --resume --max-steps 9

# --- streams
gzip -c "$text" > "$work/text.gz"; mkdir "$work/many"; cp "$text" "$work/many/1"; cp "$work/text.gz" "$work/many/2.gz"
"$GENET" train gpt2 --data - --out "$work/piped" $tiny --max-steps 2 < "$text" > /dev/null 2>&1 || fail "standard input"
expect 0 'val_loss' "$GENET" train gpt2 --data "$work/many" "$work/text.gz" --out "$work/merged" $tiny --max-steps 2
[ "$(stat -c %s "$work/merged/training/corpus.bin")" -eq $((3 * $(wc -m < "$text") * 2)) ] || fail "three texts are not one stream"
expect 0 'text is not at hand' "$GENET" train gpt2 --out "$work/piped" --resume --max-steps 3
finish
