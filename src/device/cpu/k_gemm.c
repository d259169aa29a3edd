/* k_gemm.c - the vector core of matrix products: packing and the block kernel.
 *
 * The tile kernel is one function body in vector extensions, instantiated for
 * every height 1 .. GEMM_MR and both widths, so that edges cost what they
 * compute.  It is the place where multiply and add may contract: it asks for
 * the fused form by name where there is one.  Each element of C is a sum over
 * rising k whatever its tile's shape, so no cut of C changes a bit. */
#include "base/quant.h"
#include "device/cpu/gemm.h"
#include "device/cpu/lanes.h"
#include "device/cpu/widen.h"

typedef real four     __attribute__((vector_size(4 * sizeof(real))));
typedef real four_mem __attribute__((vector_size(4 * sizeof(real)), aligned(sizeof(real)), may_alias));

/* --- packing ------------------------------------------------------------------- */

/* Runs of memory that packing fetches ahead. */
enum { RUNS_AHEAD = 6 };

INLINE void copy_run(const int width, real *to, const real *from)
{
#if defined(__AVX512F__)
    __mmask16 rest = (__mmask16)((1u << width % VEC_LANES) - 1);
    int i = 0;
    for (; i + VEC_LANES <= width; i += VEC_LANES) store(to + i, load(from + i));
    if (rest) _mm512_mask_storeu_ps(to + i, rest, _mm512_maskz_loadu_ps(rest, from + i));
#else
    memcpy(to, from, (size_t)width * sizeof(real));
#endif
}

/* Lines adjacent in memory (line 1): copies, several panels a pass, so that
 * memory is read in long runs. */
INLINE void pack_runs(const int width, const gemm_side *s, int64_t lines, int64_t kc, real *to)
{
    int64_t whole = lines / width;
    for (int64_t k = 0; k < kc; k++) {
        const real *run = s->at + k * s->depth;
        for (int64_t i = 0; i < lines; i += VEC_LANES) __builtin_prefetch(run + RUNS_AHEAD * s->depth + i);
        for (int64_t p = 0; p < whole; p++) copy_run(width, to + (p * kc + k) * width, run + p * width);
    }
    int rest = (int)(lines - whole * width);
    for (int64_t k = 0; rest && k < kc; k++)
        for (int i = 0; i < width; i++)
            to[(whole * kc + k) * width + i] = i < rest ? s->at[k * s->depth + whole * width + i] : 0;
}

/* Four lines with depth 1, four elements deep at a time: 4 x 4 transposes.
 * The rest of the depth one by one. */
INLINE void transpose_four(const real *from, int64_t line, int64_t kc, real *to, const int width)
{
    int64_t k = 0;
    for (; k + 4 <= kc; k += 4) {
        four r0 = *(const four_mem *)(from + k),            r1 = *(const four_mem *)(from + line + k);
        four r2 = *(const four_mem *)(from + 2 * line + k), r3 = *(const four_mem *)(from + 3 * line + k);
        four lo0 = __builtin_shufflevector(r0, r1, 0, 4, 1, 5), hi0 = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
        four lo1 = __builtin_shufflevector(r2, r3, 0, 4, 1, 5), hi1 = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
        real *t = to + k * width;
        *(four_mem *)t               = __builtin_shufflevector(lo0, lo1, 0, 1, 4, 5);
        *(four_mem *)(t + width)     = __builtin_shufflevector(lo0, lo1, 2, 3, 6, 7);
        *(four_mem *)(t + 2 * width) = __builtin_shufflevector(hi0, hi1, 0, 1, 4, 5);
        *(four_mem *)(t + 3 * width) = __builtin_shufflevector(hi0, hi1, 2, 3, 6, 7);
    }
    for (; k < kc; k++)
        for (int i = 0; i < 4; i++) to[k * width + i] = from[i * line + k];
}

/* One panel of n <= width lines, any strides.  Transposing writes a few lanes
 * of every row at a time: in stretches of depth that stay in L1. */
INLINE void pack_panel(const int width, const real *from, const gemm_side *s, int n, int64_t kc, real *to)
{
    enum { STRETCH = 64 };
    int fours = s->depth == 1 ? n / 4 * 4 : 0;
    for (int64_t k = 0; k < kc; k += STRETCH)
        for (int i = 0; i < fours; i += 4)
            transpose_four(from + i * s->line + k, s->line, min_i64(STRETCH, kc - k), to + k * width + i, width);
    for (int64_t k = 0; fours < width && k < kc; k++) {
        for (int i = fours; i < n; i++) to[k * width + i] = from[i * s->line + k * s->depth];
        for (int i = n; i < width; i++) to[k * width + i] = 0;
    }
}

/* Panels of `real` as it lies. */
INLINE void pack_real(const int width, const gemm_side *s, int64_t lines, int64_t kc, real *to)
{
    if (s->line == 1)
        pack_runs(width, s, lines, kc, to);
    else
        for (int64_t i = 0; i < lines; i += width)
            pack_panel(width, s->at + i * s->line, s, (int)min_i64(lines - i, width), kc, to + i * kc);
}

/* One panel of n <= width lines of a stored type, adjacent (line 1) or not:
 * then they are widened in stretches, and transposed from there. */
INLINE void pack_widened(const int width, const gemm_source *s, int64_t first, int n, int64_t kc, real *to)
{
    enum { STRETCH = 2 * QUANT_BLOCK };
    if (s->line == 1) {
        for (int64_t k = 0; k < kc; k++, to += width) {
            K(widen)(s->at, s->dtype, first + k * s->depth, 1, n, to);
            for (int i = n; i < width; i++) to[i] = 0;
        }
        return;
    }
    real wide[GEMM_NR * STRETCH];
    for (int64_t k = 0; k < kc; k += STRETCH) {
        int64_t deep = min_i64(STRETCH, kc - k);
        for (int i = 0; i < n; i++)
            K(widen)(s->at, s->dtype, (first + i) * s->line + k * s->depth, s->depth, deep, wide + i * STRETCH);
        gemm_side side = { wide, 0, STRETCH, 1, 0 };
        pack_panel(width, wide, &side, n, deep, to + k * width);
    }
}

INLINE void pack(const int width, const gemm_source *s, int64_t lines, int64_t kc, real *to)
{
    gemm_side side = { (const real *)s->at, 0, s->line, s->depth, 0 };
    if (s->dtype == REAL_DTYPE)
        pack_real(width, &side, lines, kc, to);
    else
        for (int64_t i = 0; i < lines; i += width)
            pack_widened(width, s, i, (int)min_i64(lines - i, width), kc, to + i * kc);
}

static void pack_a(const gemm_source *a, int64_t lines, int64_t kc, void *to) { pack(GEMM_MR, a, lines, kc, to); }
static void pack_b(const gemm_source *b, int64_t lines, int64_t kc, void *to) { pack(GEMM_NR, b, lines, kc, to); }

/* --- the tile kernel ----------------------------------------------------------- */

/* Steps of depth that packed panels are fetched ahead: they stream from L2,
 * and its latency is that of ten steps. */
enum { AHEAD = 16, FRESH_AHEAD = 8, CACHE_LINE = 64 };

/* Memory that will be read soon: a cache line is brought to L2 at each step of depth. */
typedef struct ahead { const char *at; int64_t step; } ahead;

/* m x (nv vectors) of C, all in registers.  The lines of A hang on three base
 * pointers, five each, so that their addresses need few registers: base plus
 * 0, 1, 2, 3 or 4 lines.  fresh: b is where B lies, unpacked, and what is read
 * of it is kept, packed. */
INLINE void tile(const int m, const int nv, const bool packed, const bool fresh, int64_t kc, const real *a,
                 int64_t line, int64_t a_depth, const real *b, int64_t b_depth, real *keep,
                 real *c, int64_t ldc, bool add, ahead next)
{
    const real *base[3] = { a, m > 5 ? a + 5 * line : a, m > 10 ? a + 10 * line : a };
    vec sum[GEMM_MR][2];
    UNROLL
    for (int i = 0; i < m; i++) sum[i][0] = sum[i][1] = (vec){ 0 };
    UNROLL
    for (int i = 0; i < m; i++) {
        __builtin_prefetch(c + i * ldc, 1);
        __builtin_prefetch(c + i * ldc + nv * VEC_LANES - 1, 1);
    }
    ROLLED
    for (int64_t k = 0; k < kc; k++) {
        vec b0 = load(b), b1 = nv == 2 ? load(b + VEC_LANES) : b0;
        const real *soon = b + (fresh ? FRESH_AHEAD : AHEAD) * b_depth;
        __builtin_prefetch(soon);
        if (nv == 2 && VEC_BYTES == 64) __builtin_prefetch(soon + VEC_LANES);
        if (packed) __builtin_prefetch(base[0] + AHEAD * a_depth);
        __builtin_prefetch(next.at, 0, 2);
        if (fresh) {
            store(keep, b0);
            store(keep + VEC_LANES, b1);
            keep += GEMM_NR;
        }
        next.at += next.step;
        UNROLL
        for (int i = 0; i < m; i++) {
            vec x = all_lanes(base[i / 5][i % 5 * line]);
            sum[i][0] = fma_lanes(x, b0, sum[i][0]);
            if (nv == 2) sum[i][1] = fma_lanes(x, b1, sum[i][1]);
        }
        for (int i = 0; i < 3; i++) base[i] += a_depth;
        b += b_depth;
    }
    UNROLL
    for (int i = 0; i < m; i++, c += ldc)
        for (int j = 0; j < nv; j++) {
            real *p = c + j * VEC_LANES;
            store(p, add ? load(p) + sum[i][j] : sum[i][j]);
        }
}

typedef void tile_fn(int64_t kc, const real *a, int64_t line, int64_t a_depth, const real *b, int64_t b_depth,
                     real *keep, real *c, int64_t ldc, bool add, ahead next);

/* NAME_M_V: A is packed (line 1), or lies in memory by rows (depth 1). */
#define ONE_TILE(name, m, nv, packed, fresh, line, a_depth)                                              \
    static void name##_##m##_##nv(int64_t kc, const real *a, int64_t a_line, int64_t deep,               \
                                  const real *b, int64_t b_depth, real *keep,                            \
                                  real *c, int64_t ldc, bool add, ahead next)                            \
    {                                                                                                    \
        (void)a_line, (void)deep;                                                                        \
        tile(m, nv, packed, fresh, kc, a, line, a_depth, b, b_depth, keep, c, ldc, add, next);           \
    }
#define TILE(m, nv)  ONE_TILE(packed, m, nv, true, false, 1, deep) ONE_TILE(rows, m, nv, false, false, a_line, 1)
#define FRESH(m, nv) \
    ONE_TILE(packed_fresh, m, nv, true, true, 1, deep) ONE_TILE(rows_fresh, m, nv, false, true, a_line, 1)
#if defined(__AVX512F__)
#define HEIGHTS(X, x) X(1, x) X(2, x) X(3, x) X(4, x) X(5, x) X(6, x) X(7, x) X(8, x) X(9, x) X(10, x) \
                      X(11, x) X(12, x) X(13, x) X(14, x)
#elif defined(__AVX2__)
#define HEIGHTS(X, x) X(1, x) X(2, x) X(3, x) X(4, x) X(5, x) X(6, x)
#else
#define HEIGHTS(X, x) X(1, x) X(2, x) X(3, x) X(4, x)
#endif
HEIGHTS(TILE, 1)
HEIGHTS(TILE, 2)
HEIGHTS(FRESH, 2)

#define PACKED(m, nv)       packed_##m##_##nv,
#define ROWS(m, nv)         rows_##m##_##nv,
#define PACKED_FRESH(m, nv) packed_fresh_##m##_##nv,
#define ROWS_FRESH(m, nv)   rows_fresh_##m##_##nv,
/* [0: line 1, 1: depth 1][vectors - 1; 2: fresh][height - 1] */
static tile_fn *const tile_table[2][3][GEMM_MR] = {
    { { HEIGHTS(PACKED, 1) }, { HEIGHTS(PACKED, 2) }, { HEIGHTS(PACKED_FRESH, 2) } },
    { { HEIGHTS(ROWS, 1) },   { HEIGHTS(ROWS, 2) },   { HEIGHTS(ROWS_FRESH, 2) } }
};

/* c (m x n) = (add: itself plus) whole, whose rows are GEMM_NR long. */
INLINE void put(const real *whole, int m, int n, real *c, int64_t ldc, bool add)
{
#if defined(__AVX512F__)
    __mmask16 m0 = (__mmask16)(n >= 16 ? 0xffff : (1u << n) - 1), m1 = (__mmask16)(n > 16 ? (1u << (n - 16)) - 1 : 0);
    for (int i = 0; i < m; i++, c += ldc, whole += GEMM_NR) {
        vec w0 = load(whole), w1 = load(whole + VEC_LANES);
        if (add) w0 += _mm512_maskz_loadu_ps(m0, c), w1 += _mm512_maskz_loadu_ps(m1, c + VEC_LANES);
        _mm512_mask_storeu_ps(c, m0, w0);
        _mm512_mask_storeu_ps(c + VEC_LANES, m1, w1);
    }
#else
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++)
            c[i * ldc + j] = add ? c[i * ldc + j] + whole[i * GEMM_NR + j] : whole[i * GEMM_NR + j];
#endif
}

/* A tile m x n of C; one whose width is not whole vectors goes by way of a
 * buffer, so nothing outside C is touched. */
INLINE void tile_of_any_width(const gemm_side *a, const real *a_at, const real *b, int64_t b_depth, int m, int n,
                              int64_t kc, real *c, int64_t ldc, bool add, ahead next)
{
    int nv = n > VEC_LANES ? 2 : 1;
    tile_fn *f = tile_table[a->line != 1][nv - 1][m - 1];
    if (n == nv * VEC_LANES) {
        f(kc, a_at, a->line, a->depth, b, b_depth, NULL, c, ldc, add, next);
        return;
    }
    real whole[GEMM_MR * GEMM_NR] __attribute__((aligned(VEC_BYTES)));
    f(kc, a_at, a->line, a->depth, b, b_depth, NULL, whole, GEMM_NR, false, next);
    put(whole, m, n, c, ldc, add);
}

/* The first tile of a panel of B, m x n, packs it. */
static void fresh_tile(const gemm_side *a, const real *a_at, const gemm_b *b, const real *b_at, int m, int n,
                       int64_t kc, real *c, int64_t ldc, bool add, ahead next)
{
    if (n == GEMM_NR) {
        tile_table[a->line != 1][2][m - 1](kc, a_at, a->line, a->depth, b_at, b->depth, b->room, c, ldc, add, next);
        return;
    }
    gemm_side side = { b_at, 0, 1, b->depth, 0 };
    pack_real(GEMM_NR, &side, n, kc, b->room);
    tile_of_any_width(a, a_at, b->room, GEMM_NR, m, n, kc, c, ldc, add, next);
}

/* What the p-th tile of a panel of B fetches: a cache line of each step of the
 * panel that follows, which is not aligned. */
static ahead following(const gemm_b *b, bool last, const real *b_at, int64_t p)
{
    const char *at = last ? b->after : (const char *)(b_at + b->panel);
    bool within = p * CACHE_LINE <= GEMM_NR * (int64_t)sizeof(real);
    return (ahead){ within ? at + p * CACHE_LINE : at, within ? b->depth * (int64_t)sizeof(real) : 0 };
}

void K(gemm_block)(const gemm_side *a, const gemm_b *b, int64_t rows, int64_t cols, int64_t kc,
                   real *c, int64_t ldc, bool add, bool rows_outer)
{
    assert(a->line == 1 || a->depth == 1);
    assert(!b->room || !rows_outer);
    int64_t n_a = ceil_div(rows, a->height), n_b = ceil_div(cols, GEMM_NR);
    int64_t n_outer = rows_outer ? n_a : n_b, n_inner = rows_outer ? n_b : n_a;
    int64_t kept_panel = rows_outer ? a->panel : b->panel;
    const real *kept = rows_outer ? a->at : b->at;      /* its next panel comes from L3 or memory */
    for (int64_t outer = 0; outer < n_outer; outer++)
        for (int64_t inner = 0; inner < n_inner; inner++) {
            int64_t p = rows_outer ? outer : inner, q = rows_outer ? inner : outer;
            int64_t row = p * a->height, col = q * GEMM_NR;
            int m = (int)min_i64(rows - row, a->height), n = (int)min_i64(cols - col, GEMM_NR);
            const real *a_at = a->at + p * a->panel, *b_at = b->at + q * b->panel;
            real *to = c + row * ldc + col;
            ahead next = { (const char *)(kept + (outer + 1) * kept_panel) + inner * kc * CACHE_LINE, CACHE_LINE };
            if (b->room) next = following(b, q + 1 == n_b, b_at, p);
            if (b->room && p == 0) fresh_tile(a, a_at, b, b_at, m, n, kc, to, ldc, add, next);
            else tile_of_any_width(a, a_at, b->room ? b->room : b_at, b->room ? GEMM_NR : b->depth, m, n, kc,
                                   to, ldc, add, next);
        }
}

/* --- the core ------------------------------------------------------------------- */

static void block(const void *a, const void *b, int64_t rows, int64_t cols, int64_t kc,
                  real *c, int64_t ldc, bool add, bool rows_outer)
{
    gemm_side sa = { a, GEMM_MR * kc, 1, GEMM_MR, GEMM_MR };
    gemm_b sb = { b, GEMM_NR * kc, GEMM_NR, NULL, NULL };
    K(gemm_block)(&sa, &sb, rows, cols, kc, c, ldc, add, rows_outer);
}

const gemm_core K(gemm_vector) = {
    .mr = GEMM_MR, .nr = GEMM_NR, .unit = 1, .kc = GEMM_KC, .a_bytes = sizeof(real), .b_bytes = sizeof(real),
    .pack_a = pack_a, .pack_b = pack_b, .block = block
};
