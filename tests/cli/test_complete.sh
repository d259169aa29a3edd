# labels: core
# test_complete.sh - completing on the command line: a text, lines, JSON, times, and what is refused.
. "$(dirname "$0")/common.sh"
run=$work/run

expect 0 'usage: genet complete' "$GENET" complete --help
expect 2 'say which model' "$GENET" complete
expect 1 'nosuch' "$GENET" complete "$work/nosuch" -p a
"$GENET" train gpt2 --data "$text" --out "$run" $tiny --max-steps 6 > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }

# --- one text: the list is as long as asked for, the likeliest first
"$GENET" complete "$run" -p 'the gra' -k 3 --threads 1 > "$work/three" || fail "complete failed"
[ "$(wc -l < "$work/three")" -eq 3 ] || fail "not 3 completions"
grep -Eqv '^ *[0-9]+\.[0-9]{2} %  ".+"$' "$work/three" && fail "other lines: $(cat "$work/three")"
sort -c -k1,1nr "$work/three" || fail "not in order"
"$GENET" complete "$run" -p 'the gra' -k 3 --threads 3 > "$work/threads" || fail "complete failed"
same "$work/three" "$work/threads"
expect 0 '^\{"text": "the gra", "completions": \[\{"text": ".+", "probability": 0\.[0-9]+\}' "$GENET" complete "$run" -p 'the gra' --json

# --- lines: an answer for each, as good as by itself, errors too
printf '%s\n' 'the gra' '' '{"text": "the\ngra"}' '{not json' 'gr€t' 'the gra' > "$work/lines"
"$GENET" complete "$run" -k 2 < "$work/lines" > "$work/answers" || fail "lines failed"
[ "$(wc -l < "$work/answers")" -eq 6 ] || fail "not 6 answers"
sed -n 5p "$work/answers" | grep -q '"error": ".*€' || fail "an unknown character is not named"
sed -n 3p "$work/answers" | grep -q '"text": "the\\ngra", "completions"' || fail "the text of an object was not read"
"$GENET" complete "$run" -k 2 -p 'the gra' --json > "$work/alone"
sed -n 1p "$work/answers" > "$work/first"; sed -n 6p "$work/answers" > "$work/last"
same "$work/alone" "$work/first"; same "$work/alone" "$work/last"
printf 'a\377b\n' | "$GENET" complete "$run" | grep -q '"error"' || fail "broken UTF-8 is not refused"

# --- time
expect 0 '^20 keystrokes: p50 [0-9.]+ ms, p90 [0-9.]+ ms, p99 [0-9.]+ ms, max [0-9.]+ ms' "$GENET" complete "$run" --time "$text" --strokes 20
expect 0 '"p99_ms": [0-9.]+' "$GENET" complete "$run" --time "$text" --strokes 5 --json
: > "$work/empty.txt"
expect 2 'holds no text' "$GENET" complete "$run" --time "$work/empty.txt"
expect 2 'leave -p out' "$GENET" complete "$run" --time "$text" -p a
finish
