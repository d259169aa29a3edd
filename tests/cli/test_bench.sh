#!/usr/bin/env bash
# labels: core
# test_bench.sh - `genet bench`: ops and a language model beside the machine's limits, none passed by far; traces; the curve
# over threads; what is refused.
. "$(dirname "$0")/common.sh"

run=$work/run
"$GENET" train gpt2 --data "$text" --out "$run" $tiny --max-steps 5 > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }

# Shares are of what nothing passes.  The slack is for machines that change their minds: with one bound wrong by the width of a
# type or of a register it would be far more.
bounded() {
    grep -o '"share": [0-9.e+-]*' "$1" > "$work/shares" || fail "no shares in $(head -c 300 "$1")"
    awk '!($2 >= 0 && $2 < 1.6) { exit 1 }' "$work/shares" || fail "shares beyond the limit: $(sort -u "$work/shares" | tail -3)"
}
has() { for key in "${@:2}"; do grep -Eq "\"$key\": (-?[1-9]|0\.[0-9]*[1-9]|\{\"|\[\{)" "$1" || fail "no $key in $(head -c 600 "$1")"; done; }

# a trace is one JSON object whose slices have a name, a thread, a beginning and a length
is_trace() {
    [ "$(head -c 19 "$1")" = '{"displayTimeUnit":' ] && [ "$(tail -c 4 "$1")" = "$(printf '\n]}\n' | tail -c 4)" ] || fail "$1 is no trace"
    grep -c '"ph":"X"' "$1" > "$work/slices" && [ "$(cat "$work/slices")" -ge "$2" ] || fail "$1 has $(cat "$work/slices") slices"
    grep '"ph":"X"' "$1" | grep -vEq '"name":"[^"]+","cat":"(kernel|host)","ph":"X","pid":1,"tid":[0-9]+,"ts":[0-9.]+,"dur":[0-9.]+,"args":\{.*\}\}' &&
        fail "a slice of $1 is no slice"
}

# --- ops --------------------------------------------------------------------------------
expect 0 '"op": "matmul row".*"of": "(memory|f32)"' "$GENET" bench --only 'matmul row' --json --threads 1 --profile-trace "$work/ops.json"
has "$work/out" threads fma f32 mixed bf16 int8 read_gbytes_per_s triad_gbytes_per_s gbytes_per_s_of
bounded "$work/out"
is_trace "$work/ops.json" 1
grep -q '"name":"matmul"' "$work/ops.json" || fail "the trace lacks the product"
for key in fma f32 mixed bf16 int8; do eval "$key=$(sed -n "s/.*\"$key\": \([0-9.]*\).*/\1/p" "$work/out" | head -1)"; done
awk "BEGIN { exit !($fma <= $f32 && $f32 <= $mixed && $mixed <= $bf16 && $bf16 <= $int8) }" || fail "peaks: $fma $f32 $mixed $bf16 $int8"
expect 0 'products of f32 and 16 bits the same' env GENET_ISA=plain "$GENET" bench --only gather --threads 1
expect 2 "no op's name holds \"none\"" "$GENET" bench --only none

# --- a model ----------------------------------------------------------------------------
expect 0 'tokens/s' "$GENET" bench "$run" -p 4 -n 3 -r 2 --threads 1 --profile-trace "$work/model.json"
for words in 'beyond the caches \(triad' 'of reading them over and over' 'profile of a prompt of 4: ' 'profile of writing 3 tokens, each: ' \
             'at most: fma \(multiply-adds of f32\) [0-9]+ GFLOP/s' 'matmul.*%' '^in all: .* of the peaks of their types'; do
    grep -Eq -- "$words" "$work/out" || fail "\"$words\" is not said: $(head -30 "$work/out")"
done
is_trace "$work/model.json" 20
grep -q '"name":"attention"' "$work/model.json" || fail "the trace lacks attention"
"$GENET" bench "$run" -p 4 -n 3 -r 2 --json --threads 1 > "$work/json"
has "$work/json" prompt_tokens_per_s new_tokens_per_s read_gbytes_per_s triad_gbytes_per_s weight_read_gbytes_per_s \
    weight_read_share weight_bytes prompt_kernels new_kernels
[ "$(wc -l < "$work/json")" -eq 1 ] || fail "more than one object"
sed 's/"weight_read_share"/"share"/' "$work/json" > "$work/json.share"
bounded "$work/json.share"

# --- threads ------------------------------------------------------------------------------
expect 0 '"threads": 2, "product_gflops": [0-9.]+, "product_share": [0-9.]+, .*"step_speedup"' "$GENET" bench --scaling --threads 2 --json -o "$work/curve.svg"
[ "$(wc -l < "$work/out")" -eq 2 ] && grep -q '"threads": 1,.*"product_speedup": 1, .*"step_speedup": 1}' "$work/out" || fail "no curve: $(cat "$work/out")"
grep -q '<svg' "$work/curve.svg" || fail "no picture"

# --- what is refused -----------------------------------------------------------------------
expect 2 '^genet bench: --prompt-tokens and --new-tokens are 4003 together, and the model sees' "$GENET" bench "$run" -p 4000 -n 3
expect 2 '^genet bench: --prompt-tokens must be' "$GENET" bench "$run" --prompt-tokens 0
expect 2 '^genet bench: --new-tokens must be' "$GENET" bench "$run" -n x
expect 1 'there is no folder' "$GENET" bench "$work/none"
expect 1 'No such file' "$GENET" bench "$run" --profile-trace "$work/none/trace.json"
expect 2 'without a FOLDER' "$GENET" bench "$run" --scaling
expect 2 'picture of --scaling' "$GENET" bench -o "$work/x.png"
expect 2 'writes no trace' "$GENET" bench --scaling --profile-trace "$work/x.json"
finish
