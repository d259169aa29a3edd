/* k_gemm_int8.c - the core of products with quantised weights, in integers
 * (AVX-512 with VNNI; other processors widen weights to f32, k_gemm.c: with AVX2
 * 32 products of bytes with sign take four instructions, as they do of floats).
 *
 * Packing rounds rows of A to bytes, a scale for each block of 32 (int8.h), and
 * lays four depths of a column of B side by side, which is what the instruction
 * multiplies at once.  It takes weights without sign: they are packed 128 too
 * large, and sums begin with minus what that adds.  Products of two blocks are
 * exact; they become floats, are scaled, and added up over rising k.
 *
 * A sum n begins at the bits of 1.5 * 2^23, so as a float it is that + n (|n| is
 * below 2^20), and one multiply-add by d and -1.5 * 2^23 d, of 13 bits, gives n d
 * rounded once.  A vector of sums so takes 8 instructions a block where f32 takes
 * 32, and two for the scales: 3.2 times the rate of f32 is the limit. */
#include "device/cpu/gemm_core.h"
#include "device/cpu/int8.h"
#include "device/cpu/widen.h"
#if defined(__AVX512F__)

enum {
    ROWS = 7, COLUMNS = 32,     /* a tile of C: 14 vectors of sums, 14 of this block's, and three operands */
    STEPS = QUANT_BLOCK / 4,
    KC = 768,                   /* a panel of B and one of A stay in L1 */
    BYTES = 2,                  /* room of a packed element; a panel fills it from the front */
    OFFSET = 128
};

/* A block of depth of a panel. */
typedef struct a_block {
    int8_t  q[ROWS][QUANT_BLOCK];
    float   d[ROWS];
    int32_t start[ROWS];        /* of this block's sums */
} a_block;
typedef struct b_block {
    uint8_t q[STEPS][COLUMNS][4];
    float   d[COLUMNS];
} __attribute__((aligned(64))) b_block;
_Static_assert(sizeof(a_block) <= ROWS * QUANT_BLOCK * BYTES && sizeof(b_block) <= COLUMNS * QUANT_BLOCK * BYTES, "fit");

/* --- packing A -------------------------------------------------------------------- */

/* The blocks of a group, which are at most `n`, as row i of a panel. */
INLINE void lay_out(const xgroup *g, int64_t n, int i, a_block *to)
{
    for (int64_t b = 0; b < min_i64(n, GROUP); b++) {
        memcpy(to[b].q[i], g->low[b], sizeof g->low[b]);
        memcpy(to[b].q[i] + sizeof g->low[b], g->high[b], sizeof g->high[b]);
        const int32_t *e = g->excess[b];
        to[b].d[i] = g->d[b][0];
        to[b].start[i] = 0x4b400000 /* 1.5 * 2^23 */ + e[0] + e[1] + e[2] + e[3];
    }
}

static void pack_a(const gemm_source *s, int64_t lines, int64_t kc, void *to)
{
    for (int64_t line = 0; line < lines; line++)
        for (int64_t k = 0; k < kc; k += GROUP_DEPTH) {
            int64_t n = min_i64(GROUP_DEPTH, kc - k), first = line * s->line + k * s->depth;
            bool direct = s->dtype == REAL_DTYPE;
            real wide[GROUP_DEPTH];
            xgroup g;
            if (!direct) K(widen)(s->at, s->dtype, first, s->depth, n, wide);
            K(quantise_row)(direct ? (const real *)s->at + first : wide, direct ? s->depth : 1, n, OFFSET, &g);
            a_block *panel = (a_block *)((char *)to + line / ROWS * ROWS * kc * BYTES);
            lay_out(&g, (kc - k) / QUANT_BLOCK, (int)(line % ROWS), panel + k / QUANT_BLOCK);
        }
}

/* --- packing B -------------------------------------------------------------------- */

/* Sixteen bytes of columns at[0], at[4], at[8], at[12], `from` bytes after those. */
INLINE __m512i four_columns(const char *const *at, int64_t from)
{
    __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const void *)(at[0] + from)));
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(at[4] + from)), 1);
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(at[8] + from)), 2);
    return _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(at[12] + from)), 3);
}

/* Sixteen bytes of each of sixteen columns, as four vectors of four bytes a column. */
INLINE void load_fours(const char *const *at, int64_t from, __m512i to[4])
{
    __m512i c0 = four_columns(at, from),     c1 = four_columns(at + 1, from);
    __m512i c2 = four_columns(at + 2, from), c3 = four_columns(at + 3, from);
    __m512i low01 = _mm512_unpacklo_epi32(c0, c1), high01 = _mm512_unpackhi_epi32(c0, c1);
    __m512i low23 = _mm512_unpacklo_epi32(c2, c3), high23 = _mm512_unpackhi_epi32(c2, c3);
    to[0] = _mm512_unpacklo_epi64(low01, low23);
    to[1] = _mm512_unpackhi_epi64(low01, low23);
    to[2] = _mm512_unpacklo_epi64(high01, high23);
    to[3] = _mm512_unpackhi_epi64(high01, high23);
}

/* Columns [first, first + 16) of a block, from `from` bytes after each at[]. */
INLINE void pack_block(const dtype type, const char *const *at, int64_t from, int first, b_block *to)
{
    enum { HALF = QUANT_BLOCK / 2, HALF_STEPS = STEPS / 2 };
    uint16_t d[16];
    for (int j = 0; j < 16; j++) memcpy(&d[j], at[j] + from, sizeof *d);
    _mm512_store_ps(to->d + first, _mm512_cvtph_ps(_mm256_loadu_si256((const void *)d)));
    __m512i low[HALF_STEPS], high[HALF_STEPS];
    load_fours(at, from + 2, low);
    if (type == GENET_Q8_0) load_fours(at, from + 2 + HALF, high);
    for (int s = 0; s < HALF_STEPS; s++) {
        if (type == GENET_Q8_0) {
            const __m512i sign = _mm512_set1_epi8(-128);
            low[s] = _mm512_xor_si512(low[s], sign);
            high[s] = _mm512_xor_si512(high[s], sign);
        } else {
            const __m512i nibble = _mm512_set1_epi8(15), more = _mm512_set1_epi8(OFFSET - 8);
            high[s] = _mm512_add_epi8(_mm512_and_si512(_mm512_srli_epi16(low[s], 4), nibble), more);
            low[s] = _mm512_add_epi8(_mm512_and_si512(low[s], nibble), more);
        }
        _mm512_store_si512(to->q[s] + first, low[s]);
        _mm512_store_si512(to->q[HALF_STEPS + s] + first, high[s]);
    }
}

/* Columns beyond the last are the last again: what they make is not stored.
 * Columns of a panel are many runs of memory, which the processor does not
 * foresee: those of the next panel are asked for. */
INLINE void pack_b(const dtype type, const gemm_source *s, int64_t lines, int64_t kc, char *to)
{
    const int64_t size = type == GENET_Q8_0 ? sizeof(quant_q8_0) : sizeof(quant_q4_0), line = s->line / QUANT_BLOCK * size;
    for (int64_t i = 0; i < lines; i += COLUMNS, to += COLUMNS * kc * BYTES) {
        const char *at[COLUMNS];
        for (int j = 0; j < COLUMNS; j++) at[j] = s->at + min_i64(i + j, lines - 1) * line;
        b_block *block = (b_block *)to;
        for (int64_t k = 0; k < kc / QUANT_BLOCK; k++, block++) {
            pack_block(type, at, k * size, 0, block);
            pack_block(type, at + 16, k * size, 16, block);
            if (k * size / 64 == (k + 1) * size / 64) continue;
            for (int j = 0; j < COLUMNS; j++) __builtin_prefetch(at[j] + COLUMNS * line + k * size);
        }
    }
}

static void pack_q8_0(const gemm_source *b, int64_t lines, int64_t kc, void *to) { pack_b(GENET_Q8_0, b, lines, kc, to); }
static void pack_q4_0(const gemm_source *b, int64_t lines, int64_t kc, void *to) { pack_b(GENET_Q4_0, b, lines, kc, to); }

/* --- the tile kernel ---------------------------------------------------------------- */

/* Which of a tile's columns, two vectors, are there. */
typedef struct width { __mmask16 of[2]; } width;

INLINE __m512i four_of(const int8_t *q)
{
    int32_t x;
    memcpy(&x, q, sizeof x);
    return _mm512_set1_epi32(x);
}

/* m x COLUMNS of C, ldc apart: (add: itself plus) the products of so many blocks. */
INLINE void tile(const int m, int64_t blocks, const a_block *a, const b_block *b, float *c, int64_t ldc, width w, bool add)
{
    __m512 sum[ROWS][2];
    UNROLL
    for (int i = 0; i < m; i++) {
        sum[i][0] = sum[i][1] = _mm512_setzero_ps();
        __builtin_prefetch(c + i * ldc, 1);
        __builtin_prefetch(c + i * ldc + COLUMNS - 1, 1);
    }
    ROLLED
    for (; blocks > 0; blocks--, a++, b++) {
        __m512i n[ROWS][2];
        UNROLL
        for (int i = 0; i < m; i++) n[i][0] = n[i][1] = _mm512_set1_epi32(a->start[i]);
        UNROLL
        for (int s = 0; s < STEPS; s++) {
            __m512i b0 = _mm512_load_si512(b->q[s]), b1 = _mm512_load_si512(b->q[s] + 16);
            UNROLL
            for (int i = 0; i < m; i++) {
                __m512i x = four_of(a->q[i] + 4 * s);
                n[i][0] = add_fours(n[i][0], b0, x);
                n[i][1] = add_fours(n[i][1], b1, x);
            }
        }
        UNROLL
        for (int j = 0; j < 2; j++) {
            __m512 d = _mm512_load_ps(b->d + 16 * j), minus = _mm512_mul_ps(d, _mm512_set1_ps(-0x1.8p23f));
            UNROLL
            for (int i = 0; i < m; i++) {
                __m512 scaled = _mm512_fmadd_ps(_mm512_castsi512_ps(n[i][j]), d, minus);
                sum[i][j] = _mm512_fmadd_ps(scaled, _mm512_set1_ps(a->d[i]), sum[i][j]);
            }
        }
    }
    UNROLL
    for (int i = 0; i < m; i++, c += ldc)
        for (int j = 0; j < 2; j++) {
            __m512 before = _mm512_maskz_loadu_ps(add ? w.of[j] : 0, c + 16 * j);
            _mm512_mask_storeu_ps(c + 16 * j, w.of[j], _mm512_add_ps(before, sum[i][j]));
        }
}

typedef void tile_fn(int64_t blocks, const a_block *a, const b_block *b, float *c, int64_t ldc, width w, bool add);

#define HEIGHTS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define TILE(m)                                                                                     \
    static void tile_##m(int64_t blocks, const a_block *a, const b_block *b, float *c, int64_t ldc, \
                         width w, bool add)                                                         \
    { tile(m, blocks, a, b, c, ldc, w, add); }
HEIGHTS(TILE)
#define ENTRY(m) tile_##m,
static tile_fn *const tile_table[ROWS] = { HEIGHTS(ENTRY) };

/* A panel of B is kept in L1 whichever is `outer`: those of A are a quarter of it. */
static void block(const void *a, const void *b, int64_t rows, int64_t cols, int64_t kc,
                  real *c, int64_t ldc, bool add, bool rows_outer)
{
    (void)rows_outer;
    for (int64_t j = 0; j < cols; j += COLUMNS) {
        const b_block *b_at = (const b_block *)((const char *)b + j * kc * BYTES);
        uint32_t mask = cols - j < COLUMNS ? (1u << (cols - j)) - 1 : ~0u;
        width w = { { (__mmask16)mask, (__mmask16)(mask >> 16) } };
        for (int64_t i = 0; i < rows; i += ROWS)
            tile_table[min_i64(ROWS, rows - i) - 1](kc / QUANT_BLOCK, (const a_block *)((const char *)a + i * kc * BYTES),
                                                    b_at, (float *)c + i * ldc + j, ldc, w, add);
    }
}

/* --- the cores ---------------------------------------------------------------------- */

static const gemm_core core_q8_0 = { ROWS, COLUMNS, QUANT_BLOCK, KC, BYTES, BYTES, pack_a, pack_q8_0, block };
static const gemm_core core_q4_0 = { ROWS, COLUMNS, QUANT_BLOCK, KC, BYTES, BYTES, pack_a, pack_q4_0, block };

const gemm_core *K(gemm_int8)(dtype a, dtype b)
{
    bool known = a == GENET_F32 || a == GENET_BF16 || a == GENET_F16;
    if (!known || (b != GENET_Q8_0 && b != GENET_Q4_0) || !has_vnni()) return NULL;
    return b == GENET_Q8_0 ? &core_q8_0 : &core_q4_0;
}
#else
const gemm_core *K(gemm_int8)(dtype a, dtype b)
{
    (void)a, (void)b;
    return NULL;
}
#endif
