/* philox.h - many numbers of one sequence at once (base/rng.h says which).
 *
 * Each 64-bit lane holds one 32-bit word of one block of four numbers, so that
 * a round is two widening products, two shifts and four exclusive ors a
 * vector.  What stands above the low 32 bits is left there: products read the
 * low half only. */
#ifndef GENET_DEVICE_CPU_PHILOX_H
#define GENET_DEVICE_CPU_PHILOX_H
#include "device/cpu/kernel.h"
#if defined(__SSE2__)
#include <immintrin.h>
#endif

enum { PHILOX_LANES = VEC_BYTES / 8, PHILOX_WORDS = 4 * PHILOX_LANES };
typedef uint64_t philox_vec __attribute__((vector_size(VEC_BYTES)));
typedef uint64_t philox_loose __attribute__((vector_size(VEC_BYTES), aligned(4), may_alias));

/* Products of the low halves of 64-bit lanes. */
static inline philox_vec philox_product(philox_vec a, philox_vec b)
{
#if defined(__AVX512F__)
    return (philox_vec)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
    return (philox_vec)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
    return (philox_vec)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
    return (a & 0xffffffffu) * (b & 0xffffffffu);
#endif
}

/* Lanes a0 b0 a1 b1 ... to 2 PHILOX_LANES pairs of words. */
static inline void philox_interleave(philox_vec a, philox_vec b, uint32_t *out)
{
#if defined(__AVX512F__)
    *(philox_loose *)out = (philox_loose)__builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
    *(philox_loose *)(out + 16) = (philox_loose)__builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#elif defined(__AVX2__)
    *(philox_loose *)out = (philox_loose)__builtin_shufflevector(a, b, 0, 4, 1, 5);
    *(philox_loose *)(out + 8) = (philox_loose)__builtin_shufflevector(a, b, 2, 6, 3, 7);
#else
    *(philox_loose *)out = (philox_loose)__builtin_shufflevector(a, b, 0, 2);
    *(philox_loose *)(out + 4) = (philox_loose)__builtin_shufflevector(a, b, 1, 3);
#endif
}

/* PHILOX_WORDS numbers, from block number `block` (4 numbers a block) on. */
static inline void philox_draw(uint32_t k0, uint32_t k1, uint32_t stream, uint32_t step, uint64_t block, uint32_t *out)
{
    const philox_vec zero = {0}, low = zero + 0xffffffffu;
    philox_vec c0, c1, c2 = zero + stream, c3 = zero + step;
    for (int i = 0; i < PHILOX_LANES; i++) c0[i] = block + (uint64_t)i;
    c1 = c0 >> 32;
    for (int round = 0; round < 10; round++) {
        philox_vec p0 = philox_product(c0, zero + 0xD2511F53u), p1 = philox_product(c2, zero + 0xCD9E8D57u);
        c0 = (p1 >> 32) ^ c1 ^ (uint64_t)k0;
        c2 = (p0 >> 32) ^ c3 ^ (uint64_t)k1;
        c1 = p1;
        c3 = p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    philox_interleave((c0 & low) | c1 << 32, (c2 & low) | c3 << 32, out);
}
#endif
