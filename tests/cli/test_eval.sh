# labels: core
# test_eval.sh - `genet eval`: what it says of a text and of lines; a sentence
# that was learned beats its words in another order; damaged models and foreign
# text are refused in words.
. "$(dirname "$0")/common.sh"
cd "$work" || exit 1

# A few sentences, again and again, learned in a second or two.
cat > sentences.txt <<'WORDS'
the cat sleeps on the old mat
a dog runs after the red ball
my friend reads a long book at night
we drink warm tea when it rains
the ship leaves the harbour at dawn
WORDS
for i in $(seq 60); do cat sentences.txt; done > learn.txt
"$GENET" train gpt2 --data learn.txt --out model --n-layer 1 --n-head 2 --n-embd 32 --block-size 48 --batch-size 8 \
    --max-steps 250 --learning-rate 1e-2 --warmup-steps 10 --eval-steps 0 --seed 3 --threads 1 > log 2>&1 || { cat log; exit 1; }

# --- a text -----------------------------------------------------------------------------
json=$("$GENET" eval model --data learn.txt --json)
for name in loss perplexity word_perplexity bits_per_byte log_probability tokens words bytes unknown; do
    [ -n "$(field "$json" $name)" ] || fail "eval --json has no $name"
done
[ "$(field "$json" tokens)" -eq $(($(wc -m < learn.txt) - 1)) ] || fail "not every token but the first was predicted"
[ "$(field "$json" bytes)" -eq $(($(wc -c < learn.txt) - 1)) ] || fail "bytes are not those of the predicted tokens"
[ "$(field "$json" unknown)" -eq 0 ] || fail "a tokenizer of characters has no unknown words"
[ "$(field "$json" words)" -eq "$(wc -w < learn.txt)" ] || fail "words are not what stands between spaces"
awk -v l="$(field "$json" loss)" -v p="$(field "$json" perplexity)" -v w="$(field "$json" word_perplexity)" \
    -v b="$(field "$json" bits_per_byte)" -v s="$(field "$json" log_probability)" -v n="$(field "$json" tokens)" \
    -v k="$(field "$json" words)" -v m="$(field "$json" bytes)" 'function near(x, y) { d = x / y - 1; return d < 1e-9 && d > -1e-9 }
    BEGIN { exit !(near(p, exp(l)) && near(w, exp(-s / k)) && near(b, -s / log(2) / m) && near(l, -s / n)) }' ||
    fail "the numbers do not belong together: $json"
expect 0 '^loss +[0-9.]+ ' "$GENET" eval model --data learn.txt
expect 0 '^word_perplexity +[0-9.]+ ' "$GENET" eval model --data learn.txt --stride 8 --context 32
[ "$("$GENET" eval model --json --data - < learn.txt)" = "$json" ] || fail "standard input is scored otherwise than the file"
[ "$("$GENET" eval model --json --data learn.txt --stride 0 --context 48 --threads 3)" = "$json" ] || fail "threads change the scores"

# one word of thousands of letters: more surprising than a double can say
tr -d ' \n' < learn.txt > word.txt
json=$("$GENET" eval model --data word.txt --json)
[ "$(field "$json" word_perplexity)" = null ] || fail "an infinite number in JSON: $json"
[ "$(field "$json" words)" = 1 ] || fail "not one word: $json"
expect 0 '^word_perplexity +inf ' "$GENET" eval model --data word.txt
json=$("$GENET" eval model --data learn.txt --json)

# more text before each token: a smaller loss; every token but the first is predicted
strided=$("$GENET" eval model --data learn.txt --json --stride 4)
[ "$(field "$strided" tokens)" = "$(field "$json" tokens)" ] || fail "windows did not predict every token but the first"
awk -v a="$(field "$strided" loss)" -v b="$(field "$json" loss)" 'BEGIN { exit !(a < b) }' || fail "more context did not help"

# --- lines ------------------------------------------------------------------------------
cat > lines.txt <<'WORDS'
the cat sleeps on the old mat
mat old the on sleeps cat the

my friend reads a long book at night
night at book long a reads friend my
we drink warm tea when it rains
rains it when tea warm drink we
a
WORDS
"$GENET" eval model --data lines.txt --lines > scores || fail "eval --lines failed"
cut -f 4 scores > back
same back lines.txt
awk -F '\t' '{ p[NR] = $1; n[NR] = $2 } END { exit !(NR == 8 && p[1] > p[2] + 5 && p[4] > p[5] + 5 && p[6] > p[7] + 5 &&
    n[1] == 28 && n[3] == 0 && p[3] == 0 && n[8] == 0) }' scores || { fail "a sentence does not beat its shuffle"; cat scores; }
"$GENET" eval model --data - --lines --json < lines.txt > scores.json || fail "eval --lines --json failed"
[ "$(wc -l < scores.json)" -eq 8 ] || fail "not one object a line"
grep -q '^{"line": 1, "log_probability": -[0-9.]*, "tokens": 28, "perplexity": [0-9.]*, "text": "the cat sleeps on the old mat"}$' scores.json ||
    fail "the first line's object"
grep -q '^{"line": 3, "log_probability": 0, "tokens": 0, "perplexity": null, "text": ""}$' scores.json || fail "the empty line's object"
alone=$(sed -n 4p lines.txt | tr -d '\n' | "$GENET" eval model --data - --json)
awk -v a="$(field "$alone" log_probability)" -v b="$(field "$(sed -n 4p scores.json)" log_probability)" \
    'BEGIN { d = a / b - 1; exit !(d < 1e-5 && d > -1e-5) }' || fail "a line alone is scored otherwise than among others"
awk -F '\t' 'BEGIN { OFS = "\t" } { $1 = sprintf("%.4f", $1); $3 = sprintf("%.4f", $3) } 1' scores > one
"$GENET" eval model --data lines.txt --lines --threads 3 | awk -F '\t' 'BEGIN { OFS = "\t" } { $1 = sprintf("%.4f", $1); $3 = sprintf("%.4f", $3) } 1' > three
same one three
sed 's/$/\r/' lines.txt | "$GENET" eval model --data - --lines | cmp -s - scores || fail "a line that ends with CR LF is scored otherwise"
sed 's/$/\r/' lines.txt | "$GENET" eval model --data - --lines --json | cmp -s - scores.json || fail "CR LF in JSON"
# a bos_token_id that the model has no token for is none
cp -r model outside
sed -i 's/"bos_token_id": [^,}]*/"bos_token_id": 50256/' outside/config.json
grep -q '"bos_token_id": 50256' outside/config.json || fail "config.json has no bos_token_id to change"
"$GENET" eval outside --data lines.txt --lines | cmp -s - scores || fail "a bos_token_id outside of the vocabulary changes scores"

# --- refused -----------------------------------------------------------------------------
expect 2 'data is missing' "$GENET" eval model
expect 2 'left out' "$GENET" eval model --data learn.txt --stride 49
expect 2 'the model sees 1 to 48' "$GENET" eval model --data learn.txt --context 49
printf 'the c@t' > foreign.txt
expect 2 "foreign.txt: byte 5.*'@'" "$GENET" eval model --data foreign.txt
expect 2 "line 1: foreign.txt: byte 5.*'@'" "$GENET" eval model --data foreign.txt --lines
printf 'the c\377t' > broken.txt
expect 1 'byte 5 .*not UTF-8' "$GENET" eval model --data broken.txt --lines
printf 'a' > short.txt
expect 1 '1 tokens' "$GENET" eval model --data short.txt
: > empty.txt
expect 1 'empty' "$GENET" eval model --data empty.txt
[ -z "$("$GENET" eval model --data empty.txt --lines)" ] || fail "lines of an empty file"
expect 1 'No such file' "$GENET" eval model --data none.txt

# weights that are not numbers: said, not scored (the last bytes of the file are weights)
cp -r model damaged
printf '\377\377\377\377' | dd of=damaged/model.safetensors bs=1 seek=$(($(wc -c < model/model.safetensors) - 4)) conv=notrunc 2> /dev/null
expect 1 'finite|NaN|nan' "$GENET" eval damaged --data learn.txt --json

finish
