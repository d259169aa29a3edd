#!/bin/sh
# install-deps.sh [tests] [ci] - install what is missing to build genet, its
# tests, and its checks under sanitizers.  Looks for the things themselves, not
# for packages; asks for root only when something is missing.
set -eu
what=" $* "
missing=""
need() { missing="$missing $*"; }
has() { command -v "$1" >/dev/null 2>&1; }

# A compiler without the C library's headers is of no use either.
compiles() { echo 'int main(void) { return 0; }' | "$@" -x c - -o "$scratch/a.out" 2>/dev/null; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

look() {
    missing=""
    has cc && echo '#include <stdio.h>' | cc -E - >/dev/null 2>&1 && compiles cc || need gcc libc6-dev
    has cmake || need cmake
    has make || need make
    has pkg-config || need pkg-config
    has pkg-config && pkg-config --exists jansson || need libjansson-dev
    has pkg-config && pkg-config --exists zlib || need zlib1g-dev
    has pkg-config && pkg-config --exists libpcre2-8 || need libpcre2-dev
    has pkg-config && pkg-config --exists libutf8proc || need libutf8proc-dev
    has pkg-config && pkg-config --exists libcurl || need libcurl4-openssl-dev
    has pkg-config && pkg-config --exists libpng || need libpng-dev
    case $what in *" tests "* | *" ci "*)
        has pkg-config && pkg-config --exists cmocka || need libcmocka-dev
        has objdump || need binutils ;;
    esac
    case $what in *" ci "*)
        has gcc && compiles gcc -fsanitize=address,undefined || need gcc libc6-dev
        if ! has clang; then need clang
        elif ! compiles clang -fsanitize=thread || ! echo "int LLVMFuzzerTestOneInput(void) { return 0; }" | clang -fsanitize=fuzzer -x c - -o "$scratch/a.out" 2>/dev/null; then need "$(runtime_package)"; fi ;;
    esac
}

# clang's sanitizers come in a package of its version.
runtime_package() {
    version=$(clang -dumpversion | cut -d. -f1)
    if has apt-cache && apt-cache show "libclang-rt-$version-dev" >/dev/null 2>&1
    then echo "libclang-rt-$version-dev"; else echo "libclang-common-$version-dev"; fi
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif has sudo; then sudo "$@"
    else echo "Missing:$missing. As root, run: apt-get install$missing" >&2; exit 1; fi
}

apt() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -y -q "$@"; }

for round in 1 2; do            # the second round: what only the first made visible
    look
    [ -n "$missing" ] || exit 0
    if ! has apt-get; then
        echo "Missing (by their Debian names):$missing. Install them with this system's package manager." >&2
        exit 1
    fi
    echo "Installing:$missing"
    # Package lists may be absent or old: refresh them only when needed.
    # shellcheck disable=SC2086
    apt install --no-install-recommends $missing || { apt update && apt install --no-install-recommends $missing; }
done
look
[ -z "$missing" ] || { echo "Still missing:$missing" >&2; exit 1; }
