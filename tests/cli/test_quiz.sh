# labels: core
# test_quiz.sh - `genet eval --task choice` and `--task answer`: questions to a model that learned a few sentences; results are
# appended, and a run goes on from them.
. "$(dirname "$0")/common.sh"
cd "$work" || exit 1

cat > sentences.txt <<'WORDS'
sky: blue #### 7.
sun: warm #### 3.
sea: deep #### 5.
WORDS
for i in $(seq 80); do cat sentences.txt; done > learn.txt
"$GENET" train gpt2 --data learn.txt --out model --n-layer 1 --n-head 2 --n-embd 32 --block-size 48 --batch-size 8 \
    --max-steps 200 --learning-rate 1e-2 --warmup-steps 10 --eval-steps 0 --seed 3 --threads 1 > log 2>&1 || { cat log; exit 1; }

# --- choices: by number, by label, by text, as ARC has them
cat > choice.jsonl <<'J'
{"query": "sky:", "choices": ["blue", "warm", "deep"], "answer": 0}
{"context": "sun: ", "choices": ["blue", "warm"], "label": "1"}

{"question": "sea:", "choices": {"text": ["warm", "deep"], "label": ["A", "B"]}, "answerKey": "B"}
{"query": "sea:", "choices": ["deep", "blue"], "answer": "blue"}
J
json=$("$GENET" eval model --task choice --data choice.jsonl --json)
[ "$json" = '{"accuracy": 0.75, "accuracy_norm": 0.75, "accuracy_bytes": 0.75, "n": 4}' ] || fail "choices: $json"
expect 0 '^accuracy +0.75$' "$GENET" eval model --task choice --data choice.jsonl --results out.jsonl
[ "$(wc -l < out.jsonl)" -eq 4 ] || fail "not a result a question"
grep -q '^{"key": "[0-9a-f]*", "right": 1, "choice": 1, "by_character": 1, "by_byte": 1, "log_probabilities": \[-[0-9.e]*, -[0-9.e-]*\]}$' out.jsonl || { fail "a result's line"; cat out.jsonl; }

# what --lines says of the same text: the difference of two lines is the choice
sum() { awk -F '\t' 'NR == 1 { a = $1 } NR == 2 { printf "%.4f", $1 - a }'; }
whole=$(printf 'sky:\nsky: blue\n' | "$GENET" eval model --data - --lines | sum)
first=$(sed -n 's/.*"log_probabilities": \[\([^,]*\),.*/\1/p;q' out.jsonl)
awk -v a="$whole" -v b="$first" 'BEGIN { exit !(a - b < 2e-4 && b - a < 2e-4) }' || fail "choice $first, lines $whole"

# --- stopped and resumed: the same file, whatever was torn
cp out.jsonl all.jsonl
for keep in 0 1 3; do
    { head -$keep all.jsonl; [ $keep = 3 ] && printf '{"key": "12'; } > out.jsonl
    expect 0 '^accuracy +0.75$' "$GENET" eval model --task choice --data choice.jsonl --results out.jsonl
    same all.jsonl out.jsonl
done
before=$(stat -c %Y.%s out.jsonl)
[ "$("$GENET" eval model --task choice --data choice.jsonl --results out.jsonl --json)" = "$json" ] || fail "a finished file is scored otherwise"
[ "$(stat -c %Y.%s out.jsonl)" = "$before" ] || fail "a finished file was written to"
sed 's/warm/cold/' choice.jsonl > other.jsonl
expect 2 'line 1 answers another question' "$GENET" eval model --task choice --data other.jsonl --results out.jsonl
expect 2 'line 1 answers another question' "$GENET" eval model --task choice --data choice.jsonl --results out.jsonl --template 'Q {}'
head -2 choice.jsonl > short.jsonl
expect 2 'more lines than there are questions' "$GENET" eval model --task choice --data short.jsonl --results out.jsonl
same all.jsonl out.jsonl

# --- answers: the model's own words, and any metric of them
cat > ask.jsonl <<'J'
{"question": "sky", "answer": "blue\n#### 7"}
{"question": "sea", "answer": "#### 6"}
J
ask() { "$GENET" eval model --task answer --data ask.jsonl --template '{}:' --answer-tokens 20 --stop '\n' "$@"; }
expect 0 '^exact_match +0.5$' ask --results said.jsonl
grep -q '"prediction": " blue #### 7.", "reference": "blue\\n#### 7"}$' said.jsonl || { fail "the model's answer"; cat said.jsonl; }
cp said.jsonl whole.jsonl
head -1 whole.jsonl > said.jsonl
expect 0 '^exact_match +0.5$' ask --results said.jsonl
same whole.jsonl said.jsonl
[ "$(ask --results said.jsonl --metric gsm8k,rouge --json)" = "$(ask --metric gsm8k,rouge --json)" ] || fail "kept answers are scored otherwise"
[ "$("$GENET" eval --predictions said.jsonl --metric gsm8k --json)" = "$(ask --json)" ] || fail "the file of results is a file of predictions"

# --- refused
expect 2 'one file' "$GENET" eval model --task choice --data choice.jsonl ask.jsonl
expect 1 'ask.jsonl: line 1: "choices" must be' "$GENET" eval model --task choice --data ask.jsonl
printf '{"query": "sky:", "choices": ["blue"], "answer": 1}\n' > bad.jsonl
expect 1 'bad.jsonl: line 1: "answer" must be the number' "$GENET" eval model --task choice --data bad.jsonl
printf '{"query": "", "choices": ["blue"], "answer": 0}\n' > none.jsonl
expect 2 'empty context' "$GENET" eval model --task choice --data none.jsonl
printf '{"choices": ["blue"], "answer": 0}\n' > bad.jsonl
expect 1 'none of "query"' "$GENET" eval model --task choice --data bad.jsonl
: > bad.jsonl
expect 2 'no questions' "$GENET" eval model --task choice --data bad.jsonl
expect 2 'has no \{\}' "$GENET" eval model --task answer --data ask.jsonl --template 'Q'
expect 2 'no metric' "$GENET" eval model --task answer --data ask.jsonl --template '{}' --metric best
expect 2 'predictions is missing' "$GENET" eval model --task choice --data choice.jsonl --metric bleu

finish
