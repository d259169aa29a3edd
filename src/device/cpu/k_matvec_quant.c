/* k_matvec_quant.c - few rows times quantised weights, in integers.
 *
 * Rows are rounded to bytes in groups of four blocks (int8.h); a group of a line
 * times one of a row is 16 sums of integers, and every instruction set has its
 * way to those same 16 numbers.  They become floats, are scaled, and added to 16
 * floats for each line and row: so a row has the same bits alone and among
 * others. */
#include "device/cpu/int8.h"
#include "device/cpu/matvec.h"
#include "device/cpu/widen.h"

enum { AHEAD = 1024 /* bytes fetched before they are needed */ };

int64_t K(matvec_quant_room)(int64_t rows, int64_t depth) { return rows * groups_of(depth) * (int64_t)sizeof(xgroup); }

/* --- a group of a line times a group of a row ----------------------------------- */

/* How bytes are multiplied. */
typedef enum way { BY_PAIRS, BY_VNNI } way;

#if defined(__AVX512F__)
enum { LINES = 4, ROWS = 4 };
typedef __m512 sums;
typedef struct wgroup { __m512i low, high; __m512 d; } wgroup;

INLINE __m512i four_lanes(const char *at, int64_t step)
{
    __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const void *)at));
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(at + step)), 1);
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(at + 2 * step)), 2);
    return _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(at + 3 * step)), 3);
}

/* Blocks are 9 words long: scales are words 0, 9, 18, 27; the bytes of three follow them within 64. */
INLINE wgroup load_q4_0(const char *at)
{
    const __m512i bytes = _mm512_set_epi16(0, 0, 0, 0, 0, 0, 0, 0, 26, 25, 24, 23, 22, 21, 20, 19, 17, 16, 15, 14, 13, 12,
                                           11, 10, 8, 7, 6, 5, 4, 3, 2, 1);
    const __m512i scales = _mm512_set_epi16(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 27, 27, 27, 27, 18, 18, 18, 18,
                                            9, 9, 9, 9, 0, 0, 0, 0);
    const __m512i nibble = _mm512_set1_epi8(15);
    __m512i all = _mm512_loadu_si512(at), q = _mm512_permutexvar_epi16(bytes, all);
    q = _mm512_mask_broadcast_i32x4(q, 0xf000, _mm_loadu_si128((const void *)(at + 56)));
    __m256i d = _mm512_castsi512_si256(_mm512_permutexvar_epi16(scales, all));
    return (wgroup){ _mm512_and_si512(q, nibble), _mm512_and_si512(_mm512_srli_epi16(q, 4), nibble), _mm512_cvtph_ps(d) };
}

/* Blocks are 17 words long. */
INLINE wgroup load_q8_0(const char *at, const way how)
{
    const __m512i scales = _mm512_set_epi16(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 17, 17, 17, 17, 0, 0, 0, 0,
                                            17, 17, 17, 17, 0, 0, 0, 0);
    const __m512i sign = _mm512_set1_epi8(how == BY_VNNI ? -128 : 0);
    __m512i d = _mm512_permutexvar_epi16(scales, _mm512_loadu_si512(at));
    d = _mm512_mask_permutexvar_epi16(d, 0xff00, scales, _mm512_loadu_si512(at + 68));
    return (wgroup){ _mm512_xor_si512(four_lanes(at + 2, 34), sign), _mm512_xor_si512(four_lanes(at + 18, 34), sign),
                     _mm512_cvtph_ps(_mm512_castsi512_si256(d)) };
}

/* The sums of four products of bytes with sign. */
INLINE __m512i signed_fours(__m512i w, __m512i x)
{
    x = _mm512_mask_sub_epi8(x, _mm512_movepi8_mask(w), _mm512_setzero_si512(), x);
    return _mm512_madd_epi16(_mm512_maddubs_epi16(_mm512_abs_epi8(w), x), _mm512_set1_epi16(1));
}

INLINE __m512i multiply(const dtype type, const way how, const wgroup *w, const xgroup *x)
{
    __m512i low = _mm512_load_si512(x->low), high = _mm512_load_si512(x->high), excess = _mm512_load_si512(x->excess);
    if (how == BY_VNNI) return add_fours(add_fours(excess, w->low, low), w->high, high);
    if (type == GENET_Q8_0) return _mm512_add_epi32(signed_fours(w->low, low), signed_fours(w->high, high));
    __m512i pairs = _mm512_add_epi16(_mm512_maddubs_epi16(w->low, low), _mm512_maddubs_epi16(w->high, high));
    return _mm512_add_epi32(excess, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}

INLINE sums add_scaled(sums s, const dtype type, const way how, const wgroup *w, const xgroup *x)
{
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(multiply(type, how, w, x)), _mm512_mul_ps(w->d, _mm512_load_ps(x->d)), s);
}

INLINE sums nothing(void) { return _mm512_setzero_ps(); }

/* Number i becomes the sum of s[i]: groups' blocks first, (0+2)+(1+3), then the four numbers of a block the same way. */
INLINE void totals(const sums s[LINES], float out[LINES])
{
    __m512 a = _mm512_add_ps(_mm512_shuffle_f32x4(s[0], s[1], 0x44), _mm512_shuffle_f32x4(s[0], s[1], 0xee));
    __m512 b = _mm512_add_ps(_mm512_shuffle_f32x4(s[2], s[3], 0x44), _mm512_shuffle_f32x4(s[2], s[3], 0xee));
    a = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
    a = _mm512_add_ps(a, _mm512_permute_ps(a, 0x4e));
    a = _mm512_add_ps(a, _mm512_permute_ps(a, 0xb1));
    _mm_storeu_ps(out, _mm512_castps512_ps128(_mm512_maskz_compress_ps(0x1111, a)));
}

#elif defined(__AVX2__)
enum { LINES = 2, ROWS = 2 };
typedef struct sums { __m256 of[2]; } sums;
typedef struct wgroup { __m256i low[2], high[2]; __m256 d[2]; } wgroup;

INLINE __m256i two_lanes(const char *at, int64_t step)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const void *)at)),
                                   _mm_loadu_si128((const void *)(at + step)), 1);
}

INLINE __m256 two_scales(const char *at, int64_t step)
{
    int16_t d[2];
    memcpy(&d[0], at, sizeof *d);
    memcpy(&d[1], at + step, sizeof *d);
    return _mm256_cvtph_ps(_mm_unpacklo_epi64(_mm_set1_epi16(d[0]), _mm_set1_epi16(d[1])));
}

INLINE wgroup load_q4_0(const char *at)
{
    const __m256i nibble = _mm256_set1_epi8(15);
    wgroup w;
    UNROLL
    for (int i = 0; i < 2; i++, at += 36) {
        __m256i q = two_lanes(at + 2, 18);
        w.low[i] = _mm256_and_si256(q, nibble);
        w.high[i] = _mm256_and_si256(_mm256_srli_epi16(q, 4), nibble);
        w.d[i] = two_scales(at, 18);
    }
    return w;
}

INLINE wgroup load_q8_0(const char *at, const way how)
{
    (void)how;
    wgroup w;
    UNROLL
    for (int i = 0; i < 2; i++, at += 68) {
        w.low[i] = two_lanes(at + 2, 34);
        w.high[i] = two_lanes(at + 18, 34);
        w.d[i] = two_scales(at, 34);
    }
    return w;
}

INLINE __m256i signed_fours(__m256i w, __m256i x)
{
    return _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w)), _mm256_set1_epi16(1));
}

INLINE __m256i multiply(const dtype type, __m256i w_low, __m256i w_high, const xgroup *x, int i)
{
    __m256i low = _mm256_load_si256((const __m256i *)x->low + i), high = _mm256_load_si256((const __m256i *)x->high + i);
    if (type == GENET_Q8_0) return _mm256_add_epi32(signed_fours(w_low, low), signed_fours(w_high, high));
    __m256i pairs = _mm256_add_epi16(_mm256_maddubs_epi16(w_low, low), _mm256_maddubs_epi16(w_high, high));
    __m256i excess = _mm256_load_si256((const __m256i *)x->excess + i);
    return _mm256_add_epi32(excess, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

INLINE sums add_scaled(sums s, const dtype type, const way how, const wgroup *w, const xgroup *x)
{
    (void)how;
    UNROLL
    for (int i = 0; i < 2; i++) {
        __m256 d = _mm256_mul_ps(w->d[i], _mm256_load_ps(x->d[2 * i]));
        s.of[i] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(multiply(type, w->low[i], w->high[i], x, i)), d, s.of[i]);
    }
    return s;
}

INLINE sums nothing(void) { return (sums){ { _mm256_setzero_ps(), _mm256_setzero_ps() } }; }

/* Blocks of a group first, (0+2)+(1+3), then the four numbers of a block the same way. */
INLINE void totals(const sums s[LINES], float out[LINES])
{
    for (int i = 0; i < LINES; i++) {
        __m256 two = _mm256_add_ps(s[i].of[0], s[i].of[1]);
        __m128 a = _mm_add_ps(_mm256_castps256_ps128(two), _mm256_extractf128_ps(two, 1));
        a = _mm_add_ps(a, _mm_movehl_ps(a, a));
        out[i] = _mm_cvtss_f32(_mm_add_ss(a, _mm_shuffle_ps(a, a, 1)));
    }
}

#else
enum { LINES = 1, ROWS = 1 };
typedef struct sums { float of[GROUP][4]; } sums;
typedef struct wgroup { int8_t low[GROUP][16], high[GROUP][16]; float d[GROUP]; } wgroup;

INLINE wgroup load_q4_0(const char *at)
{
    const quant_q4_0 *from = (const quant_q4_0 *)at;
    wgroup w;
    for (int b = 0; b < GROUP; b++) {
        w.d[b] = widen_f16(from[b].d);
        for (int i = 0; i < 16; i++) w.low[b][i] = (int8_t)((from[b].q[i] & 15) - 8);
        for (int i = 0; i < 16; i++) w.high[b][i] = (int8_t)((from[b].q[i] >> 4) - 8);
    }
    return w;
}

INLINE wgroup load_q8_0(const char *at, const way how)
{
    (void)how;
    const quant_q8_0 *from = (const quant_q8_0 *)at;
    wgroup w;
    for (int b = 0; b < GROUP; b++) {
        w.d[b] = widen_f16(from[b].d);
        memcpy(w.low[b], from[b].q, 16);
        memcpy(w.high[b], from[b].q + 16, 16);
    }
    return w;
}

INLINE sums add_scaled(sums s, const dtype type, const way how, const wgroup *w, const xgroup *x)
{
    (void)type, (void)how;
    for (int b = 0; b < GROUP; b++)
        for (int j = 0; j < 4; j++) {
            int sum = 0;
            for (int i = 4 * j; i < 4 * j + 4; i++)
                sum += w->low[b][i] * x->low[b][i] + w->high[b][i] * x->high[b][i];
            s.of[b][j] += (float)sum * (w->d[b] * x->d[b][j]);
        }
    return s;
}

INLINE sums nothing(void) { return (sums){ { { 0 } } }; }

INLINE void totals(const sums s[LINES], float out[LINES])
{
    float a[4];
    for (int j = 0; j < 4; j++) a[j] = (s->of[0][j] + s->of[2][j]) + (s->of[1][j] + s->of[3][j]);
    *out = (a[0] + a[2]) + (a[1] + a[3]);
}
#endif

/* --- lines times rows ------------------------------------------------------------- */

INLINE wgroup load_group(const dtype type, const way how, const char *at)
{
    return type == GENET_Q4_0 ? load_q4_0(at) : load_q8_0(at, how);
}

/* w: the first line; x: rows of groups; y: element (line i, row r) at i + r*ldy. */
typedef struct job {
    const char   *w;
    int64_t       line_bytes, depth;
    const xgroup *x;
    real         *y;
    int64_t       ldy, apart;
} job;

/* `lines` <= LINES of them; the others are the first again, and their sums thrown away. */
INLINE void multiply_lines(const dtype type, const way how, const int rows, const job *j, int64_t lines)
{
    const int64_t block = type == GENET_Q4_0 ? sizeof(quant_q4_0) : sizeof(quant_q8_0), stride = groups_of(j->depth);
    const int64_t whole = j->depth / GROUP_DEPTH, rest = j->depth % GROUP_DEPTH / QUANT_BLOCK * block;
    sums s[ROWS][LINES];
    const char *at[LINES];
    UNROLL
    for (int i = 0; i < LINES; i++) at[i] = j->w + (i < lines ? i * j->apart * j->line_bytes : 0);
    UNROLL
    for (int r = 0; r < rows; r++)
        UNROLL
        for (int i = 0; i < LINES; i++) s[r][i] = nothing();
    for (int64_t g = 0; g < stride; g++) {
        UNROLL
        for (int i = 0; i < LINES; i++) {
            char part[GROUP * sizeof(quant_q8_0)];
            const char *from = at[i];
            if (g == whole) {
                memset(part, 0, sizeof part);
                from = memcpy(part, from, (size_t)rest);
            }
            __builtin_prefetch(at[i] + AHEAD);
            if (type == GENET_Q8_0) __builtin_prefetch(at[i] + AHEAD + 64);
            wgroup w = load_group(type, how, from);
            UNROLL
            for (int r = 0; r < rows; r++) s[r][i] = add_scaled(s[r][i], type, how, &w, j->x + r * stride + g);
            at[i] += GROUP * block;
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        float out[LINES];
        totals(s[r], out);
        for (int i = 0; i < lines; i++) j->y[r * j->ldy + i * j->apart] = out[i];
    }
}

typedef void lines_fn(const job *j, int64_t lines);
#define LINES_FN(name, type, how, rows)                     \
    static void name##_##how##_##rows(const job *j, int64_t lines) { multiply_lines(type, how, rows, j, lines); }
#if defined(__AVX512F__)
#define WAYS(X, name, type) X(name, type, BY_PAIRS, 1) X(name, type, BY_PAIRS, 2) X(name, type, BY_PAIRS, 4) \
                            X(name, type, BY_VNNI, 1) X(name, type, BY_VNNI, 2) X(name, type, BY_VNNI, 4)
static int way_here(void) { return has_vnni() ? BY_VNNI : BY_PAIRS; }
#elif defined(__AVX2__)
#define WAYS(X, name, type) X(name, type, BY_PAIRS, 1) X(name, type, BY_PAIRS, 2)
static int way_here(void) { return BY_PAIRS; }
#else
#define WAYS(X, name, type) X(name, type, BY_PAIRS, 1)
static int way_here(void) { return BY_PAIRS; }
#endif
WAYS(LINES_FN, q8_0, GENET_Q8_0)
WAYS(LINES_FN, q4_0, GENET_Q4_0)

#define ENTRY(name, type, how, rows) [how][rows / 2] = name##_##how##_##rows,
/* [type][way][rows / 2] for 1, 2, 4 rows */
static lines_fn *const table[2][2][3] = { { WAYS(ENTRY, q8_0, GENET_Q8_0) }, { WAYS(ENTRY, q4_0, GENET_Q4_0) } };

void K(matvec_quant)(const matvec *v, int64_t col, int64_t cols, char *room)
{
    bool four_bits = v->w.dtype == GENET_Q4_0;
    int64_t line_bytes = (int64_t)genet_dtype_bytes(v->w.dtype, v->w.line), stride = groups_of(v->K);
    xgroup *x = (xgroup *)room;
    for (int64_t r = 0; r < v->rows; r++)
        K(quantise_row)((const real *)v->x.at + r * v->x.line, v->x.depth, v->K, four_bits ? 8 : 128, x + r * stride);
    lines_fn *const *f = table[four_bits][way_here()];
    int64_t apart = ceil_div(cols, LINES);
    for (int64_t i = 0; i < apart; i++) {
        job j = { v->w.at + (col + i) * line_bytes, line_bytes, v->K, x, v->y + col + i, v->ldy, apart };
        int64_t lines = min_i64(LINES, ceil_div(cols - i, apart));
        for (int64_t r = 0, n; r < v->rows; r += n, j.x += n * stride, j.y += n * v->ldy) {
            n = v->rows - r >= 4 ? 4 : v->rows - r >= 2 ? 2 : 1;
            n = min_i64(n, ROWS);
            f[n / 2](&j, lines);
        }
    }
}
