/* k_attention.c - softmax(q k^T) v in tiles, memory linear in T.
 *
 * Running softmax as in Milakov & Gimelshein 2018 (arXiv 1805.02867) and Dao
 * 2023 (arXiv 2307.08691): for each tile of keys the largest score so far, the
 * sum and the output are brought to the new maximum.  A task is a few tiles of
 * queries of one head, so that a tile of keys is packed once for all of them;
 * very few queries (decoding) are k_attention_row.c's. */
#include "device/cpu/attention.h"

/* Tiles of queries that a task takes at most, where heads are this narrow
 * (bytes); and tasks that there should at least be before it takes more. */
enum { MOST_TILES = 8, NARROW = 512, ENOUGH_TASKS = 32 };

static int64_t tiles_in_task(const att *a)
{
    int64_t n = a->D * (int64_t)sizeof(real) <= NARROW ? MOST_TILES : 1;
    while (n > 1 && a->B * a->H * ceil_div(att_tiles(a), n) < ENOUGH_TASKS) n /= 2;
    return n;
}

static int forward_phases(const launch *l)
{
    return att_open_forward(l).T <= ATT_FEW ? K(attention_row).phases(l) : 1;
}
static size_t forward_shared(const launch *l)
{
    return att_open_forward(l).T <= ATT_FEW ? K(attention_row).shared(l) : 0;
}
static int64_t forward_tasks(const launch *l, int phase)
{
    att a = att_open_forward(l);
    if (!a.D && !launch_out(l, 1)->data) return 0;
    if (a.T <= ATT_FEW) return K(attention_row).tasks(l, phase);
    return a.B * a.H * ceil_div(att_tiles(&a), tiles_in_task(&a));
}

/* --- what a task holds ------------------------------------------------------------ */

/* A tile of queries: q and out are D x n_query; top and sum one number a query:
 * largest score so far, sum of weights. */
typedef struct running { att_tile tile; bool begun; real *q, *out, *top, *sum; } running;

/* What the tiles of a task share: a tile of keys and values (rows of D); score,
 * keep and bias keys x n_query; what to subtract from each query's scores. */
typedef struct room {
    real *k, *v, *score, *keep, *bias, *base;
    char *k_packed, *v_packed, *p_packed;       /* for the core */
} room;

static room room_in(const att *a, char *local, running *r, int64_t n)
{
    int64_t W = a->n_query, tile = ATT_KEYS * W, keys = ceil_div(a->D * ATT_KEYS, VEC_LANES) * VEC_LANES;
    real *at = (real *)local;
    room m = { .k = at, .v = at + keys };
    at += 2 * keys;
    m.score = at, at += tile;
    m.keep = at, at += tile;
    m.bias = at, at += tile;
    m.base = at, at += W;
    int64_t q_size = a->D * W, size = (int64_t)sizeof(real);
    if (a->core.k_q) {
        q_size = att_packed(a->core.k_q->b_bytes, W, a->D) / size;
        m.k_packed = (char *)at, at += att_packed(a->core.k_q->a_bytes, ATT_KEYS, a->D) / size;
        m.v_packed = (char *)at, at += att_packed(a->core.v_w->a_bytes, a->D, ATT_KEYS) / size;
        m.p_packed = (char *)at, at += att_packed(a->core.v_w->b_bytes, W, ATT_KEYS) / size;
    }
    for (int64_t i = 0; i < n; i++) {
        r[i].q = at, at += q_size;
        r[i].out = at, at += a->D * W;
        r[i].top = at, at += W;
        r[i].sum = at, at += W;
    }
    assert((char *)at - local <= LOCAL_BYTES);
    return m;
}

/* The queries, transposed (or packed). */
static void begin(const att *a, running *r)
{
    r->begun = true;
    const att_tile *t = &r->tile;
    int64_t W = a->n_query, row = a->q->stride[1];
    const char *at = att_at(a->q, t->b, t->q0, t->h);
    const real *from = (const real *)at;
    if (a->core.k_q) {
        gemm_source queries = att_source(at, a->q->dtype, row, a->q->stride[3]);
        a->core.k_q->pack_b(&queries, t->n, a->D, r->q);
    } else {
        if (!att_dense(a->q)) {
            for (int64_t c = 0; c < t->n; c++)
                att_copy(a->q, att_at(a->q, t->b, t->q0 + c, t->h), a->D, 1, r->out + c * a->D);
            from = r->out, row = a->D;
        }
        tile_transpose(t->n, a->D, from, row, 1, 1, r->q, W);
        att_clear_columns(r->q, a->D, t->n, t->cols, W);
    }
    for (int64_t d = 0; d < a->D; d++) memset(r->out + d * W, 0, (size_t)t->cols * sizeof(real));
    for (int64_t c = 0; c < t->cols; c++) r->top[c] = (real)-INFINITY, r->sum[c] = 0;
}

/* --- a tile of queries meets a tile of keys ------------------------------------------ */

/* The maximum after this tile; everything so far fades by exp(old - new). */
static void raise_top(const att *a, const room *m, running *r, const att_strip *strip, int n_strip)
{
    int64_t W = a->n_query;
    for (int64_t c = 0; c < r->tile.cols; c += VEC_LANES) {
        tile_vec old = tile_load(r->top + c), lowest = tile_splat((real)-INFINITY), high[4] = { old, old, old, old };
        for (const att_strip *s = strip; s < strip + n_strip; s++) {
            const real *score = m->score + s->j0 * W + c;
            if (c < s->c0 || c >= s->c1) continue;
            int64_t j = 0;
            for (; j + 4 <= s->n; j += 4)
                TILE_UNROLL for (int u = 0; u < 4; u++) high[u] = tile_max(tile_load(score + (j + u) * W), high[u]);
            for (; j < s->n; j++) high[0] = tile_max(tile_load(score + j * W), high[0]);
        }
        tile_vec top = tile_max(tile_max(high[0], high[1]), tile_max(high[2], high[3]));
        tile_vec base = TILE_WHERE(top == lowest, tile_splat(0), top);      /* nothing seen yet */
        tile_store(r->top + c, top);
        tile_store(m->base + c, base);
        if (!TILE_ANY(old != top) || !TILE_ANY(old != lowest)) continue;
        tile_vec fade = TILE_WHERE(old == top, tile_splat(1), att_exp(old - base));
        tile_store(r->sum + c, tile_load(r->sum + c) * fade);
        for (int64_t d = 0; d < a->D; d++) tile_store(r->out + d * W + c, tile_load(r->out + d * W + c) * fade);
    }
}

/* Scores become weights; their sums, and after that the dropped ones. */
static void weigh(const att *a, const room *m, running *r, const att_strip *s, bool drop)
{
    int64_t W = a->n_query;
    for (int64_t c = s->c0; c < s->c1; c += VEC_LANES) {
        tile_vec sum = tile_load(r->sum + c), base = tile_load(m->base + c);
        real *score = m->score + s->j0 * W + c;
        const real *keep = m->keep + s->j0 * W + c;
        ATT_UNROLL for (int64_t j = 0; j < s->n * W; j += W) {
            tile_vec p = att_exp(tile_load(score + j) - base);
            sum += p;
            if (drop) p *= tile_load(keep + j);
            tile_store(score + j, p);
        }
        tile_store(r->sum + c, sum);
    }
}

/* out += the weighted values of a strip; held: keys in the tile. */
static void add_values(const att *a, const room *m, running *r, const att_strip *s, int64_t held)
{
    int64_t W = a->n_query, D = a->D, width = s->c1 - s->c0;
    const real *p = m->score + s->j0 * W + s->c0;
    if (a->core.v_w) {
        gemm_source weights = att_source(p, GENET_F32, 1, W);
        a->core.v_w->pack_b(&weights, width, s->n, m->p_packed);
        att_add_product(a->core.v_w, m->v_packed, held, m->p_packed, s->n, s->j0, D, width, s->n, r->out + s->c0, W);
    } else {
        tile_product(D, width, s->n, m->v + s->j0 * D, 1, D, p, W, r->out + s->c0, W, true);
    }
}

/* held: keys in the tile, whoever sees them. */
static void add_keys(const att *a, const room *m, running *r, int64_t j0, int64_t held)
{
    const att_tile *t = &r->tile;
    int64_t j1 = min_i64(j0 + ATT_KEYS, t->end);
    att_strip strip[ATT_STRIPS];
    int n_strip = j0 < t->first ? 0 : att_cut(a, t, j0, j1, strip);
    if (!n_strip) return;
    const real *bias = att_bias(a, t, j0, j1, m->bias);
    const void *k = a->core.k_q ? (const void *)m->k_packed : m->k;
    for (int i = 0; i < n_strip; i++) att_scores(a, t, &strip[i], j0, r->q, k, bias, m->score, NULL);
    raise_top(a, m, r, strip, n_strip);
    bool drop = a->dropout > 0;
    if (drop) att_keep(a, t, j0, j1, m->keep);
    for (att_strip *s = strip; s < strip + n_strip; s++) {
        weigh(a, m, r, s, drop);
        add_values(a, m, r, s, held);
    }
}

static void finish(const launch *l, const att *a, running *r)
{
    const att_tile *t = &r->tile;
    int64_t W = a->n_query;
    for (int64_t c = 0; c < t->cols; c += VEC_LANES) {
        tile_vec sum = tile_load(r->sum + c), none = tile_splat(0);
        tile_vec factor = TILE_WHERE(sum == none, none, tile_splat(1) / sum);
        for (int64_t d = 0; d < a->D; d++) tile_store(r->out + d * W + c, tile_load(r->out + d * W + c) * factor);
    }
    tile_transpose(a->D, t->n, r->out, W, 1, 1, att_y(l, a, t->b, t->h, t->q0), a->H * a->D);
    real *lse = att_lse(l, a, t->b, t->h, t->q0);
    if (lse)
        for (int64_t c = 0; c < t->n; c++)
            lse[c] = r->sum[c] == 0 ? (real)-INFINITY : r->top[c] + (real)log((double)r->sum[c]);
}

/* All tiles of queries meet keys j0 .. j1; meanwhile what comes next is called
 * for, a little at a time. */
static void meet_keys(const launch *l, const att *a, const room *m, running *r, int64_t n, int64_t j0, int64_t j1)
{
    int64_t b = r->tile.b, h = r->tile.h / a->group, D = a->D, bytes = D * (int64_t)sizeof(real);
    if (a->core.k_q) {
        gemm_source keys = att_lines(a, a->k, b, h, j0, j1, m->k);
        gemm_source values = att_turned(att_lines(a, a->v, b, h, j0, j1, m->v));
        a->core.k_q->pack_a(&keys, j1 - j0, D, m->k_packed);
        a->core.v_w->pack_a(&values, D, j1 - j0, m->v_packed);
    } else {
        att_pack(a, a->k, b, h, j0, j1, m->k);
        att_pack(a, a->v, b, h, j0, j1, m->v);
    }
    for (int64_t i = 0; i < n; i++) {
        const att_tile *t = &r[i].tile, *next = &r[i + 1].tile;
        int64_t k0 = min_i64(a->S, j1 + ATT_KEYS * i / n), k1 = min_i64(a->S, j1 + ATT_KEYS * (i + 1) / n);
        if (!att_given(a->rows)) att_prefetch(a->k, b, h, k0, k1), att_prefetch(a->v, b, h, k0, k1);
        if (!r[i].begun) begin(a, &r[i]);
        if (i + 1 < n && !r[i + 1].begun) att_prefetch(a->q, b, t->h, next->q0, next->q0 + next->n);
        if (j0 < t->end && j1 >= t->end)
            att_prefetch_bytes((const char *)att_y(l, a, b, t->h, t->q0), a->H * bytes, t->n, bytes, 1);
        add_keys(a, m, &r[i], j0, j1 - j0);
    }
}

static void forward_run(const launch *l, int phase, int64_t task, char *local)
{
    att a = att_open_forward(l);
    if (a.T <= ATT_FEW) {
        K(attention_row).run(l, phase, task, local);
        return;
    }
    int64_t most = tiles_in_task(&a), n_task = ceil_div(att_tiles(&a), most), W = a.n_query;
    int64_t q0 = (n_task - 1 - task % n_task) * most * W;       /* the longest first */
    int64_t b = task / n_task / a.H, h = task / n_task % a.H, stop = min_i64(q0 + most * W, a.T);
    int64_t seen = min_i64(stop, att_n_query(&a, b)), n = 0, first = INT64_MAX, end = 0;
    running r[MOST_TILES];
    room m = room_in(&a, local, r, most);
    for (int64_t i = q0; i < seen; i += W, n++) {
        r[n].tile = att_tile_at(&a, b, h, i, min_i64(W, seen - i));
        r[n].begun = false;
        first = min_i64(first, r[n].tile.first), end = max_i64(end, r[n].tile.end);
    }
    for (int64_t j0 = first; j0 < end; j0 += ATT_KEYS) meet_keys(l, &a, &m, r, n, j0, min_i64(j0 + ATT_KEYS, end));
    for (int64_t i = 0; i < n; i++) {
        if (!r[i].begun) begin(&a, &r[i]);
        finish(l, &a, &r[i]);
    }
    att_unseen(l, &a, b, h, max_i64(q0, seen), stop);
}

const kernel K(k_attention) = { .phases = forward_phases, .tasks = forward_tasks, .run = forward_run,
                                .shared = forward_shared };
