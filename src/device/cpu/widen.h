/* widen.h - stored types made real, for packing and for rows of weights. */
#ifndef GENET_DEVICE_CPU_WIDEN_H
#define GENET_DEVICE_CPU_WIDEN_H
#include "device/cpu/vec.h"

/* The type of `real`. */
#define REAL_DTYPE ((dtype)(sizeof(real) == 8 ? GENET_F64 : GENET_F32))

static inline float widen_bf16(uint16_t h)
{
    return vec_float((uint32_t)h << 16);
}

/* Branch-free, so that loops over it become vectors. */
static inline float widen_f16(uint16_t h)
{
    uint32_t u = (uint32_t)(h & 0x7fff) << 13;
    uint32_t f = vec_bits(vec_float(u) * 0x1p112f), nan = u > 0x7c00u << 13 ? 0x400000 : 0;
    f = u >= 0x7c00u << 13 ? f | 0x7f800000 | nan : f;
    return vec_float(f | (uint32_t)(h & 0x8000) << 16);
}

/* Elements first, first + step, ... (n of them) of what lies at `at`: of
 * `real`, bf16, f16 or quantised.  Quantised types: step is 1, first begins a
 * block. (k_widen.c) */
void K(widen)(const char *at, dtype type, int64_t first, int64_t step, int64_t n, real *to);
#endif
