/* k_attention_grad.c - the backward pass of attention in tiles, memory linear
 * in T: weights are made again from scores and log-sum-exp (Dao 2023, arXiv
 * 2307.08691, algorithm 2), with the sums over queries innermost.
 *
 *   p = exp(s - lse)       dp = g v^T       ds = p (dp - rowsum(g y))
 *   dv = p^T g             dk = ds^T q      dq = ds k      dbias = ds
 *
 * Phase 0: a task owns one head of k and v, and walks its tiles of queries;
 * dk and dv grow in place, dq is finished tile by tile.  Where heads are few,
 * their query tiles are dealt to several chunks that sum apart; phase 1 adds
 * the chunks in order.  Phase 2, only for a bias: tasks are tiles of dbias. */
#include "device/cpu/attention.h"

/* Tasks that phase 0 should at least have, chunks at most, numbers that one
 * task of phase 1 adds. */
enum { ENOUGH_TASKS = 32, MAX_CHUNKS = 8, ADD_BLOCK = 16384 };

typedef struct back {
    att a;
    const operand *y, *lse, *g;
    int64_t n_chunk, n_item;        /* items: query tiles of one group of heads */
    int64_t n_kv;                   /* numbers in k, and in v */
    real   *dq, *dk, *dv, *dbias;
} back;

static back back_open(const launch *l)
{
    back z = { .a = att_open(l, launch_in(l, ATTG_Q), launch_in(l, ATTG_K), launch_in(l, ATTG_V)) };
    att *a = &z.a;
    a->bias = launch_in(l, ATTG_BIAS);
    a->k_lengths = launch_in(l, ATTG_K_LENGTHS);
    a->position = launch_in(l, ATTG_POSITION);
    a->rng = launch_in(l, ATTG_RNG);
    z.y = launch_in(l, ATTG_Y), z.lse = launch_in(l, ATTG_LSE), z.g = launch_in(l, ATTG_G);
    z.n_item = a->group * att_tiles(a);
    z.n_kv = a->B * a->S * a->Hkv * a->D;
    int64_t wanted = z.n_kv > 0 ? ceil_div(ENOUGH_TASKS, a->B * a->Hkv) : 1;
    z.n_chunk = max_i64(1, min_i64(min_i64(wanted, MAX_CHUNKS), z.n_item));
    z.dq = (real *)launch_out(l, ATTG_DQ)->data, z.dk = (real *)launch_out(l, ATTG_DK)->data;
    z.dv = (real *)launch_out(l, ATTG_DV)->data, z.dbias = (real *)launch_out(l, ATTG_DBIAS)->data;
    return z;
}

static size_t back_shared(const launch *l)
{
    back z = back_open(l);
    return z.n_chunk > 1 ? (size_t)(2 * z.n_chunk * z.n_kv) * sizeof(real) : 0;
}

static int back_phases(const launch *l) { (void)l; return 3; }

static int64_t back_tasks(const launch *l, int phase)
{
    back z = back_open(l);
    if (phase == 0) return z.a.B * z.a.Hkv * z.n_chunk;
    if (phase == 1) return z.n_chunk > 1 ? 2 * ceil_div(z.n_kv, ADD_BLOCK) : 0;
    const operand *bias = z.a.bias;
    return z.dbias && att_given(bias) ? bias->dim[0] * bias->dim[1] * att_tiles(&z.a) : 0;
}

/* --- one tile of queries ------------------------------------------------------- */

/* q and g as dense rows (n_query x row) and transposed (D x n_query); then
 * tiles of keys x n_query: weights, their gradients, and what scores need. */
typedef struct tiles {
    int64_t row;
    real *q, *g, *q_t, *g_t, *dq_t, *room, *p, *ds, *bias, *slope, *keep, *lse, *delta;
} tiles;

static tiles tiles_in(const att *a, char *local)
{
    tiles r = { .row = ceil_div(a->D, VEC_LANES) * VEC_LANES };
    int64_t W = a->n_query, tile = ATT_KEYS * W;
    real *at = (real *)local;
    r.q = at, at += W * r.row;
    r.g = at, at += W * r.row;
    r.q_t = at, at += a->D * W;
    r.g_t = at, at += a->D * W;
    r.dq_t = at, at += a->D * W;
    r.room = at, at += ATT_KEYS * r.row;
    r.p = at, at += tile;
    r.ds = at, at += tile;
    r.bias = at, at += tile;
    r.slope = at, at += tile;
    r.keep = at, at += tile;
    r.lse = at, at += W;
    r.delta = at, at += W;
    assert((char *)at - local <= LOCAL_BYTES);
    return r;
}

/* Query rows of x, times factor, densely; rows that see nothing are zeros. */
static void pack_rows(const att *a, const operand *x, const att_tile *t, const real *lse, real factor, real *to,
                      int64_t row)
{
    int64_t D = a->D, step = x->stride[3];
    for (int64_t c = 0; c < t->cols; c++, to += row) {
        memset(to, 0, (size_t)row * sizeof(real));
        if (c >= t->n || lse[c] == (real)INFINITY) continue;
        const real *restrict from = att_at(x, t->b, t->q0 + c, t->h);
        if (step == 1) for (int64_t d = 0; d < D; d++) to[d] = from[d] * factor;
        else for (int64_t d = 0; d < D; d++) to[d] = from[d * step] * factor;
    }
}

static real dot(const real *x, int64_t x_step, const real *y, int64_t y_step, int64_t n)
{
    if (x_step == 1 && y_step == 1) return tile_dot(x, y, n);
    real s = 0;
    for (int64_t d = 0; d < n; d++) s += x[d * x_step] * y[d * y_step];
    return s;
}

/* Load the tile that begins at q0: a row that sees nothing gets lse = +inf, so
 * that its weights are exp(s - inf) = 0, and zeros for q, g and delta.  The
 * tile ends at the last row that sees something. */
static att_tile load(const back *z, int64_t b, int64_t h, int64_t q0, tiles *r)
{
    const att *a = &z->a;
    int64_t rows = min_i64(a->n_query, a->T - q0), W = a->n_query, n = 0;
    const real *lse = (const real *)z->lse->data + b * z->lse->stride[0] + h * z->lse->stride[1];
    for (int64_t c = 0; c < W; c++) {
        real x = c < rows ? lse[(q0 + c) * z->lse->stride[2]] : (real)-INFINITY;
        bool seen = x != (real)-INFINITY;
        r->lse[c] = seen ? x : (real)INFINITY;
        r->delta[c] = seen ? dot(att_at(z->g, b, q0 + c, h), z->g->stride[3], att_at(z->y, b, q0 + c, h),
                                 z->y->stride[3], a->D) : 0;
        if (seen) n = c + 1;
    }
    att_tile t = att_tile_at(a, b, h, q0, n);
    pack_rows(a, a->q, &t, r->lse, a->scale, r->q, r->row);
    pack_rows(a, z->g, &t, r->lse, 1, r->g, r->row);
    tile_transpose(t.cols, a->D, r->q, r->row, 1, 1, r->q_t, W);
    tile_transpose(t.cols, a->D, r->g, r->row, 1, 1, r->g_t, W);
    return t;
}

/* One strip: s (in p) and dp (in ds) become weights and gradients of scores. */
static void differentiate(const att *a, tiles *r, const att_strip *s, bool drop, bool sloped)
{
    int64_t W = a->n_query;
    const real *restrict lse = r->lse, *restrict delta = r->delta;
    for (int64_t j = s->j0; j < s->j0 + s->n; j++) {
        real *restrict p = r->p + j * W, *restrict ds = r->ds + j * W;
        const real *restrict keep = r->keep + j * W, *restrict slope = r->slope + j * W;
        for (int64_t c = s->c0; c < s->c1; c++) p[c] = att_exp(p[c] - lse[c]);
        if (drop)
            for (int64_t c = s->c0; c < s->c1; c++) {
                ds[c] = p[c] * (ds[c] * keep[c] - delta[c]);
                p[c] *= keep[c];
            }
        else for (int64_t c = s->c0; c < s->c1; c++) ds[c] = p[c] * (ds[c] - delta[c]);
        if (sloped)
            for (int64_t c = s->c0; c < s->c1; c++) ds[c] *= slope[c];
    }
}

/* Fill r->p and r->ds for keys j0 .. j1, strip by strip; *k: the keys.
 * capped: ds is that of the score before the softcap, else after it. */
static int gradient_tile(const att *a, const att_tile *t, tiles *r, int64_t j0, int64_t j1, bool capped,
                         att_strip *strip, att_rows *k)
{
    int64_t W = a->n_query, h = t->h / a->group;
    int n_strip = att_cut(a, t, j0, j1, strip);
    if (!n_strip) return 0;
    att_rows v = att_pack(a, a->v, t->b, h, j0, j1, true, r->room);
    for (att_strip *s = strip; s < strip + n_strip; s++)
        tile_product(s->n, s->c1 - s->c0, a->D, v.at + s->j0 * v.row, v.row, 1, r->g_t + s->c0, W,
                     r->ds + s->j0 * W + s->c0, W, false);
    *k = att_pack(a, a->k, t->b, h, j0, j1, false, r->room);
    const real *bias = att_bias(a, t, j0, j1, r->bias);
    bool drop = a->dropout > 0;
    capped = capped && a->softcap > 0;
    if (drop) att_keep(a, t, j0, j1, r->keep);
    for (att_strip *s = strip; s < strip + n_strip; s++) {
        att_scores(a, t, s, j0, r->q_t, *k, bias, r->p, capped ? r->slope : NULL);
        differentiate(a, r, s, drop, capped);
    }
    return n_strip;
}

/* --- phase 0: dq, dk, dv --------------------------------------------------------- */

/* dk and dv (each may be NULL) of one head: key j at j * step. */
typedef struct kv_sums { real *dk, *dv; int64_t step; } kv_sums;

static void add_keys(const att *a, const att_tile *t, tiles *r, int64_t j0, const kv_sums *to, bool want_dq)
{
    int64_t W = a->n_query, D = a->D;
    att_strip strip[ATT_STRIPS];
    att_rows k = {0};
    int n = gradient_tile(a, t, r, j0, min_i64(j0 + ATT_KEYS, t->end), true, strip, &k);
    for (const att_strip *s = strip; s < strip + n; s++) {
        int64_t at = s->j0 * W + s->c0, width = s->c1 - s->c0, j = (j0 + s->j0) * to->step;
        if (to->dv)
            tile_product(s->n, D, width, r->p + at, W, 1, r->g + s->c0 * r->row, r->row, to->dv + j, to->step, true);
        if (to->dk)
            tile_product(s->n, D, width, r->ds + at, W, 1, r->q + s->c0 * r->row, r->row, to->dk + j, to->step, true);
        if (want_dq)
            tile_product(D, width, s->n, k.at + s->j0 * k.row, 1, k.row, r->ds + at, W, r->dq_t + s->c0, W, true);
    }
}

static void back_tile(const back *z, int64_t b, int64_t h, int64_t q0, const kv_sums *to, char *local)
{
    const att *a = &z->a;
    tiles r = tiles_in(a, local);
    att_tile t = load(z, b, h, q0, &r);
    for (int64_t d = 0; d < a->D; d++) memset(r.dq_t + d * a->n_query, 0, (size_t)t.cols * sizeof(real));
    for (int64_t j0 = t.first; j0 < t.end; j0 += ATT_KEYS) add_keys(a, &t, &r, j0, to, z->dq != NULL);
    if (!z->dq) return;
    int64_t step = a->H * a->D;
    real *dq = z->dq + (b * a->T + q0) * step + h * a->D;
    tile_transpose(a->D, t.n, r.dq_t, a->n_query, 1, a->scale, dq, step);
    for (int64_t c = t.n; c < min_i64(a->n_query, a->T - q0); c++) memset(dq + c * step, 0, (size_t)a->D * sizeof(real));
}

static void back_head(const launch *l, const back *z, int64_t task, char *local)
{
    const att *a = &z->a;
    int64_t chunk = task % z->n_chunk, b = task / z->n_chunk / a->Hkv, hk = task / z->n_chunk % a->Hkv;
    int64_t at = (b * a->S * a->Hkv + hk) * a->D, n_tile = att_tiles(a);
    kv_sums to = { .dk = z->dk ? z->dk + at : NULL, .dv = z->dv ? z->dv + at : NULL, .step = a->Hkv * a->D };
    if (z->n_chunk > 1) {
        to.dk = (real *)l->shared + 2 * chunk * z->n_kv + at;
        to.dv = to.dk + z->n_kv;
    }
    for (int64_t j = 0; j < a->S; j++) {
        if (to.dk) memset(to.dk + j * to.step, 0, (size_t)a->D * sizeof(real));
        if (to.dv) memset(to.dv + j * to.step, 0, (size_t)a->D * sizeof(real));
    }
    for (int64_t i = chunk; i < z->n_item; i += z->n_chunk)
        back_tile(z, b, hk * a->group + i / n_tile, i % n_tile * a->n_query, &to, local);
}

/* --- phase 1: chunks into one ------------------------------------------------------ */

static void add_chunks(const launch *l, const back *z, int64_t task)
{
    int64_t n_block = ceil_div(z->n_kv, ADD_BLOCK), from = task % n_block * ADD_BLOCK;
    int64_t which = task / n_block, n = min_i64(ADD_BLOCK, z->n_kv - from);
    real *restrict to = which ? z->dv : z->dk;
    if (!to) return;
    to += from;
    memcpy(to, (const real *)l->shared + which * z->n_kv + from, (size_t)n * sizeof(real));
    for (int64_t c = 1; c < z->n_chunk; c++) {
        const real *restrict part = (const real *)l->shared + (2 * c + which) * z->n_kv + from;
        for (int64_t i = 0; i < n; i++) to[i] += part[i];
    }
}

/* --- phase 2: dbias ---------------------------------------------------------------- */

/* Rows q0 .. of dbias[b'][h'], summed over the entries and heads that share it. */
static void bias_tile(const back *z, int64_t task, char *local)
{
    const att *a = &z->a;
    int64_t n_tile = att_tiles(a), nb = a->bias->dim[0], nh = a->bias->dim[1], S = a->S, W = a->n_query;
    int64_t q0 = task % n_tile * W, h1 = task / n_tile % nh, b1 = task / n_tile / nh;
    int64_t rows = min_i64(W, a->T - q0), last_b = nb == a->B ? b1 + 1 : a->B, last_h = nh == a->H ? h1 + 1 : a->H;
    real *dbias = z->dbias + ((b1 * nh + h1) * a->T + q0) * S;
    memset(dbias, 0, (size_t)(rows * S) * sizeof(real));
    tiles r = tiles_in(a, local);
    for (int64_t b = b1; b < last_b; b++)
        for (int64_t h = h1; h < last_h; h++) {
            att_tile t = load(z, b, h, q0, &r);
            for (int64_t j0 = t.first; j0 < t.end; j0 += ATT_KEYS) {
                att_strip strip[ATT_STRIPS];
                att_rows k;
                int n = gradient_tile(a, &t, &r, j0, min_i64(j0 + ATT_KEYS, t.end), false, strip, &k);
                for (const att_strip *s = strip; s < strip + n; s++)
                    for (int64_t c = s->c0; c < min_i64(s->c1, t.n); c++)
                        for (int64_t j = s->j0; j < s->j0 + s->n; j++) dbias[c * S + j0 + j] += r.ds[j * W + c];
            }
        }
}

static void back_run(const launch *l, int phase, int64_t task, char *local)
{
    back z = back_open(l);
    if (phase == 0) back_head(l, &z, task, local);
    else if (phase == 1) add_chunks(l, &z, task);
    else bias_tile(&z, task, local);
}

const kernel K(k_attention_grad) = { .phases = back_phases, .tasks = back_tasks, .run = back_run, .shared = back_shared };
