/* int8.h - activations as bytes, for products with quantised weights.
 *
 * A row is quantised as weights are, in blocks of 32: d = max|x| / 127, q =
 * round(x / d).  A product of two blocks is a dot product of bytes, exact in 32
 * bits, times both scales (as in ggml, whose blocks these are; the idea: Jacob
 * et al. 2018, arXiv:1712.05877, section 2.2).  Few rows and many are rounded
 * here, so that a token's numbers are the same alone and in a prompt. */
#ifndef GENET_DEVICE_CPU_INT8_H
#define GENET_DEVICE_CPU_INT8_H
#include "base/quant.h"
#include "device/cpu/lanes.h"

enum { GROUP = 4, GROUP_DEPTH = GROUP * QUANT_BLOCK };      /* blocks quantised at once */

/* A group of activations.  VNNI takes weights without sign, `offset` too large
 * (8 for q4_0, else 128); `excess` is minus what that adds to each sum, number
 * 4b + j being of elements 4j .. 4j+3 and 16+4j .. 16+4j+3 of block b. */
typedef struct xgroup {
    int8_t  low[GROUP][16], high[GROUP][16];    /* elements 0 .. 15 and 16 .. 31 of each block */
    int32_t excess[GROUP][4];
    float   d[GROUP][4];                        /* a block's scale, four times */
} __attribute__((aligned(64))) xgroup;
_Static_assert(sizeof(xgroup) == 256, "dense");

static inline int64_t groups_of(int64_t depth) { return ceil_div(depth, GROUP_DEPTH); }

/* A row of depth K, elements `step` apart; what its last group lacks is zero.
 * A block with an infinity or a NaN has such a scale, and so have its products;
 * one below 1e-30 is zero. (k_int8.c) */
void K(quantise_row)(const real *x, int64_t step, int64_t depth, int offset, xgroup *g);

#if defined(__AVX512F__)
#ifdef __clang__    /* which stores what may lie in memory there */
#define VECTOR_OR_MEMORY "v"
#else
#define VECTOR_OR_MEMORY "vm"
#endif

/* The instruction is asked for when the program runs: it is not in the set that
 * the build of AVX-512 assumes. */
static inline bool has_vnni(void) { return __builtin_cpu_supports("avx512vnni"); }

/* sum + the products of four bytes without sign and four with. */
INLINE __m512i add_fours(__m512i sum, __m512i u, __m512i s)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(u), VECTOR_OR_MEMORY(s));
    return sum;
}
#endif
#endif
