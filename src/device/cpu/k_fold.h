/* k_fold.h - sums and maxima in a fixed pattern, for kernels that reduce.
 *
 * Rows: a contiguous run is folded in blocks of FOLD_BLOCK elements by four
 * vector accumulators, blocks are joined pairwise (a cascade: the places of a
 * binary counter).  Columns: blocks of FOLD_ROWS rows are added vector by
 * vector, and joined the same way.  So the error of a sum grows with the
 * logarithm of its length (Higham 1993, "The accuracy of floating point
 * summation", section 4), and its bits depend on the length alone.
 *
 * `fold` is always a constant, so that each caller compiles to its own loop. */
#ifndef GENET_DEVICE_CPU_K_FOLD_H
#define GENET_DEVICE_CPU_K_FOLD_H
#include "device/cpu/kernel.h"

/* What is folded, from a[i], b[i] and the number c. */
enum fold {
    FOLD_SUM,           /* a */
    FOLD_DOT,           /* a b */
    FOLD_DEVIATION2,    /* (a - c)^2 */
    FOLD_DOT_DEVIATION, /* b (a - c) */
    FOLD_MAX            /* max a; NaN wins */
};

enum { FOLD_BLOCK = 128 * VEC_LANES, FOLD_ROWS = 32, FOLD_LEVELS = 48, FOLD_TILE = 128 };

#define INLINE static inline __attribute__((always_inline))

/* Vectors of each width this build has, and two of them joined. */
#define FOLD_VECTOR(bytes)                                                                  \
    typedef real v##bytes __attribute__((vector_size(bytes), aligned(sizeof(real))));       \
    typedef __typeof__((v##bytes){0} > (v##bytes){0}) m##bytes;                             \
    INLINE v##bytes join##bytes(enum fold fold, v##bytes a, v##bytes b)                     \
    {                                                                                       \
        if (fold != FOLD_MAX) return a + b;                                                 \
        m##bytes first = (a > b) | (a != a);                                                \
        return (v##bytes)((first & (m##bytes)a) | (~first & (m##bytes)b));                  \
    }
FOLD_VECTOR(16)
#if defined(__AVX2__)
FOLD_VECTOR(32)
#endif
#if defined(__AVX512F__)
FOLD_VECTOR(64)
typedef v64 vec;
typedef m64 vec_mask;
#define fold_join join64
#elif defined(__AVX2__)
typedef v32 vec;
typedef m32 vec_mask;
#define fold_join join32
#else
typedef v16 vec;
typedef m16 vec_mask;
#define fold_join join16
#endif

INLINE real fold_identity(enum fold fold) { return fold == FOLD_MAX ? -(real)INFINITY : 0; }
INLINE real fold_two(enum fold fold, real a, real b)
{
    return fold != FOLD_MAX ? a + b : a > b || a != a ? a : b;
}

/* All lanes joined, halves first. */
INLINE real fold_lanes(enum fold fold, vec v)
{
    enum { HALF = 8 / (int)sizeof(real) };
#if defined(__AVX512F__)
    typedef long long q64 __attribute__((vector_size(64)));
    v32 v2 = join32(fold, (v32)__builtin_shufflevector((q64)v, (q64)v, 0, 1, 2, 3),
                          (v32)__builtin_shufflevector((q64)v, (q64)v, 4, 5, 6, 7));
#elif defined(__AVX2__)
    v32 v2 = v;
#endif
#if defined(__AVX2__)
    typedef long long q32 __attribute__((vector_size(32)));
    v16 v1 = join16(fold, (v16)__builtin_shufflevector((q32)v2, (q32)v2, 0, 1),
                          (v16)__builtin_shufflevector((q32)v2, (q32)v2, 2, 3));
#else
    v16 v1 = v;
#endif
    real a = fold_two(fold, v1[0], v1[HALF]), b = fold_two(fold, v1[HALF - 1], v1[2 * HALF - 1]);
    return HALF == 1 ? a : fold_two(fold, a, b);
}

INLINE vec fold_term(enum fold fold, const real *a, const real *b, real c)
{
    vec x = *(const vec *)a;
    if (fold == FOLD_DOT) return x * *(const vec *)b;
    if (fold == FOLD_DEVIATION2) return (x - c) * (x - c);
    if (fold == FOLD_DOT_DEVIATION) return *(const vec *)b * (x - c);
    return x;
}
INLINE real fold_term1(enum fold fold, real a, real b, real c)
{
    if (fold == FOLD_DOT) return a * b;
    if (fold == FOLD_DEVIATION2) return (a - c) * (a - c);
    if (fold == FOLD_DOT_DEVIATION) return b * (a - c);
    return a;
}

/* n <= FOLD_BLOCK elements.  The last vector overlaps the one before it; its
 * lanes that were already taken are replaced by the identity. */
INLINE real fold_block(enum fold fold, const real *a, const real *b, real c, int64_t n)
{
    enum { L = VEC_LANES };
    const real none = fold_identity(fold);
    if (n < L) {
        real few = none;
        for (int64_t i = 0; i < n; i++) few = fold_two(fold, few, fold_term1(fold, a[i], b[i], c));
        return few;
    }
    vec s[4];
    int64_t i = 0;
    for (int k = 0; k < 4; k++) s[k] = (vec){0} + none;
    for (; i + 4 * L <= n; i += 4 * L)
        for (int k = 0; k < 4; k++)
            s[k] = fold_join(fold, s[k], fold_term(fold, a + i + k * L, b + i + k * L, c));
    for (; i + L <= n; i += L) s[0] = fold_join(fold, s[0], fold_term(fold, a + i, b + i, c));
    if (i < n) {
        vec_mask lane;
        for (int j = 0; j < L; j++) lane[j] = j;
        __typeof__(lane[0]) taken = (__typeof__(lane[0]))(L - (n - i));
        vec_mask fresh = lane >= taken;
        vec t = fold_term(fold, a + n - L, b + n - L, c), rest = (vec){0} + none;
        s[1] = fold_join(fold, s[1], (vec)((fresh & (vec_mask)t) | (~fresh & (vec_mask)rest)));
    }
    return fold_lanes(fold, fold_join(fold, fold_join(fold, s[0], s[1]), fold_join(fold, s[2], s[3])));
}

/* Numbers joined pairwise as they come: at[] holds the sums of runs whose
 * lengths are the binary digits of count. */
typedef struct cascade { int n; uint64_t count; real at[FOLD_LEVELS]; } cascade;

INLINE void cascade_push(enum fold fold, cascade *s, real x)
{
    s->at[s->n++] = x;
    for (uint64_t c = ++s->count; !(c & 1); c >>= 1, s->n--)
        s->at[s->n - 2] = fold_two(fold, s->at[s->n - 2], s->at[s->n - 1]);
}
INLINE real cascade_end(enum fold fold, cascade *s)
{
    real x = s->n ? s->at[s->n - 1] : fold_identity(fold);
    for (int i = s->n - 2; i >= 0; i--) x = fold_two(fold, s->at[i], x);
    return x;
}

/* A contiguous row of any length; b may be a when it is not used. */
INLINE real fold_row(enum fold fold, const real *a, const real *b, real c, int64_t n)
{
    if (n <= FOLD_BLOCK) return fold_block(fold, a, b, c, n);
    cascade s;
    s.n = 0, s.count = 0;
    for (int64_t i = 0; i < n; i += FOLD_BLOCK)
        cascade_push(fold, &s, fold_block(fold, a + i, b + i, c, min_i64(FOLD_BLOCK, n - i)));
    return cascade_end(fold, &s);
}

/* --- columns -----------------------------------------------------------------
 * The rows of a column sum: every index of n dimensions, the last fastest. */
typedef struct fold_lines { int n; int64_t dim[MAX_DIM], stride[MAX_DIM]; } fold_lines;

/* Where row r begins. */
INLINE int64_t fold_line(const fold_lines *l, int64_t r)
{
    int64_t at = 0;
    for (int i = l->n - 1; i > 0; i--) {
        at += r % l->dim[i] * l->stride[i];
        r /= l->dim[i];
    }
    return at + r * l->stride[0];
}

/* Pointers to up to FOLD_ROWS rows of x from row r on. */
static inline void fold_pointers(const fold_lines *l, const real *x, int64_t r, int64_t n, const real **row)
{
    int64_t inner = l->dim[l->n - 1], step = l->stride[l->n - 1];
    for (int64_t i = 0; i < n; ) {
        const real *p = x + fold_line(l, r + i);
        int64_t run = min_i64(n - i, inner - (r + i) % inner);
        for (int64_t j = 0; j < run; j++) row[i + j] = p + j * step;
        i += run;
    }
}

/* out[c] = fold over n >= 1 rows, c < width. */
INLINE void fold_rows(enum fold fold, const real *const *row, int64_t n, int64_t width, real *out)
{
    enum { L = VEC_LANES };
    int64_t c = 0;
    for (; c + 4 * L <= width; c += 4 * L) {
        vec s[4];
        for (int k = 0; k < 4; k++) s[k] = *(const vec *)(row[0] + c + k * L);
        for (int64_t r = 1; r < n; r++)
            for (int k = 0; k < 4; k++) s[k] = fold_join(fold, s[k], *(const vec *)(row[r] + c + k * L));
        for (int k = 0; k < 4; k++) *(vec *)(out + c + k * L) = s[k];
    }
    for (; c + L <= width; c += L) {
        vec s = *(const vec *)(row[0] + c);
        for (int64_t r = 1; r < n; r++) s = fold_join(fold, s, *(const vec *)(row[r] + c));
        *(vec *)(out + c) = s;
    }
    for (; c < width; c++) {
        real s = row[0][c];
        for (int64_t r = 1; r < n; r++) s = fold_two(fold, s, row[r][c]);
        out[c] = s;
    }
}

/* out[c] = fold over rows r0 <= r < r1 of column c of x, c < width <=
 * FOLD_TILE.  local: FOLD_LEVELS * FOLD_TILE reals. */
INLINE void fold_columns(enum fold fold, const fold_lines *l, const real *x, int64_t r0, int64_t r1,
                         int64_t width, real *out, real *local)
{
    const real *row[FOLD_ROWS];
    int64_t n = 0;
    uint64_t count = 0;
    if (r1 - r0 <= FOLD_ROWS && r1 > r0) {
        fold_pointers(l, x, r0, r1 - r0, row);
        fold_rows(fold, row, r1 - r0, width, out);
        return;
    }
    for (int64_t r = r0; r < r1; r += FOLD_ROWS) {
        int64_t m = min_i64(FOLD_ROWS, r1 - r);
        fold_pointers(l, x, r, m, row);
        fold_rows(fold, row, m, width, local + n++ * FOLD_TILE);
        for (uint64_t c = ++count; !(c & 1); c >>= 1, n--) {
            const real *two[] = { local + (n - 2) * FOLD_TILE, local + (n - 1) * FOLD_TILE };
            fold_rows(fold, two, 2, width, local + (n - 2) * FOLD_TILE);
        }
    }
    for (; n > 1; n--) {
        const real *two[] = { local + (n - 2) * FOLD_TILE, local + (n - 1) * FOLD_TILE };
        fold_rows(fold, two, 2, width, local + (n - 2) * FOLD_TILE);
    }
    for (int64_t c = 0; c < width; c++) out[c] = n ? local[c] : fold_identity(fold);
}
#endif
