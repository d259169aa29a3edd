/* lanes.h - vectors of `real` in registers, for kernels that stream: loads from
 * any address, one multiply-add, and the words for loops that must vanish. */
#ifndef GENET_DEVICE_CPU_LANES_H
#define GENET_DEVICE_CPU_LANES_H
#include "device/cpu/kernel.h"
#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline, unused))
/* For the loops over registers, which must vanish, and those that must stay. */
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#define ROLLED _Pragma("clang loop unroll(disable)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#define ROLLED _Pragma("GCC unroll 1")
#endif

typedef real vec     __attribute__((vector_size(VEC_BYTES)));
typedef real vec_mem __attribute__((vector_size(VEC_BYTES), aligned(sizeof(real)), may_alias));

INLINE vec load(const real *p) { return *(const vec_mem *)p; }
INLINE void store(real *p, vec v) { *(vec_mem *)p = v; }
INLINE vec all_lanes(real x) { return x - (vec){ 0 }; }

/* x * y + z in every lane; AVX builds are of float. */
INLINE vec fma_lanes(vec x, vec y, vec z)
{
#if defined(__AVX512F__)
    return _mm512_fmadd_ps(x, y, z);
#elif defined(__FMA__)
    return _mm256_fmadd_ps(x, y, z);
#else
    return x * y + z;
#endif
}
#endif
