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
grep -Eq 'another run is training|holds a model already' second || { fail "the second of two runs is told nothing"; cat second; }
"$GENET" train gpt2 --out both --resume --max-steps 3 > said 2>&1 || { fail "the first of two runs does not go on"; cat said; }
finish
