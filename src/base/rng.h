/* rng.h - random numbers are counters: Philox 4x32-10 (Salmon et al. 2011,
 * "Parallel Random Numbers: As Easy as 1, 2, 3").  No state anywhere; a number
 * is a function of (seed, stream, step, index). */
#ifndef GENET_BASE_RNG_H
#define GENET_BASE_RNG_H
#include <stdint.h>

typedef struct rng_block { uint32_t v[4]; } rng_block;

/* Philox 4x32-10 of the 128-bit counter and the 64-bit key.  Inline so that
 * kernels vectorise it. */
static inline rng_block genet__philox(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3,
                                      uint32_t k0, uint32_t k1)
{
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1; c3 = (uint32_t)p0; c0 = n0; c2 = n2;
        k0 += 0x9E3779B9u; k1 += 0xBB67AE85u;
    }
    return (rng_block){{ c0, c1, c2, c3 }};
}

/* The one convention of counters: number `index` of sequence `stream` at
 * `step`.  Block index/4, lane index%4; counter words: block low, block high,
 * stream, step. */
static inline uint32_t genet__rng_u32(uint64_t seed, uint32_t stream, uint32_t step, uint64_t index)
{
    uint64_t block = index / 4;
    rng_block b = genet__philox((uint32_t)block, (uint32_t)(block >> 32), stream, step,
                                (uint32_t)seed, (uint32_t)(seed >> 32));
    return b.v[index % 4];
}

/* Uniform in [0, 1) with 24 bits: exact in float. */
static inline float genet__rng_unit(uint32_t u) { return (float)(u >> 8) * 0x1p-24f; }
/* Uniform in (0, 1]: safe under log. */
static inline float genet__rng_unit_open(uint32_t u) { return ((float)(u >> 8) + 1.0f) * 0x1p-24f; }

double   genet__rng_uniform(uint64_t seed, uint32_t stream, uint32_t step, uint64_t index);
double   genet__rng_normal (uint64_t seed, uint32_t stream, uint32_t step, uint64_t index);  /* Box-Muller */
/* Uniform in [0, n), unbiased to 2^-64: 64-bit multiply-shift. */
uint64_t genet__rng_below  (uint64_t seed, uint32_t stream, uint32_t step, uint64_t index, uint64_t n);
/* A stream number from a name (FNV-1a). */
uint32_t genet__rng_stream(const char *name);
#endif
