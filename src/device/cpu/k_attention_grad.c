/* k_attention_grad.c - the backward pass of attention in tiles, memory linear
 * in T: weights are made again from scores and log-sum-exp (Dao 2023, arXiv
 * 2307.08691, algorithm 2), with the sums over queries innermost.
 *
 *   p = exp(s - lse)       dp = g v^T       ds = p (dp - rowsum(g y))
 *   dv = p^T g             dk = ds^T q      dq = ds k      dbias = ds
 *
 * Phase 0: a task owns one head of k and v.  It holds a range of keys and
 * values (1024 of head size 64), packed once, with the sums of dk and dv, and
 * walks its tiles of queries; dq grows from range to range in its place.
 * Where heads are few, their query tiles are dealt to several chunks that sum
 * apart; phase 1 adds the chunks in order.  Phase 2, only for a bias: tasks
 * are tiles of dbias.  The scale is a factor of ds. */
#include "device/cpu/attention.h"

/* Local memory for keys, values and the sums of their gradients. */
enum { RANGE_BYTES = 1 << 20 };
/* Tasks that phase 0 should at least have, chunks at most, numbers that one
 * task of phase 1 adds. */
enum { ENOUGH_TASKS = 16, MAX_CHUNKS = 8, ADD_BLOCK = 16384 };

typedef struct back {
    att a;
    const operand *y, *lse, *g;
    int64_t n_chunk, n_item;        /* items: query tiles of one group of heads */
    int64_t n_kv;                   /* numbers in k, and in v */
    int64_t range;                  /* keys that are held at once */
    bool    apart;                  /* dk and dv of these are summed in local memory */
    const operand *dq, *dk, *dv;    /* rows of D may lie apart; data NULL: nobody reads it */
    real   *dbias;
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
    att_choose(a, !att_given(a->bias));
    const att_cores *g = &a->core;
    int64_t packed = g->k_q ? g->k_q->a_bytes + g->k_w->a_bytes + g->v_w->a_bytes : 2 * (int64_t)sizeof(real);
    int64_t key = a->D * (packed + 2 * (int64_t)sizeof(real)), held = RANGE_BYTES / max_i64(1, key);
    z.range = max_i64(ATT_KEYS, min_i64(held, a->S + ATT_KEYS - 1) / ATT_KEYS * ATT_KEYS);
    z.apart = z.range * key <= RANGE_BYTES;
    z.dq = launch_out(l, ATTG_DQ), z.dk = launch_out(l, ATTG_DK), z.dv = launch_out(l, ATTG_DV);
    z.dbias = (real *)launch_out(l, ATTG_DBIAS)->data;
    return z;
}

static size_t back_shared(const launch *l)
{
    back z = back_open(l);
    return z.n_chunk > 1 ? (size_t)(2 * z.n_chunk * z.n_kv) * sizeof(real) : 0;
}

static int back_phases(const launch *l) { (void)l; return 3; }

/* In phase 1: rows of D that one task adds, and tasks for dk, as for dv. */
static int64_t add_rows(const back *z) { return max_i64(1, ADD_BLOCK / max_i64(1, z->a.D)); }
static int64_t add_tasks(const back *z) { return ceil_div(z->a.B * z->a.S * z->a.Hkv, add_rows(z)); }

static int64_t back_tasks(const launch *l, int phase)
{
    back z = back_open(l);
    if (phase == 0) return z.a.B * z.a.Hkv * z.n_chunk;
    if (phase == 1) return z.n_chunk > 1 ? 2 * add_tasks(&z) : 0;
    const operand *bias = z.a.bias;
    return z.dbias && att_given(bias) ? bias->dim[0] * bias->dim[1] * att_tiles(&z.a) : 0;
}

/* --- one tile of queries ------------------------------------------------------- */

/* Keys first .. first + n of a head, and values, in rows of D, the
 * first `packed` of them so far; dk and dv grow in rows k_step and v_step apart. */
typedef struct held {
    int64_t first, n, packed, k_step, v_step;
    real *k, *v, *dk, *dv;
    char *k_lines, *k_depth, *v_lines;      /* for the core, tile by tile: lines are keys, or k's elements */
} held;

/* q and g as dense rows (n_query x row) and transposed (D x n_query); then
 * tiles of keys x n_query: weights, their gradients, and what scores need. */
typedef struct tiles {
    int64_t row;
    real *q, *g, *q_t, *g_t, *dq_t, *p, *ds, *bias, *slope, *keep, *lse, *delta;
    char *q_lines, *q_depth, *g_lines, *g_depth, *left, *right;     /* for the core */
} tiles;

static real *take(real **at, int64_t n)
{
    real *from = *at;
    *at += ceil_div(n, VEC_LANES) * VEC_LANES;
    return from;
}

/* Bytes of a packed tile of keys or queries, whichever way. */
static int64_t tile_bytes(const att *a, int bytes) { return att_packed(bytes, ATT_KEYS, a->D); }

/* For `keys` at once; dk and dv only where they are summed apart. */
static tiles tiles_in(const att *a, int64_t keys, bool apart, char *local, held *h)
{
    tiles r = { .row = ceil_div(a->D, VEC_LANES) * VEC_LANES };
    int64_t W = a->n_query, tile = ATT_KEYS * W;
    real *at = (real *)local, **rows[] = { &r.q, &r.g }, **turned[] = { &r.q_t, &r.g_t, &r.dq_t };
    real **square[] = { &r.p, &r.ds, &r.bias, &r.slope, &r.keep }, **line[] = { &r.lse, &r.delta };
    for (int i = 0; i < 5; i++) *square[i] = take(&at, tile);
    for (int i = 0; i < 2; i++) *line[i] = take(&at, W);
    for (int i = 0; i < 2; i++) *rows[i] = take(&at, W * r.row);
    for (int i = 0; i < 3; i++) *turned[i] = take(&at, a->D * W);
    h->k_step = h->v_step = a->D;
    h->dk = apart ? take(&at, keys * a->D) : NULL;
    h->dv = apart ? take(&at, keys * a->D) : NULL;
    /* a product reads rows of D up to whole vectors */
    const att_cores *g = &a->core;
    if (!g->k_q) h->k = take(&at, keys * a->D + VEC_LANES), h->v = take(&at, keys * a->D + VEC_LANES);
    else {
        int64_t n_tile = keys / ATT_KEYS, size = (int64_t)sizeof(real);
        h->k_lines = (char *)take(&at, n_tile * tile_bytes(a, g->k_q->a_bytes) / size);
        h->k_depth = (char *)take(&at, n_tile * tile_bytes(a, g->k_w->a_bytes) / size);
        h->v_lines = (char *)take(&at, n_tile * tile_bytes(a, g->v_w->a_bytes) / size);
        r.q_lines = (char *)take(&at, tile_bytes(a, g->k_q->b_bytes) / size);
        r.q_depth = (char *)take(&at, tile_bytes(a, g->w_q->b_bytes) / size);
        r.g_lines = (char *)take(&at, tile_bytes(a, g->v_w->b_bytes) / size);
        r.g_depth = (char *)take(&at, tile_bytes(a, g->w_w->b_bytes) / size);
        r.left = (char *)take(&at, att_packed(g->w_w->a_bytes, ATT_KEYS, W) / size);
        r.right = (char *)take(&at, att_packed(g->k_w->b_bytes, W, ATT_KEYS) / size);
    }
    assert((char *)at - local <= LOCAL_BYTES);
    return r;
}

/* Query rows of x densely (bf16 stays bf16 if it may); rows that see nothing are
 * zeros. */
static void pack_rows(const att *a, const operand *x, const att_tile *t, const real *lse, bool stays, real *to,
                      int64_t row)
{
    bool half = stays && x->dtype == GENET_BF16;
    int64_t size = half ? 2 : (int64_t)sizeof(real);
    for (int64_t c = 0; c < t->cols; c++) {
        char *at = (char *)to + c * row * size;
        const char *from = att_at(x, t->b, t->q0 + min_i64(c, t->n - 1), t->h);
        bool seen = c < t->n && lse[c] != (real)INFINITY;
        int64_t used = seen ? a->D : 0;
        if (half)
            for (int64_t d = 0; d < used; d++) ((uint16_t *)at)[d] = ((const uint16_t *)from)[d * x->stride[3]];
        else if (seen) att_copy(x, from, a->D, 1, (real *)at);
        memset(at + used * size, 0, (size_t)((row - used) * size));
    }
}

/* Rows of q and g as right factors for the core: lines are queries, or elements. */
static void pack_queries(const att *a, const att_tile *t, const tiles *r)
{
    const att_cores *m = &a->core;
    gemm_source q = att_source(r->q, a->q->dtype, r->row, 1), g = att_source(r->g, GENET_F32, r->row, 1);
    gemm_source q_turned = att_turned(q), g_turned = att_turned(g);
    m->k_q->pack_b(&q, t->cols, a->D, r->q_lines);
    m->w_q->pack_b(&q_turned, a->D, t->cols, r->q_depth);
    m->v_w->pack_b(&g, t->cols, a->D, r->g_lines);
    m->w_w->pack_b(&g_turned, a->D, t->cols, r->g_depth);
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
        if (seen) n = c + 1;
    }
    att_tile t = att_tile_at(a, b, h, q0, n);
    bool core = a->core.k_q != NULL;
    pack_rows(a, a->q, &t, r->lse, core, r->q, r->row);
    pack_rows(a, z->g, &t, r->lse, false, r->g, r->row);
    if (core) {
        pack_queries(a, &t, r);
    } else {
        tile_transpose(t.cols, a->D, r->q, r->row, 1, 1, r->q_t, W);
        tile_transpose(t.cols, a->D, r->g, r->row, 1, 1, r->g_t, W);
    }
    for (int64_t c = 0; c < W; c++) {
        const char *y = c < n ? att_at(z->y, b, q0 + c, h) : NULL;
        if (y && !att_dense(z->y)) att_copy(z->y, y, a->D, 1, r->dq_t), y = (const char *)r->dq_t;
        r->delta[c] = y && r->lse[c] != (real)INFINITY ? tile_dot(r->g + c * r->row, (const real *)y, a->D) : 0;
    }
    return t;
}

/* One strip: s (in p) and dp (in ds) become weights and gradients of scores. */
static void differentiate(const att *a, tiles *r, const att_strip *s, bool drop, bool sloped, real scale)
{
    int64_t W = a->n_query;
    for (int64_t j = s->j0; j < s->j0 + s->n; j++) {
        real *p = r->p + j * W, *ds = r->ds + j * W;
        const real *keep = r->keep + j * W, *slope = r->slope + j * W;
        for (int64_t c = s->c0; c < s->c1; c += VEC_LANES) {
            tile_vec w = att_exp(tile_load(p + c) - tile_load(r->lse + c)), dp = tile_load(ds + c);
            tile_vec kept = drop ? tile_load(keep + c) : tile_splat(1);
            if (drop) dp *= kept;
            dp = w * scale * (dp - tile_load(r->delta + c));
            if (sloped) dp *= tile_load(slope + c);
            if (drop) w *= kept;
            tile_store(ds + c, dp);
            tile_store(p + c, w);
        }
    }
}

/* Fill r->p and r->ds for keys j0 .. j1, strip by strip; k and v: their rows.
 * inner: ds is that of q k, else of what a bias is added to. */
static int gradient_tile(const att *a, const att_tile *t, tiles *r, int64_t j0, int64_t j1, const void *k,
                         const void *v, bool inner, att_strip *strip)
{
    bool core = a->core.k_q != NULL, drop = a->dropout > 0, capped = inner && a->softcap > 0;
    const void *q = core ? (const void *)r->q_lines : r->q_t, *g = core ? (const void *)r->g_lines : r->g_t;
    int n_strip = att_cut(a, t, j0, j1, strip);
    if (!n_strip) return 0;
    for (int i = 0; i < n_strip; i++) att_product(a, a->core.v_w, &strip[i], g, v, r->ds);
    const real *bias = att_bias(a, t, j0, j1, r->bias);
    if (drop) att_keep(a, t, j0, j1, r->keep);
    for (att_strip *s = strip; s < strip + n_strip; s++) {
        att_scores(a, t, s, j0, q, k, bias, r->p, capped ? r->slope : NULL);
        differentiate(a, r, s, drop, capped, inner ? a->scale : 1);
    }
    return n_strip;
}

/* --- phase 0: dq, dk, dv --------------------------------------------------------- */

/* dk, dv (each may be NULL) and dq_t grow by what a strip of the tile of keys
 * gives; first: the tile's place among those held, n: its keys. */
static void add_strip(const att *a, tiles *r, const held *to, const att_strip *s, int64_t first, bool want_dq)
{
    int64_t W = a->n_query, D = a->D, at = s->j0 * W + s->c0, width = s->c1 - s->c0, j = first + s->j0;
    const real *q = r->q + s->c0 * r->row, *g = r->g + s->c0 * r->row;
    if (to->dv) tile_product(s->n, D, width, r->p + at, W, 1, g, r->row, to->dv + j * to->v_step, to->v_step, true);
    if (to->dk) tile_product(s->n, D, width, r->ds + at, W, 1, q, r->row, to->dk + j * to->k_step, to->k_step, true);
    if (want_dq)
        tile_product(D, width, s->n, to->k + (first + s->j0) * D, 1, D, r->ds + at, W, r->dq_t + s->c0, W, true);
}

/* The same on the core; tile: number of the tile. */
static void add_strip_core(const att *a, const att_tile *t, tiles *r, const held *to, const att_strip *s, int64_t tile,
                           bool want_dq)
{
    const att_cores *m = &a->core;
    int64_t W = a->n_query, D = a->D, at = s->j0 * W + s->c0, width = s->c1 - s->c0, first = tile * ATT_KEYS;
    int64_t n = min_i64(ATT_KEYS, to->n - first), j = first + s->j0;
    gemm_source p = att_source(r->p + at, GENET_F32, W, 1), ds = att_source(r->ds + at, GENET_F32, W, 1);
    gemm_source ds_turned = att_turned(ds);
    if (to->dv) {
        m->w_w->pack_a(&p, s->n, width, r->left);
        att_add_product(m->w_w, r->left, width, r->g_depth, t->cols, s->c0, s->n, D, width, to->dv + j * to->v_step, to->v_step);
    }
    if (to->dk) {
        m->w_q->pack_a(&ds, s->n, width, r->left);
        att_add_product(m->w_q, r->left, width, r->q_depth, t->cols, s->c0, s->n, D, width, to->dk + j * to->k_step, to->k_step);
    }
    if (!want_dq) return;
    const char *k = to->k_depth + tile * tile_bytes(a, m->k_w->a_bytes);
    m->k_w->pack_b(&ds_turned, width, s->n, r->right);
    att_add_product(m->k_w, k, n, r->right, s->n, s->j0, D, width, s->n, r->dq_t + s->c0, W);
}

/* The tile of keys that begins at j0, of those held. */
static void add_keys(const att *a, const att_tile *t, tiles *r, int64_t j0, const held *to, bool want_dq)
{
    int64_t first = j0 - to->first, j1 = min_i64(min_i64(j0 + ATT_KEYS, t->end), to->first + to->n);
    int64_t tile = first / ATT_KEYS;
    const att_cores *m = &a->core;
    const void *k = m->k_q ? (const void *)(to->k_lines + tile * tile_bytes(a, m->k_q->a_bytes)) : to->k + first * a->D;
    const void *v = m->k_q ? (const void *)(to->v_lines + tile * tile_bytes(a, m->v_w->a_bytes)) : to->v + first * a->D;
    att_strip strip[ATT_STRIPS];
    int n = gradient_tile(a, t, r, j0, j1, k, v, true, strip);
    for (const att_strip *s = strip; s < strip + n; s++)
        if (m->k_q) add_strip_core(a, t, r, to, s, tile, want_dq);
        else add_strip(a, r, to, s, first, want_dq);
}

static void clear_rows(real *x, int64_t step, int64_t rows, int64_t n)
{
    for (int64_t j = 0; j < rows; j++) memset(x + j * step, 0, (size_t)n * sizeof(real));
}

/* Keys and values j0 .. j1, one tile, for the core. */
static void hold_packed(const att *a, int64_t b, int64_t h, int64_t j0, int64_t j1, held *to)
{
    const att_cores *m = &a->core;
    int64_t tile = to->packed / ATT_KEYS;
    gemm_source k = att_lines(a, a->k, b, h, j0, j1, NULL), v = att_lines(a, a->v, b, h, j0, j1, NULL);
    gemm_source k_turned = att_turned(k);
    m->k_q->pack_a(&k, j1 - j0, a->D, to->k_lines + tile * tile_bytes(a, m->k_q->a_bytes));
    m->k_w->pack_a(&k_turned, a->D, j1 - j0, to->k_depth + tile * tile_bytes(a, m->k_w->a_bytes));
    m->v_w->pack_a(&v, j1 - j0, a->D, to->v_lines + tile * tile_bytes(a, m->v_w->a_bytes));
}

/* Keys and values up to `end` are packed when a tile first meets them, and the
 * next ones called for. */
static void hold(const att *a, int64_t b, int64_t h, int64_t end, held *to)
{
    while (to->packed < to->n && to->first + to->packed < end) {
        int64_t j0 = to->first + to->packed, j1 = min_i64(j0 + ATT_KEYS, to->first + to->n);
        int64_t j2 = min_i64(j1 + ATT_KEYS, to->first + to->n);
        if (a->core.k_q) hold_packed(a, b, h, j0, j1, to);
        else {
            att_pack(a, a->k, b, h, j0, j1, to->k + to->packed * a->D);
            att_pack(a, a->v, b, h, j0, j1, to->v + to->packed * a->D);
        }
        att_prefetch(a->k, b, h, j1, j2);
        att_prefetch(a->v, b, h, j1, j2);
        to->packed = j1 - to->first;
    }
}

/* Queries q0 .. of one head meet the keys held. */
static void back_tile(const back *z, int64_t b, int64_t h, int64_t q0, held *to, tiles *r)
{
    const att *a = &z->a;
    int64_t step = z->dq->stride[1], rows = min_i64(a->n_query, a->T - q0), W = a->n_query;
    real *dq = z->dq->data ? (real *)att_at(z->dq, b, q0, h) : NULL;
    att_tile t = att_tile_at(a, b, h, q0, rows);
    int64_t first = max_i64(t.first, to->first), end = min_i64(t.end, to->first + to->n);
    if (dq && to->first == 0 && t.first >= t.end) clear_rows(dq, step, rows, a->D);
    if (first >= end) return;
    t = load(z, b, h, q0, r);
    int64_t q1 = min_i64(q0 + rows + W, a->T);
    att_prefetch(a->q, b, h, q0 + rows, q1);
    att_prefetch(z->g, b, h, q0 + rows, q1);
    att_prefetch(z->y, b, h, q0 + rows, q1);
    hold(a, b, h / a->group, end, to);
    bool fresh = to->first <= t.first;
    if (dq && fresh) clear_rows(dq + t.n * step, step, rows - t.n, a->D), clear_rows(r->dq_t, W, a->D, t.cols);
    else if (dq) tile_transpose(t.n, a->D, dq, step, 1, 1, r->dq_t, W), att_clear_columns(r->dq_t, a->D, t.n, t.cols, W);
    if (dq) att_prefetch_bytes((const char *)dq, step * (int64_t)sizeof(real), t.n, a->D * (int64_t)sizeof(real), 1);
    for (int64_t j0 = first; j0 < min_i64(end, t.end); j0 += ATT_KEYS) add_keys(a, &t, r, j0, to, dq != NULL);
    if (dq) tile_transpose(a->D, t.n, r->dq_t, W, 1, 1, dq, step);
}

static void copy_rows(const real *from, real *to, int64_t step, int64_t rows, int64_t n)
{
    for (int64_t j = 0; j < rows; j++) memcpy(to + j * step, from + j * n, (size_t)n * sizeof(real));
}

/* Where a task's rows of dk (or dv, which: 1) begin and how far apart they lie: in the result, or in the chunk's part. */
static real *rows_of(const launch *l, const back *z, int which, int64_t chunk, int64_t b, int64_t hk, int64_t *step)
{
    const operand *o = which ? z->dv : z->dk;
    *step = z->n_chunk > 1 ? z->a.Hkv * z->a.D : o->stride[1];
    if (z->n_chunk > 1) return (real *)l->shared + (2 * chunk + which) * z->n_kv + (b * z->a.S * z->a.Hkv + hk) * z->a.D;
    return o->data ? (real *)att_at(o, b, 0, hk) : NULL;
}

static void back_head(const launch *l, const back *z, int64_t task, char *local)
{
    const att *a = &z->a;
    int64_t chunk = task % z->n_chunk, b = task / z->n_chunk / a->Hkv, hk = task / z->n_chunk % a->Hkv, D = a->D;
    int64_t n_tile = att_tiles(a), k_step, v_step;
    real *dk = rows_of(l, z, 0, chunk, b, hk, &k_step), *dv = rows_of(l, z, 1, chunk, b, hk, &v_step);
    held to;
    tiles r = tiles_in(a, z->range, z->apart, local, &to);
    /* without keys: once, for the zeros of dq */
    for (to.first = 0; to.first < max_i64(1, a->S); to.first += z->range) {
        to.n = min_i64(z->range, a->S - to.first);
        real *dk_to = dk ? dk + to.first * k_step : NULL, *dv_to = dv ? dv + to.first * v_step : NULL;
        if (!z->apart) to.dk = dk_to, to.dv = dv_to, to.k_step = k_step, to.v_step = v_step;
        else to.dk = dk ? to.dk : NULL, to.dv = dv ? to.dv : NULL;
        to.packed = 0;
        if (to.dk) clear_rows(to.dk, to.k_step, to.n, D);
        if (to.dv) clear_rows(to.dv, to.v_step, to.n, D);
        for (int64_t i = chunk; i < z->n_item; i += z->n_chunk)
            back_tile(z, b, hk * a->group + i / n_tile, i % n_tile * a->n_query, &to, &r);
        if (to.dk && z->apart) copy_rows(to.dk, dk_to, k_step, to.n, D);
        if (to.dv && z->apart) copy_rows(to.dv, dv_to, v_step, to.n, D);
    }
}

/* --- phase 1: chunks into one ------------------------------------------------------ */

static void add_chunks(const launch *l, const back *z, int64_t task)
{
    const att *a = &z->a;
    int64_t which = task / add_tasks(z), first = task % add_tasks(z) * add_rows(z), D = a->D;
    const operand *o = which ? z->dv : z->dk;
    for (int64_t row = first; o->data && row < min_i64(first + add_rows(z), a->B * a->S * a->Hkv); row++) {
        real *restrict to = (real *)att_at(o, row / a->Hkv / a->S, row / a->Hkv % a->S, row % a->Hkv);
        const real *restrict part = (const real *)l->shared + which * z->n_kv + row * D;
        memcpy(to, part, (size_t)D * sizeof(real));
        for (int64_t c = 1; c < z->n_chunk; c++) {
            part += 2 * z->n_kv;
            for (int64_t i = 0; i < D; i++) to[i] += part[i];
        }
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
    held m;
    tiles r = tiles_in(a, ATT_KEYS, false, local, &m);
    for (int64_t b = b1; b < last_b; b++)
        for (int64_t h = h1; h < last_h; h++) {
            att_tile t = load(z, b, h, q0, &r);
            for (int64_t j0 = t.first; j0 < t.end; j0 += ATT_KEYS) {
                att_strip strip[ATT_STRIPS];
                int64_t j1 = min_i64(j0 + ATT_KEYS, t.end);
                att_pack(a, a->k, b, h / a->group, j0, j1, m.k);
                att_pack(a, a->v, b, h / a->group, j0, j1, m.v);
                int n = gradient_tile(a, &t, &r, j0, j1, m.k, m.v, false, strip);
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
