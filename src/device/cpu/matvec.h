/* matvec.h - few rows times a matrix (decoding): bound by memory, so weights
 * are read once, in place, in the type they are stored in. */
#ifndef GENET_DEVICE_CPU_MATVEC_H
#define GENET_DEVICE_CPU_MATVEC_H
#include "device/cpu/gemm_core.h"

enum { MATVEC_ROWS = 4 };       /* taken at once, at most */

/* y (rows x N) = x (rows x K) w.  w: line n is column n; x: depth any stride;
 * y: rows ldy apart. */
typedef struct matvec {
    int64_t     rows, N, K;
    const real *x;
    int64_t     x_line, x_depth;
    gemm_source w;
    real       *y;
    int64_t     ldy;
} matvec;

/* Does this file take such a product?  By shape, strides and types alone. */
bool K(matvec_takes)(const matvec *v);
/* Columns that one task computes; by shape alone. */
int64_t K(matvec_columns)(const matvec *v);
/* Columns [col, col + cols).  room: LOCAL_BYTES - EW_LOCAL_BYTES, 64-byte aligned. */
void K(matvec_run)(const matvec *v, int64_t col, int64_t cols, char *room);
#endif
