/* tile.h - small dense pieces for kernels that keep a tile of work in L1:
 * vectors of `real`, products of tiles, transposes.
 *
 * A tile product reads its left factor as scalars (any strides, so a transpose
 * is free there) and its right factor and result as rows of vectors.  Every
 * element of the result is one chain of fma over k in rising order, whatever
 * the blocking: cutting k into several calls gives the same bits. */
#ifndef GENET_DEVICE_CPU_TILE_H
#define GENET_DEVICE_CPU_TILE_H
#include "device/cpu/kernel.h"
#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

#define TILE_INLINE static inline __attribute__((always_inline, unused))
/* Before a loop of constant length whose vectors must stay in registers. */
#ifdef __clang__
#define TILE_UNROLL _Pragma("clang loop unroll(full)")
#else
#define TILE_UNROLL _Pragma("GCC unroll 16")
#endif

typedef real tile_vec __attribute__((vector_size(VEC_BYTES), may_alias));
typedef int tile_bits __attribute__((vector_size(VEC_BYTES)));
typedef real tile_vec_loose __attribute__((vector_size(VEC_BYTES), aligned(sizeof(real)), may_alias));

TILE_INLINE tile_vec tile_load(const real *p)            { return *(const tile_vec_loose *)p; }
TILE_INLINE void     tile_store(real *p, tile_vec x)     { *(tile_vec_loose *)p = x; }
TILE_INLINE tile_vec tile_splat(real x)                  { return x - (tile_vec){0}; }

/* a * b + c; rounded once where the instruction set has it. */
TILE_INLINE tile_vec tile_fma(tile_vec a, tile_vec b, tile_vec c)
{
#if defined(__AVX512F__)
    return _Generic((real)0, float: _mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c));
#elif defined(__FMA__)
    return _Generic((real)0, float: _mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c));
#else
    return a * b + c;
#endif
}

/* Lanes of a where the mask (of a comparison) is set, else of b. */
#define TILE_WHERE(mask, a, b) ((tile_vec)(((mask) & (__typeof__(mask))(a)) | (~(mask) & (__typeof__(mask))(b))))

/* The larger of each pair; b where a is no number. */
TILE_INLINE tile_vec tile_max(tile_vec a, tile_vec b)
{
#if defined(__AVX512F__)
    return (tile_vec)_mm512_max_ps((__m512)a, (__m512)b);
#else
    return TILE_WHERE(a > b, a, b);
#endif
}
#define TILE_ANY(mask) tile_any_bits((tile_bits)(mask))
TILE_INLINE bool tile_any_bits(tile_bits x)
{
#if defined(__AVX512F__)
    return _mm512_test_epi32_mask((__m512i)x, (__m512i)x) != 0;
#elif defined(__AVX2__)
    return !_mm256_testz_si256((__m256i)x, (__m256i)x);
#else
    return (x[0] | x[1] | x[2] | x[3]) != 0;
#endif
}

/* --- products --------------------------------------------------------------- */

/* Vectors in a row of a block, and rows for that width: enough independent
 * sums to hide the latency of fma, few enough to stay in registers. */
enum { TILE_WIDE = VEC_BYTES == 64 ? 4 : 2, TILE_ROWS_WIDE = 4, TILE_ROWS = VEC_BYTES == 64 ? 8 : 4 };

/* c (mr x nv vectors) = or += a (mr x n_k) b (n_k x nv vectors).  mr, nv and
 * add are constants where this is inlined. */
TILE_INLINE void tile_block(const int mr, const int nv, const bool add, int64_t n_k, const real *a, int64_t a_row,
                            int64_t a_k, const real *b, int64_t b_k, real *c, int64_t c_row)
{
    tile_vec sum[8][4];
    TILE_UNROLL for (int i = 0; i < mr; i++)
        TILE_UNROLL for (int j = 0; j < nv; j++)
            sum[i][j] = add ? tile_load(c + i * c_row + j * VEC_LANES) : (tile_vec){0};
    for (int64_t k = 0; k < n_k; k++, a += a_k, b += b_k) {
        tile_vec row[4];
        TILE_UNROLL for (int j = 0; j < nv; j++) row[j] = tile_load(b + j * VEC_LANES);
        TILE_UNROLL for (int i = 0; i < mr; i++) {
            tile_vec x = tile_splat(a[i * a_row]);
            TILE_UNROLL for (int j = 0; j < nv; j++) sum[i][j] = tile_fma(x, row[j], sum[i][j]);
        }
    }
    TILE_UNROLL for (int i = 0; i < mr; i++)
        TILE_UNROLL for (int j = 0; j < nv; j++) tile_store(c + i * c_row + j * VEC_LANES, sum[i][j]);
}

/* A column of blocks: m rows, nv vectors wide. */
#define TILE_COLUMN(name, mr, nv)                                                                           \
    static __attribute__((noinline, unused)) void name(int64_t m, int64_t n_k, const real *a, int64_t a_row, \
        int64_t a_k, const real *b, int64_t b_k, real *c, int64_t c_row, bool add)                          \
    {                                                                                                       \
        int64_t i = 0;                                                                                      \
        if (add) for (; i + mr <= m; i += mr)                                                               \
            tile_block(mr, nv, true, n_k, a + i * a_row, a_row, a_k, b, b_k, c + i * c_row, c_row);         \
        else for (; i + mr <= m; i += mr)                                                                   \
            tile_block(mr, nv, false, n_k, a + i * a_row, a_row, a_k, b, b_k, c + i * c_row, c_row);        \
        if (add) for (; i < m; i++)                                                                         \
            tile_block(1, nv, true, n_k, a + i * a_row, a_row, a_k, b, b_k, c + i * c_row, c_row);          \
        else for (; i < m; i++)                                                                             \
            tile_block(1, nv, false, n_k, a + i * a_row, a_row, a_k, b, b_k, c + i * c_row, c_row);         \
    }
TILE_COLUMN(tile_column_wide, TILE_ROWS_WIDE, TILE_WIDE)
TILE_COLUMN(tile_column_half, TILE_ROWS, TILE_WIDE / 2)
TILE_COLUMN(tile_column_one,  TILE_ROWS, 1)

/* The last columns, fewer than a vector, by way of a row on the side. */
static __attribute__((noinline, unused)) void tile_column_part(int64_t m, int64_t n, int64_t n_k, const real *a,
    int64_t a_row, int64_t a_k, const real *b, int64_t b_k, real *c, int64_t c_row, bool add)
{
    real part[VEC_LANES] = {0};
    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < n; j++) part[j] = add ? c[i * c_row + j] : 0;
        tile_block(1, 1, true, n_k, a + i * a_row, a_row, a_k, b, b_k, part, VEC_LANES);
        for (int64_t j = 0; j < n; j++) c[i * c_row + j] = part[j];
    }
}

/* C (m x n) = or += A (m x n_k) B (n_k x n).  a[i*a_row + k*a_k]; b[k*b_k + j]:
 * rows are read up to whole vectors; c[i*c_row + j]: only n columns written. */
static __attribute__((unused)) void tile_product(int64_t m, int64_t n, int64_t n_k, const real *a, int64_t a_row,
                                                 int64_t a_k, const real *b, int64_t b_k, real *c, int64_t c_row,
                                                 bool add)
{
    enum { WIDE = TILE_WIDE * VEC_LANES, HALF = WIDE / 2 };
    int64_t j = 0;
    for (; j + WIDE <= n; j += WIDE) tile_column_wide(m, n_k, a, a_row, a_k, b + j, b_k, c + j, c_row, add);
    for (; j + HALF <= n; j += HALF) tile_column_half(m, n_k, a, a_row, a_k, b + j, b_k, c + j, c_row, add);
    for (; j + VEC_LANES <= n; j += VEC_LANES)
        tile_column_one(m, n_k, a, a_row, a_k, b + j, b_k, c + j, c_row, add);
    if (j < n) tile_column_part(m, n - j, n_k, a, a_row, a_k, b + j, b_k, c + j, c_row, add);
}

/* --- rows -------------------------------------------------------------------- */

/* Lists of lanes for shuffles: f(0, d), f(1, d), ... */
#define TILE_LIST2(f, d)  f(0, d), f(1, d)
#define TILE_LIST4(f, d)  TILE_LIST2(f, d), f(2, d), f(3, d)
#define TILE_LIST8(f, d)  TILE_LIST4(f, d), f(4, d), f(5, d), f(6, d), f(7, d)
#define TILE_LIST16(f, d) TILE_LIST8(f, d), f(8, d), f(9, d), f(10, d), f(11, d), f(12, d), f(13, d), f(14, d), f(15, d)

/* The sum of all lanes, by halves. */
#define TILE_FOLD(l, d) ((l) ^ (d))
#define TILE_ADD_FOLDED(d, LIST) x += __builtin_shufflevector(x, x, LIST(TILE_FOLD, d));
TILE_INLINE real tile_sum_lanes(tile_vec x)
{
#if defined(__AVX512F__)
    TILE_ADD_FOLDED(8, TILE_LIST16) TILE_ADD_FOLDED(4, TILE_LIST16)
    TILE_ADD_FOLDED(2, TILE_LIST16) TILE_ADD_FOLDED(1, TILE_LIST16)
    return x[0];
#elif defined(__AVX2__)
    TILE_ADD_FOLDED(4, TILE_LIST8) TILE_ADD_FOLDED(2, TILE_LIST8) TILE_ADD_FOLDED(1, TILE_LIST8)
    return x[0];
#else
    real s = 0;
    for (int l = 0; l < VEC_LANES; l++) s += x[l];
    return s;
#endif
}

/* Inner product of two dense rows. */
TILE_INLINE real tile_dot(const real *a, const real *b, int64_t n)
{
    tile_vec s0 = {0}, s1 = {0};
    int64_t i = 0;
    for (; i + 2 * VEC_LANES <= n; i += 2 * VEC_LANES) {
        s0 = tile_fma(tile_load(a + i), tile_load(b + i), s0);
        s1 = tile_fma(tile_load(a + i + VEC_LANES), tile_load(b + i + VEC_LANES), s1);
    }
    for (; i + VEC_LANES <= n; i += VEC_LANES) s0 = tile_fma(tile_load(a + i), tile_load(b + i), s0);
    real s = 0;
    for (; i < n; i++) s += a[i] * b[i];
    return s + tile_sum_lanes(s0 + s1);
}

/* --- transposes ----------------------------------------------------------------
 * Lanes x lanes blocks in registers, by Eklundh's exchanges: at distance d the
 * lanes with bit d swap between rows i and i + d. */

#define TILE_LOW(l, d)    ((l) & (d) ? VEC_LANES + (l) - (d) : (l))
#define TILE_HIGH(l, d)   ((l) & (d) ? VEC_LANES + (l) : (l) + (d))

#define TILE_EXCHANGE(d, LIST)                                                      \
    TILE_UNROLL for (int i = 0; i < VEC_LANES; i++) {                               \
        if (i & (d)) continue;                                                      \
        tile_vec low = row[i], high = row[i + (d)];                                 \
        row[i]       = __builtin_shufflevector(low, high, LIST(TILE_LOW, d));       \
        row[i + (d)] = __builtin_shufflevector(low, high, LIST(TILE_HIGH, d));      \
    }

TILE_INLINE void tile_transpose_lanes(tile_vec row[VEC_LANES])
{
#if defined(__AVX512F__)
    TILE_EXCHANGE(8, TILE_LIST16)
    TILE_EXCHANGE(4, TILE_LIST16)
    TILE_EXCHANGE(2, TILE_LIST16)
    TILE_EXCHANGE(1, TILE_LIST16)
#elif defined(__AVX2__)
    TILE_EXCHANGE(4, TILE_LIST8)
    TILE_EXCHANGE(2, TILE_LIST8)
    TILE_EXCHANGE(1, TILE_LIST8)
#else
    for (int i = 0; i < VEC_LANES; i++)     /* few lanes: by hand */
        for (int j = i + 1; j < VEC_LANES; j++) {
            real x = row[i][j];
            row[i][j] = row[j][i];
            row[j][i] = x;
        }
#endif
}

/* to[j * to_row + i] = factor * from[i * from_row + j * from_column]
 * for i < m, j < n. */
static __attribute__((unused)) void tile_transpose(int64_t m, int64_t n, const real *from, int64_t from_row,
                                                   int64_t from_column, real factor, real *to, int64_t to_row)
{
    bool dense = from_column == 1;
    int64_t m_whole = dense ? m - m % VEC_LANES : 0, n_whole = n - n % VEC_LANES;
    for (int64_t i = 0; i < m_whole; i += VEC_LANES) {
        for (int64_t j = 0; j < n_whole; j += VEC_LANES) {
            tile_vec row[VEC_LANES];
            TILE_UNROLL for (int r = 0; r < VEC_LANES; r++) row[r] = factor * tile_load(from + (i + r) * from_row + j);
            tile_transpose_lanes(row);
            TILE_UNROLL for (int r = 0; r < VEC_LANES; r++) tile_store(to + (j + r) * to_row + i, row[r]);
        }
        for (int64_t j = n_whole; j < n; j++)
            for (int r = 0; r < VEC_LANES; r++) to[j * to_row + i + r] = factor * from[(i + r) * from_row + j];
    }
    for (int64_t i = m_whole; i < m; i++)
        for (int64_t j = 0; j < n; j++) to[j * to_row + i] = factor * from[i * from_row + j * from_column];
}
#endif
