/* gemm.h - the vector core: packing and the block kernel, on any instruction set.
 *
 * C (rows x cols) = A (rows x depth) B (depth x cols).  The five loops are
 * those of BLIS (Van Zee and van de Geijn 2015, ACM TOMS 41:3): the two inner
 * ones, over tiles of C that live in registers, stand in k_gemm.c; the outer
 * ones, which cut C and the depth into tasks, in k_matmul.c. */
#ifndef GENET_DEVICE_CPU_GEMM_H
#define GENET_DEVICE_CPU_GEMM_H
#include "device/cpu/gemm_core.h"

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

/* Packed elements are `real`, of any depth. */
extern const gemm_core K(gemm_vector);

/* A, packed or in place, with line or depth 1: element (i, k) of panel p is
 * at[p*panel + i*line + k*depth], i < height <= GEMM_MR. */
typedef struct gemm_side { const real *at; int64_t panel, line, depth; int height; } gemm_side;

/* B, packed, or in place: element (k, j) of panel p is at[p*panel + k*depth + j].
 * room: NULL, or B is in place, and the first panel of A packs each panel there,
 * one after the other, for those that follow; `after` is what will be read next.
 * In place without room: cols is a multiple of VEC_LANES. */
typedef struct gemm_b { const real *at; int64_t panel, depth; real *room; const char *after; } gemm_b;

/* As gemm_core.block.  kc = 0 writes zeros (or adds nothing); each element is a
 * sum over rising k.  No operand is read outside its lines.  With room: not
 * rows_outer. */
void K(gemm_block)(const gemm_side *a, const gemm_b *b, int64_t rows, int64_t cols, int64_t kc,
                   real *c, int64_t ldc, bool add, bool rows_outer);
#endif
