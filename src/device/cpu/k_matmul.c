/* k_matmul.c - products of matrices: how one is cut into phases and tasks.
 *
 * Three paths, chosen by shape and strides alone:
 *   VECTOR  one row times a matrix (decoding): bound by memory, no packing;
 *           a task is a range of columns.
 *   WHOLE   small products: a task is one or several of a batch, packed (or
 *           read in place) by itself.
 *   SHARED  the outer loops of BLIS.  One operand is packed once for all, a
 *           chunk of it (lines x depth) in one phase; in the next, tasks own
 *           ranges of the other operand's lines, pack those for themselves,
 *           and add the chunk's part to their stripe of C.
 * The depth is cut into blocks of at most GEMM_KC, added in rising order. The
 * epilogue runs on parts of C as they are finished, while they are in cache. */
#include "device/cpu/gemm.h"

enum {
    PAGE = 4096 / (int)sizeof(real),            /* lines this far apart fight for the same cache sets */
    LOCAL_REALS = (LOCAL_BYTES - EW_LOCAL_BYTES) / (int)sizeof(real),
    OWN_REALS = (1 << 20) / (int)sizeof(real),  /* a task's own packed block: half of L2 */
    CHUNK_REALS = (8 << 20) / (int)sizeof(real),
    CHUNK_LINES = 1024,     /* a chunk is made deeper only when it is this wide */
    PACK_PANELS = 8,        /* panels packed by one task */
    STRIPE_PANELS = 16,     /* panels between two calls of the epilogue */
    MANY = 8,               /* batch entries that make good tasks by themselves */
    TASK_WORK = 1 << 19,    /* multiply-adds worth a task of their own */
    WHOLE_WORK = 1 << 20    /* a product up to this is one task */
};

static int64_t round_up(int64_t n, int64_t unit) { return ceil_div(n, unit) * unit; }
static int64_t clamp(int64_t n, int64_t low, int64_t high) { return max_i64(low, min_i64(n, high)); }
/* n in pieces of at most `most`, all about as long: the length of one. */
static int64_t even(int64_t n, int64_t most) { return ceil_div(n, max_i64(1, ceil_div(n, most))); }

/* --- the product, freed of ranks ------------------------------------------------ */

typedef struct product {
    int64_t   M, N, K;
    gemm_side a, b;             /* of one batch entry, as they lie in memory */
    real     *c;
    int64_t   batch;
    int       n_axis;           /* leading dimensions, and the operands' strides there */
    int64_t   axis[MAX_DIM], a_step[MAX_DIM], b_step[MAX_DIM];
} product;

/* Stride of the dimension `from_end` (1: the last); 0 where it is broadcast. */
static int64_t step_of(const operand *o, int from_end)
{
    int i = o->rank - from_end;
    return i < 0 || o->dim[i] == 1 ? 0 : o->stride[i];
}

/* Batch entries that share B are more rows of one product where A's rows go
 * on at the same stride (C's always do). */
static void fold_batch(product *p)
{
    for (; p->n_axis > 0; p->n_axis--) {
        int i = p->n_axis - 1;
        if (p->axis[i] == 1) continue;
        if (p->b_step[i] != 0 || (p->M != 1 && p->a_step[i] != p->M * p->a.line)) return;
        if (p->M == 1) p->a.line = p->a_step[i];
        p->M *= p->axis[i];
    }
}

/* A matrix times a column is a row times a matrix: C is dense, and the same. */
static void column_as_row(product *p)
{
    product t = *p;
    p->M = t.N, p->N = t.M;
    p->a = t.b, p->b = t.a;
    memcpy(p->a_step, t.b_step, sizeof t.b_step);
    memcpy(p->b_step, t.a_step, sizeof t.a_step);
}

static product product_of(const launch *l)
{
    const operand *c = launch_out(l, 0), *a = launch_in(l, 0), *b = launch_in(l, 1);
    product p = { .M = c->dim[c->rank - 2], .N = c->dim[c->rank - 1], .K = a->dim[a->rank - 1],
                  .a = { (const real *)a->data, 0, a->stride[a->rank - 2], a->stride[a->rank - 1] },
                  .b = { (const real *)b->data, 0, b->stride[b->rank - 1], b->stride[b->rank - 2] },
                  .c = (real *)c->data, .batch = 1, .n_axis = c->rank - 2 };
    for (int i = 0; i < p.n_axis; i++) {
        p.axis[i] = c->dim[i];
        p.a_step[i] = step_of(a, c->rank - i);
        p.b_step[i] = step_of(b, c->rank - i);
    }
    fold_batch(&p);
    for (int i = 0; i < p.n_axis; i++) p.batch *= p.axis[i];
    if (p.N == 1 && p.M != 1) column_as_row(&p);
    p.a.panel = GEMM_MR * p.a.line;
    p.b.panel = GEMM_NR * p.b.line;
    return p;
}

/* p moved to batch entry `index`. */
static product entry_of(const product *p, int64_t index)
{
    product e = *p;
    e.c += index * p->M * p->N;
    for (int i = p->n_axis - 1; i >= 0; i--) {
        int64_t k = index % p->axis[i];
        e.a.at += k * p->a_step[i];
        e.b.at += k * p->b_step[i];
        index /= p->axis[i];
    }
    return e;
}

/* s from (line, k) on. */
static gemm_side from(const gemm_side *s, int64_t line, int64_t k)
{
    return (gemm_side){ s->at + line * s->line + k * s->depth, s->panel, s->line, s->depth };
}

/* --- the cut -------------------------------------------------------------------- */

typedef struct cut {
    enum { NOTHING, VECTOR, WHOLE, SHARED } path;
    int64_t kc, n_block;            /* depth of a block; number of blocks, at least 1 */
    /* VECTOR, WHOLE: units of work (columns of an entry, or entries), some a task. */
    int64_t columns, units, group;
    bool    dots;                   /* VECTOR: B lies with its depth adjacent */
    bool    a_in_place, b_in_place;
    /* SHARED */
    bool    share_a;                /* A is packed for all, B's columns are owned; or the reverse */
    int64_t wide, deep;             /* a chunk: lines and blocks of depth */
    int64_t n_wide, n_deep;
    int64_t own_tasks;
} cut;

static void cut_vector(cut *t, const product *p)
{
    t->path = VECTOR;
    t->dots = p->b.depth == 1 && (p->N == 1 || p->b.line != 1);
    /* Long runs of memory, yet several tasks. */
    t->columns = t->dots ? clamp(65536 / max_i64(p->K, 1), 8, 1024) : clamp(p->N / 16, 128, 1024);
    t->units = p->batch * ceil_div(p->N, t->columns);
    t->group = max_i64(1, 65536 / max_i64(1, min_i64(t->columns, p->N) * p->K));
}

static void cut_whole(cut *t, const product *p)
{
    t->path = WHOLE;
    t->units = p->batch;
    t->group = max_i64(1, TASK_WORK / max_i64(1, p->M * p->N * p->K));
    t->a_in_place = (p->a.depth == 1 && p->a.line % PAGE) || (p->a.line == 1 && p->a.depth % PAGE);
    t->b_in_place = p->b.line == 1 && p->b.depth % PAGE && p->N % VEC_LANES == 0;
}

static void cut_shared(cut *t, const product *p, bool epilogue)
{
    t->path = SHARED;
    t->a_in_place = p->a.depth == 1 && p->a.line % PAGE;
    t->share_a = p->M < (t->a_in_place ? p->N / 2 : p->N);
    int64_t lines = t->share_a ? p->M : p->N, tile = t->share_a ? GEMM_MR : GEMM_NR;
    int64_t own   = t->share_a ? p->N : p->M, own_tile = t->share_a ? GEMM_NR : GEMM_MR;
    t->deep = even(t->n_block, max_i64(1, CHUNK_REALS / (t->kc * round_up(min_i64(lines, CHUNK_LINES), tile))));
    t->wide = round_up(even(lines, CHUNK_REALS / (t->deep * t->kc) / tile * tile), tile);
    t->n_deep = ceil_div(t->n_block, t->deep);
    t->n_wide = ceil_div(lines, t->wide);
    /* Panels a task owns: about sixteen tasks; enough work and, where a chunk
     * is larger than L2 or the epilogue wants rows, enough panels; what fits. */
    int64_t panels = ceil_div(own, own_tile), panel_work = own_tile * t->wide * p->K;
    int64_t least = ceil_div(TASK_WORK / 2, panel_work);
    if ((epilogue && t->share_a) || t->wide * t->kc > OWN_REALS) least = max_i64(least, 4);
    int64_t most = max_i64(1, OWN_REALS / (t->kc * own_tile));
    t->own_tasks = ceil_div(panels, min_i64(max_i64(ceil_div(panels, 16), least), most));
}

static cut cut_of(const product *p, bool epilogue)
{
    cut t = { .path = NOTHING };
    if (p->batch * p->M * p->N == 0) return t;
    t.kc = round_up(even(p->K, GEMM_KC), 4);
    t.n_block = t.kc ? ceil_div(p->K, t.kc) : 1;
    double work = (double)p->M * (double)p->N * (double)p->K;
    bool fits = (round_up(p->M, GEMM_MR) + round_up(p->N, GEMM_NR)) * t.kc <= LOCAL_REALS;
    if (p->M == 1 && p->K <= LOCAL_REALS && (p->b.line == 1 || p->b.depth == 1))
        cut_vector(&t, p);
    else if (fits && (work <= WHOLE_WORK || p->batch >= MANY))
        cut_whole(&t, p);
    else
        cut_shared(&t, p, epilogue);
    return t;
}

/* --- the epilogue ------------------------------------------------------------------ */

/* Rows x cols of C from (row, col) of entry `index` are final. */
static void finish(const launch *l, const product *p, int64_t index, int64_t row, int64_t col,
                   int64_t rows, int64_t cols, char *local)
{
    if (!l->program) return;
    int64_t flat = (index * p->M + row) * p->N + col;
    if (cols == p->N) {
        K(ew_run)(l, flat, rows * cols, local);
        return;
    }
    for (int64_t i = 0; i < rows; i++) K(ew_run)(l, flat + i * p->N, cols, local);
}

/* --- VECTOR ------------------------------------------------------------------------------ */

/* y = x B, B (K, n) with its rows in memory: four rows of B a pass over y. */
static void row_by_rows(const real *restrict x, const real *restrict b, int64_t stride, int64_t depth, int64_t n,
                        real *restrict y)
{
    int64_t k = 0;
    for (int64_t j = 0; j < n; j++) y[j] = 0;
    for (; k + 4 <= depth; k += 4) {
        const real *r0 = b + k * stride, *r1 = r0 + stride, *r2 = r1 + stride, *r3 = r2 + stride;
        real x0 = x[k], x1 = x[k + 1], x2 = x[k + 2], x3 = x[k + 3];
        for (int64_t j = 0; j < n; j++) y[j] += (x0 * r0[j] + x1 * r1[j]) + (x2 * r2[j] + x3 * r3[j]);
    }
    for (; k < depth; k++)
        for (int64_t j = 0; j < n; j++) y[j] += x[k] * b[k * stride + j];
}

static void row_by_dots(const real *x, const real *b, int64_t line, int64_t depth, int64_t n, real *y)
{
    for (int64_t j = 0; j < n; j += 4) {
        real sum[4];
        int lines = (int)min_i64(4, n - j);
        K(gemm_dots)(x, b + j * line, line, lines, depth, sum);
        memcpy(y + j, sum, (size_t)lines * sizeof(real));
    }
}

static void run_vector(const launch *l, const product *p, const cut *t, int64_t unit, char *local)
{
    int64_t n_range = ceil_div(p->N, t->columns), index = unit / n_range, col = unit % n_range * t->columns;
    int64_t cols = min_i64(t->columns, p->N - col);
    product e = entry_of(p, index);
    const real *x = e.a.at;
    if (e.a.depth != 1 && e.K > 1) {
        real *dense = (real *)(local + EW_LOCAL_BYTES);
        for (int64_t k = 0; k < e.K; k++) dense[k] = x[k * e.a.depth];
        x = dense;
    }
    (t->dots ? row_by_dots : row_by_rows)(x, e.b.at + col * e.b.line, t->dots ? e.b.line : e.b.depth,
                                          e.K, cols, e.c + col);
    finish(l, p, index, 0, col, 1, cols, local);
}

/* --- WHOLE ---------------------------------------------------------------------------- */

static void run_whole(const launch *l, const product *p, const cut *t, int64_t index, char *local)
{
    product e = entry_of(p, index);
    real *pack = (real *)(local + EW_LOCAL_BYTES);
    for (int64_t block = 0; block < t->n_block; block++) {
        int64_t k = block * t->kc, kc = min_i64(t->kc, e.K - k);
        gemm_side a = from(&e.a, 0, k), b = from(&e.b, 0, k);
        if (!t->a_in_place) a = K(gemm_pack_a)(&a, e.M, kc, pack);
        if (!t->b_in_place) b = K(gemm_pack_b)(&b, e.N, kc, pack + round_up(e.M, GEMM_MR) * kc);
        K(gemm_block)(&a, &b, e.M, e.N, kc, e.c, e.N, block > 0, false);
    }
    finish(l, p, index, 0, 0, e.M, e.N, local);
}

/* --- SHARED --------------------------------------------------------------------------- */

/* What two phases, packing and computing, are about. */
typedef struct chunk {
    product   e;
    gemm_side from;                 /* the shared operand, from the chunk's first line and depth 0 */
    int64_t   index, line, lines;   /* batch entry; lines of the shared operand */
    int64_t   block, blocks;        /* of the depth */
    int64_t   tile;                 /* lines in a panel */
} chunk;

static chunk chunk_of(const product *p, const cut *t, int phase)
{
    int64_t i = phase / 2;
    chunk c = { .block = i % t->n_deep * t->deep, .line = i / t->n_deep % t->n_wide * t->wide,
                .index = i / t->n_deep / t->n_wide, .tile = t->share_a ? GEMM_MR : GEMM_NR };
    c.e = entry_of(p, c.index);
    c.blocks = min_i64(t->deep, t->n_block - c.block);
    c.lines = min_i64(t->wide, (t->share_a ? p->M : p->N) - c.line);
    c.from = from(t->share_a ? &c.e.a : &c.e.b, c.line, 0);
    return c;
}

/* Block number `block` of a chunk, packed. */
static real *packed_block(const launch *l, const cut *t, int64_t block)
{
    return (real *)l->shared + block * t->kc * t->wide;
}

static int64_t pack_tasks(const chunk *c) { return ceil_div(c->lines, PACK_PANELS * c->tile); }

static void run_pack(const launch *l, const cut *t, const chunk *c, int64_t task)
{
    int64_t block = task / pack_tasks(c), line = task % pack_tasks(c) * PACK_PANELS * c->tile;
    int64_t k = (c->block + block) * t->kc, kc = min_i64(t->kc, c->e.K - k);
    gemm_side s = from(&c->from, line, k);
    int64_t lines = min_i64(PACK_PANELS * c->tile, c->lines - line);
    (t->share_a ? K(gemm_pack_a) : K(gemm_pack_b))(&s, lines, kc, packed_block(l, t, block) + line * kc);
}

/* One depth block times the lines [line, line + n) that the task owns. */
static void run_block(const launch *l, const cut *t, const chunk *c, int64_t block, int64_t line, int64_t n,
                      char *local)
{
    int64_t k = (c->block + block) * t->kc, kc = min_i64(t->kc, c->e.K - k), ldc = c->e.N;
    bool last = c->block + block == t->n_block - 1;
    gemm_side own = from(t->share_a ? &c->e.b : &c->e.a, line, k);
    if (t->share_a || !t->a_in_place)
        own = (t->share_a ? K(gemm_pack_b) : K(gemm_pack_a))(&own, n, kc, (real *)(local + EW_LOCAL_BYTES));
    gemm_side shared = { packed_block(l, t, block), c->tile * kc, 1, c->tile };
    for (int64_t i = 0; i < c->lines; i += STRIPE_PANELS * c->tile) {
        int64_t m = min_i64(STRIPE_PANELS * c->tile, c->lines - i);
        int64_t row = t->share_a ? c->line + i : line, col = t->share_a ? line : c->line + i;
        int64_t rows = t->share_a ? m : n, cols = t->share_a ? n : m;
        real *at = c->e.c + row * ldc + col;
        K(gemm_block)(t->share_a ? &shared : &own, t->share_a ? &own : &shared, rows, cols, kc, at, ldc,
                      k > 0, t->share_a);
        if (last) finish(l, &c->e, c->index, row, col, rows, cols, local);
        shared.at += STRIPE_PANELS * shared.panel;
    }
}

static void run_own(const launch *l, const cut *t, const chunk *c, int64_t task, char *local)
{
    int64_t lines = t->share_a ? c->e.N : c->e.M, tile = t->share_a ? GEMM_NR : GEMM_MR;
    int64_t panels = ceil_div(lines, tile);
    int64_t first = task * panels / t->own_tasks * tile;
    int64_t end = min_i64(lines, (task + 1) * panels / t->own_tasks * tile);
    for (int64_t block = 0; block < c->blocks; block++) run_block(l, t, c, block, first, end - first, local);
}

/* --- the kernel ------------------------------------------------------------------------- */

static int phases(const launch *l)
{
    product p = product_of(l);
    cut t = cut_of(&p, l->program);
    return t.path == SHARED ? (int)(2 * p.batch * t.n_wide * t.n_deep) : 1;
}

static int64_t tasks(const launch *l, int phase)
{
    product p = product_of(l);
    cut t = cut_of(&p, l->program);
    if (t.path == NOTHING) return 0;
    if (t.path != SHARED) return ceil_div(t.units, t.group);
    if (phase % 2) return t.own_tasks;
    chunk c = chunk_of(&p, &t, phase);
    return c.blocks * pack_tasks(&c);
}

static void run(const launch *l, int phase, int64_t task, char *local)
{
    product p = product_of(l);
    cut t = cut_of(&p, l->program);
    if (t.path == SHARED) {
        chunk c = chunk_of(&p, &t, phase);
        if (phase % 2) run_own(l, &t, &c, task, local);
        else run_pack(l, &t, &c, task);
        return;
    }
    int64_t end = min_i64(t.units, (task + 1) * t.group);
    for (int64_t unit = task * t.group; unit < end; unit++)
        (t.path == VECTOR ? run_vector : run_whole)(l, &p, &t, unit, local);
}

static size_t shared_bytes(const launch *l)
{
    product p = product_of(l);
    cut t = cut_of(&p, l->program);
    return t.path == SHARED ? (size_t)(t.wide * t.deep * t.kc) * sizeof(real) : 0;
}

const kernel K(k_matmul) = { phases, tasks, run, shared_bytes };
