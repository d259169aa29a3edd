/* k_matvec.c - one row times a matrix (decoding): bound by memory, no packing.
 *
 * Where the columns of the matrix are adjacent, four of its rows a pass are
 * added to y; where its depth is, columns are dot products. */
#include "device/cpu/matvec.h"
#include "device/cpu/widen.h"
#if defined(__AVX512F__) || defined(__FMA__)
#include <immintrin.h>
#endif

enum { ROOM_REALS = (LOCAL_BYTES - EW_LOCAL_BYTES) / (int)sizeof(real) };

typedef real vec     __attribute__((vector_size(VEC_BYTES)));
typedef real vec_mem __attribute__((vector_size(VEC_BYTES), aligned(sizeof(real)), may_alias));

static inline vec load(const real *p) { return *(const vec_mem *)p; }

/* x * y + z in every lane; AVX builds are of float. */
static inline vec fma_lanes(vec x, vec y, vec z)
{
#if defined(__AVX512F__)
    return _mm512_fmadd_ps(x, y, z);
#elif defined(__FMA__)
    return _mm256_fmadd_ps(x, y, z);
#else
    return x * y + z;
#endif
}

static bool by_dots(const matvec *v) { return v->w.depth == 1 && (v->N == 1 || v->w.line != 1); }

bool K(matvec_takes)(const matvec *v)
{
    return v->rows == 1 && v->w.dtype == REAL_DTYPE && v->K <= ROOM_REALS && (v->w.line == 1 || v->w.depth == 1);
}

/* Long runs of memory, yet several tasks. */
int64_t K(matvec_columns)(const matvec *v)
{
    int64_t n = by_dots(v) ? 65536 / max_i64(v->K, 1) : v->N / 16;
    return min_i64(max_i64(n, by_dots(v) ? 8 : 128), 1024);
}

/* y = x B, B (K, n) with its rows in memory: four rows of B a pass over y. */
static void row_by_rows(const real *restrict x, const real *restrict b, int64_t stride, int64_t depth, int64_t n,
                        real *restrict y)
{
    int64_t k = 0;
    for (int64_t j = 0; j < n; j++) y[j] = 0;
    for (; k + 4 <= depth; k += 4) {
        const real *r0 = b + k * stride, *r1 = r0 + stride, *r2 = r1 + stride, *r3 = r2 + stride;
        real x0 = x[k], x1 = x[k + 1], x2 = x[k + 2], x3 = x[k + 3];
        for (int64_t j = 0; j < n; j++) y[j] += (x0 * r0[j] + x1 * r1[j]) + (x2 * r2[j] + x3 * r3[j]);
    }
    for (; k < depth; k++)
        for (int64_t j = 0; j < n; j++) y[j] += x[k] * b[k * stride + j];
}

/* The sum over k of x[k] y[k] for four adjacent lines y: out[i] for line
 * i < lines <= 4.  One vector of partial sums a line, added up in the order of
 * its lanes. */
static void dots(const real *x, const real *y, int64_t line, int lines, int64_t depth, real out[4])
{
    const real *at[4];
    for (int i = 0; i < 4; i++) at[i] = y + (i < lines ? i : 0) * line;
    vec sum[4] = { 0 };
    int64_t k = 0;
    for (; k + VEC_LANES <= depth; k += VEC_LANES)
        for (int i = 0; i < 4; i++) sum[i] = fma_lanes(load(x + k), load(at[i] + k), sum[i]);
    for (int i = 0; i < 4; i++) {
        real s = 0;
        for (int j = 0; j < VEC_LANES; j++) s += sum[i][j];
        for (int64_t j = k; j < depth; j++) s += x[j] * at[i][j];
        out[i] = s;
    }
}

static void row_by_dots(const real *x, const real *b, int64_t line, int64_t depth, int64_t n, real *y)
{
    for (int64_t j = 0; j < n; j += 4) {
        real sum[4];
        int lines = (int)min_i64(4, n - j);
        dots(x, b + j * line, line, lines, depth, sum);
        memcpy(y + j, sum, (size_t)lines * sizeof(real));
    }
}

void K(matvec_run)(const matvec *v, int64_t col, int64_t cols, char *room)
{
    const real *x = v->x, *w = (const real *)v->w.at + col * v->w.line;
    if (v->x_depth != 1 && v->K > 1) {
        real *dense = (real *)room;
        for (int64_t k = 0; k < v->K; k++) dense[k] = x[k * v->x_depth];
        x = dense;
    }
    if (by_dots(v)) row_by_dots(x, w, v->w.line, v->K, cols, v->y + col);
    else            row_by_rows(x, w, v->w.depth, v->K, cols, v->y + col);
}
