/* gemm_core.h - what a matrix product is made of: operands as they lie in
 * memory, and a core that packs and multiplies blocks of them.
 *
 * Both operands are seen the same way: as LINES (rows of A, columns of B), a
 * few adjacent ones a PANEL, that run through the DEPTH.  Packing copies
 * panels so that the tile kernel walks through memory, and is the one place
 * that knows where elements come from: strides, transposes, bf16, f16, blocks
 * of quantised weights.  C is always of `real`. */
#ifndef GENET_DEVICE_CPU_GEMM_CORE_H
#define GENET_DEVICE_CPU_GEMM_CORE_H
#include "device/cpu/kernel.h"

/* Element (line i, depth k) is number i*line + k*depth of type dtype from `at`
 * on.  Quantised types: depth is 1, and lines are whole blocks. */
typedef struct gemm_source { const char *at; dtype dtype; int64_t line, depth; } gemm_source;

/* One way to multiply, on one instruction set.  A packed operand of n lines
 * and depth kc takes ceil(n / mr) (B: nr) panels of mr * round_up(kc, unit) *
 * a_bytes bytes (of B: nr, b_bytes), one after the other, not all of which need
 * be used; what is packed beyond n and kc counts as zero.  `to` is aligned to 64 bytes. */
typedef struct gemm_core {
    int     mr, nr;             /* lines of a panel of A, of B: a tile of C is mr x nr */
    int     unit;               /* of depth */
    int64_t kc;                 /* most depth of a block, a multiple of unit */
    int     a_bytes, b_bytes;   /* of a packed element */
    void  (*pack_a)(const gemm_source *a, int64_t lines, int64_t kc, void *to);
    void  (*pack_b)(const gemm_source *b, int64_t lines, int64_t kc, void *to);
    /* c[i*ldc + j] = (add: itself plus) the sum over k < kc of A(i,k) B(k,j), for
     * i < rows, j < cols; nothing else of C is touched.  rows_outer: the panel of
     * A is kept while those of B pass, or the reverse; a core may know better. */
    void  (*block)(const void *a, const void *b, int64_t rows, int64_t cols, int64_t kc,
                   real *c, int64_t ldc, bool add, bool rows_outer);
} gemm_core;

/* k_gemm_amx.c: the core of tile registers for operands of these types, or
 * NULL where this build has none. */
const gemm_core *K(gemm_amx)(dtype a, dtype b);
/* k_gemm_int8.c: the core of bytes, where A may be rounded as few rows are; NULL as
 * above, and where the processor has no VNNI. */
const gemm_core *K(gemm_int8)(dtype a, dtype b);
#endif
