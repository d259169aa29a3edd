/* k_attention_row.c - attention of very few queries (decoding): bound by reading
 * the keys and values, once for all the heads and queries that share them.
 *
 * Lanes run along the head.  A task is one head of k and v, at most ROWS rows
 * (of queries and their heads) and CHUNK keys; where the cache is longer than
 * a chunk, each leaves its largest score, sum of weights and unscaled output,
 * and phase 1 puts these together in rising order.  Chunks begin at multiples
 * of CHUNK, so bits depend on the keys seen alone, not on how long the cache
 * is; a chunk beyond the position costs next to nothing. */
#include "device/cpu/attention.h"

enum { ROWS = 8, CHUNK = 1024, EXTRA = VEC_LANES };      /* EXTRA: room for top and sum after a part's output */

/* One query of one head: keys first .. end are what it sees. */
typedef struct row { int64_t h, i, first, end; real top, sum, *q, *out; } row;

static int64_t chunks(const att *a)        { return max_i64(1, ceil_div(a->S, CHUNK)); }
static int64_t row_blocks(const att *a)    { return ceil_div(a->group * a->T, ROWS); }
static int64_t part_length(const att *a)   { return ceil_div(a->D, VEC_LANES) * VEC_LANES + EXTRA; }

static int row_phases(const launch *l)
{
    att a = att_open_forward(l);
    return chunks(&a) > 1 ? 2 : 1;
}
static size_t row_shared(const launch *l)
{
    att a = att_open_forward(l);
    return chunks(&a) > 1 ? (size_t)(a.B * a.H * a.T * chunks(&a) * part_length(&a)) * sizeof(real) : 0;
}
static int64_t row_tasks(const launch *l, int phase)
{
    att a = att_open_forward(l);
    int64_t n = a.B * a.Hkv * row_blocks(&a);
    return phase == 0 ? n * chunks(&a) : n;
}

/* Part c of a row: D of output, then the largest score and the sum. */
static real *part_at(const launch *l, const att *a, int64_t b, const row *r, int64_t c)
{
    return (real *)l->shared + (((b * a->H + r->h) * a->T + r->i) * chunks(a) + c) * part_length(a);
}

/* --- scores --------------------------------------------------------------------- */

/* Addresses of n keys (or values): in place where their elements are
 * neighbours, else copied to room. */
static void key_rows(const att *a, const operand *k, int64_t b, int64_t h, int64_t j0, int64_t n, const real **at,
                     real *room)
{
    bool dense = att_dense(k);
    if (dense) memset(room, 0, (size_t)a->D * sizeof(real));      /* what a row index that points nowhere reads */
    else att_pack(a, k, b, h, j0, j0 + n, room);
    for (int64_t j = 0; j < n; j++) {
        const real *from = dense ? (const real *)att_key(a, k, b, h, j0 + j) : room + j * a->D;
        at[j] = from ? from : room;
    }
}

/* Scores of the keys from .. to among j0 .. j0 + ATT_KEYS; -inf elsewhere. */
static void row_scores(const att *a, int64_t b, const row *r, const real *const *key, int64_t j0, int64_t from,
                       int64_t to, real *score)
{
    const operand *o = a->bias;
    for (int64_t j = 0; j < ATT_KEYS; j++) score[j] = (real)-INFINITY;
    for (int64_t j = from - j0; j < to - j0; j++) score[j] = tile_dot(r->q, key[j], a->D);
    if (a->softcap > 0) att_softcap(score + (from - j0), NULL, a->softcap, to - from);
    if (!att_given(o)) return;
    const real *bias = (const real *)o->data + (o->dim[0] > 1 ? b * o->stride[0] : 0) +
                       (o->dim[1] > 1 ? r->h * o->stride[1] : 0) + r->i * o->stride[2];
    for (int64_t j = from; j < to; j++) score[j - j0] += bias[j * o->stride[3]];
}

/* Scores become weights; what came before fades where the maximum rose. */
static void row_weigh(const att *a, int64_t b, row *r, int64_t j0, int64_t from, int64_t to, real *score)
{
    real old = r->top, keep[ATT_KEYS];
    for (int64_t j = from - j0; j < to - j0; j++) r->top = score[j] > r->top ? score[j] : r->top;
    real base = r->top == (real)-INFINITY ? 0 : r->top;
    if (old != r->top) {
        real fade = att_exp_one(old - base);
        r->sum *= fade;
        for (int64_t d = 0; d < a->D; d++) r->out[d] *= fade;
    }
    tile_vec sum = {0};
    for (int64_t j = 0; j < ATT_KEYS; j += VEC_LANES) {
        tile_vec p = att_exp(tile_load(score + j) - base);
        tile_store(score + j, p);
        sum += p;
    }
    r->sum += tile_sum_lanes(sum);
    if (a->dropout > 0) {
        att_keep_row(a, b, r->h, r->i, from, to, keep);
        for (int64_t j = from; j < to; j++) score[j - j0] *= keep[j - from];
    }
}

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

/* --- phase 0: chunks of keys ------------------------------------------------------- */

/* Rows of a block: row k is query k % T of head k / T of the group. */
static int64_t rows_of(const att *a, int64_t b, int64_t hk, int64_t block, row *r)
{
    int64_t n = 0, first = block * ROWS, last = min_i64(first + ROWS, a->group * a->T);
    for (int64_t k = first; k < last; k++) {
        int64_t i = k % a->T, h = hk * a->group + k / a->T;
        if (i >= att_n_query(a, b)) continue;
        att_tile t = att_tile_at(a, b, h, i, 1);
        int64_t low = a->window > 0 ? max_i64(0, t.shift - a->window + 1) : 0;
        r[n++] = (row){ .h = h, .i = i, .first = low, .end = max_i64(low, t.end), .top = (real)-INFINITY };
    }
    return n;
}

static void load_rows(const att *a, int64_t b, row *r, int64_t n, real *room)
{
    int64_t length = part_length(a);
    for (row *end = r + n; r < end; r++, room += 2 * length) {
        r->q = room, r->out = room + length;
        att_copy(a->q, att_at(a->q, b, r->i, r->h), a->D, a->scale, r->q);
        memset(r->out, 0, (size_t)a->D * sizeof(real));
    }
}

/* All rows meet the keys from .. to, one tile. */
static void add_keys(const att *a, int64_t b, row *r, int64_t n, int64_t from, int64_t to, real *room)
{
    real score[ROWS][ATT_KEYS];
    const real *at[ATT_KEYS];
    int64_t h = r->h / a->group, low[ROWS], high[ROWS];
    key_rows(a, a->k, b, h, from, to - from, at, room);
    for (int64_t k = 0; k < n; k++) {
        low[k] = max_i64(from, r[k].first), high[k] = min_i64(to, r[k].end);
        if (low[k] >= high[k]) continue;
        row_scores(a, b, &r[k], at, from, low[k], high[k], score[k]);
        row_weigh(a, b, &r[k], from, low[k], high[k], score[k]);
    }
    key_rows(a, a->v, b, h, from, to - from, at, room);
    for (int64_t k = 0; k < n; k++)
        if (low[k] < high[k])
            add_values(score[k] + (low[k] - from), at + (low[k] - from), high[k] - low[k], a->D, r[k].out);
}

/* y = out / sum, and log-sum-exp. */
static void give(const launch *l, const att *a, int64_t b, const row *r)
{
    real factor = r->sum == 0 ? 0 : 1 / r->sum, *y = att_y(l, a, b, r->h, r->i), *lse = att_lse(l, a, b, r->h, r->i);
    for (int64_t d = 0; d < a->D; d++) y[d] = r->out[d] * factor;
    if (lse) *lse = r->sum == 0 ? (real)-INFINITY : r->top + (real)log((double)r->sum);
}

static void run_chunk(const launch *l, const att *a, int64_t b, int64_t chunk, row *r, int64_t n, char *local)
{
    int64_t first = INT64_MAX, end = 0;
    for (int64_t k = 0; k < n; k++) first = min_i64(first, r[k].first), end = max_i64(end, r[k].end);
    first = max_i64(first - first % ATT_KEYS, chunk * CHUNK), end = min_i64(end, (chunk + 1) * CHUNK);
    if (first < end || chunks(a) == 1) load_rows(a, b, r, n, (real *)local);
    real *room = (real *)local + 2 * ROWS * part_length(a);
    for (int64_t j = first; j < end; j += ATT_KEYS) add_keys(a, b, r, n, j, min_i64(end, j + ATT_KEYS), room);
    for (int64_t k = 0; k < n; k++) {
        if (chunks(a) == 1) {
            give(l, a, b, &r[k]);
            continue;
        }
        real *part = part_at(l, a, b, &r[k], chunk), *tail = part + part_length(a) - EXTRA;
        tail[0] = r[k].top, tail[1] = r[k].sum;
        if (r[k].sum != 0) memcpy(part, r[k].out, (size_t)a->D * sizeof(real));
    }
}

/* --- phase 1: chunks into one ---------------------------------------------------------- */

static void join_chunks(const launch *l, const att *a, int64_t b, row *r, real *out)
{
    int64_t n = chunks(a), tail = part_length(a) - EXTRA;
    r->out = out, r->sum = 0;
    memset(out, 0, (size_t)a->D * sizeof(real));
    for (int64_t c = 0; c < n; c++) r->top = fmax(r->top, part_at(l, a, b, r, c)[tail]);
    for (int64_t c = 0; c < n; c++) {
        const real *restrict part = part_at(l, a, b, r, c);
        if (part[tail + 1] == 0) continue;
        real weight = part[tail] == r->top ? 1 : att_exp_one(part[tail] - r->top);
        r->sum += part[tail + 1] * weight;
        for (int64_t d = 0; d < a->D; d++) out[d] += part[d] * weight;
    }
    give(l, a, b, r);
}

static void row_run(const launch *l, int phase, int64_t task, char *local)
{
    att a = att_open_forward(l);
    int64_t n_chunk = phase == 0 ? chunks(&a) : 1, chunk = task % n_chunk, block = task / n_chunk % row_blocks(&a);
    int64_t b = task / n_chunk / row_blocks(&a) / a.Hkv, hk = task / n_chunk / row_blocks(&a) % a.Hkv;
    row r[ROWS];
    int64_t n = rows_of(&a, b, hk, block, r);
    if (phase == 0) run_chunk(l, &a, b, chunk, r, n, local);
    else for (int64_t k = 0; k < n; k++) join_chunks(l, &a, b, &r[k], (real *)local);
    if (phase > 0 || chunk > 0) return;
    for (int64_t k = block * ROWS; k < min_i64((block + 1) * ROWS, a.group * a.T); k++)
        if (k % a.T >= att_n_query(&a, b)) att_unseen(l, &a, b, hk * a.group + k / a.T, k % a.T, k % a.T + 1);
}

const kernel K(attention_row) = { .phases = row_phases, .tasks = row_tasks, .run = row_run, .shared = row_shared };
