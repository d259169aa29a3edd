/* k_gemm_amx.c - the core of matrix products on tile registers (AMX).
 *
 * Tile products take bf16 and sum in f32, at 15 times the rate of f32
 * multiply-adds, so wider operands are written as sums of bf16 PARTS: an f32 is
 * exactly h + m + l, each the rest rounded to 8 bits, |m| <= 2^-8 |x| and
 * |l| <= 2^-16 |x|; an f16 is h + m.  A product is the sum of those products of
 * parts that matter (Henry, Tang and Heinecke 2019, arXiv:1904.06376): of two
 * f32 hh, hm, mh, mm, hl, lh, all but ml, lm and ll, which f32 could not hold.
 * Beside an f16, of 11 bits itself, f32 is h + m, rounded, and the terms are hh,
 * hm, mh: what is left out is below 2^-16.  Beside quantised weights all is one
 * part: an error of 2^-9 is below that of their blocks, and below that of the
 * int8 to which k_matvec_quant.c rounds the other side.
 *
 * Sums are as the instruction makes them: 32 products in two chains, then added
 * to C; so C is rounded 6/32 times a product, and the error is below that of
 * multiply-adds.  It takes what is below 2^-126 as zero, in operands (parts of
 * small numbers) and results.  Finite operands have finite parts; where an
 * infinity or a NaN goes in, NaN or an infinity comes out.
 *
 * A step of the depth is 32; pair p of a step is depths p and p + 16, in both
 * operands, because vectors that lie in memory make it by a shift and a blend. */
#include "device/cpu/gemm_core.h"
#if defined(__AMX_TILE__) && defined(__AMX_BF16__) && defined(__AVX512BF16__)
#include <immintrin.h>
#include "base/half.h"
#include "base/quant.h"

#define INLINE static inline __attribute__((always_inline))
/* Tile instructions read and write memory without the compiler's knowing. */
#define FENCE() __asm__ volatile("" ::: "memory")

enum {
    LINES = 16,                 /* of a tile: rows of A, columns of B */
    PANEL = 2 * LINES,          /* C is made in blocks of 2 x 2 tiles */
    STEP = 32,                  /* depth of a tile */
    TILE_BYTES = 1024,
    PART_BYTES = 2 * TILE_BYTES,    /* a step of a panel: parts of two tiles each */
    KC = 384,
    STEPS_AHEAD = 2,            /* what is packed then is fetched now */
    L1_BYTES = 24 << 10         /* of a panel that stays there while the other operand's pass */
};

/* --- parts ------------------------------------------------------------------------- */

INLINE __m512i bits(__m512 x) { return _mm512_castps_si512(x); }

/* (low halves of the dwords: the high halves of x, high halves: of y) */
INLINE __m512i pair_up(__m512i x, __m512i y)
{
    return _mm512_mask_blend_epi16(0xaaaaaaaau, _mm512_srli_epi32(x, 16), y);
}

/* The nearest bf16, as dwords whose high half counts; halves go up, so that it
 * takes one addition.  FLT_MAX goes down, so does an infinity. */
INLINE __m512i round_first(__m512 x)
{
    const __m512 most = _mm512_castsi512_ps(_mm512_set1_epi32(0x7f7f7fff));
    return _mm512_add_epi32(bits(_mm512_range_ps(x, most, 2)), _mm512_set1_epi32(0x8000));
}
INLINE __m512i round_next(__m512 x) { return _mm512_add_epi32(bits(x), _mm512_set1_epi32(0x8000)); }

INLINE __m512 rest(__m512 x, __m512i part)
{
    return _mm512_sub_ps(x, _mm512_castsi512_ps(_mm512_and_si512(part, _mm512_set1_epi32((int)0xffff0000u))));
}

/* The pairs of the last part.  exact: nothing is lost by cutting it off; else it is
 * rounded (as the only part, what is above bf16's largest becomes infinite). */
INLINE __m512i last_pairs(__m512 x, __m512 y, const bool exact)
{
    if (exact) return pair_up(bits(x), bits(y));
    const __m512i interleave = _mm512_set_epi32(0x1f000f, 0x1e000e, 0x1d000d, 0x1c000c, 0x1b000b, 0x1a000a, 0x190009,
        0x180008, 0x170007, 0x160006, 0x150005, 0x140004, 0x130003, 0x120002, 0x110001, 0x100000);
    return _mm512_permutexvar_epi16(interleave, (__m512i)_mm512_cvtne2ps_pbh(y, x));
}

/* The pairs of x and y, part after part, PART_BYTES apart. */
INLINE void split(__m512 x, __m512 y, const int parts, const bool exact, char *to)
{
    for (int part = 0; part < parts - 1; part++, to += PART_BYTES) {
        __m512i u = part ? round_next(x) : round_first(x), v = part ? round_next(y) : round_first(y);
        _mm512_store_si512(to, pair_up(u, v));
        x = rest(x, u), y = rest(y, v);
    }
    _mm512_store_si512(to, last_pairs(x, y, exact));
}

/* --- elements from memory ------------------------------------------------------------- */

/* The first n of 16 elements, `step` apart, as f32; zeros after them. */
INLINE __m512 load_some(const char *at, const dtype t, int64_t step, int n)
{
    if (n <= 0) return _mm512_setzero_ps();
    __mmask16 m = (__mmask16)((1u << n) - 1);
    if (step != 1) {
        float x[LINES] = { 0 };
        for (int i = 0; i < n; i++) {
            if (t == GENET_F32) x[i] = ((const float *)at)[i * step];
            else if (t == GENET_BF16) x[i] = genet__from_bf16(((const uint16_t *)at)[i * step]);
            else x[i] = _cvtsh_ss(((const uint16_t *)at)[i * step]);
        }
        return _mm512_loadu_ps(x);
    }
    if (t == GENET_F32) return _mm512_maskz_loadu_ps(m, at);
    __m256i h = _mm256_maskz_loadu_epi16(m, at);
    if (t == GENET_F16) return _mm512_cvtph_ps(h);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

/* Both halves of a quantised block; they are the pairs of a step. */
INLINE void load_block(const char *at, const dtype t, __m512 *x, __m512 *y)
{
    uint16_t d;
    memcpy(&d, at, 2);
    __m512 scale = _mm512_set1_ps(_cvtsh_ss(d));
    __m512i lo, hi;
    if (t == GENET_Q8_0) {
        lo = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(at + 2)));
        hi = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(at + 2 + QUANT_BLOCK / 2)));
    } else {
        __m512i q = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(at + 2)));
        lo = _mm512_sub_epi32(_mm512_and_si512(q, _mm512_set1_epi32(15)), _mm512_set1_epi32(8));
        hi = _mm512_sub_epi32(_mm512_srli_epi32(q, 4), _mm512_set1_epi32(8));
    }
    *x = _mm512_mul_ps(_mm512_cvtepi32_ps(lo), scale);
    *y = _mm512_mul_ps(_mm512_cvtepi32_ps(hi), scale);
}

/* Sixteen lines of a step as vectors along the depth (halves x and y), or its
 * sixteen pairs as vectors along the lines.  Element (i, k) counts for i <
 * lines, k < depth. */
typedef struct corner { const char *at; int64_t line, depth; int lines, deep; } corner;

INLINE void load_line(const corner *c, const dtype t, int i, __m512 *x, __m512 *y)
{
    if (i >= c->lines) {
        *x = *y = _mm512_setzero_ps();
    } else if (t == GENET_Q8_0 || t == GENET_Q4_0) {
        load_block(c->at + i * c->line, t, x, y);
    } else {
        const int64_t size = t == GENET_F32 ? 4 : 2;
        const char *at = c->at + i * c->line * size;
        *x = load_some(at, t, c->depth, c->deep < 16 ? c->deep : 16);
        *y = load_some(at + 16 * c->depth * size, t, c->depth, c->deep < 32 ? c->deep - 16 : 16);
    }
}

INLINE void load_pair(const corner *c, const dtype t, int p, __m512 *x, __m512 *y)
{
    const char *at = c->at + p * c->depth * (t == GENET_F32 ? 4 : 2);
    *x = load_some(at, t, c->line, p < c->deep ? c->lines : 0);
    *y = load_some(at + 16 * c->depth * (t == GENET_F32 ? 4 : 2), t, c->line, p + 16 < c->deep ? c->lines : 0);
}

/* --- packing -------------------------------------------------------------------------- */

INLINE void transpose(__m512i r[16])
{
    __m512i t[16];
    _Pragma("GCC unroll 8")
    for (int i = 0; i < 16; i += 2) {
        t[i]     = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    _Pragma("GCC unroll 4")
    for (int i = 0; i < 16; i += 4) {
        r[i]     = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    _Pragma("GCC unroll 4")
    for (int i = 0; i < 4; i++) {
        __m512i a = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88), b = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        __m512i c = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd), d = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
        t[i]      = _mm512_shuffle_i32x4(a, b, 0x88);
        t[i + 8]  = _mm512_shuffle_i32x4(a, b, 0xdd);
        t[i + 4]  = _mm512_shuffle_i32x4(c, d, 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(c, d, 0xdd);
    }
    _Pragma("GCC unroll 16")
    for (int i = 0; i < 16; i++) r[i] = t[i];
}

/* One tile in all its parts.  lines: its rows are lines, else pairs. */
INLINE void pack_rows(const corner *c, const dtype t, const int parts, const bool exact, const bool lines, char *to)
{
    for (int i = 0; i < LINES; i++) {
        __m512 x, y;
        if (lines) load_line(c, t, i, &x, &y);
        else load_pair(c, t, i, &x, &y);
        split(x, y, parts, exact, to + i * 64);
    }
}

/* The same from vectors along the other direction.  A single part is paired
 * up first: half as many to transpose. */
INLINE void pack_across(const corner *c, const dtype t, const int parts, const bool exact, const bool lines, char *to)
{
    __m512i x[LINES], y[LINES];
    for (int i = 0; i < LINES; i++) {
        __m512 u, v;
        if (lines) load_pair(c, t, i, &u, &v);
        else load_line(c, t, i, &u, &v);
        x[i] = parts == 1 ? last_pairs(u, v, exact) : bits(u);
        y[i] = bits(v);
    }
    transpose(x);
    if (parts == 1) {
        for (int i = 0; i < LINES; i++) _mm512_store_si512(to + i * 64, x[i]);
        return;
    }
    transpose(y);
    for (int i = 0; i < LINES; i++)
        split(_mm512_castsi512_ps(x[i]), _mm512_castsi512_ps(y[i]), parts, exact, to + i * 64);
}

INLINE void pack_tile(const corner *c, const dtype t, const int parts, const bool exact, const bool lines, char *to)
{
    const bool block = t == GENET_Q8_0 || t == GENET_Q4_0;
    bool whole = c->lines == LINES && c->deep == STEP;
    bool across = block ? !lines : lines ? c->depth != 1 && c->line == 1 : c->line != 1 && c->depth == 1;
    corner k = *c;
    if (whole) k.lines = LINES, k.deep = STEP;
    if (across) {
        if (lines) k.line = 1;
        else k.depth = 1;
        if (whole) pack_across(&k, t, parts, exact, lines, to);
        else pack_across(c, t, parts, exact, lines, to);
    } else if (block || (lines ? c->depth : c->line) == 1) {
        if (lines) k.depth = 1;
        else k.line = 1;
        if (whole) pack_rows(&k, t, parts, exact, lines, to);
        else pack_rows(c, t, parts, exact, lines, to);
    } else {
        pack_rows(c, t, parts, exact, lines, to);
    }
}

/* Bytes from one element (of a quantised type: block) to the next. */
INLINE int64_t element_bytes(const dtype t)
{
    return t == GENET_F32 ? 4 : t == GENET_Q8_0 ? sizeof(quant_q8_0) : t == GENET_Q4_0 ? sizeof(quant_q4_0) : 2;
}

/* A panel's step, element after element in one direction or the other, is short
 * runs far apart, which the processor does not foresee: n of them are asked for. */
INLINE void foresee(const char *at, int64_t run_bytes, int64_t n, int64_t apart)
{
    for (int64_t i = 0; i < n; i++, at += apart)
        for (int64_t j = 0; j < run_bytes; j += 64) _mm_prefetch(at + j, _MM_HINT_T0);
}

INLINE void pack(const gemm_source *s, const dtype t, const int parts, const bool exact, const bool lines,
                 int64_t n, int64_t kc, char *to)
{
    const bool block = t == GENET_Q8_0 || t == GENET_Q4_0;
    int64_t size = element_bytes(t);
    corner c = { .line = block ? s->line / QUANT_BLOCK * size : s->line, .depth = s->depth };
    int64_t line_bytes = block ? c.line : s->line * size, step_bytes = block ? size : STEP * s->depth * size;
    for (int64_t i = 0; i < n; i += PANEL)
        for (int64_t k = 0; k < kc; k += STEP, to += parts * PART_BYTES) {
            int64_t later = k + STEPS_AHEAD * STEP, deep = min_i64(STEP, kc - later);
            const char *at = s->at + i * line_bytes + later / STEP * step_bytes;
            if (!block && later < kc && s->line == 1)
                foresee(at, min_i64(PANEL, n - i) * size, deep, s->depth * size);
            if (!block && later < kc && s->depth == 1)
                foresee(at, deep * size, min_i64(PANEL, n - i), s->line * size);
            for (int half = 0; half < 2; half++) {
                c.at = s->at + (i + half * LINES) * line_bytes + k / STEP * step_bytes;
                c.lines = (int)max_i64(0, min_i64(LINES, n - i - half * LINES));
                c.deep = (int)min_i64(STEP, kc - k);
                pack_tile(&c, t, parts, exact, lines, to + half * TILE_BYTES);
            }
        }
}

#define PACK_A(name, type, parts, exact)                                                            \
    static void pack_a_##name(const gemm_source *s, int64_t n, int64_t kc, void *to)                \
    { pack(s, type, parts, exact, true, n, kc, to); }
#define PACK_B(name, type, parts, exact)                                                            \
    static void pack_b_##name(const gemm_source *s, int64_t n, int64_t kc, void *to)                \
    { pack(s, type, parts, exact, false, n, kc, to); }
PACK_A(f32, GENET_F32, 3, true)
PACK_B(f32, GENET_F32, 3, true)
PACK_A(short, GENET_F32, 2, false)
PACK_B(short, GENET_F32, 2, false)
PACK_A(f32_one, GENET_F32, 1, false)
PACK_A(bf16, GENET_BF16, 1, true)
PACK_B(bf16, GENET_BF16, 1, true)
PACK_A(f16, GENET_F16, 2, true)
PACK_B(f16, GENET_F16, 2, true)
PACK_A(f16_one, GENET_F16, 1, false)
PACK_B(q8_0, GENET_Q8_0, 1, false)
PACK_B(q4_0, GENET_Q4_0, 1, false)

/* --- tiles ------------------------------------------------------------------------------- */

typedef struct tile_config {
    uint8_t  palette, start_row, zero[14];
    uint16_t row_bytes[16];
    uint8_t  rows[16];
} tile_config;

INLINE void tiles_on(void)
{
    tile_config c = { .palette = 1 };
    for (int i = 0; i < 8; i++) c.row_bytes[i] = 64, c.rows[i] = 16;
    FENCE();
    _tile_loadconfig(&c);
}

/* A step's parts in order, each load serving two terms where it can; the
 * largest term last.  Tiles 0..3: C; 4, 5: A; 6, 7: B. */
#define A(part) _tile_loadd(4, a + (part) * PART_BYTES, 64); _tile_loadd(5, a + (part) * PART_BYTES + TILE_BYTES, 64);
#define B(part) _tile_loadd(6, b + (part) * PART_BYTES, 64); _tile_loadd(7, b + (part) * PART_BYTES + TILE_BYTES, 64);
#define X       _tile_dpbf16ps(0, 4, 6); _tile_dpbf16ps(1, 4, 7); _tile_dpbf16ps(2, 5, 6); _tile_dpbf16ps(3, 5, 7);
#define TERMS_3_3 A(2) B(0) X A(1) X B(1) X A(0) X B(2) X B(0) X
#define TERMS_3_1 B(0) A(2) X A(1) X A(0) X
#define TERMS_1_3 A(0) B(2) X B(1) X B(0) X
#define TERMS_2_2 A(1) B(0) X B(1) X A(0) X B(0) X
#define TERMS_2_1 B(0) A(1) X A(0) X
#define TERMS_1_2 A(0) B(1) X B(0) X
#define TERMS_1_1 A(0) B(0) X
#define TERMS_SHORT A(0) B(1) X B(0) X A(1) X       /* hm, hh, mh */

/* Memory that will be read soon: `lines` cache lines are fetched into L2 at each step. */
typedef struct ahead { const char *at; int64_t lines; } ahead;

INLINE void fetch(ahead *next)
{
    for (int64_t i = 0; i < next->lines; i++, next->at += 64) _mm_prefetch(next->at, _MM_HINT_T1);
}

/* The tile kernel: C, PANEL x PANEL and ldc apart, plus the steps' products. */
#define TILE_KERNEL(name, a_parts, b_parts, terms)                                                  \
    static void tiles_##name(const char *a, const char *b, int64_t steps, float *c, int64_t ldc, bool add, \
                             ahead *next)                                                           \
    {                                                                                               \
        int64_t bytes = ldc * 4;                                                                    \
        char *c0 = (char *)c, *c2 = c0 + LINES * bytes;                                             \
        if (add) {                                                                                  \
            _tile_loadd(0, c0, bytes); _tile_loadd(1, c0 + 64, bytes);                              \
            _tile_loadd(2, c2, bytes); _tile_loadd(3, c2 + 64, bytes);                              \
        } else {                                                                                    \
            _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);                             \
        }                                                                                           \
        for (; steps > 0; steps--, a += (a_parts) * PART_BYTES, b += (b_parts) * PART_BYTES) {       \
            terms                                                                                   \
            fetch(next);                                                                            \
        }                                                                                           \
        _tile_stored(0, c0, bytes); _tile_stored(1, c0 + 64, bytes);                                \
        _tile_stored(2, c2, bytes); _tile_stored(3, c2 + 64, bytes);                                \
    }
TILE_KERNEL(3_3, 3, 3, TERMS_3_3)
TILE_KERNEL(3_1, 3, 1, TERMS_3_1)
TILE_KERNEL(1_3, 1, 3, TERMS_1_3)
TILE_KERNEL(2_2, 2, 2, TERMS_2_2)
TILE_KERNEL(2_1, 2, 1, TERMS_2_1)
TILE_KERNEL(1_2, 1, 2, TERMS_1_2)
TILE_KERNEL(1_1, 1, 1, TERMS_1_1)
TILE_KERNEL(short, 2, 2, TERMS_SHORT)
typedef void tile_fn(const char *a, const char *b, int64_t steps, float *c, int64_t ldc, bool add,
                     ahead *next);

/* By way of a buffer, so that nothing outside C is touched. */
static void edge(tile_fn *f, const char *a, const char *b, int64_t steps, int64_t rows, int64_t cols,
                 float *c, int64_t ldc, bool add, ahead *next)
{
    float whole[PANEL * PANEL] __attribute__((aligned(64)));
    __mmask16 m0 = (__mmask16)(cols >= 16 ? 0xffff : (1u << cols) - 1);
    __mmask16 m1 = (__mmask16)(cols >= 16 ? (1u << (cols - 16)) - 1 : 0);
    for (int64_t i = 0; i < PANEL; i++) {
        bool in = add && i < rows;
        _mm512_store_ps(whole + i * PANEL, _mm512_maskz_loadu_ps(in ? m0 : 0, c + (in ? i * ldc : 0)));
        _mm512_store_ps(whole + i * PANEL + 16, _mm512_maskz_loadu_ps(in ? m1 : 0, c + (in ? i * ldc : 0) + 16));
    }
    FENCE();
    f(a, b, steps, whole, PANEL, true, next);
    FENCE();
    for (int64_t i = 0; i < rows; i++) {
        _mm512_mask_storeu_ps(c + i * ldc, m0, _mm512_load_ps(whole + i * PANEL));
        _mm512_mask_storeu_ps(c + i * ldc + 16, m1, _mm512_load_ps(whole + i * PANEL + 16));
    }
}

/* A panel of the outer operand is cut in depth so that it stays in L1 while
 * the inner ones pass (from L2), which fetches what follows it meanwhile. */
INLINE void block(tile_fn *f, const int a_parts, const int b_parts, const char *a, const char *b,
                  int64_t rows, int64_t cols, int64_t kc, float *c, int64_t ldc, bool add, bool rows_outer)
{
    int64_t steps = ceil_div(kc, STEP), a_step = a_parts * PART_BYTES, b_step = b_parts * PART_BYTES;
    int64_t outer_step = rows_outer ? a_step : b_step;
    int64_t n_outer = ceil_div(rows_outer ? rows : cols, PANEL), n_inner = ceil_div(rows_outer ? cols : rows, PANEL);
    int64_t cut = ceil_div(steps, max_i64(1, ceil_div(steps * outer_step, L1_BYTES)));
    tiles_on();
    for (int64_t outer = 0; outer < n_outer; outer++)
        for (int64_t s = 0; s < max_i64(steps, 1); s += max_i64(cut, 1)) {
            int64_t some = min_i64(cut, steps - s), end = outer * steps + s + some;
            ahead next = { (rows_outer ? a : b) + end * outer_step,
                           end < n_outer * steps ? outer_step / (64 * n_inner) : 0 };
            for (int64_t inner = 0; inner < n_inner; inner++) {
                int64_t p = rows_outer ? outer : inner, q = rows_outer ? inner : outer;
                int64_t m = min_i64(rows - p * PANEL, PANEL), n = min_i64(cols - q * PANEL, PANEL);
                const char *a_at = a + (p * steps + s) * a_step, *b_at = b + (q * steps + s) * b_step;
                float *at = c + p * PANEL * ldc + q * PANEL;
                if (m == PANEL && n == PANEL) f(a_at, b_at, some, at, ldc, add || s > 0, &next);
                else edge(f, a_at, b_at, some, m, n, at, ldc, add || s > 0, &next);
            }
        }
    _tile_release();
    FENCE();
}

/* --- the cores ------------------------------------------------------------------------------ */

#define CORE(a, b, a_parts, b_parts, terms)                                                         \
    static void block_##a##_##b(const void *x, const void *y, int64_t rows, int64_t cols, int64_t kc, \
                                real *c, int64_t ldc, bool add, bool rows_outer)                    \
    { block(tiles_##terms, a_parts, b_parts, x, y, rows, cols, kc, c, ldc, add, rows_outer); }      \
    static const gemm_core core_##a##_##b = { PANEL, PANEL, STEP, KC, 2 * (a_parts), 2 * (b_parts), \
                                              pack_a_##a, pack_b_##b, block_##a##_##b };
CORE(f32, f32, 3, 3, 3_3)
CORE(f32, bf16, 3, 1, 3_1)
CORE(short, f16, 2, 2, short)
CORE(bf16, f32, 1, 3, 1_3)
CORE(bf16, bf16, 1, 1, 1_1)
CORE(bf16, f16, 1, 2, 1_2)
CORE(f16, short, 2, 2, short)
CORE(f16, bf16, 2, 1, 2_1)
CORE(f16, f16, 2, 2, 2_2)
CORE(f32_one, q8_0, 1, 1, 1_1)
CORE(f32_one, q4_0, 1, 1, 1_1)
CORE(bf16, q8_0, 1, 1, 1_1)
CORE(bf16, q4_0, 1, 1, 1_1)
CORE(f16_one, q8_0, 1, 1, 1_1)
CORE(f16_one, q4_0, 1, 1, 1_1)

const gemm_core *K(gemm_amx)(dtype a, dtype b)
{
    static const gemm_core *const all[GENET_DTYPE_COUNT][GENET_DTYPE_COUNT] = {
        [GENET_F32] = { [GENET_F32] = &core_f32_f32, [GENET_BF16] = &core_f32_bf16, [GENET_F16] = &core_short_f16,
                        [GENET_Q8_0] = &core_f32_one_q8_0, [GENET_Q4_0] = &core_f32_one_q4_0 },
        [GENET_BF16] = { [GENET_F32] = &core_bf16_f32, [GENET_BF16] = &core_bf16_bf16, [GENET_F16] = &core_bf16_f16,
                         [GENET_Q8_0] = &core_bf16_q8_0, [GENET_Q4_0] = &core_bf16_q4_0 },
        [GENET_F16] = { [GENET_F32] = &core_f16_short, [GENET_BF16] = &core_f16_bf16, [GENET_F16] = &core_f16_f16,
                        [GENET_Q8_0] = &core_f16_one_q8_0, [GENET_Q4_0] = &core_f16_one_q4_0 },
    };
    return all[a][b];
}
#else
const gemm_core *K(gemm_amx)(dtype a, dtype b)
{
    (void)a, (void)b;
    return NULL;
}
#endif
