#!/usr/bin/env bash
# labels: core
# test_chat.sh - `genet chat`: where templates come from, questions by option, line, JSON and prompt, conversations
# saved and gone on with, what is left out, choices, and what is refused.
. "$(dirname "$0")/common.sh"

for i in $(seq 120); do printf 'user: say %d now\nbot: it is %d!\n' "$i" "$i"; done > "$work/talk"
run=$work/run
"$GENET" train gpt2 --data "$work/talk" --out "$run" $tiny --block-size 64 --tokenizer bpe:300 --max-steps 60 --learning-rate 5e-3 \
    > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
expect 2 'has no chat template.*--template chatml' "$GENET" chat "$run" -p hi
expect 0 '.' "$GENET" chat "$run" -p hi --template chatml -n 3 --temp 1

cat > "$run/chat_template.jinja" << 'EOF'
{% for m in messages %}
{% if m.role == 'user' %}
user: {{ m.content }}
{% elif m.role == 'system' %}
{{ m.content }}
{% else %}
bot: {{ m.content }}
{% endif %}
{% endfor %}
{% if add_generation_prompt %}
{{ 'bot:' }}{{ mark }}
{%- endif %}
EOF
chat() { "$GENET" chat "$run" --temp 0 "$@"; }
is() { [ "$2" = "$1" ] || fail "$3: \"$2\", not \"$1\""; }      # is WANTED GOT WHAT

# one question; it is what the template's text gives, up to the next question
want=$("$GENET" generate "$run" --temp 0 -p $'user: say 5 now\nbot:' --stop $'\nuser:' -n 40)
is "${want#$'user: say 5 now\nbot:'}" "$(chat -p 'say 5 now' -n 40)" "one question"
is "$(chat -p 'say 5 now' -n 9)" "$(cp "$run/chat_template.jinja" "$work/t"; chat -p 'say 5 now' -n 9 --template "$work/t")" "--template FILE"
[ "$(chat -p 'say 5 now' -n 9 --variables '{"mark": "!!!!"}' --json)" != "$(chat -p 'say 5 now' -n 9 --json)" ] || fail "--variables"

# lines: as many answers as questions; turns see those before; nothing that was read is read again
printf 'say 1 now\n\nsay 2 now\n' | chat -n 4 > "$work/two"
[ "$(wc -l < "$work/two")" -eq 2 ] || fail "not two answers"
printf '"say 1 now"\n{"content": "say 2 now"}\n{"messages": [{"role": "user", "content": "say 2 now"}]}\n5\n' | chat -n 4 --json > "$work/json"
[ "$(wc -l < "$work/json")" -eq 4 ] || fail "not four lines of JSON"
grep -q '^{"error": "line: ' <(sed -n 4p "$work/json") || fail "a line that is no question"
kept=$(field "$(sed -n 2p "$work/json")" kept_tokens); before=$(field "$(sed -n 1p "$work/json")" prompt_tokens)
[ "$kept" -ge "$before" ] || fail "the second turn kept $kept of $before tokens"
is "$(chat -p 'say 2 now' -n 4 --json | sed 's/, "prompt_tokens.*//')" "$(sed -n 3p "$work/json" | sed 's/, "prompt_tokens.*//')" "a conversation of its own"

# saved, and gone on with: as if it had never stopped
printf 'say 1 now\nsay 2 now\n' | chat -n 4 --save "$work/saved.json" > "$work/both"
rm "$work/saved.json"
chat -n 4 -p 'say 1 now' --save "$work/saved.json" > "$work/first"
chat -n 4 -p 'say 2 now' --load "$work/saved.json" --save "$work/saved.json" > "$work/second"
same "$work/both" <(cat "$work/first" "$work/second")
[ "$(grep -c '"role": "user"' "$work/saved.json")" -eq 2 ] || fail "what was saved"
expect 2 '--load brings its own' "$GENET" chat "$run" --load "$work/saved.json" --system x
echo '{"messages": [{"content": "x"}]}' > "$work/bad.json"
expect 1 'bad.json: message 1 must be an object with a "role"' "$GENET" chat "$run" --load "$work/bad.json"

# a full context: the oldest turns go, which is said, and the system stays
for i in $(seq 8); do echo "\"say $i now\""; done | chat -n 12 --system 'user: be' --json > "$work/full" 2> "$work/said"
[ "$(wc -l < "$work/full")" -eq 8 ] || fail "answers in a full context"
dropped=$(field "$(tail -1 "$work/full")" dropped_messages); [ "${dropped:-0}" -gt 2 ] || { fail "nothing was left out"; cat "$work/full"; }
for i in $(seq 8); do echo "say $i now"; done | chat -n 12 > "$work/full" 2> "$work/said"
grep -q 'the context of 64 tokens is full: .* left out, from "say 1 now" to "' "$work/said" || { fail "what is left out"; cat "$work/said"; }
expect 2 'the model sees 64 at once' "$GENET" chat "$run" -p "$(head -c 900 "$text")"

# examples and choices
printf '{"prompt": "say 7 now", "completion": "it is 7!"}\n{"prompt": "say 8 now", "completion": "it is 8!"}\n' > "$work/shots"
chat -p 'say 9 now' --examples "$work/shots" --choices ' zz zz now, it is 9!' > "$work/choice"
is " it is 9!" "$(cat "$work/choice")" "--choices"
chat -p 'say 9 now' --examples "$work/shots" --choices ' it is 9!, zz zz now' --json > "$work/choice"
grep -q '"choices": \[{"text": " it is 9!", "logprob": -[0-9.]*, "probability": 0.9' "$work/choice" || { fail "probabilities"; cat "$work/choice"; }
printf '"say 1 now"\n"say 2 now"\n{"messages": [{"role": "user", "content": "say 2 now"}]}\n' |
    chat --apart --json -n 4 --examples "$work/shots" | sed 's/, "kept.*//' > "$work/apart"
[ "$(sort -u "$work/apart" | wc -l)" -le 2 ] || { fail "--apart"; cat "$work/apart"; }
is "$(sed -n 2p "$work/apart")" "$(sed -n 3p "$work/apart")" "a question alone, and as a conversation"
is "$(field "$(sed -n 1p "$work/apart")}" prompt_tokens)" "$(field "$(sed -n 2p "$work/apart")}" prompt_tokens)" "each question begins anew"
expect 2 'keeps no conversation' "$GENET" chat "$run" --apart --save "$work/x" -p a
expect 2 'none of them empty' "$GENET" chat "$run" -p a --choices 'a,,b'
echo '{}' > "$work/shots2"; expect 1 'shots2: line 1: "prompt" is missing' "$GENET" chat "$run" -p a --examples "$work/shots2"

# at a terminal: commands, questions of several lines
printf 'say 1 now\n/regen\nsay \\\n2 now\n/save %s\n/clear\n/regen\n/what\n/exit\nsay 3 now\n' "$work/s.json" | chat -i -n 4 > "$work/out" 2>&1
grep -q '"content": "say \\n2 now"' "$work/s.json" || fail "a question of two lines"
[ "$(grep -c '"role"' "$work/s.json")" -eq 4 ] || fail "/regen or /save"
grep -q 'there is no answer to give again' "$work/out" || fail "/clear"
grep -q 'there is no such command; /regen' "$work/out" || fail "an unknown command"
# Ctrl-C at the prompt does not end it
mkfifo "$work/in"
"$GENET" chat "$run" -i -n 3 < "$work/in" > "$work/out" 2>&1 &
pid=$!
exec 3> "$work/in"
for i in $(seq 50); do grep -q '^> ' "$work/out" && break; sleep 0.1; done
kill -INT $pid
for i in $(seq 50); do grep -q 'Ctrl-D ends' "$work/out" && break; sleep 0.1; done
echo /exit >&3
exec 3>&-
wait $pid || fail "after Ctrl-C: exit code $?"
grep -q '/exit or Ctrl-D ends' "$work/out" || fail "Ctrl-C at the prompt"

# what is refused
expect 2 'one of the two' "$GENET" chat "$run" --json -i
expect 2 'no num_beams' "$GENET" chat "$run" -p a --num-beams 2
expect 1 'must be an array of tools' "$GENET" chat "$run" -p a --tools "$work/saved.json"
expect 2 '--variables must be' "$GENET" chat "$run" -p a --variables '[]'
expect 2 'say which model' "$GENET" chat
echo '{{ messages | nosuch }}' > "$run/chat_template.jinja"
expect 1 'chat_template.jinja: line 1: the filter "nosuch" is not supported here' "$GENET" chat "$run" -p a
finish
