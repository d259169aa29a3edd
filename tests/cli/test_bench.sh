#!/usr/bin/env bash
# labels: core
# test_bench.sh - `genet bench`: one op, a language model, what is refused.
. "$(dirname "$0")/common.sh"

run=$work/run
"$GENET" train gpt2 --data "$text" --out "$run" $tiny --max-steps 5 > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }

expect 0 '"op": "matmul row"' "$GENET" bench --only 'matmul row' --json
expect 2 "no op's name holds \"none\"" "$GENET" bench --only none
expect 0 'tokens/s' "$GENET" bench "$run" -p 4 -n 3 -r 2
"$GENET" bench "$run" -p 4 -n 3 -r 2 --json > "$work/json"
for key in prompt_tokens_per_s new_tokens_per_s read_gbytes_per_s weight_bytes; do
    grep -q "\"$key\": [1-9]" "$work/json" || fail "no $key in $(cat "$work/json")"
done
expect 2 'and the model sees' "$GENET" bench "$run" -p 4000 -n 3
expect 1 'there is no folder' "$GENET" bench "$work/none"
finish
