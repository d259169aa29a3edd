#!/bin/bash
# labels: long
# test_install.sh - what `cmake --install` leaves is enough for others: the
# examples build against it alone, by pkg-config and find_package, shared and
# static, also after the prefix has moved, and what they say means something.
set -u
BUILD=${GENET_BUILD:-build}
SOURCE=$(cd "${GENET_SOURCE:-.}" && pwd)
command -v pkg-config > /dev/null && command -v cmake > /dev/null || { echo "pkg-config or cmake is missing"; exit 77; }
CC=${CC:-$(sed -n 's/^CMAKE_C_COMPILER:[A-Z]*=//p' "$BUILD/CMakeCache.txt" 2> /dev/null)}
CC=${CC:-cc}
[ -f "$BUILD/libgenet.a" ] && [ -x "$BUILD/genet" ] || { echo "build genet in $BUILD first"; exit 1; }
if grep -q '^GENET_SANITIZE:STRING=.' "$BUILD/CMakeCache.txt"; then echo "a build with sanitizers is not installed"; exit 77; fi

work=$(mktemp -d "${TMPDIR:-/tmp}/genet-install.XXXXXX")
trap 'rm -rf "$work"' EXIT
failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }
try() { "$@" > "$work/said" 2>&1 || { fail "$*"; tail -20 "$work/said"; return 1; }; }
says() { grep -Eq -- "$1" "$work/said" || { fail "\"$1\" is not said"; tail -20 "$work/said"; }; }

prefix=$work/first
try cmake --install "$BUILD" --prefix "$prefix" || exit 1

# --- what there is --------------------------------------------------------------------
lib=$(dirname "$(find "$prefix" -name libgenet.a)")
[ -n "$lib" ] || { echo "libgenet.a is not installed"; exit 1; }
pc=$(find "$prefix" -name genet.pc)
version=$(PKG_CONFIG_PATH=$(dirname "$pc") pkg-config --modversion genet)
soname=libgenet.so.${version%.*}
for file in "$prefix/bin/genet" "$lib/libgenet.so.$version"; do [ -f "$file" ] || fail "$file is not installed"; done
for link in libgenet.so "$soname"; do [ -L "$lib/$link" ] || fail "$link is no link in $lib"; done
if command -v objdump > /dev/null; then
    objdump -p "$lib/libgenet.so" | grep -Eq "SONAME +$soname\$" || fail "the library's name for the loader is not $soname"
fi
try "$prefix/bin/genet" --version && says "$version"
if grep -rFn --include=genet.pc --include='*.cmake' -e "$prefix" -e "$SOURCE" "$lib"; then fail "an installed file names a path of this machine"; fi
headers=$(cd "$prefix/include/genet" && ls | tr '\n' ' ')
[ "$headers" = "$(cd "$SOURCE/include/genet" && ls | tr '\n' ' ')" ] || fail "installed headers: $headers"

# --- examples ---------------------------------------------------------------------------
mkdir "$work/source"
cp "$SOURCE"/examples/*.c "$SOURCE/examples/CMakeLists.txt" "$work/source" || exit 1
if grep -n '#include' "$work/source"/*.c | grep -v '<'; then fail "an example includes what is not installed"; fi
for example in "$work/source"/*.c; do [ "$(wc -l < "$example")" -lt 100 ] || fail "$example has 100 lines or more"; done

# check FOLDER: the programs there do what they are for.
check() {
    local at=$1 first last
    try "$at/curve" || return
    first=$(awk '$1 == "step" { print $4; exit }' "$work/said")
    last=$(awk '$1 == "step" { x = $4 } END { print x }' "$work/said")
    awk -v a="$first" -v b="$last" 'BEGIN { exit !(a > 0.1 && b < 0.01) }' || fail "the curve's loss went from $first to $last"
    awk '$1 == "x" { n++; d = $4 - $6; if (d < -0.15 || d > 0.15) bad = 1 } END { exit bad || n < 5 }' "$work/said" ||
        { fail "the curve is not fitted"; cat "$work/said"; }

    rm -rf "$work/model"
    try "$at/train_char" "$work/model" || return
    first=$(awk '$1 == "step" && $5 == "loss" { print $6; exit }' "$work/said")
    last=$(awk '$1 == "step" && $5 == "loss" { x = $6 } END { print x }' "$work/said")
    awk -v a="$first" -v b="$last" 'BEGIN { exit !(a > 2 && b < 1) }' || fail "the model's loss went from $first to $last"
    says 'validation [0-9.]+'
    says '(sun|moon|cat|dog|tree|town|hill)'

    try "$at/generate" "$work/model" "the sun" max-new-tokens=30 temperature=0.7 top-k=5 seed=3 logprobs=2 || return
    says 'likeliest: '
    says 'sequence 0 ended: length'
    says '^30 tokens, log-probability -[0-9.]+'
    cp "$work/said" "$work/once"
    try "$at/generate" "$work/model" "the sun" max_new_tokens=30 temperature=0.7 top_k=5 seed=3 logprobs=2
    cmp -s "$work/said" "$work/once" || fail "the same options write another text"
    "$at/generate" "$work/model" "the sun" temperatur=1 > "$work/said" 2>&1 && fail "a misspelt option was taken"
    says 'temperature'
    "$at/generate" "$work/nowhere" "the sun" > "$work/said" 2>&1 && fail "a folder that is not there was opened"
    says 'nowhere'
}

# compile FOLDER STATIC: the three programs by pkg-config.
compile() {
    local flags
    mkdir -p "$1"
    for name in curve train_char generate; do
        if [ "$2" = static ]; then
            flags="-Wl,--as-needed -l:libgenet.a $(pkg-config --static --libs genet)"
        else
            flags=$(pkg-config --libs genet)
        fi
        try "$CC" -std=c17 -O1 -Wall -Wextra -Werror $(pkg-config --cflags genet) "$work/source/$name.c" -o "$1/$name" $flags -lm
    done
}

# by_cmake FOLDER PREFIX OPTIONS...
by_cmake() {
    local at=$1 where=$2; shift 2
    try cmake -S "$work/source" -B "$at" -DCMAKE_PREFIX_PATH="$where" -DCMAKE_C_COMPILER="$CC" "$@" && try cmake --build "$at"
}

export PKG_CONFIG_PATH
PKG_CONFIG_PATH=$(dirname "$pc")
compile "$work/shared" shared && LD_LIBRARY_PATH=$lib check "$work/shared"
compile "$work/static" static && check "$work/static"
if command -v ldd > /dev/null && ldd "$work/static/curve" | grep -q libgenet; then fail "the static program needs libgenet.so"; fi
by_cmake "$work/by-cmake" "$prefix" && try "$work/by-cmake/curve"

# The complete programs of the documentation, block by block.
awk -v to="$work/source/page" '/^```c$/ { n++; on = 1; next } /^```$/ { on = 0 } on { print > (to n ".c") }' "$SOURCE/docs/embedding.md"
for page in page1 page2; do
    try "$CC" -std=c17 -Wall -Wextra -Werror $(pkg-config --cflags genet) "$work/source/$page.c" -o "$work/$page" \
        $(pkg-config --libs genet) -Wl,-rpath,"$lib"
done
try "$work/page1" "$work/model" && says 'the|town|moon|sun'
try "$work/page2" && says '^12$'

# --- moved ----------------------------------------------------------------------------------
moved=$work/moved
mv "$prefix" "$moved"
PKG_CONFIG_PATH=${PKG_CONFIG_PATH/$prefix/$moved}
compile "$work/moved-shared" shared && LD_LIBRARY_PATH=${lib/$prefix/$moved} try "$work/moved-shared/curve"
by_cmake "$work/moved-static" "$moved" -DGENET_STATIC=ON && try "$work/moved-static/curve"
by_cmake "$work/moved-by-cmake" "$moved" && check "$work/moved-by-cmake"
try "$moved/bin/genet" info

# --- C++ --------------------------------------------------------------------------------------
cat > "$work/one.cpp" << 'END'
#include <genet/model.h>
static bool show(void *, const genet_piece *piece) { return piece->n_bytes > 0; }
int main()
{
    int64_t rows = 2;
    genet_err err = {};
    genet_graph *g = genet_graph_new();
    genet_tensor *x = genet_reshape(genet_input(g, "x", GENET_F32, GENET_DIMS(rows, 3)), GENET_DIMS(-1, 1));
    bool refused = !genet_generate(nullptr, "x", nullptr, show, nullptr, &err) && err.code == GENET_ERR_USAGE;
    bool right = genet_tensor_dim(x, 0) == 6;
    genet_graph_free(g);
    return refused && right ? 0 : 1;
}
END
for cxx in g++ clang++; do
    command -v $cxx > /dev/null || continue
    try $cxx -std=c++17 -Wall -Wextra -pedantic -Werror -I"$moved/include" "$work/one.cpp" -L"${lib/$prefix/$moved}" -lgenet \
        -Wl,-rpath,"${lib/$prefix/$moved}" -o "$work/one" && try "$work/one"
done

[ "$failures" -eq 0 ] && echo "all passed" || { echo "$failures failed"; exit 1; }
