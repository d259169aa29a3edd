# test_train_text.sh - tokenizers of training runs: folders whose names look like
# tokenizers, --from with its own tokenizer and no other, two runs at once.
. "$(dirname "$0")/common.sh"
cd "$work" || exit 1
quick="$tiny --max-steps 2"
train() { "$GENET" train gpt2 --data "$text" $quick "$@" > "$work/said" 2>&1; }

# a folder may be called like a tokenizer: --out and --from are folders
for name in bpe word char bpe:8 bpe:300; do
    train --tokenizer bpe:300 --out "$name" || { fail "--out $name"; cat "$work/said"; }
    "$GENET" train gpt2 --out "$name" --resume --max-steps 4 > said 2>&1 || { fail "--out $name --resume"; cat said; }
    "$GENET" train lm --from "$name" --data "$text" --out "from-$name" --max-steps 2 --threads 1 > said 2>&1 || { fail "--from $name"; cat said; }
    same "$name/tokenizer.json" "from-$name/tokenizer.json"
done

expect 2 '^genet train: --tokenizer bpe:5: ' "$GENET" train gpt2 --data "$text" --tokenizer bpe:5 --out other

# weights know the ids of their own tokenizer
train --out chars || fail "characters"
expect 2 'is not the tokenizer of bpe' "$GENET" train lm --from bpe --tokenizer chars --data "$text" --out other --max-steps 2
expect 2 'is not the tokenizer of bpe' "$GENET" train lm --from bpe --tokenizer char --data "$text" --out other --max-steps 2
[ -e other ] && fail "a refused run left its folder"
expect 0 'done after 2 steps' "$GENET" train lm --from bpe --tokenizer bpe/tokenizer.json --data "$text" --out same --max-steps 2
expect 1 'the tokenizer of --from: ' "$GENET" train lm --from nowhere --data "$text" --out other --max-steps 2
mkdir bare && cp bpe/config.json bpe/model.safetensors bare
expect 1 'the tokenizer of --from: .*bare' "$GENET" train lm --from bare --data "$text" --out other --max-steps 2
expect 0 'done after 2 steps' "$GENET" train lm --from bare --tokenizer ./bpe --data "$text" --out bare-run --max-steps 2

# the second of two runs in one folder leaves the first one's corpus alone, also while that is being made
for i in 1 2 3 4 5 6; do cat "$text" "$text" "$text" "$text"; done > long.txt
cat long.txt long.txt long.txt long.txt > longer.txt
"$GENET" train gpt2 --data longer.txt --tokenizer bpe:400 --out both $quick > first 2>&1 & pid=$!
for i in $(seq 200); do [ -d both/training ] && break; sleep 0.01; done
"$GENET" train gpt2 --data "$text" --tokenizer char --out both $quick > second 2>&1
code=$?
wait $pid || { fail "the first of two runs"; cat first; }
[ $code -ne 0 ] || fail "two runs in one folder"
grep -Eq 'another run is at work|holds a model already' second || { fail "the second of two runs is told nothing"; cat second; }
"$GENET" train gpt2 --out both --resume --max-steps 3 > said 2>&1 || { fail "the first of two runs does not go on"; cat said; }

# what was given to a run that begins with a model stays given when it is resumed
tune="--from bpe --data $text --block-size 8 --dropout 0.3 --batch-size 2 --save-steps 3 --threads 1"
"$GENET" train lm $tune --out whole --max-steps 6 > said 2>&1 || { fail "fine-tuning"; cat said; }
"$GENET" train lm $tune --out parts --max-steps 6 > said 2>&1 & pid=$!
for i in $(seq 300); do [ -d parts/training/step-3 ] && break; sleep 0.01; done
kill -9 $pid 2> /dev/null; wait $pid 2> /dev/null
"$GENET" train lm --out parts --resume > said 2>&1 || { fail "fine-tuning resumed"; cat said; }
same whole/training/step-6/model.safetensors parts/training/step-6/model.safetensors
same whole/training/step-6/optimizer.safetensors parts/training/step-6/optimizer.safetensors
grep -q '"block_size"' parts/training/settings.json || fail "settings.json does not say what was given"

# a folder's own rules of generation go along
cp -r bpe ruled; echo '{"do_sample": false, "eos_token_id": [5, 6]}' > ruled/generation_config.json
expect 0 'done after 2' "$GENET" train lm --from ruled --data "$text" --out ruled-on --max-steps 2
grep -q '6' ruled-on/generation_config.json && grep -q 'false' ruled-on/generation_config.json || fail "generation_config.json is lost"

# a run killed before its first save, of text that cannot be read again, goes on; the tokenizer lies beside the corpus
cp -r bpe early; rm -rf early/tokenizer.json early/tokenizer_config.json early/config.json early/model.safetensors early/training/step-*
"$GENET" train gpt2 --out early --resume --max-steps 4 > said 2>&1 || { fail "an early kill"; cat said; }
same early/tokenizer.json bpe/tokenizer.json

# old folders of two files have a tokenizer, too
mkdir pair && cp bpe/config.json bpe/model.safetensors pair
echo '{"a": 0}' > pair/vocab.json; echo '#version: 0.2' > pair/merges.txt
expect 2 'is not the tokenizer of pair' "$GENET" train lm --from pair --tokenizer char --data "$text" --out other --max-steps 2

# two networks for tables at once: one of them trains
{ echo x,y; for i in $(seq 20000); do echo "$i,$((i * 3 % 7))"; done; } > big.csv
"$GENET" train mlp --data big.csv --target y --out table --max-steps 3 > first 2>&1 & pid=$!
for i in $(seq 300); do [ -d table/training ] && break; sleep 0.01; done
"$GENET" train mlp --data big.csv --target x --out table --max-steps 2 > second 2>&1 && fail "two runs trained in one folder"
wait $pid || { fail "the first table"; cat first; }
finish
