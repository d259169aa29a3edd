/* attention.h - what the forward and the backward kernel of attention share:
 * the operands of a launch, which keys a tile of queries sees, and the scores.
 *
 * Lanes are queries.  A tile of scores is held transposed, keys x queries, so
 * that softmax works lane by lane, keys and values are only read as scalars,
 * and what one query gets depends on no other.  Tiles of keys are cut at
 * multiples of KEYS from key 0; a key that a lane does not see has weight
 * exactly 0 there. */
#ifndef GENET_DEVICE_CPU_ATTENTION_H
#define GENET_DEVICE_CPU_ATTENTION_H
#include "device/cpu/gemm_core.h"
#include "device/cpu/philox.h"
#include "device/cpu/tile.h"
#include "device/cpu/vec.h"
#include "graph/op_attention.h"

/* Keys in a tile, and in the strips that it is masked by. */
enum { ATT_KEYS = 64, ATT_STRIP = 16, ATT_STRIPS = ATT_KEYS / ATT_STRIP, ATT_QUERIES = 64 };

/* Products on a core (gemm_core.h) pay from here on, and where keys are f32, in
 * three parts each, from more work a key on: T * D; wider heads would not fit the
 * local memory. */
enum { ATT_CORE_TIME = 64, ATT_CORE_HEAD = 32, ATT_CORE_WIDEST = 256, ATT_CORE_WORK = 512 * 64 };

/* Up to here queries are taken one by one (k_attention_row.c). */
enum { ATT_FEW = 4 };

/* Before a loop over exponentials, which hide each other's latency. */
#ifdef __clang__
#define ATT_UNROLL _Pragma("clang loop unroll_count(4)")
#else
#define ATT_UNROLL _Pragma("GCC unroll 4")
#endif

/* Cores (gemm_core.h) that multiply tiles, by their factors: keys and queries,
 * weights (f32) and queries, ...; k_q is NULL where tile_product does it. */
typedef struct att_cores { const gemm_core *k_q, *v_w, *w_w, *w_q, *k_w; } att_cores;

typedef struct att {
    int64_t B, T, S, H, Hkv, D, group;          /* group: heads of q that share one of k and v */
    int64_t n_query;                            /* queries in a tile: row length of transposed tiles */
    const operand *q, *k, *v, *bias, *q_lengths, *k_lengths, *position, *rows, *rng;
    real    scale, softcap, keep_factor;
    double  dropout;
    bool    causal;
    int64_t window;
    uint32_t stream;
    att_cores core;
    int64_t strip, grain;                       /* strips: keys in one, columns in whole grains */
} att;

/* A tile of queries of one head: q0 .. q0 + n; cols is n in whole vectors.
 * Keys first .. end are all that it can see, first a multiple of KEYS. */
typedef struct att_tile { int64_t b, h, q0, n, cols, shift, first, end; } att_tile;

/* A strip of keys: rows j0 .. j0 + n of the tile, and the columns (whole
 * vectors) that see one of them. */
typedef struct att_strip { int64_t j0, n, c0, c1; } att_strip;

TILE_INLINE real att_widen(uint16_t half)
{
    uint32_t word = (uint32_t)half << 16;
    float x;
    memcpy(&x, &word, 4);
    return (real)x;
}
TILE_INLINE bool att_given(const operand *o) { return o && o->data; }
TILE_INLINE int64_t att_i32(const operand *o, int64_t i) { return ((const int32_t *)o->data)[i * o->stride[0]]; }
TILE_INLINE const char *att_at(const operand *o, int64_t b, int64_t t, int64_t h)
{
    int64_t size = o->dtype == GENET_BF16 ? 2 : (int64_t)sizeof(real);
    return o->data + (b * o->stride[0] + t * o->stride[1] + h * o->stride[2]) * size;
}

/* Rows of this operand can be read in place. */
TILE_INLINE bool att_dense(const operand *o) { return o->dtype != GENET_BF16 && o->stride[3] == 1; }

/* to[d] = factor * element d of the row of o that begins at `from`. */
static inline void att_copy(const operand *o, const char *from, int64_t D, real factor, real *restrict to)
{
    int64_t step = o->stride[3];
    const uint16_t *half = (const uint16_t *)from;
    const real *x = (const real *)from;
    if (o->dtype == GENET_BF16 && step == 1) for (int64_t d = 0; d < D; d++) to[d] = att_widen(half[d]) * factor;
    else if (o->dtype == GENET_BF16) for (int64_t d = 0; d < D; d++) to[d] = att_widen(half[d * step]) * factor;
    else if (step == 1) for (int64_t d = 0; d < D; d++) to[d] = x[d] * factor;
    else for (int64_t d = 0; d < D; d++) to[d] = x[d * step] * factor;
}

/* The type that keys (or values) are packed from: with rows, copies of them. */
TILE_INLINE dtype att_type(const att *a, const operand *k) { return att_given(a->rows) ? GENET_F32 : k->dtype; }

/* Cores for this type of problem, where they pay; else none. */
static inline void att_choose(att *a, bool wanted)
{
    bool fits = a->D >= ATT_CORE_HEAD && a->D <= ATT_CORE_WIDEST && a->T >= ATT_CORE_TIME;
    dtype k = att_type(a, a->k), v = att_type(a, a->v), q = a->q->dtype, w = GENET_F32;
    bool pays = wanted && fits && sizeof(real) == sizeof(float) && (k == GENET_BF16 || a->T * a->D >= ATT_CORE_WORK);
    a->core = (att_cores){ 0 };
    if (pays && K(gemm_amx)(w, w))
        a->core = (att_cores){ K(gemm_amx)(k, q), K(gemm_amx)(v, w), K(gemm_amx)(w, w), K(gemm_amx)(w, q),
                               K(gemm_amx)(k, w) };
    a->strip = a->core.k_q ? a->core.k_q->mr : ATT_STRIP;
    a->grain = a->core.k_q ? a->core.k_q->nr : VEC_LANES;
}

static inline att att_open(const launch *l, const operand *q, const operand *k, const operand *v)
{
    att a = { .q = q, .k = k, .v = v };
    a.B = q->dim[0], a.T = q->dim[1], a.H = q->dim[2], a.D = q->dim[3];
    a.S = k->dim[1], a.Hkv = k->dim[2];
    a.group = a.Hkv ? a.H / a.Hkv : 1;
    int64_t bytes = a.D * (int64_t)sizeof(real);
    a.n_query = bytes <= 2048 ? ATT_QUERIES : bytes <= 4096 ? ATT_QUERIES / 2 : ATT_QUERIES / 4;
    a.scale = (real)l->attr.f[ATT_SCALE];
    a.softcap = (real)l->attr.f[ATT_SOFTCAP];
    a.dropout = l->attr.f[ATT_DROPOUT];
    a.keep_factor = (real)(1 / (1 - a.dropout));
    a.causal = l->attr.i[ATT_CAUSAL] != 0;
    a.window = l->attr.i[ATT_WINDOW];
    a.stream = (uint32_t)l->attr.i[ATT_STREAM];
    return a;
}

/* The operands of the forward pass. */
static inline att att_open_forward(const launch *l)
{
    att a = att_open(l, launch_in(l, ATT_Q), launch_in(l, ATT_K), launch_in(l, ATT_V));
    a.bias = launch_in(l, ATT_BIAS);
    a.q_lengths = launch_in(l, ATT_Q_LENGTHS);
    a.k_lengths = launch_in(l, ATT_K_LENGTHS);
    a.position = launch_in(l, ATT_POSITION);
    a.rows = launch_in(l, ATT_ROWS);
    a.rng = launch_in(l, ATT_RNG);
    att_choose(&a, true);
    return a;
}

/* Where its results go; log-sum-exp may be unwanted: NULL. */
TILE_INLINE real *att_y(const launch *l, const att *a, int64_t b, int64_t h, int64_t i)
{
    return (real *)launch_out(l, 0)->data + ((b * a->T + i) * a->H + h) * a->D;
}
TILE_INLINE real *att_lse(const launch *l, const att *a, int64_t b, int64_t h, int64_t i)
{
    real *lse = (real *)launch_out(l, 1)->data;
    return lse ? lse + (b * a->H + h) * a->T + i : NULL;
}

/* Queries from .. to see nothing. */
static inline void att_unseen(const launch *l, const att *a, int64_t b, int64_t h, int64_t from, int64_t to)
{
    for (int64_t i = from; i < to; i++) {
        memset(att_y(l, a, b, h, i), 0, (size_t)a->D * sizeof(real));
        if (att_lse(l, a, b, h, i)) *att_lse(l, a, b, h, i) = (real)-INFINITY;
    }
}

TILE_INLINE int64_t att_tiles(const att *a) { return ceil_div(a->T, a->n_query); }

/* Index among the keys of query 0 of batch entry b. */
TILE_INLINE int64_t att_position(const att *a, int64_t b) { return att_given(a->position) ? att_i32(a->position, b) : 0; }
TILE_INLINE int64_t att_n_key(const att *a, int64_t b)
{
    return att_given(a->k_lengths) ? max_i64(0, min_i64(a->S, att_i32(a->k_lengths, b))) : a->S;
}

/* The tile that begins at query q0 and holds n of them. */
static inline att_tile att_tile_at(const att *a, int64_t b, int64_t h, int64_t q0, int64_t n)
{
    att_tile t = { .b = b, .h = h, .q0 = q0, .n = n, .cols = ceil_div(n, VEC_LANES) * VEC_LANES };
    t.shift = att_position(a, b) + q0;
    t.end = att_n_key(a, b);
    if (a->causal) t.end = min_i64(t.end, t.shift + n);
    if (a->window > 0) t.first = max_i64(0, t.shift - a->window + 1);
    t.first -= t.first % ATT_KEYS;
    if (n <= 0) t.end = 0;
    return t;
}

/* Columns of tile t that see key j: *low .. *high, within 0 .. cols. */
TILE_INLINE void att_columns(const att *a, const att_tile *t, int64_t j, int64_t *low, int64_t *high)
{
    int64_t to = a->window > 0 ? j - t->shift + a->window : t->cols;
    *low = a->causal ? max_i64(0, min_i64(t->cols, j - t->shift)) : 0;
    *high = max_i64(*low, min_i64(t->cols, to));
}

/* Cut keys j0 .. j1 (one tile) into strips; neighbours that every column sees
 * become one.  Returns how many. */
static inline int att_cut(const att *a, const att_tile *t, int64_t j0, int64_t j1, att_strip strip[ATT_STRIPS])
{
    int n = 0;
    for (int64_t j = j0; j < j1; j += a->strip) {
        int64_t last = min_i64(j + a->strip, j1), low, high, unused;
        att_columns(a, t, j, &low, &unused);
        att_columns(a, t, last - 1, &unused, &high);
        att_strip s = { j - j0, last - j, low - low % a->grain, min_i64(t->cols, ceil_div(high, a->grain) * a->grain) };
        if (s.c0 >= s.c1) continue;
        if (n && strip[n - 1].j0 + strip[n - 1].n == s.j0 && strip[n - 1].c0 == s.c0 && strip[n - 1].c1 == s.c1)
            strip[n - 1].n += s.n;
        else strip[n++] = s;
    }
    return n;
}

/* Key (or value) j of batch entry b, head h; NULL when its row index points
 * nowhere: such a key is all zeros. */
TILE_INLINE const char *att_key(const att *a, const operand *k, int64_t b, int64_t h, int64_t j)
{
    if (!att_given(a->rows)) return att_at(k, b, j, h);
    const operand *r = a->rows;
    int64_t row = ((const int32_t *)r->data)[b * r->stride[0] + j * r->stride[1]];
    return row >= 0 && row < k->dim[0] ? att_at(k, row, j, h) : NULL;
}

/* Rows t0 .. t1 of a head are wanted soon (for writing, too): heads lie apart in
 * memory in pieces too short for the processor to see them coming. */
TILE_INLINE void att_prefetch_bytes(const char *from, int64_t step, int64_t rows, int64_t bytes, const int write)
{
    for (int64_t t = 0; t < rows; t++)
        for (int64_t i = 0; i < bytes; i += 64)
            if (write) __builtin_prefetch(from + t * step + i, 1, 3); else __builtin_prefetch(from + t * step + i, 0, 2);
}
static inline void att_prefetch(const operand *o, int64_t b, int64_t h, int64_t t0, int64_t t1)
{
    int64_t size = o->dtype == GENET_BF16 ? 2 : (int64_t)sizeof(real);
    if (o->stride[3] == 1 && t0 < t1)
        att_prefetch_bytes(att_at(o, b, t0, h), o->stride[1] * size, t1 - t0, o->dim[3] * size, 0);
}

/* Copy keys (or values) j0 .. j1 to rows of D. */
static inline void att_pack(const att *a, const operand *k, int64_t b, int64_t h, int64_t j0, int64_t j1, real *to)
{
    for (int64_t j = j0; j < j1; j++, to += a->D) {
        const char *from = att_key(a, k, b, h, j);
        if (from) att_copy(k, from, a->D, 1, to);
        else memset(to, 0, (size_t)a->D * sizeof(real));
    }
}

/* Queries of entry b that count. */
TILE_INLINE int64_t att_n_query(const att *a, int64_t b)
{
    return att_given(a->q_lengths) ? max_i64(0, min_i64(a->T, att_i32(a->q_lengths, b))) : a->T;
}

/* Columns n .. cols of a transposed tile of m rows become 0. */
static inline void att_clear_columns(real *x, int64_t m, int64_t n, int64_t cols, int64_t row)
{
    for (int64_t i = 0; i < m; i++)
        for (int64_t c = n; c < cols; c++) x[i * row + c] = 0;
}

/* e^x for x up to 80, and exactly 0 where less than a normal number is left:
 * masked scores must not cost what subnormal ones do.  x = n ln 2 + r; the
 * polynomial is that of vec_exp (vec.h); ln 2 in one part is off by 3e-9, which
 * counts only where the weight is next to nothing. */
TILE_INLINE tile_vec att_exp(tile_vec x)
{
#if VEC_REAL == 2
    for (int l = 0; l < VEC_LANES; l++) x[l] = x[l] < -708 ? 0 : exp(x[l]);
    return x;
#else
    const tile_vec round = tile_splat(VEC_ROUND), one = tile_splat(1);
    tile_vec t = tile_fma(x, tile_splat(VEC_LOG2E), round), n = t - round;
    tile_vec r = tile_fma(n, tile_splat((real)-VEC_LN2), x), p = tile_splat(1.388252480e-03f);
    p = tile_fma(p, r, tile_splat(8.366520517e-03f));
    p = tile_fma(p, r, tile_splat(4.166720062e-02f));
    p = tile_fma(p, r, tile_splat(1.666654348e-01f));
    p = tile_fma(p, r, tile_splat(4.999999702e-01f));
    p = tile_fma(tile_fma(p, r, one), r, one);
#ifdef __AVX512F__
    __mmask16 some = _mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(-87), _CMP_NLT_UQ);
    return (tile_vec)_mm512_maskz_scalef_ps(some, (__m512)p, (__m512)n);
#else
    tile_bits power = ((tile_bits)t - (tile_bits)round + 127) << 23;
    return (tile_vec)((tile_bits)(p * (tile_vec)power) & ~(x < tile_splat(-87)));
#endif
#endif
}
TILE_INLINE real att_exp_one(real x) { return att_exp(tile_splat(x))[0]; }

/* --- products on a core ------------------------------------------------------------
 * Panels of all of them are ATT_PANEL wide, steps of the depth as long. */

enum { ATT_PANEL = 32 };

/* Bytes of n packed lines of this depth, `bytes` an element. */
TILE_INLINE int64_t att_packed(int64_t bytes, int64_t n, int64_t depth)
{
    return ceil_div(n, ATT_PANEL) * ATT_PANEL * ceil_div(depth, ATT_PANEL) * ATT_PANEL * bytes;
}
TILE_INLINE gemm_source att_source(const void *x, dtype type, int64_t line, int64_t depth)
{
    return (gemm_source){ x, type, line, depth };
}
TILE_INLINE gemm_source att_turned(gemm_source s) { return (gemm_source){ s.at, s.dtype, s.depth, s.line }; }

/* Keys (or values) j0 .. j1 as lines; room: for copies of them. */
static inline gemm_source att_lines(const att *a, const operand *k, int64_t b, int64_t h, int64_t j0, int64_t j1,
                                    real *room)
{
    if (!att_given(a->rows)) return att_source(att_at(k, b, j0, h), k->dtype, k->stride[1], k->stride[3]);
    att_pack(a, k, b, h, j0, j1, room);
    return att_source(room, GENET_F32, a->D, 1);
}

/* c += x y over `depth`.  Packed operands hold x_depth and y_depth; of one that
 * holds more, it begins at `first`, where a step does, and its panels are taken
 * one by one. */
static inline void att_add_product(const gemm_core *g, const char *x, int64_t x_depth, const char *y, int64_t y_depth,
                                   int64_t first, int64_t rows, int64_t cols, int64_t depth, real *c, int64_t ldc)
{
    int64_t steps = ceil_div(depth, ATT_PANEL);
    bool x_more = ceil_div(x_depth, ATT_PANEL) > steps, y_more = ceil_div(y_depth, ATT_PANEL) > steps;
    int64_t m = x_more ? ATT_PANEL : rows, n = y_more ? ATT_PANEL : cols;
    if (x_more) x += att_packed(g->a_bytes, ATT_PANEL, first);
    if (y_more) y += att_packed(g->b_bytes, ATT_PANEL, first);
    for (int64_t i = 0; i < rows; i += m)
        for (int64_t j = 0; j < cols; j += n)
            g->block(x + att_packed(g->a_bytes, i, x_depth), y + att_packed(g->b_bytes, j, y_depth), min_i64(m, rows - i),
                     min_i64(n, cols - j), depth, c + i * ldc + j, ldc, true, true);
}

/* --- scores ------------------------------------------------------------------ */

/* x -> softcap * tanh(x / softcap); slope, where wanted, gets the derivative. */
static inline void att_softcap(real *restrict x, real *restrict slope, real softcap, int64_t n)
{
    real inverse = 1 / softcap;
    if (slope)
        for (int64_t i = 0; i < n; i++) {
            real u = vec_tanh(x[i] * inverse);
            x[i] = softcap * u;
            slope[i] = 1 - u * u;
        }
    else for (int64_t i = 0; i < n; i++) x[i] = softcap * vec_tanh(x[i] * inverse);
}

/* s (keys x queries of one strip, rows of n_query) = k q.  k: rows of D, q: D x
 * n_query; or, with a core, both packed. */
static inline void att_product(const att *a, const gemm_core *g, const att_strip *strip, const void *q, const void *k,
                               real *s)
{
    int64_t W = a->n_query, D = a->D, width = strip->c1 - strip->c0;
    s += strip->j0 * W + strip->c0;
    if (g) {
        const char *keys = (const char *)k + att_packed(g->a_bytes, strip->j0, D);
        const char *queries = (const char *)q + att_packed(g->b_bytes, strip->c0, D);
        g->block(keys, queries, strip->n, width, D, s, W, false, true);
        return;
    }
    const real *keys = (const real *)k + strip->j0 * D, *queries = (const real *)q + strip->c0;
    tile_product(strip->n, width, D, keys, D, 1, queries, W, s, W, false);
}

/* Scores of one strip of the tile of keys that begins at j0, masked with -inf:
 * s[j][c], rows of n_query.  bias: transposed (keys x queries) or NULL. */
static inline void att_scores(const att *a, const att_tile *t, const att_strip *strip, int64_t j0, const void *q,
                              const void *k, const real *bias, real *s, real *slope)
{
    int64_t W = a->n_query, width = strip->c1 - strip->c0, at = strip->j0 * W + strip->c0;
    att_product(a, a->core.k_q, strip, q, k, s);
    for (int64_t j = strip->j0; j < strip->j0 + strip->n; j++, at += W) {
        int64_t low, high;
        for (int64_t c = 0; c < width; c += VEC_LANES) tile_store(s + at + c, tile_load(s + at + c) * a->scale);
        if (a->softcap > 0) att_softcap(s + at, slope ? slope + at : NULL, a->softcap, width);
        if (bias)
            for (int64_t c = 0; c < width; c++) s[at + c] += bias[at + c];
        att_columns(a, t, j0 + j, &low, &high);
        for (int64_t c = strip->c0; c < min_i64(low, strip->c1); c++) s[j * W + c] = (real)-INFINITY;
        for (int64_t c = max_i64(high, strip->c0); c < strip->c1; c++) s[j * W + c] = (real)-INFINITY;
    }
}

/* The bias of keys j0 .. j1 for the tile, transposed into room. */
static inline const real *att_bias(const att *a, const att_tile *t, int64_t j0, int64_t j1, real *room)
{
    const operand *o = a->bias;
    if (!att_given(o)) return NULL;
    const real *from = (const real *)o->data + (o->dim[0] > 1 ? t->b * o->stride[0] : 0) +
                       (o->dim[1] > 1 ? t->h * o->stride[1] : 0) + t->q0 * o->stride[2] + j0 * o->stride[3];
    tile_transpose(t->n, j1 - j0, from, o->stride[2], o->stride[3], 1, room, a->n_query);
    att_clear_columns(room, j1 - j0, t->n, t->cols, a->n_query);
    return room;
}

/* --- dropout ------------------------------------------------------------------- */

/* keep[j - j0] = 0 or 1 / (1 - p) for the weights of query i on keys j0 .. j1
 * (at most KEYS): counter ((b H + h) T + i) S + j, from the global batch's
 * first row on. */
static inline void att_keep_row(const att *a, int64_t b, int64_t h, int64_t i, int64_t j0, int64_t j1,
                                real *restrict keep)
{
    uint32_t word[ATT_KEYS + 4 + PHILOX_WORDS], drop = (uint32_t)ceil(a->dropout * 0x1p24);
    uint32_t k0 = (uint32_t)att_i32(a->rng, 0), k1 = (uint32_t)att_i32(a->rng, 1), now = (uint32_t)att_i32(a->rng, 2);
    uint64_t row = ((uint64_t)b + (uint32_t)att_i32(a->rng, 3)) * (uint64_t)a->H + (uint64_t)h;
    uint64_t index = (row * (uint64_t)a->T + (uint64_t)i) * (uint64_t)a->S + (uint64_t)j0, skip = index % 4;
    for (uint64_t n = 0; n < skip + (uint64_t)(j1 - j0); n += PHILOX_WORDS)
        philox_draw(k0, k1, a->stream, now, index / 4 + n / 4, word + n);
    const uint32_t *restrict number = word + skip;
    real factor = a->keep_factor;
    for (int64_t j = 0; j < j1 - j0; j++) keep[j] = (int32_t)(number[j] >> 8) >= (int32_t)drop ? factor : 0;
}

/* The same for a tile: keep[j][c], keys j0 .. j1; what no query sees is 0. */
static inline void att_keep(const att *a, const att_tile *t, int64_t j0, int64_t j1, real *keep)
{
    real rows[VEC_LANES * ATT_KEYS];
    for (int64_t c0 = 0; c0 < t->cols; c0 += VEC_LANES) {
        memset(rows, 0, sizeof rows);
        for (int64_t c = c0; c < min_i64(t->n, c0 + VEC_LANES); c++) {
            int64_t last = a->causal ? min_i64(j1, t->shift + c + 1) : j1;
            if (last > j0) att_keep_row(a, t->b, t->h, t->q0 + c, j0, last, rows + (c - c0) * ATT_KEYS);
        }
        tile_transpose(VEC_LANES, j1 - j0, rows, ATT_KEYS, 1, 1, keep + c0, a->n_query);
    }
}

/* --- few queries (k_attention_row.c) --------------------------------------------- */

extern const kernel K(attention_row);
#endif
