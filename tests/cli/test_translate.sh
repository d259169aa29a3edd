# test_translate.sh - training on pairs of texts, what is held out, going on, and translating one text or a file of many.
. "$(dirname "$0")/common.sh"
cd "$work" || exit 1

# numbers in words: French TAB English TAB more; every English sentence stands there with two French ones
awk 'BEGIN { split("un deux trois quatre cinq six", f); split("one two three four five six", e);
    for (i = 1; i <= 6; i++) for (j = 1; j <= 6; j++) for (k = 1; k <= 6; k++) {
        printf "%s %s %s .\t%s %s %s .\tx\n", f[i], f[j], f[k], e[i], e[j], e[k];
        printf "oui %s %s %s .\t%s %s %s .\tx\n", f[i], f[j], f[k], e[i], e[j], e[k]; } }' > pairs.tsv
small="--n-layer 1 --n-head 2 --n-embd 32 --block-size 12 --batch-size 16 --tokenizer bpe:300 --threads 1 --warmup-steps 10 --learning-rate 5e-3"
train() { "$GENET" train translate --data pairs.tsv $small "$@" > said 2>&1; }

train --out m --max-steps 240 --eval-steps 120 --val-translations 30 || { fail "training"; cat said; }
grep -q 'bleu' said || fail "BLEU is not told"
tail -1 m/training/metrics.jsonl | grep -q '"val_loss".*"bleu"' || fail "no BLEU in metrics.jsonl"
grep -q '"architectures": *\[' m/config.json && grep -q MarianMTModel m/config.json || fail "the architecture"
grep -q 'decoder_start_token_id' m/generation_config.json || fail "generation_config.json does not say how texts begin"

# neither side of what is held out stands among the rest
sed -n 's/.*"target": "\(.*\)"}/\1/p' m/training/held-out.jsonl | sort -u > held
[ "$(wc -l < held)" -gt 2 ] || fail "hardly anything is held out"
pairs=$(($(field "$(tr -d '\n' < m/training/pairs.json)" training) + $(field "$(tr -d '\n' < m/training/pairs.json)" held_out)))
[ "$pairs" -eq 432 ] || fail "$pairs pairs, not 432"
[ "$(wc -l < m/training/held-out.jsonl)" -eq $((2 * $(wc -l < held))) ] || fail "a sentence is held out with some of its pairs only"

# a run that stopped goes on to the same bits; other pairs are refused
train --out a --max-steps 30 --eval-steps 10 --save-steps 10 || fail "a run"
train --out c --max-steps 30 --eval-steps 10 --save-steps 10 --gradient-accumulation-steps 2 --batch-tokens 64 || { fail "batches by tokens"; cat said; }
rm -rf a/training/step-30; cp a/model.safetensors a.was
"$GENET" train translate --out a --resume > said 2>&1 || { fail "going on"; cat said; }
same a/model.safetensors a.was
sed 1d pairs.tsv > others.tsv
expect 2 'the pairs are not those this run began with' "$GENET" train translate --out a --data others.tsv --resume
expect 1 'columns parted by tabs' "$GENET" train translate --data pairs.tsv --target-column 9 --out other $small
[ -e other ] && fail "a refused run left its folder"
expect 2 'at most 2 tokens on each side' "$GENET" train translate --data pairs.tsv --out other $small --block-size 2
[ -e other ] && fail "a run without batches left its folder"
expect 0 'peak memory' "$GENET" plan translate $small

# JSON lines; a folder to begin with
awk -F'\t' '{ printf "{\"translation\": {\"fr\": \"%s\", \"en\": \"%s\"}}\n", $1, $2 }' pairs.tsv > pairs.jsonl
expect 2 'say which with --source-lang' "$GENET" train translate --data pairs.jsonl --out other $small
expect 0 'done after 2 steps' "$GENET" train translate --data pairs.jsonl --source-lang fr --target-lang en --from m --out tuned --max-steps 2 --threads 1
same m/tokenizer.json tuned/tokenizer.json
expect 0 'done after 2 steps' "$GENET" train t5 --data pairs.tsv --n-layer 1 --n-embd 32 --block-size 40 --tokenizer char --out t5 --max-steps 2 --threads 1
expect 2 "the character 'm'" "$GENET" summarize t5 -p un --threads 1
expect 0 '^' "$GENET" summarize t5 -p "un deux trois ." --prefix "" -n 5 --ignore-eos --threads 1

# one text
expect 0 '^one two three \.$' "$GENET" translate m -p "un deux trois ." --threads 1
expect 0 '^ *1  one +[01]\.[0-9]+ +one ' "$GENET" translate m -p "un deux trois ." --logprobs 3 --threads 1
expect 0 '"prediction": "one two three \."' "$GENET" translate m -p "un deux trois ." --json --num-beams 3 --threads 1
"$GENET" translate m -p "un deux trois ." --attention att.json --threads 1 > said 2>&1 || { fail "attention"; cat said; }
grep -q '"layers": \[\[\[0\.' att.json || fail "no attention in att.json"
"$GENET" translate m -p "un deux trois ." --attention att.svg --threads 1 > said 2>&1 && grep -q '<svg' att.svg || fail "no picture of attention"
expect 2 'ends in .png, .svg or .json' "$GENET" translate m -p "un" --attention att.gif --threads 1
expect 2 'one of the three' "$GENET" translate m
expect 2 'genet translate' "$GENET" generate m -p un --threads 1

# many, in batches, gone on with where the output stopped; an empty line stays one
cut -f1 pairs.tsv | head -9 > in.txt; echo >> in.txt; echo "six six six ." >> in.txt
"$GENET" translate m --input in.txt --batch-size 4 --threads 1 > all.txt 2>&1 || { fail "a file"; cat all.txt; }
[ "$(wc -l < all.txt)" -eq 11 ] || fail "$(wc -l < all.txt) lines of 11"
[ -z "$(sed -n 10p all.txt)" ] && [ "$(sed -n 11p all.txt)" = "six six six ." ] || fail "lines changed their places"
head -c 70 all.txt > out.txt
expect 0 'going on after line' "$GENET" translate m --input in.txt --output out.txt --batch-size 4 --threads 1
same all.txt out.txt
expect 2 'another input' "$GENET" translate m --input held --output pairs.tsv --threads 1
"$GENET" translate m --input m/training/held-out.jsonl --output held.jsonl --threads 1 > said 2>&1 || { fail "JSON lines"; cat said; }
grep -q '"target": .*"prediction": ' held.jsonl || fail "a line lost what it said"
expect 0 '^BLEU.* = [0-9]' "$GENET" eval --predictions held.jsonl --metric bleu

finish
