#!/bin/bash
# vectorised.sh - the float kernels really are vector code: loops over exp, log
# and tanh become multiply-adds on full registers and call nothing of libm.  A
# flag or a line that quietly turns them scalar costs a factor of ten and no
# other test would notice.
build=${GENET_BUILD:-build}
objects() { echo "$build/CMakeFiles/genet_kernels_$1.dir/src/device/cpu/$2.c.o"; }
command -v objdump >/dev/null && command -v nm >/dev/null || { echo "objdump is missing (package binutils)"; exit 77; }
[ -f "$(objects avx2 k_elementwise)" ] || { echo "no AVX2 kernels in this build"; exit 77; }
grep -q '^GENET_SANITIZE:STRING=.' "$build/CMakeCache.txt" && { echo "built with sanitizers"; exit 77; }
bad=0

# expect TABLE FILE PATTERN AT_LEAST
expect() {
    local n
    n=$(objdump -d --no-show-raw-insn "$(objects "$1" "$2")" | grep -cE "$3")
    echo "$1 $2: $n x $3 (at least $4)"
    [ "$n" -ge "$4" ] || bad=1
}

expect avx2   k_elementwise 'vfn?m(add|sub).*ymm' 60
expect avx512 k_elementwise 'vfn?m(add|sub).*zmm' 60
expect amx    k_elementwise 'vfn?m(add|sub).*zmm' 60
expect plain  k_elementwise '(mul|add)ps' 60
expect avx2   k_gemm        'vfmadd.*ymm' 12
expect avx512 k_gemm        'vfmadd.*zmm' 12
expect avx512 k_gemm_int8   'vpdpbusd.*zmm' 112
expect avx2   k_norm        'vfn?m(add|sub).*ymm' 5
expect avx512 k_norm        'vfn?m(add|sub).*zmm' 5

# Calls a float kernel must not make, one element at a time.
scalar='(exp|exp2|expm1|log|log1p|log2|tanh|sin|cos|erf|pow|fma|floor|round|rint|nearbyint|fmin|fmax)f|exp|tanh|fma'
for table in plain avx2 avx512 amx; do
    for object in "$build/CMakeFiles/genet_kernels_$table.dir"/src/device/cpu/k_*.c.o; do
        calls=$(nm -u "$object" | awk '{ print $NF }' | grep -xE "$scalar" | tr '\n' ' ')
        [ -z "$calls" ] || { echo "$table $(basename "$object" .c.o) calls $calls"; bad=1; }
    done
done
exit $bad
