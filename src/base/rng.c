/* rng.c - scalar numbers from counters, for drawing batches, sampling tokens
 * and initial weights; kernels use the inline forms of rng.h. */
#include "base/rng.h"
#include <math.h>

double genet__rng_uniform(uint64_t seed, uint32_t stream, uint32_t step, uint64_t index)
{
    return (double)genet__rng_unit(genet__rng_u32(seed, stream, step, index));
}

/* Box and Muller 1958: numbers 2k and 2k + 1 are the cosine and the sine of
 * the pair (u[2k], u[2k+1]). */
double genet__rng_normal(uint64_t seed, uint32_t stream, uint32_t step, uint64_t index)
{
    uint64_t even = index & ~(uint64_t)1;
    double u = (double)genet__rng_unit_open(genet__rng_u32(seed, stream, step, even));
    double v = (double)genet__rng_unit(genet__rng_u32(seed, stream, step, even + 1));
    double radius = sqrt(-2 * log(u)), angle = 6.283185307179586476925 * v;
    return radius * (index & 1 ? sin(angle) : cos(angle));
}

uint64_t genet__rng_below(uint64_t seed, uint32_t stream, uint32_t step, uint64_t index, uint64_t n)
{
    uint64_t low = genet__rng_u32(seed, stream, step, 2 * index);
    uint64_t high = genet__rng_u32(seed, stream, step, 2 * index + 1);
    return (uint64_t)((unsigned __int128)(high << 32 | low) * n >> 64);
}

uint32_t genet__rng_stream(const char *name)
{
    uint32_t h = 0x811c9dc5u;
    for (; *name; name++) h = (h ^ (unsigned char)*name) * 0x01000193u;
    return h;
}
