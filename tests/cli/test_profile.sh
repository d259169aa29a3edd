# labels: core
# test_profile.sh - --profile: a table of kernels and a trace, and nothing else about a run changes.
. "$(dirname "$0")/common.sh"

expect 0 'val_loss' "$GENET" train gpt2 --data "$text" --out "$work/plain" $tiny --max-steps 6 --val-fraction 0.2
expect 0 'val_loss' "$GENET" train gpt2 --data "$text" --out "$work/run" $tiny --max-steps 6 --val-fraction 0.2 --profile
for words in 'profile of steps 4 to 6, each: [0-9.]+ ms; 1 thread, at most: fma' 'matmul\+add' 'update_adam' '^by op: ' \
             '^kernels: [0-9.]+ ms' '^outside kernels: .* write .* threads .* read .* all else' '^in all: '; do
    grep -Eq -- "$words" "$work/out" || fail "the table lacks \"$words\""
done
same "$work/plain/model.safetensors" "$work/run/model.safetensors"
grep -q '"traceEvents"' "$work/run/training/profile.json" || fail "no trace beside the run"
grep -q profile "$work/run/training/settings.json" "$work/run/README.md" && fail "the settings remember --profile"
expect 0 'val_loss' "$GENET" train gpt2 --out "$work/run" --resume --max-steps 8
grep -q 'profile of' "$work/out" && fail "a resumed run profiles though nobody asked"

"$GENET" generate "$work/plain" -p The -n 8 --seed 1 > "$work/a" 2> "$work/words" || fail "generate"
"$GENET" generate "$work/plain" -p The -n 8 --seed 1 --profile --profile-trace "$work/trace.json" > "$work/b" 2> "$work/words" ||
    fail "generate --profile"
same "$work/a" "$work/b"
grep -Eq '^outside kernels: .* open .* compile' "$work/words" || fail "no table on stderr"
[ "$(head -c 19 "$work/trace.json")" = '{"displayTimeUnit":' ] || fail "no trace where it was asked for"
expect 2 'add it' "$GENET" generate "$work/plain" -p The --profile-trace "$work/x"
expect 2 'add it' "$GENET" train gpt2 --data "$text" --out "$work/x" $tiny --profile-trace "$work/x"
expect 1 'No such file' "$GENET" generate "$work/plain" -p The -n 1 --profile --profile-trace "$work/none/x"
expect 1 'No such file' "$GENET" train gpt2 --data "$text" --out "$work/none-yet" $tiny --profile --profile-trace "$work/none/x"
[ -e "$work/none-yet" ] && fail "a run began whose trace cannot be written"
finish
