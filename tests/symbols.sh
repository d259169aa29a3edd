#!/bin/sh
# symbols.sh - what the libraries define: every global name begins with genet_,
# the shared library exports exactly the public ones (no double underscore), which
# are those that the headers declare, and nothing is writable for the whole program
# but the counters of the test hooks.
build=${GENET_BUILD:-build}
static=$build/libgenet.a
shared=$build/libgenet.so
command -v nm >/dev/null && command -v objdump >/dev/null || { echo "nm or objdump is missing (package binutils)"; exit 77; }
[ -f "$static" ] && [ -f "$shared" ] || { echo "build $static and $shared first"; exit 1; }
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
bad=0
report() { if [ -s "$2" ]; then echo "$1"; cat "$2"; bad=1; fi; }

nm -g --defined-only "$static" 2>/dev/null | awk 'NF == 3 { print $3 }' | sort -u >"$scratch/defined"
nm -D --defined-only "$shared" | awk 'NF == 3 && $2 != "A" { print $3 }' | sort -u >"$scratch/exported"
grep -v '^genet_' "$scratch/defined" >"$scratch/foreign"
report "global names that do not begin with genet_:" "$scratch/foreign"
grep -v '^genet_[a-z]' "$scratch/exported" >"$scratch/leaked"
report "exported though not public:" "$scratch/leaked"
grep '^genet_[a-z]' "$scratch/defined" | comm -23 - "$scratch/exported" >"$scratch/hidden"
report "public by name, but not exported (GENET_API is missing):" "$scratch/hidden"

# Functions of the public headers: names before a parenthesis that come after GENET_API.
headers=${GENET_SOURCE:-.}/include
if command -v cc >/dev/null; then
    printf '#include "genet/model.h"\n#include "genet/tokenizer.h"\n' | cc -E -P -I"$headers" -x c - 2>/dev/null |
        sed 's/__attribute__((visibility("default")))/public_function/g' | tr '\n;' ' \n' |
        grep -Eo 'public_function [^(]*genet_[a-z0-9_]+ *\(' | grep -Eo 'genet_[a-z0-9_]+ *\($' | tr -d ' (' | sort -u >"$scratch/declared"
    [ "$(wc -l <"$scratch/declared")" -gt 100 ] || { echo "the headers' functions were not found"; bad=1; }
    comm -23 "$scratch/declared" "$scratch/exported" >"$scratch/missing"
    report "declared in a public header, but not exported:" "$scratch/missing"
    comm -13 "$scratch/declared" "$scratch/exported" >"$scratch/secret"
    report "exported, but in no public header:" "$scratch/secret"
fi

objdump -t "$static" | awk '
    /^[^ ]+: +file format/ { file = $1 }
    $0 ~ /[ \t](\.data|\.bss|\.tdata|\.tbss|\*COM\*)(\.[a-zA-Z_0-9.]*)?[ \t]/ && $0 !~ /\.data\.rel\.ro/ && $0 ~ / O / {
        if (!(file ~ /^(alloc|file)\.c/ && $NF ~ /_(left|made|errno)$/)) print file, $NF
    }' >"$scratch/writable"
report "global mutable state:" "$scratch/writable"
exit $bad
