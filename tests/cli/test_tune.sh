# labels: core
# test_tune.sh - fine-tuning on examples: prompts and completions, conversations, texts, preferences; stopped and gone on with to
# the same bits; what is longer than the block, or nothing to learn from, is said or refused.
. "$(dirname "$0")/common.sh"

base=$work/base
"$GENET" train gpt2 --data "$text" --out "$base" --tokenizer bpe:300 --n-layer 1 --n-head 2 --n-embd 32 --block-size 64 --batch-size 8 \
    --warmup-steps 2 --threads 1 --max-steps 20 > /dev/null 2>&1 || fail "no model to tune"
words=(one two three four)
for i in {0..31}; do
    a=${words[$((i % 4))]}
    echo "{\"prompt\": \"number $((i % 4)) is\", \"completion\": \" $a\"}" >> "$work/prompts.jsonl"
    echo "{\"messages\": [{\"role\": \"user\", \"content\": \"$((i % 4))?\"}, {\"role\": \"assistant\", \"content\": \"$a\"}]}" >> "$work/talk.jsonl"
    echo "{\"prompt\": \"number $((i % 4)) is\", \"chosen\": \" $a\", \"rejected\": \" not $a\"}" >> "$work/pairs.jsonl"
done
how="--from $base --batch-size 8 --learning-rate 1e-2 --warmup-steps 2 --threads 1"
number() { sed -n "s/.*$2 \([-0-9.]*\).*/\1/p" <<< "$1"; }
above() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a != "" && a > b) }'; }

# the answers are learned, and with them where they end
expect 0 'examples to learn from, 3 held out' "$GENET" train sft --data "$work/prompts.jsonl" --out "$work/sft" $how --max-steps 400 --save-steps 200
[ "$("$GENET" generate "$work/sft" -p "number 2 is" -n 20 --temp 0 2> /dev/null)" = "number 2 is three" ] || fail "\"number 2 is\" goes on as: $("$GENET" generate "$work/sft" -p "number 2 is" -n 20 --temp 0 2>&1)"

# from half way to the same bits; other examples are refused
cp -r "$work/sft" "$work/half"
rm -r "$work/half/training/step-400"
expect 0 'the model is in' "$GENET" train sft --out "$work/half" --resume
same "$work/sft/model.safetensors" "$work/half/model.safetensors"
head -31 "$work/prompts.jsonl" > "$work/fewer.jsonl"
expect 2 'not the examples this run began with' "$GENET" train sft --out "$work/half" --resume --data "$work/fewer.jsonl"

# conversations: by an adapter, whose folder has the template
expect 2 'has no chat template' "$GENET" train sft --data "$work/talk.jsonl" --out "$work/none" $how
[ ! -e "$work/none" ] || fail "a refused run left its folder"
expect 0 'accuracy' "$GENET" train sft --data "$work/talk.jsonl" --template chatml --out "$work/talk" $how --lora-rank 4 --lora-modules all-linear --max-steps 30
grep -q im_start "$work/talk/chat_template.jinja" || fail "the chat template does not go along"
[ -e "$work/talk/adapter_model.safetensors" ] || fail "no adapter"
"$GENET" chat "$work/talk" -p "1?" -n 10 --temp 0 > "$work/a.txt" 2> "$work/out" || fail "no talk with an adapter: $(cat "$work/out")"
"$GENET" chat "$base" --adapter "$work/talk" -p "1?" -n 10 --temp 0 > "$work/b.txt" 2> "$work/out" || fail "no talk with --adapter: $(cat "$work/out")"
same "$work/a.txt" "$work/b.txt"

# preferences: whole and by an adapter; the reference is kept, and made again where it is gone
for kind in "whole" "adapter --lora-rank 4 --lora-modules all-linear"; do
    set -- $kind
    name=$1; shift
    said=$("$GENET" train dpo --data "$work/pairs.jsonl" --out "$work/$name" $how --max-steps 24 --eval-steps 12 --save-steps 12 "$@" 2> "$work/out") || fail "dpo: $(cat "$work/out")"
    above "$(number "$said" accuracy)" 0.99 && above "$(number "$said" margin)" 0.1 || fail "nothing is preferred: $said"
    grep -q 'step 1/24  loss 0.6931' "$work/out" || fail "the first loss is not log 2: $(grep 'step 1/' "$work/out")"
    cp -r "$work/$name" "$work/$name-half"
    rm -r "$work/$name-half/training/step-24" "$work/$name-half/training/reference.bin"
    expect 0 'log-probabilities of 64 answers' "$GENET" train dpo --out "$work/$name-half" --resume
    for f in model adapter_model; do [ ! -e "$work/$name/$f.safetensors" ] || same "$work/$name/$f.safetensors" "$work/$name-half/$f.safetensors"; done
    same "$work/$name/training/reference.bin" "$work/$name-half/training/reference.bin"
done

# documents to go on with, or to begin with, each followed by the end token
for i in {1..200}; do echo "{\"text\": \"document $i is short\"}"; done > "$work/documents.jsonl"
for i in {1..200}; do printf 'document %d is short<|endoftext|>' "$i"; done > "$work/documents.txt"
new="--tokenizer bpe:280 --n-layer 1 --n-head 2 --n-embd 32 --block-size 16 --batch-size 8 --warmup-steps 2 --threads 1 --max-steps 10"
expect 0 'the model is in' "$GENET" train gpt2 --data "$work/documents.jsonl" --out "$work/lines" $new
expect 0 'the model is in' "$GENET" train gpt2 --data "$work/documents.txt" --out "$work/plain" $new
same "$work/lines/model.safetensors" "$work/plain/model.safetensors"
grep -q '"eos_token_id": [0-9]' "$work/lines/config.json" || fail "the end of documents is not known"
expect 1 'line 1 has no "text"' "$GENET" train lm --data "$work/prompts.jsonl" --out "$work/none" $how

# what is too long loses its end; where nothing is left of the answer, the line
long=$(printf 'ab %.0s' {1..80})
{ cat "$work/prompts.jsonl"; echo "{\"text\": \"$long\"}"; echo "{\"prompt\": \"$long\", \"completion\": \"b\"}"; } > "$work/long.jsonl"
expect 0 '1 lines are left out whole' "$GENET" train sft --data "$work/long.jsonl" --eval-data "$work/prompts.jsonl" --out "$work/long" $how --max-steps 2
expect 0 '2 lines are longer than 65 tokens' "$GENET" train sft --data "$work/long.jsonl" --out "$work/long2" $how --max-steps 2

echo '{"prompt": "a"}' > "$work/bad.jsonl"
expect 1 'bad.jsonl: line 1: there must be' "$GENET" train sft --data "$work/bad.jsonl" --out "$work/none" $how
expect 1 'line 1: .*rejected' "$GENET" train dpo --data "$work/bad.jsonl" --out "$work/none" $how
echo '{"prompt": "a", "completion": [1]}' > "$work/bad.jsonl"
expect 1 'two texts, or two arrays' "$GENET" train sft --data "$work/bad.jsonl" --out "$work/none" $how
expect 2 'from is missing' "$GENET" train sft --data "$work/prompts.jsonl" --out "$work/none"
finish
