# labels: core
# test_classify.sh - classifying texts from tables and JSON lines: training, resuming, other heads, pairs, answers, vectors.
. "$(dirname "$0")/common.sh"
cd "$work"
awk 'BEGIN { print "text,label"; split("good fine great lovely", g); split("bad poor dull awful", b)
             for (i = 0; i < 120; i++) { k = i % 2; printf "the film is %s and %s%s,%s\n", k ? b[i % 4 + 1] : g[i % 4 + 1],
                 k ? b[i % 3 + 1] : g[i % 3 + 1], i % 5 ? "" : " \"\"really\"\" so, one would say at length", k ? "no" : "yes" } }' |
    sed 's/^\(.*""really.*\),\(yes\|no\)$/"\1",\2/' > films.csv
small="--data films.csv --tokenizer bpe:300 --n-layer 1 --n-head 2 --n-embd 16 --block-size 32 --batch-size 8 --threads 1 --eval-steps 10 --warmup-steps 5"

# --- an encoder from scratch
expect 0 'accuracy 1.0' "$GENET" train classify $small --out bert --max-steps 80 --learning-rate 5e-3
grep -q '"BertForSequenceClassification"' bert/config.json || fail "architecture"
grep -q '"classifier_dropout": null' bert/config.json || fail "what is not said is null"
grep -q '"0": "no"' bert/config.json || fail "names of classes"
grep -q 'val_macro_f1' bert/training/metrics.jsonl || fail "macro F1"
expect 0 '^[01].[0-9]*  yes$' "$GENET" classify bert -p "the film is great and good" --top 1
expect 0 '"label": "no"' "$GENET" classify bert -p "the film is awful and bad" --json
cut -d, -f1 films.csv | sed 1d | head -20 > lines.txt
"$GENET" classify bert --input lines.txt > all.jsonl || fail "many"
[ "$(wc -l < all.jsonl)" -eq 20 ] || fail "a line each"
head -c 700 all.jsonl > part.jsonl
expect 2 'is there already' "$GENET" classify bert --input lines.txt --output part.jsonl
"$GENET" classify bert --input lines.txt --output part.jsonl --resume || fail "going on"
same all.jsonl part.jsonl
expect 2 'say -p TEXT, or --input FILE' "$GENET" classify bert

# --- the same bits after a resume, and on two threads
common="$small --keep last --lr-schedule constant --save-steps 5"
"$GENET" train classify $common --out a --max-steps 9 > /dev/null 2>&1 || fail "a"
"$GENET" train classify $common --out b --max-steps 6 > /dev/null 2>&1 || fail "b"
"$GENET" train classify --out b --resume --max-steps 9 > /dev/null 2>&1 || fail "resume"
"$GENET" train classify $common --threads 2 --out c --max-steps 9 > /dev/null 2>&1 || fail "c"
same a/model.safetensors b/model.safetensors
same a/model.safetensors c/model.safetensors
cp films.csv other.csv; echo "one more,yes" >> other.csv
expect 2 'not the texts this run began with' "$GENET" train classify --out b --resume --data other.csv --max-steps 12

# --- a language model's folder with a new head
"$GENET" train gpt2 --data "$text" --tokenizer bpe:300 $tiny --max-steps 2 --out lm > /dev/null 2>&1 || fail "lm"
expect 0 'new score.weight' "$GENET" train classify --model gpt2 --from lm --data films.csv --out head --max-steps 3 --batch-size 8 --threads 1
grep -q 'GPT2ForSequenceClassification' head/config.json || fail "a head"
expect 2 'tells no classes' "$GENET" classify lm -p x
expect 0 '  yes$' "$GENET" classify head -p "the film"
printf 'text,label\nx,perhaps\n' > odd.csv
expect 2 'none of the model.s 2 classes' "$GENET" train classify $small --eval-data odd.csv --out bad --max-steps 1
printf 'text,label\nx,one\ny,one\n' > single.csv
expect 2 'one class only' "$GENET" train classify --data single.csv --out bad --max-steps 1
expect 2 'column "sentence"' "$GENET" train classify --data films.csv --text-column sentence --out bad --max-steps 1
expect 2 'mlp' "$GENET" train classify --model mlp --data films.csv --out bad

# --- pairs, from JSON lines
awk 'BEGIN { for (i = 0; i < 60; i++) printf "{\"q\": \"is it %d\", \"a\": \"it is %d\", \"same\": %s}\n", i % 3, (i + i % 2) % 3, i % 2 ? "false" : "true" }' > pairs.jsonl
expect 0 'done after 5 steps' "$GENET" train classify --data pairs.jsonl --text-column q --text-pair-column a --label-column same --out pairs \
    --tokenizer bpe:280 --n-layer 1 --n-head 2 --n-embd 16 --block-size 32 --batch-size 8 --threads 1 --max-steps 5
expect 0 '"true"' "$GENET" classify pairs -p "is it 1" --pair "it is 1" --json
"$GENET" classify pairs --input pairs.jsonl --text-column q --text-pair-column a > answers.jsonl || fail "pairs"
[ "$(wc -l < answers.jsonl)" -eq 60 ] || fail "a line a pair"

# --- vectors
"$GENET" embed bert --input lines.txt --normalize --threads 1 > vectors.jsonl || fail "embed"
[ "$(wc -l < vectors.jsonl)" -eq 20 ] || fail "a vector each"
"$GENET" embed bert --input lines.txt --output vectors.npy || fail "npy"
[ "$(head -c 6 vectors.npy | tail -c 5)" = NUMPY ] && [ "$(wc -c < vectors.npy)" -eq $((128 + 20 * 16 * 4)) ] || fail "array"
expect 2 'written as a whole' "$GENET" embed bert --input lines.txt --output vectors.npy --resume
expect 0 "^1.000000.3.$(sed -n 3p lines.txt)" "$GENET" similar bert --query "$(sed -n 3p lines.txt)" --data lines.txt -k 1
expect 0 '"cosine"' "$GENET" similar bert --query "the film is dull" --data lines.txt -k 2 --json --cache cache.npy
cp "$work/out" first
expect 0 '"cosine"' "$GENET" similar bert --query "the film is dull" --data lines.txt -k 2 --json --cache cache.npy
same first "$work/out"
head -5 lines.txt > few.txt
expect 2 'of other data' "$GENET" similar bert --query x --data few.txt --cache cache.npy
expect 0 'embedding' "$GENET" embed lm -p "a decoder's last token"
expect 2 'pooling' "$GENET" embed bert -p x --pooling middle

# --- answers: a span head, and a tokenizer of letters
printf 'abcdefghijklmnopqrstuvwxyz .?' > letters.txt
"$GENET" train gpt2 --data letters.txt --tokenizer char --val-fraction 0 --block-size 4 --n-layer 1 --n-head 1 --n-embd 4 --batch-size 1 \
    --max-steps 1 --threads 1 --out letters > /dev/null 2>&1 || fail "letters"
cp -r "$SOURCE/tests/golden/bert/bert-span" span && cp letters/tokenizer.json span
expect 0 '^0\.[0-9]{4}  [a-z]' "$GENET" answer span --question "who?" --context "anselm was it."
expect 0 '"prediction": "[a-z .]+", "score": 0\.[0-9]+, "start": [0-9]+, "answers"' "$GENET" answer span --question "who?" \
    --context "it was anselm." --n-best 3 --json
printf '{"data": [{"paragraphs": [{"context": "anselm was it. they say in the village.", "qas": [
{"id": "a", "question": "who?", "answers": [{"text": "anselm", "answer_start": 0}]},
{"id": "b", "question": "where?", "answers": [{"text": "the village", "answer_start": 27}]}]}]}]}' > squad.json
"$GENET" answer span --data squad.json > spans.jsonl || fail "squad"
[ "$(grep -c '"id": "[ab]", "prediction"' spans.jsonl)" -eq 2 ] || fail "a line a question"
head -1 spans.jsonl > some.jsonl
"$GENET" answer span --data squad.json --output some.jsonl --resume || fail "going on with answers"
same spans.jsonl some.jsonl
expect 0 'f1' "$GENET" eval --predictions spans.jsonl --references squad.json --metric squad
expect 2 'finds no answers' "$GENET" answer bert --question x --context y
expect 2 'say --question' "$GENET" answer span --question x
finish
