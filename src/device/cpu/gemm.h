/* gemm.h - the inside of a matrix product: packing and the block kernel.
 *
 * C (rows x cols) = A (rows x depth) B (depth x cols).  The five loops are
 * those of BLIS (Van Zee and van de Geijn 2015, ACM TOMS 41:3): the two inner
 * ones, over tiles of C that live in registers, stand in k_gemm.c; the outer
 * ones, which cut C and the depth into tasks, in the op's kernel.
 *
 * Both operands are seen the same way: as LINES (rows of A, columns of B), a
 * few adjacent ones a PANEL, that run through the DEPTH.  Packing copies
 * panels so that the tile kernel walks through memory; it is the one place
 * that knows where elements come from (strides today). */
#ifndef GENET_DEVICE_CPU_GEMM_H
#define GENET_DEVICE_CPU_GEMM_H
#include "device/cpu/kernel.h"

/* A tile of C is GEMM_MR x GEMM_NR, two vectors wide: with both vectors of B
 * it fills the 32 (AVX-512) or 16 registers. */
#if defined(__AVX512F__)
enum { GEMM_MR = 14 };
#elif defined(__AVX2__)
enum { GEMM_MR = 6 };
#else
enum { GEMM_MR = 4 };
#endif
enum {
    GEMM_NR = 2 * VEC_LANES,
    /* Depth of a block: a panel of A stays in L1, one of B streams from L2. */
    GEMM_KC = (VEC_BYTES == 64 ? 3072 : 1536) / (int)sizeof(real)
};

/* Element (i, k) of panel p: at[p*panel + i*line + k*depth]. */
typedef struct gemm_side { const real *at; int64_t panel, line, depth; } gemm_side;

/* Copy lines [0, lines) x depth [0, kc) into panels of GEMM_MR (of A) or
 * GEMM_NR (of B) lines, the last one filled up with zeros; returns the packed
 * side.  `to` holds lines, rounded up to whole panels, times kc. */
gemm_side K(gemm_pack_a)(const gemm_side *a, int64_t lines, int64_t kc, real *to);
gemm_side K(gemm_pack_b)(const gemm_side *b, int64_t lines, int64_t kc, real *to);

/* c[i*ldc + j] = (add: itself plus) the sum over k < kc of A(i,k) B(k,j), k in
 * rising order.  kc = 0 writes zeros (or adds nothing).
 * a: packed, or in place with line or depth 1.  b: packed, or in place with
 * line 1 and cols a multiple of VEC_LANES; neither is read outside its lines.
 * rows_outer: the panel of A is kept while those of B pass, or the reverse. */
void K(gemm_block)(const gemm_side *a, const gemm_side *b, int64_t rows, int64_t cols, int64_t kc,
                   real *c, int64_t ldc, bool add, bool rows_outer);

/* The sum over k of x[k] y[k], each with unit stride, for four adjacent lines
 * y: out[i] for line i < lines <= 4. */
void K(gemm_dots)(const real *x, const real *y, int64_t line, int lines, int64_t kc, real out[4]);
#endif
