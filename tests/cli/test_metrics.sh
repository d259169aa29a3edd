# labels: core
# test_metrics.sh - `genet eval --predictions`: texts beside their references, in lines, JSON lines and SQuAD's JSON; what does
# not fit together is refused in words.
. "$(dirname "$0")/common.sh"
cd "$work" || exit 1

printf 'The cat sat on the mat.\nA dog runs after the red ball.\n' > pred.txt
printf 'The cat slept on the mat.\nThe dog runs after a red ball.\n' > ref1.txt
printf 'A cat was on the mat.\r\nA dog is running after the ball.\r\n' > ref2.txt

# --- lines of text: the digits are those of `sacrebleu ref1.txt ref2.txt -i pred.txt -m bleu chrf` and rouge_score
"$GENET" eval --predictions pred.txt --references ref1.txt ref2.txt --metric bleu,chrf,rouge > got || fail "eval --predictions"
grep -Fqx 'BLEU|nrefs:2|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0 = 41.27 93.3/76.9/36.4/11.1 (BP = 1.000 ratio = 1.000 hyp_len = 15 ref_len = 15)' got || { fail "BLEU's line"; cat got; }
grep -Fqx 'chrF2|nrefs:2|case:mixed|eff:yes|nc:6|nw:0|space:no|version:2.6.0 = 70.08' got || { fail "chrF's line"; cat got; }
json=$("$GENET" eval --predictions pred.txt --references ref1.txt --references ref2.txt --metric bleu --json)
awk -v s="$(sed -n 's/.*"score": \([0-9.]*\).*/\1/p' <<< "$json")" 'BEGIN { exit !(s > 41.2695 && s < 41.2696) }' || fail "two ways of naming references: $json"
[ "$("$GENET" eval --predictions pred.txt --references ref1.txt --metric accuracy,squad --lines | wc -l)" -eq 2 ] || fail "--lines is not a line each"
"$GENET" eval --predictions pred.txt --references pred.txt --metric accuracy,bleu --lines > got
printf '1\t100\tThe cat sat on the mat.\n1\t100\tA dog runs after the red ball.\n' > wanted
same got wanted
"$GENET" eval --predictions pred.txt --references ref1.txt --metric rouge --lines --json > got
grep -q '^{"item": 2, "rouge": {"rouge1": [0-9.]*, .*"n": 1}}$' got || { fail "--lines --json"; cat got; }

# --- JSON lines: labels may be numbers; references beside or apart
cat > labels.jsonl <<'J'
{"prediction": "pos", "label": "pos"}
{"prediction": "neg", "label": "pos"}

{"prediction": 3, "label": 3}
{"prediction": "neg", "label": "neg"}
J
expect 0 '^accuracy +0.75$' "$GENET" eval --predictions labels.jsonl --metric accuracy
expect 0 '^macro +0.8333 +0.8333 +0.7778 +4$' "$GENET" eval --predictions labels.jsonl --metric f1
printf '{"prediction": "It is 5.\\n#### 5"}\n{"prediction": "#### 1,000"}\n' > math.jsonl
printf '{"question": "?", "answer": "so\\n#### 5"}\n{"question": "?", "answer": "#### 999"}\n' > gold.jsonl
expect 0 '^exact_match +0.5$' "$GENET" eval --predictions math.jsonl --references gold.jsonl --metric gsm8k

# --- SQuAD
cat > dev.json <<'J'
{"version": "v2.0", "data": [{"title": "T", "paragraphs": [{"context": "Ada lived in London.", "qas": [
  {"id": "q1", "question": "Where?", "is_impossible": false, "answers": [{"text": "London", "answer_start": 13}, {"text": "in London", "answer_start": 10}]},
  {"id": "q2", "question": "When?", "is_impossible": true, "answers": []},
  {"id": "q3", "question": "Who?", "is_impossible": false, "answers": [{"text": "Ada", "answer_start": 0}]}]}]}]}
J
printf '{"q1": "the London", "q2": ""}' > answers.json
printf '{"id": "q2", "prediction": ""}\n{"id": "q1", "prediction_text": "the London"}\n' > answers.jsonl
for p in answers.json answers.jsonl; do
    json=$("$GENET" eval --predictions $p --references dev.json --metric squad_v2 --json)
    [ "$(field "$json" missing)" = 1 ] && [ "$(field "$json" HasAns_f1)" = 50.0 ] && [ "$(field "$json" NoAns_exact)" = 100.0 ] || fail "$p: $json"
done
expect 0 '^missing predictions +1$' "$GENET" eval --predictions answers.json --references dev.json --metric squad_v2

# --- refused
expect 2 'say which model.*--predictions' "$GENET" eval
expect 2 'predictions is missing' "$GENET" eval --metric bleu
expect 2 'without a model' "$GENET" eval folder --predictions pred.txt --metric bleu
expect 2 'metric is missing' "$GENET" eval --predictions pred.txt --references ref1.txt
expect 2 'no metric "blue"; there are: bleu, chrf' "$GENET" eval --predictions pred.txt --references ref1.txt --metric blue
expect 2 'bleu twice' "$GENET" eval --predictions pred.txt --references ref1.txt --metric bleu,bleu
expect 1 'item 1: bleu of 0 references' "$GENET" eval --predictions pred.txt --metric bleu
head -1 ref1.txt > short.txt
expect 1 'short.txt has 1 lines, and there are 2 predictions' "$GENET" eval --predictions pred.txt --references short.txt --metric bleu
expect 1 'short.txt.*|ref1.txt has more lines' "$GENET" eval --predictions short.txt --references ref1.txt --metric bleu
printf 'caf\351\nx\n' > latin.txt
expect 1 'item 1: prediction: byte 3' "$GENET" eval --predictions latin.txt --references ref1.txt --metric chrf
printf '{"text": "x"}\n' > odd.jsonl
expect 1 'odd.jsonl: item 1: "prediction" is missing' "$GENET" eval --predictions odd.jsonl --metric bleu
printf '{"data": [{"paragraphs": [{"context": "x", "qas": [{"question": "y"}]}]}]}' > bad.json
expect 1 'bad.json: data\[0\].paragraphs\[0\].qas\[0\]: "id" is missing' "$GENET" eval --predictions answers.json --references bad.json --metric squad
expect 1 'squad of 0 references' "$GENET" eval --predictions answers.json --references dev.json --metric squad
: > empty.txt
expect 2 'no predictions' "$GENET" eval --predictions empty.txt --references empty.txt --metric bleu
expect 2 'tokenize' "$GENET" eval --predictions pred.txt --references ref1.txt --metric bleu --tokenize 14a
expect 0 'chrf-word-order' "$GENET" eval --help

finish
