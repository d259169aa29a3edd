#!/usr/bin/env bash
# labels: core
# test_generate.sh - `genet generate`: where prompts and options come from, what is printed of one and of
# several texts, where writing ends, and what is refused.
. "$(dirname "$0")/common.sh"

run=$work/run
"$GENET" train gpt2 --data "$text" --out "$run" $tiny --max-steps 20 > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
generate() { "$GENET" generate "$run" "$@" 2>&1 < /dev/null; }
is() { [ "$2" = "$1" ] || fail "$3: \"$2\", not \"$1\""; }      # is WANTED GOT WHAT

# prompts: an option, a file, standard input; exactly one of them
printf 'The file' > "$work/prompt"
want=$(generate -p 'The file' -n 30)
is "$want" "$(generate --prompt-file "$work/prompt" -n 30)" "a prompt file"
is "$want" "$("$GENET" generate "$run" --prompt-file - -n 30 < "$work/prompt")" "standard input"
is "$want" "$(generate --prompt='The file' --tokens 30)" "--tokens"
is "$want" "$(generate --prompt='The file' --max-new-tokens 30 --temp 0.8)" "--temp"
is "The fil" "$(generate -p 'The fil' -n 0)" "no tokens"
expect 2 'one of the two' "$GENET" generate "$run" -p a --prompt-file "$work/prompt"
expect 2 'is missing: what to continue' "$GENET" generate "$run"
expect 1 'none' "$GENET" generate "$run" --prompt-file "$work/none"
printf 'a\0b' > "$work/zero"
expect 2 'zero byte' "$GENET" generate "$run" --prompt-file "$work/zero"

# stop strings: the first that ends; several; a new line, in both spellings
long=$(generate -p The -n 200 --temp 0.9)
letter=${long:8:1}
generate -p The -n 200 --temp 0.9 --stop "$letter" > "$work/stopped"
before=${long%%"$letter"*}
case $letter in [The]) ;; *) is "$before" "$(cat "$work/stopped")" "--stop" ;; esac
is "$(generate -p The -n 200 --temp 0.9 --stop '\n' --stop "$letter")" \
   "$(generate -p The -n 200 --temp 0.9 --stop $'\n' --stop "$letter")" "a new line to stop at"
generate -p The -n 400 --temp 1 --stop '\n' > "$work/line"
[ "$(wc -l < "$work/line")" -eq 1 ] || fail "text goes on after --stop '\\n'"
is "The" "$(generate -p The -n 200 --stop "${long:3:1}")" "stopping at once"

# several texts, whole and in order; JSON has one object for each
generate -p The -n 25 --num-return-sequences 3 > "$work/three"
[ "$(grep -c '^--- [123] of 3 ---$' "$work/three")" -eq 3 ] || fail "three texts are not shown as three"
is "--- 1 of 3 ---" "$(head -1 "$work/three")" "the first line of three texts"
is "$(cat "$work/three")" "$(generate -p The -n 25 --num-return-sequences 3 --threads 2)" "two threads"
generate -p The -n 25 --num-return-sequences 3 --json > "$work/json"
[ "$(wc -l < "$work/json")" -eq 3 ] || fail "not one line of JSON for each text"
grep -q '^{"sequence": 2, "text": ".*", "finish": "length", "score": -[0-9.]*}$' "$work/json" || fail "JSON of the third text"
generate -p The -n 4 --json --logprobs 3 > "$work/json"
[ "$(grep -o '"top"' "$work/json" | wc -l)" -eq 4 ] || fail "not four tokens with their likeliest"
[ "$(grep -o '"id"' "$work/json" | wc -l)" -eq 16 ] || fail "not four tokens with three others each"
[ "$("$GENET" generate "$run" -p The -n 9 --num-beams 3 --num-return-sequences 2 | grep -c '^--- ')" -eq 2 ] || fail "two beams"

# the folder's own defaults, and the user before them
cp -r "$run" "$work/own"
echo '{"do_sample": false, "max_new_tokens": 7, "top_k": null, "unheard_of": [1]}' > "$work/own/generation_config.json"
is "$(generate -p The -n 7 --temp 0)" "$("$GENET" generate "$work/own" -p The)" "the file's defaults"
is "$(generate -p The -n 9 --temp 1)" "$("$GENET" generate "$work/own" -p The -n 9 --temp 1)" "the user before the file"
echo '{"max_length": 12, "temperature": 0.0}' > "$work/own/generation_config.json"
is "$(generate -p The -n 9 --temp 0)" "$("$GENET" generate "$work/own" -p The)" "max_length counts the prompt"
echo '{"top_p": 3}' > "$work/own/generation_config.json"
expect 1 'generation_config.json: top_p must be 0 to 1, not 3' "$GENET" generate "$work/own" -p a
expect 0 '^a' "$GENET" generate "$work/own" -p a -n 3 --top-p 0.5
echo '{"eos_token_id": "end"}' > "$work/own/generation_config.json"
expect 1 'generation_config.json: eos_token_id must be' "$GENET" generate "$work/own" -p a

for fault in 'typical_p": 0' 'num_beams": 3, "do_sample": true' 'num_beams": 2, "num_return_sequences": 5'; do
    echo "{\"$fault}" > "$work/own/generation_config.json"
    expect 1 "generation_config.json: .*${fault%%\"*}" "$GENET" generate "$work/own" -p a
done
expect 0 '^--- 5 of 5' "$GENET" generate "$work/own" -p a -n 3 --num-beams 6
echo '{"eos_token_id": [4000, 16000000], "max_length": 3, "do_sample": false}' > "$work/own/generation_config.json"
is "$(generate -p The -n 9 --temp 0)" "$("$GENET" generate "$work/own" -p The -n 9)" "ends that cannot come, and the user's length"

# refused in words
expect 2 'shows nothing without --json' "$GENET" generate "$run" -p a --logprobs 3
expect 2 'eos_token_id 4000 is not among' "$GENET" generate "$run" -p a --eos-token-id 4000
expect 2 'beams are not sampled' "$GENET" generate "$run" -p a --num-beams 3 --temperature 0.5
expect 2 'more than num_beams' "$GENET" generate "$run" -p a --num-beams 3 --num-return-sequences 4
expect 2 'repetition_penalty must be above 0' "$GENET" generate "$run" -p a --repetition-penalty 0
expect 2 'max_length 3 counts it' "$GENET" generate "$run" -p abcd --max-length 3
expect 2 'did you mean --temperature' "$GENET" generate "$run" -p a --temperatur 1

# a reader that goes away ends the writing soon
( "$GENET" generate "$run" -p The -n 100000000 2> "$work/gone"; echo $? > "$work/code" ) | head -c 100 > "$work/out"
[ -s "$work/gone" ] && { fail "words about a reader that went away"; cat "$work/gone"; }
[ "$(cat "$work/code")" -ne 0 ] || fail "writing to nobody"
finish
