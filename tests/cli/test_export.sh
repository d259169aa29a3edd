# labels: core
# test_export.sh - `genet export`: one file or several, narrower types, the files
# beside the weights; what is refused; and that nothing half-written stays.
. "$(dirname "$0")/common.sh"

model=$work/model
"$GENET" train gpt2 --data "$text" --out "$model" $tiny --max-steps 3 > /dev/null 2>&1 || fail "no model to export"
echo '{"do_sample": false, "max_new_tokens": 7}' > "$model/generation_config.json"
echo "not to be exported" > "$model/notes.txt"
loss_of() { "$GENET" eval "$1" --data "$text" 2>&1 | sed -n 's/^loss  *\([0-9.]*\).*/\1/p'; }
near() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a > 0 && b > 0 && a - b < 0.01 && b - a < 0.01) }'; }
loss=$(loss_of "$model")
[ -n "$loss" ] || fail "no loss"

# --- one file ------------------------------------------------------------------
expect 0 "as f32 in 1 file" "$GENET" export "$model" --out "$work/one"
same "$model/model.safetensors" "$work/one/model.safetensors"
for f in tokenizer.json tokenizer_config.json README.md generation_config.json; do
    [ ! -e "$model/$f" ] || same "$model/$f" "$work/one/$f"
done
[ ! -e "$work/one/training" ] && [ ! -e "$work/one/notes.txt" ] || fail "more was exported than a model"
[ "$(loss_of "$work/one")" = "$loss" ] || fail "another loss from one file"

# --- several files, and back ------------------------------------------------------
expect 0 "as f32 in [2-9] files" "$GENET" export "$model" --out "$work/many/" --max-shard-size 10KB
[ -e "$work/many/model.safetensors.index.json" ] && [ ! -e "$work/many/model.safetensors" ] || fail "no index of several files"
[ "$(loss_of "$work/many")" = "$loss" ] || fail "another loss from several files"
expect 0 "in 1 file" "$GENET" export "$work/many" --out "$work/again"
same "$work/one/model.safetensors" "$work/again/model.safetensors"
expect 0 "weights +true" "$GENET" info "$work/many"
for from in one many; do        # weights that are written are copies: the folder they came from stays as it was
    expect 0 "val_loss" "$GENET" train gpt2 --from "$work/$from" --data "$text" --out "$work/from-$from" --max-steps 2 \
        --batch-size 4 --threads 1
done
same "$work/from-one/model.safetensors" "$work/from-many/model.safetensors"
same "$work/one/model.safetensors" "$work/again/model.safetensors"

# --- other types ------------------------------------------------------------------
for type in f16:float16 bf16:bfloat16; do
    name=${type%:*}
    expect 0 "as $name in [2-9] files" "$GENET" export "$model" --out "$work/$name" --dtype "$name" --max-shard-size 8KiB
    grep -q "\"dtype\": \"${type#*:}\"" "$work/$name/config.json" || fail "config.json does not say ${type#*:}"
    near "$(loss_of "$work/$name")" "$loss" || fail "the loss of $name is far off"
done
expect 0 "in 1 file" "$GENET" export "$work/f16" --out "$work/wide"
[ "$(loss_of "$work/wide")" = "$(loss_of "$work/f16")" ] || fail "another loss after f16 was widened"

# --- what is refused -----------------------------------------------------------------
expect 2 "exists already" "$GENET" export "$model" --out "$work/one"
expect 2 "--out is missing" "$GENET" export "$model"
expect 2 "say which model" "$GENET" export --out "$work/new"
for size in "" 0 5XB GB -1 1e3GB nanGB 99999999TB; do
    expect 2 "is no size" "$GENET" export "$model" --out "$work/new" "--max-shard-size=$size"
done
expect 2 "one of f32.f16.bf16" "$GENET" export "$model" --out "$work/new" --dtype f8
expect 1 "there is no folder" "$GENET" export "$work/nothing" --out "$work/new"

# --- what an interrupted run left: ours goes away, another's stays ----------------------
left() { mkdir -p "$work/new.tmp/deep"; echo half > "$work/new.tmp/model.safetensors"; echo mine > "$work/new.tmp/deep/file"; }
left
expect 2 "did not make it" "$GENET" export "$model" --out "$work/new"
[ -e "$work/new.tmp/deep/file" ] && [ ! -e "$work/new" ] || fail "a folder of somebody else's was touched"
touch "$work/new.tmp/.genet-unfinished"
if command -v flock > /dev/null; then
    expect 2 "another run is at work" flock "$work/new.tmp" "$GENET" export "$model" --out "$work/new"
    [ -e "$work/new.tmp/deep/file" ] || fail "a folder that is being written was touched"
fi
expect 0 "in 1 file" "$GENET" export "$model" --out "$work/new"
[ ! -e "$work/new.tmp" ] && [ ! -e "$work/new/deep" ] && [ ! -e "$work/new/.genet-unfinished" ] || fail "leftovers: $(ls -A "$work/new")"
same "$work/new/model.safetensors" "$work/one/model.safetensors"
rm -r "$work/new"
mkdir "$work/new.tmp"                              # killed before its first file
expect 0 "in 1 file" "$GENET" export "$model" --out "$work/new"
rm -r "$work/new"
mkdir "$work/elsewhere" && touch "$work/elsewhere/.genet-unfinished" && ln -s elsewhere "$work/new.tmp"
expect 2 "did not make it" "$GENET" export "$model" --out "$work/new"
[ -e "$work/elsewhere/.genet-unfinished" ] || fail "a link was followed"
rm "$work/new.tmp"

# --- nothing half-written --------------------------------------------------------------
half() { [ ! -e "$work/new" ] && [ ! -e "$work/new.tmp" ] || { fail "something is left: $1"; rm -rf "$work"/new*; }; }
limited() { (trap '' XFSZ; ulimit -f 2; exec "$@"); }       # no file beyond 1 or 2 KiB
expect 1 "cannot write .*model.safetensors" limited "$GENET" export "$model" --out "$work/new"
half "a full disk"
cp -r "$work/one" "$work/odd" && rm -f "$work/odd/README.md" && mkfifo "$work/odd/README.md"
expect 1 "README.md: not a regular file" timeout 20 "$GENET" export "$work/odd" --out "$work/new"
half "a FIFO"
rm "$work/odd/README.md" && ln -s README.md "$work/odd/README.md"
expect 1 "README.md: .*symbolic links" "$GENET" export "$work/odd" --out "$work/new"
half "a loop"
expect 1 "cannot .*no-folder|cannot .*/dev/null" "$GENET" export "$model" --out /dev/null/no-folder/new
finish
