/* k_attention.c - softmax(q k^T) v in tiles, memory linear in T.
 *
 * Running softmax as in Milakov & Gimelshein 2018 (arXiv 1805.02867) and Dao
 * 2023 (arXiv 2307.08691): for each tile of keys the largest score so far, the
 * sum and the output are brought to the new maximum.  A task is one tile of
 * queries of one head; with very few queries (decoding) it is one head, and
 * lanes run along the head instead. */
#include "device/cpu/attention.h"

/* Up to here queries are taken one by one. */
enum { FEW_QUERIES = 4 };

static att forward_open(const launch *l)
{
    att a = att_open(l, launch_in(l, ATT_Q), launch_in(l, ATT_K), launch_in(l, ATT_V));
    a.bias = launch_in(l, ATT_BIAS);
    a.k_lengths = launch_in(l, ATT_K_LENGTHS);
    a.position = launch_in(l, ATT_POSITION);
    a.rows = launch_in(l, ATT_ROWS);
    a.rng = launch_in(l, ATT_RNG);
    return a;
}

static int64_t forward_tasks(const launch *l, int phase)
{
    (void)phase;
    att a = forward_open(l);
    return a.D || launch_out(l, 1)->data ? a.B * a.H * (a.T <= FEW_QUERIES ? a.T > 0 : att_tiles(&a)) : 0;
}

/* Queries of entry b that count. */
static int64_t queries(const launch *l, const att *a, int64_t b)
{
    const operand *o = launch_in(l, ATT_Q_LENGTHS);
    return att_given(o) ? max_i64(0, min_i64(a->T, att_i32(o, b))) : a->T;
}

static real *lse_at(const launch *l, const att *a, int64_t b, int64_t h, int64_t i)
{
    real *lse = (real *)launch_out(l, 1)->data;
    return lse ? lse + (b * a->H + h) * a->T + i : NULL;
}

static real *y_at(const launch *l, const att *a, int64_t b, int64_t h, int64_t i)
{
    return (real *)launch_out(l, 0)->data + ((b * a->T + i) * a->H + h) * a->D;
}

/* --- a tile of queries ---------------------------------------------------------- */

/* A tile at work: q and out are D x n_query; score, keep and bias keys x
 * n_query; the rest one number a query: largest score so far, sum of weights,
 * what to subtract, what older sums are multiplied by. */
typedef struct running { real *q, *out, *room, *score, *keep, *bias, *top, *sum, *base, *fade; } running;

static running running_in(const att *a, char *local)
{
    real *at = (real *)local;
    int64_t W = a->n_query;
    running r;
    r.q = at, at += a->D * W;
    r.out = at, at += a->D * W;
    r.room = at, at += ceil_div(a->D * ATT_KEYS, VEC_LANES) * VEC_LANES;
    r.score = at, at += ATT_KEYS * W;
    r.keep = at, at += ATT_KEYS * W;
    r.bias = at, at += ATT_KEYS * W;
    r.top = at, at += W;
    r.sum = at, at += W;
    r.base = at, at += W;
    r.fade = at, at += W;
    assert((char *)at - local <= LOCAL_BYTES);
    return r;
}

static void begin(const att *a, const att_tile *t, running *r)
{
    int64_t W = a->n_query;
    tile_transpose(t->n, a->D, att_at(a->q, t->b, t->q0, t->h), a->q->stride[1], a->q->stride[3], a->scale, r->q, W);
    att_clear_columns(r->q, a->D, t->n, t->cols, W);
    for (int64_t d = 0; d < a->D; d++) memset(r->out + d * W, 0, (size_t)t->cols * sizeof(real));
    for (int64_t c = 0; c < t->cols; c++) r->top[c] = (real)-INFINITY, r->sum[c] = 0;
}

/* The maximum after this tile; everything so far fades by exp(old - new). */
static void raise_top(const att *a, const att_tile *t, running *r, const att_strip *strip, int n_strip)
{
    int64_t W = a->n_query, cols = t->cols;
    real *restrict base = r->base, *restrict fade = r->fade, *restrict top = r->top, *restrict sum = r->sum;
    memcpy(base, top, (size_t)cols * sizeof(real));
    for (const att_strip *s = strip; s < strip + n_strip; s++)
        for (int64_t j = s->j0; j < s->j0 + s->n; j++) {
            const real *restrict score = r->score + j * W;
            for (int64_t c = s->c0; c < s->c1; c++) base[c] = score[c] > base[c] ? score[c] : base[c];
        }
    int changed = 0;
    for (int64_t c = 0; c < cols; c++) changed |= base[c] != top[c] && sum[c] != 0;
    memcpy(fade, top, (size_t)cols * sizeof(real));
    memcpy(top, base, (size_t)cols * sizeof(real));
    for (int64_t c = 0; c < cols; c++) {
        real b = base[c] == (real)-INFINITY ? 0 : base[c];      /* nothing seen yet */
        fade[c] = fade[c] == base[c] ? 1 : att_exp(fade[c] - b);
        base[c] = b;
    }
    if (!changed) return;
    for (int64_t c = 0; c < cols; c++) sum[c] *= fade[c];
    for (int64_t d = 0; d < a->D; d++) {
        real *restrict out = r->out + d * W;
        for (int64_t c = 0; c < cols; c++) out[c] *= fade[c];
    }
}

/* Scores become weights; their sums, and after that the dropped ones. */
static void weigh(const att *a, running *r, const att_strip *s, bool drop)
{
    real *restrict sum = r->sum;
    const real *restrict base = r->base;
    for (int64_t j = s->j0; j < s->j0 + s->n; j++) {
        real *restrict score = r->score + j * a->n_query;
        const real *restrict keep = r->keep + j * a->n_query;
        for (int64_t c = s->c0; c < s->c1; c++) {
            real p = att_exp(score[c] - base[c]);
            sum[c] += p;
            score[c] = p;
        }
        if (drop)
            for (int64_t c = s->c0; c < s->c1; c++) score[c] *= keep[c];
    }
}

static void add_keys(const att *a, const att_tile *t, running *r, int64_t j0)
{
    int64_t W = a->n_query, j1 = min_i64(j0 + ATT_KEYS, t->end), h = t->h / a->group;
    att_strip strip[ATT_STRIPS];
    int n_strip = att_cut(a, t, j0, j1, strip);
    if (!n_strip) return;
    att_rows k = att_pack(a, a->k, t->b, h, j0, j1, true, r->room);
    const real *bias = att_bias(a, t, j0, j1, r->bias);
    for (int i = 0; i < n_strip; i++) att_scores(a, t, &strip[i], j0, r->q, k, bias, r->score, NULL);
    raise_top(a, t, r, strip, n_strip);
    bool drop = a->dropout > 0;
    if (drop) att_keep(a, t, j0, j1, r->keep);
    att_rows v = att_pack(a, a->v, t->b, h, j0, j1, false, r->room);
    for (att_strip *s = strip; s < strip + n_strip; s++) {
        weigh(a, r, s, drop);
        tile_product(a->D, s->c1 - s->c0, s->n, v.at + s->j0 * v.row, 1, v.row, r->score + s->j0 * W + s->c0, W,
                     r->out + s->c0, W, true);
    }
}

static void finish(const launch *l, const att *a, const att_tile *t, running *r)
{
    int64_t W = a->n_query;
    for (int64_t c = 0; c < t->cols; c++) r->fade[c] = r->sum[c] == 0 ? 0 : 1 / r->sum[c];
    for (int64_t d = 0; d < a->D; d++) {
        real *restrict out = r->out + d * W;
        const real *restrict factor = r->fade;
        for (int64_t c = 0; c < t->cols; c++) out[c] *= factor[c];
    }
    tile_transpose(a->D, t->n, r->out, W, 1, 1, y_at(l, a, t->b, t->h, t->q0), a->H * a->D);
    real *lse = lse_at(l, a, t->b, t->h, t->q0);
    if (lse)
        for (int64_t c = 0; c < t->n; c++)
            lse[c] = r->sum[c] == 0 ? (real)-INFINITY : r->top[c] + (real)log((double)r->sum[c]);
}

/* Queries from .. to see nothing. */
static void nothing_seen(const launch *l, const att *a, int64_t b, int64_t h, int64_t from, int64_t to)
{
    for (int64_t i = from; i < to; i++) {
        memset(y_at(l, a, b, h, i), 0, (size_t)a->D * sizeof(real));
        if (lse_at(l, a, b, h, i)) *lse_at(l, a, b, h, i) = (real)-INFINITY;
    }
}

static void query_tile(const launch *l, const att *a, int64_t task, char *local)
{
    int64_t n_tile = att_tiles(a), q0 = (n_tile - 1 - task % n_tile) * a->n_query;      /* the longest first */
    int64_t b = task / n_tile / a->H, h = task / n_tile % a->H;
    int64_t end = min_i64(q0 + a->n_query, a->T), n = min_i64(end, queries(l, a, b)) - q0;
    if (n > 0) {
        att_tile t = att_tile_at(a, b, h, q0, n);
        running r = running_in(a, local);
        begin(a, &t, &r);
        for (int64_t j0 = t.first; j0 < t.end; j0 += ATT_KEYS) add_keys(a, &t, &r, j0);
        finish(l, a, &t, &r);
    }
    nothing_seen(l, a, b, h, q0 + max_i64(n, 0), end);
}

/* --- few queries ------------------------------------------------------------------ */

/* out += sum over j of p[j] v[j], rows of n. */
static void add_values(const real *p, const real *const *v, int64_t n_key, int64_t n, real *out)
{
    int64_t d = 0;
    for (; d + 4 * VEC_LANES <= n; d += 4 * VEC_LANES) {
        tile_vec s[4];
        TILE_UNROLL for (int w = 0; w < 4; w++) s[w] = tile_load(out + d + w * VEC_LANES);
        for (int64_t j = 0; j < n_key; j++) {
            tile_vec x = tile_splat(p[j]);
            TILE_UNROLL for (int w = 0; w < 4; w++) s[w] = tile_fma(x, tile_load(v[j] + d + w * VEC_LANES), s[w]);
        }
        TILE_UNROLL for (int w = 0; w < 4; w++) tile_store(out + d + w * VEC_LANES, s[w]);
    }
    for (; d + VEC_LANES <= n; d += VEC_LANES) {
        tile_vec s = tile_load(out + d);
        for (int64_t j = 0; j < n_key; j++) s = tile_fma(tile_splat(p[j]), tile_load(v[j] + d), s);
        tile_store(out + d, s);
    }
    for (; d < n; d++)
        for (int64_t j = 0; j < n_key; j++) out[d] += p[j] * v[j][d];
}

/* Addresses of n keys (or values): in place where their elements are
 * neighbours, else copied to room. */
static void key_rows(const att *a, const operand *k, const att_tile *t, int64_t j0, int64_t j1, const real **row,
                     real *room)
{
    int64_t h = t->h / a->group;
    bool dense = k->stride[3] == 1;
    const real *copy = dense ? room : att_pack(a, k, t->b, h, j0, j1, false, room).at;
    if (dense) memset(room, 0, (size_t)a->D * sizeof(real));      /* what a row index that points nowhere reads */
    for (int64_t j = j0; j < j1; j++) {
        const real *at = dense ? att_key(a, k, t->b, h, j) : copy + (j - j0) * a->D;
        row[j - j0] = at ? at : room;
    }
}

static void query_row(const launch *l, const att *a, const att_tile *t, char *local)
{
    real *q = (real *)local, *out = q + a->D, *room = out + a->D, score[ATT_KEYS], keep[ATT_KEYS];
    real top = (real)-INFINITY, sum = 0;
    const real *row[ATT_KEYS];
    const operand *o = a->bias;
    const real *from = att_at(a->q, t->b, t->q0, t->h);
    for (int64_t d = 0; d < a->D; d++) q[d] = from[d * a->q->stride[3]] * a->scale, out[d] = 0;
    for (int64_t j0 = t->first; j0 < t->end; j0 += ATT_KEYS) {
        int64_t n = min_i64(ATT_KEYS, t->end - j0);
        key_rows(a, a->k, t, j0, j0 + n, row, room);
        for (int64_t j = 0; j < n; j++) score[j] = tile_dot(q, row[j], a->D);
        if (a->softcap > 0) att_softcap(score, NULL, a->softcap, n);
        if (att_given(o)) {
            const real *bias = (const real *)o->data + (o->dim[0] > 1 ? t->b * o->stride[0] : 0) +
                               (o->dim[1] > 1 ? t->h * o->stride[1] : 0) + t->q0 * o->stride[2];
            for (int64_t j = 0; j < n; j++) score[j] += bias[(j0 + j) * o->stride[3]];
        }
        int64_t skip = a->window > 0 ? max_i64(0, t->shift - a->window + 1 - j0) : 0;     /* before the window */
        for (int64_t j = 0; j < min_i64(skip, n); j++) score[j] = (real)-INFINITY;
        real old = top, base;
        for (int64_t j = 0; j < n; j++) top = score[j] > top ? score[j] : top;
        base = top == (real)-INFINITY ? 0 : top;
        if (old != top) {
            real fade = att_exp(old - base);
            sum *= fade;
            for (int64_t d = 0; d < a->D; d++) out[d] *= fade;
        }
        for (int64_t j = 0; j < n; j++) score[j] = att_exp(score[j] - base);
        for (int64_t j = 0; j < n; j++) sum += score[j];
        if (a->dropout > 0) {
            att_keep_row(a, t->b, t->h, t->q0, j0, j0 + n, keep);
            for (int64_t j = 0; j < n; j++) score[j] *= keep[j];
        }
        key_rows(a, a->v, t, j0, j0 + n, row, room);
        add_values(score, row, n, a->D, out);
    }
    real factor = sum == 0 ? 0 : 1 / sum, *y = y_at(l, a, t->b, t->h, t->q0);
    for (int64_t d = 0; d < a->D; d++) y[d] = out[d] * factor;
    real *lse = lse_at(l, a, t->b, t->h, t->q0);
    if (lse) *lse = sum == 0 ? (real)-INFINITY : top + (real)log((double)sum);
}

static void forward_run(const launch *l, int phase, int64_t task, char *local)
{
    (void)phase;
    att a = forward_open(l);
    if (a.T > FEW_QUERIES) {
        query_tile(l, &a, task, local);
        return;
    }
    int64_t b = task / a.H, h = task % a.H, n = queries(l, &a, b);
    for (int64_t i = 0; i < n; i++) {
        att_tile t = att_tile_at(&a, b, h, i, 1);
        query_row(l, &a, &t, local);
    }
    nothing_seen(l, &a, b, h, n, a.T);
}

const kernel K(k_attention) = { .tasks = forward_tasks, .run = forward_run };
