# common.sh - what the tests of the program share: a folder that goes away, a
# tiny model's options, and checks that say what went wrong.
set -u
GENET=${GENET:-build/genet}
SOURCE=${GENET_SOURCE:-.}
[ -x "$GENET" ] || { echo "no program at $GENET"; exit 77; }
work=$(mktemp -d "${TMPDIR:-/tmp}/genet-cli.XXXXXX")
trap 'rm -rf "$work"' EXIT
failures=0

fail() { echo "FAILED: $*"; failures=$((failures + 1)); }
finish() { [ "$failures" -eq 0 ] && echo "all passed" || { echo "$failures failed"; exit 1; }; }

# A text that is always at hand, and the options of a model that trains in no time.
text=$work/text.txt
cat "$SOURCE/include/genet/genet.h" "$SOURCE/include/genet/ops.h" > "$text"
tiny="--n-layer 2 --n-head 2 --n-embd 16 --block-size 16 --batch-size 4 --warmup-steps 2 --threads 1"

# expect CODE WORDS COMMAND...: exit code, and words (an extended regular expression) in what it says.
expect() {
    local code=$1 words=$2; shift 2
    "$@" > "$work/out" 2>&1 < /dev/null
    local got=$?
    [ "$got" -eq "$code" ] || { fail "exit code $got, not $code: $*"; cat "$work/out"; }
    grep -Eq -- "$words" "$work/out" || { fail "\"$words\" is not said by: $*"; cat "$work/out"; }
}
same() { cmp -s "$1" "$2" || fail "$1 and $2 differ"; }
field() { sed -n "s/.*\"$2\": \([^,}]*\).*/\1/p" <<< "$1"; }     # field JSON NAME
