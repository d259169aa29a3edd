/* matvec.h - few rows times a matrix (decoding): bound by memory, so weights
 * are read once, in place, in the type they are stored in, several long runs
 * of memory at a time. */
#ifndef GENET_DEVICE_CPU_MATVEC_H
#define GENET_DEVICE_CPU_MATVEC_H
#include "device/cpu/gemm_core.h"

enum { MATVEC_ROWS = 8 };       /* taken at once, at most */

/* y (rows x N) = x (rows x K) w.  x: line n is row n; w: line n is column n;
 * y: rows ldy apart.  Every row has the bits that it has alone. */
typedef struct matvec {
    int64_t     rows, N, K;
    gemm_source x, w;
    real       *y;
    int64_t     ldy;
} matvec;

/* Does this file take such a product?  By shape, strides and types alone. */
bool K(matvec_takes)(const matvec *v);
/* Columns and depth that one task computes; by shape and type alone.  Where the
 * depth is less than K, all columns: parts of the depth are products that
 * matvec_sum adds up. */
int64_t K(matvec_columns)(const matvec *v);
int64_t K(matvec_depth)(const matvec *v);
/* Columns [col, col + cols).  room: LOCAL_BYTES - EW_LOCAL_BYTES, 64-byte aligned. */
void K(matvec_run)(const matvec *v, int64_t col, int64_t cols, char *room);
/* y[i] = the sum of part[i], part[step + i], ..., in order, for i < n. */
void K(matvec_sum)(const real *part, int64_t parts, int64_t step, int64_t n, real *y);

/* matvec_run where w is in blocks of QUANT_BLOCK; x is of `real`, depth any
 * stride.  (k_matvec_quant.c) */
void K(matvec_quant)(const matvec *v, int64_t col, int64_t cols, char *room);
/* Bytes of room that it needs. */
int64_t K(matvec_quant_room)(int64_t rows, int64_t depth);
#endif
