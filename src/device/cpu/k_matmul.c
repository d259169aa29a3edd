/* k_matmul.c - products of matrices: how one is cut into phases and tasks.
 *
 * Three paths, chosen by shape, strides and types alone:
 *   VECTOR  few rows times a matrix (decoding), which k_matvec.c computes; a
 *           task is a range of columns, or a part of the depth, and then parts
 *           are added up in a second phase.
 *   CELLS   small and batched products: a task is a cell of C, or several of a
 *           batch; it reads in place what it can and packs the rest for itself,
 *           and cells are cut so that nothing is packed twice.
 *   SHARED  the outer loops of BLIS.  One operand is packed once for all, a
 *           chunk of it (lines x depth) in one phase; in the next, tasks own
 *           ranges of the other operand's lines, pack those for themselves,
 *           and add the chunk's part to their stripe of C.
 * Packing and multiplying blocks is a core's business (gemm_core.h): tile
 * registers where there are any and the product is large, else bytes beside
 * quantised weights, else the vector core, which alone reads operands in place,
 * and with few rows packs B on the way (FRESH), because packing would be most of
 * the work. The depth is cut into blocks of at most the core's, added in rising
 * order.  The epilogue runs on parts of C as they are finished, while they are
 * in cache. */
#include "base/quant.h"
#include "device/cpu/gemm.h"
#include "device/cpu/matvec.h"
#include "device/cpu/widen.h"

enum {
    PAGE = 4096 / (int)sizeof(real),    /* lines about this far apart fight for the same cache sets */
    NEAR = 16 / (int)sizeof(real),
    ROOM_BYTES = LOCAL_BYTES - EW_LOCAL_BYTES,
    OWN_BYTES = 1 << 20,    /* a task's own packed block: half of L2 */
    CHUNK_BYTES = 8 << 20,
    CHUNK_LINES = 1024,     /* a chunk is made deeper only when it is this wide */
    PACK_PANELS = 4,        /* panels packed by one task */
    SEGMENTS = 4,           /* of the panels that are owned, each cut into tasks: */
    GUIDED = 3,             /* one in so many of the panels that are left */
    STRIPE_PANELS = 16,     /* panels between two calls of the epilogue */
    TILE_PANELS = 8,        /* a task with tile registers owns so many, or a quarter: what is shared comes from L3 */
    FEW_ROWS = 64,          /* of f32 are the vector core's: packing B for tile registers costs too much */
    FRESH_ROWS = 192,       /* up to these pack B as they multiply it, in blocks of depth, */
    FRESH_KC = 256,
    FRESH_COLUMNS = 128,    /* and so many columns at the least, for long runs of memory */
    MANY = 8,               /* batch entries that make good tasks by themselves */
    MAX_CELLS = 24,         /* of a product that is alone */
    CELL_COLUMNS = 64,      /* at the least */
    CACHED_BYTES = 1 << 19, /* so small an operand is not worth packing */
    TILE_CELLS = 4,         /* with tile registers */
    TILE_CELLS_WORK = 3 << 26,
    FLAT = 256,             /* A transposed is read in place up to this depth */
    TASK_WORK = 1 << 19,    /* multiply-adds worth a task of their own */
    CELL_WORK = 1 << 17,    /* or, where nothing is packed for others, a cell */
    ONE_WORK = 1 << 18,     /* a product up to this is one cell */
    SUM_COLUMNS = 512,      /* of parts of the depth, summed by one task */
    SMALL_WORK = 1 << 20,   /* a product up to this has no tile registers */
    BYTES_ROWS = 48,        /* nor up to so many rows, where bytes can be multiplied: they pack B at half the cost */
    CELLS_WORK = 1 << 28    /* and one up to this may be cut into cells */
};

/* Divisions count in small products, whose tasks all make their own cut. */
static int64_t round_up(int64_t n, int64_t unit) { return unit == 1 ? n : ceil_div(n, unit) * unit; }
/* n in pieces of at most `most`, all about as long: the length of one. */
static int64_t even(int64_t n, int64_t most) { return n <= most ? n : ceil_div(n, max_i64(1, ceil_div(n, most))); }

/* --- the product, freed of ranks ------------------------------------------------ */

typedef struct product {
    int64_t     M, N, K;
    gemm_source a, b;           /* of one batch entry, as they lie in memory */
    real       *c;
    const real *onto;           /* what C is added to, laid out as C, perhaps there; or NULL */
    const gemm_core *core;
    bool        vector;         /* core is the vector core */
    int         height;         /* lines of a panel of A: the core's, or fewer, that M is in equal parts */
    int64_t     batch;
    int         n_axis;         /* leading dimensions, and the operands' strides there */
    int64_t     axis[MAX_DIM], a_step[MAX_DIM], b_step[MAX_DIM];
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

/* Few rows times a B whose rows are adjacent: it is packed on the way. */
static bool few_rows(const product *p, int64_t rows)
{
    return p->M <= rows && p->b.dtype == REAL_DTYPE && p->b.line == 1;
}

static bool fresh(const product *p) { return p->vector && few_rows(p, FRESH_ROWS); }

static void choose_core(product *p)
{
    double work = (double)p->M * (double)p->N * (double)p->K;
    const gemm_core *bytes = K(gemm_int8)(p->a.dtype, p->b.dtype);
    bool small = work <= SMALL_WORK || (bytes && p->M <= BYTES_ROWS) || (few_rows(p, FEW_ROWS) && p->a.dtype == REAL_DTYPE);
    const gemm_core *tiles = small ? NULL : K(gemm_amx)(p->a.dtype, p->b.dtype);
    p->core = tiles ? tiles : bytes ? bytes : &K(gemm_vector);
    p->vector = !tiles && !bytes;
    p->height = fresh(p) ? (int)max_i64(1, even(p->M, GEMM_MR)) : p->core->mr;
}

static product product_of(const launch *l)
{
    const operand *c = launch_out(l, 0), *a = launch_in(l, 0), *b = launch_in(l, 1);
    product p = { .M = c->dim[c->rank - 2], .N = c->dim[c->rank - 1], .K = a->dim[a->rank - 1],
                  .a = { a->data, a->dtype, a->stride[a->rank - 2], a->stride[a->rank - 1] },
                  .b = { b->data, b->dtype, b->stride[b->rank - 1], b->stride[b->rank - 2] },
                  .c = (real *)c->data, .batch = 1, .n_axis = c->rank - 2 };
    if (l->n_in > 2) p.onto = (const real *)launch_in(l, 2)->data;
    for (int i = 0; i < p.n_axis; i++) {
        p.axis[i] = c->dim[i];
        p.a_step[i] = step_of(a, c->rank - i);
        p.b_step[i] = step_of(b, c->rank - i);
    }
    fold_batch(&p);
    for (int i = 0; i < p.n_axis; i++) p.batch *= p.axis[i];
    if (p.N == 1 && p.M != 1 && p.b.dtype == REAL_DTYPE) column_as_row(&p);
    choose_core(&p);
    return p;
}

/* s moved by a number of elements. */
static gemm_source moved(const gemm_source *s, int64_t elements)
{
    gemm_source to = *s;
    to.at += s->dtype == REAL_DTYPE ? elements * (int64_t)sizeof(real) : (int64_t)genet_dtype_bytes(s->dtype, elements);
    return to;
}

/* p moved to batch entry `index`. */
static product entry_of(const product *p, int64_t index)
{
    product e = *p;
    if (p->batch == 1) return e;
    int64_t a = 0, b = 0;
    e.c += index * p->M * p->N;
    if (e.onto) e.onto += index * p->M * p->N;
    for (int i = p->n_axis - 1; i >= 0; i--) {
        int64_t k = index % p->axis[i];
        a += k * p->a_step[i];
        b += k * p->b_step[i];
        index /= p->axis[i];
    }
    e.a = moved(&p->a, a);
    e.b = moved(&p->b, b);
    return e;
}

/* s from (line, k) on. */
static gemm_source from(const gemm_source *s, int64_t line, int64_t k)
{
    return moved(s, line * s->line + k * s->depth);
}

/* --- sides of blocks ------------------------------------------------------------------ */

/* Packed `at` a place; or in place at its source; or (B on the vector core) FRESH:
 * packed there while it is multiplied, and what is then fetched lies `after`. */
typedef enum form { PACKED, AS_IT_LIES, FRESH } form;
typedef struct side { char *at; form form; gemm_source source; const char *after; } side;

/* Do elements `step` apart fall on different sets of L1? */
static bool apart(int64_t step) { return step <= NEAR || (step + NEAR) % PAGE > 2 * NEAR; }

/* Bytes of a packed panel of A or B, of depth kc. */
static int64_t panel_a(const gemm_core *g, int64_t kc) { return g->mr * round_up(kc, g->unit) * g->a_bytes; }
static int64_t panel_b(const gemm_core *g, int64_t kc) { return g->nr * round_up(kc, g->unit) * g->b_bytes; }

static void pack_a(const product *p, const gemm_source *s, int64_t lines, int64_t kc, char *to)
{
    if (p->height == p->core->mr) p->core->pack_a(s, lines, kc, to);
    else
        for (int64_t i = 0; i < lines; i += p->height, to += panel_a(p->core, kc)) {
            gemm_source panel = from(s, i, 0);
            p->core->pack_a(&panel, min_i64(p->height, lines - i), kc, to);
        }
}

static side side_a(const product *p, bool in_place, gemm_source s, int64_t lines, int64_t kc, char *room)
{
    if (!in_place) pack_a(p, &s, lines, kc, room);
    return (side){ room, in_place ? AS_IT_LIES : PACKED, s, NULL };
}
static side side_b(const product *p, form f, gemm_source s, int64_t lines, int64_t kc, char *room)
{
    if (f == PACKED) p->core->pack_b(&s, lines, kc, room);
    return (side){ room, f, s, NULL };
}

static void multiply(const product *p, const side *a, const side *b, int64_t rows, int64_t cols, int64_t kc,
                     real *c, bool add, bool rows_outer)
{
    if (!p->vector) {
        p->core->block(a->at, b->at, rows, cols, kc, c, p->N, add, rows_outer);
        return;
    }
    const gemm_source *s = &a->source, *t = &b->source;
    gemm_side sa = { (const real *)a->at, GEMM_MR * kc, 1, GEMM_MR, p->height };
    if (a->form != PACKED) sa = (gemm_side){ (const real *)s->at, p->height * s->line, s->line, s->depth, p->height };
    gemm_b sb = { .at = (const real *)b->at, .panel = GEMM_NR * kc, .depth = GEMM_NR };
    if (b->form != PACKED) sb = (gemm_b){ .at = (const real *)t->at, .panel = GEMM_NR, .depth = t->depth };
    if (b->form == FRESH) sb.room = (real *)b->at, sb.after = b->after;
    K(gemm_block)(&sa, &sb, rows, cols, kc, c, p->N, add, rows_outer);
}

/* --- the cut -------------------------------------------------------------------- */

typedef struct cut {
    enum { NOTHING, VECTOR, CELLS, SHARED } path;
    int64_t kc, n_block;            /* depth of a block; number of blocks, at least 1 */
    bool    a_in_place;
    form    b;                      /* of B, where it is not shared */
    /* VECTOR, CELLS: units of work (columns of an entry, cells), some a task. */
    int64_t columns, units, group;
    int64_t n_row, n_col;           /* CELLS: of an entry */
    int64_t parts, depth;           /* VECTOR: of the depth; depth of a part */
    /* SHARED */
    bool    share_a;                /* A is packed for all, B's columns are owned; or the reverse */
    int64_t wide, deep;             /* a chunk: lines and blocks of depth */
    int64_t n_wide, n_deep;
    int64_t block_bytes;            /* of a chunk, packed */
    int64_t own_panels, own_least, own_most;    /* of the other one: all, and in a task */
    int64_t own_tasks;
} cut;

static matvec matvec_of(const product *p)
{
    return (matvec){ p->M, p->N, p->K, p->a, p->b, p->c, p->N };
}

static bool cut_vector(cut *t, const product *p)
{
    matvec v = matvec_of(p);
    if (p->M > MATVEC_ROWS || p->onto || !K(matvec_takes)(&v)) return false;
    t->path = VECTOR;
    t->columns = K(matvec_columns)(&v);
    t->depth = K(matvec_depth)(&v);
    t->parts = max_i64(1, ceil_div(p->K, max_i64(t->depth, 1)));
    t->units = p->batch * t->parts * ceil_div(p->N, t->columns);
    t->group = max_i64(1, 65536 / max_i64(1, min_i64(t->columns, p->N) * t->depth));
    return true;
}

/* Does the vector core read real operands with these strides in place? */
static bool real_in_place(const product *p, const gemm_source *s) { return p->vector && s->dtype == REAL_DTYPE; }

/* Cells of a product, each about `wanted`th of it.  The vector core: who packs B
 * has all rows, who packs A has all columns. */
static void cut_grid(cut *t, const product *p, int64_t wanted)
{
    int64_t rows = ceil_div(p->M, p->height), wide = ceil_div(p->N, t->b == FRESH ? FRESH_COLUMNS : CELL_COLUMNS);
    t->n_col = t->a_in_place ? max_i64(1, min_i64(wanted, wide)) : 1;
    t->n_row = t->b == AS_IT_LIES ? max_i64(1, min_i64(ceil_div(wanted, t->n_col), rows)) : 1;
}

/* TILE_CELLS cells that pack both sides for themselves: packing something twice
 * costs less here than reading what another core has packed.  The grid that
 * packs least. */
static void cut_tile_grid(cut *t, const product *p)
{
    int64_t best = INT64_MAX;
    t->n_row = t->n_col = 1;
    for (int64_t n_row = 1; n_row <= TILE_CELLS; n_row *= 2) {
        int64_t n_col = TILE_CELLS / n_row, packed = n_col * p->M + n_row * p->N;
        if (n_row * p->core->mr > p->M || n_col * p->core->nr > p->N || packed >= best) continue;
        best = packed;
        t->n_row = n_row, t->n_col = n_col;
    }
}

/* A row's last columns, less than a vector, are packed: then all of B may be. */
static bool cut_cells(cut *t, const product *p)
{
    const gemm_core *g = p->core;
    int64_t work = p->M * p->N * p->K, wanted = p->batch >= MANY || work <= ONE_WORK ? 1 : min_i64(work / CELL_WORK, MAX_CELLS);
    t->a_in_place = real_in_place(p, &p->a) &&
                    ((p->a.depth == 1 && apart(p->a.line)) || (p->a.line == 1 && apart(p->a.depth) && p->K < FLAT));
    if (real_in_place(p, &p->b) && p->b.line == 1 && apart(p->b.depth) && p->N >= VEC_LANES &&
        p->K * p->N * (int64_t)sizeof(real) <= CACHED_BYTES)
        t->b = AS_IT_LIES;
    bool tiles = !p->vector && p->batch < MANY;
    if (tiles) cut_tile_grid(t, p);
    else cut_grid(t, p, wanted);
    t->path = CELLS;
    t->units = p->batch * t->n_row * t->n_col;
    t->group = max_i64(1, TASK_WORK / max_i64(1, work / (t->n_row * t->n_col)));
    int64_t rows = ceil_div(ceil_div(p->M, p->height), t->n_row), cols = ceil_div(ceil_div(p->N, g->nr), t->n_col);
    int64_t room = round_up(rows * panel_a(g, t->kc), 64) * !t->a_in_place + cols * panel_b(g, t->kc);
    return room <= ROOM_BYTES && (p->batch >= MANY || work <= SMALL_WORK || (tiles ? work <= TILE_CELLS_WORK && t->n_row * t->n_col == TILE_CELLS
                                                                          : t->n_row * t->n_col >= MANY));
}

/* Panels of the task that begins with panel `first`.  Panels come in segments,
 * that each thread may have its own; a task takes a part of what is left of its
 * segment, so that the last ones are small and threads end together. */
static int64_t own_share(const cut *t, int64_t first)
{
    int64_t segment = first * SEGMENTS / t->own_panels;
    int64_t left = ceil_div((segment + 1) * t->own_panels, SEGMENTS) - first;
    return min_i64(left, min_i64(max_i64(ceil_div(left, GUIDED), t->own_least), t->own_most));
}

static void cut_shared(cut *t, const product *p, bool epilogue)
{
    const gemm_core *g = p->core;
    t->path = SHARED;
    t->b = fresh(p) ? FRESH : PACKED;
    t->a_in_place = real_in_place(p, &p->a) && p->a.depth == 1 && apart(p->a.line);
    t->share_a = p->M < (t->a_in_place ? p->N / 2 : p->N);
    int64_t lines = t->share_a ? p->M : p->N, tile = t->share_a ? p->height : g->nr;
    int64_t own   = t->share_a ? p->N : p->M, own_tile = t->share_a ? g->nr : p->height;
    int64_t own_panel = max_i64(1, t->share_a ? panel_b(g, t->kc) : panel_a(g, t->kc));
    int64_t panel = max_i64(1, t->share_a ? panel_a(g, t->kc) : panel_b(g, t->kc)), chunk_panels = CHUNK_BYTES / panel;
    t->deep = even(t->n_block, max_i64(1, chunk_panels / ceil_div(min_i64(lines, CHUNK_LINES), tile)));
    t->wide = round_up(even(lines, max_i64(1, chunk_panels / t->deep) * tile), tile);
    t->n_deep = ceil_div(t->n_block, t->deep);
    t->n_wide = ceil_div(lines, t->wide);
    t->block_bytes = round_up(t->wide / tile * panel, 64);
    /* What a task owns at the least: enough work and, where a chunk is larger
     * than L2, enough panels to read it for; at the most what fits. */
    int64_t panel_work = own_tile * t->wide * p->K;
    t->own_panels = ceil_div(own, own_tile);
    t->own_least = ceil_div(TASK_WORK / 2, panel_work);
    if ((epilogue && t->share_a) || t->block_bytes > OWN_BYTES) t->own_least = max_i64(t->own_least, 2);
    if (t->b == FRESH) t->own_least = max_i64(t->own_least, FRESH_COLUMNS / GEMM_NR);
    if (!p->vector) t->own_least = max_i64(t->own_least, min_i64(TILE_PANELS, t->own_panels / 4));
    t->own_most = max_i64(1, OWN_BYTES / own_panel);
    for (int64_t first = 0; first < t->own_panels; t->own_tasks++) first += own_share(t, first);
}

static cut cut_of(const product *p, bool epilogue)
{
    cut t = { .path = NOTHING };
    const gemm_core *g = p->core;
    if (p->batch * p->M * p->N == 0 || cut_vector(&t, p)) return t;
    /* whole vectors of it are packed, and whole blocks of quantised weights */
    bool quantised = genet_dtype_size(p->a.dtype) == 0 || genet_dtype_size(p->b.dtype) == 0;
    if (fresh(p)) t.b = FRESH;
    int64_t deep = t.b == FRESH ? FRESH_KC : g->kc;
    t.kc = round_up(round_up(even(p->K, deep), quantised ? QUANT_BLOCK : 4), g->unit);
    t.n_block = t.kc ? ceil_div(p->K, t.kc) : 1;
    double work = (double)p->M * (double)p->N * (double)p->K;
    if (work > CELLS_WORK || !cut_cells(&t, p)) cut_shared(&t, p, epilogue);
    return t;
}

/* Rows x cols of C from (row, col), before the first block of depth: true when
 * something lies there now to be added to. */
static bool begin(const product *p, int64_t row, int64_t col, int64_t rows, int64_t cols)
{
    if (!p->onto) return false;
    for (int64_t i = row; i < row + rows && p->onto != p->c; i++)
        memcpy(p->c + i * p->N + col, p->onto + i * p->N + col, (size_t)cols * sizeof(real));
    return true;
}

/* --- the epilogue ------------------------------------------------------------------ */

/* Rows x cols of C from (row, col) of entry `index` are final. */
static void finish(const launch *l, const product *p, int64_t index, int64_t row, int64_t col,
                   int64_t rows, int64_t cols, char *local)
{
    int64_t flat = (index * p->M + row) * p->N + col;
    if (cols == p->N) K(ew_run)(l, flat, rows * cols, local);
    else K(ew_rows)(l, l->program, flat, rows, cols, p->N, local);
}

/* --- VECTOR ------------------------------------------------------------------------------ */

static void run_vector(const launch *l, const product *p, const cut *t, int64_t unit, char *local)
{
    int64_t n_range = ceil_div(p->N, t->columns), index = unit / n_range, col = unit % n_range * t->columns;
    int64_t cols = min_i64(t->columns, p->N - col);
    product e = entry_of(p, index);
    matvec v = matvec_of(&e);
    K(matvec_run)(&v, col, cols, local + EW_LOCAL_BYTES);
    finish(l, p, index, 0, col, p->M, cols, local);
}

/* A part of the depth; parts of an entry lie one after the other. */
static void run_part(const launch *l, const product *p, const cut *t, int64_t unit, char *local)
{
    int64_t k = unit % t->parts * t->depth;
    product e = entry_of(p, unit / t->parts);
    matvec v = matvec_of(&e);
    v.K = min_i64(t->depth, e.K - k);
    v.x = from(&v.x, 0, k);
    v.w = from(&v.w, 0, k);
    v.y = (real *)l->shared + unit * p->M * p->N;
    K(matvec_run)(&v, 0, p->N, local + EW_LOCAL_BYTES);
}

static int64_t sum_tasks(const product *p) { return p->batch * ceil_div(p->N, SUM_COLUMNS); }

static void run_sum(const launch *l, const product *p, const cut *t, int64_t task, char *local)
{
    int64_t n_range = ceil_div(p->N, SUM_COLUMNS), index = task / n_range, col = task % n_range * SUM_COLUMNS;
    int64_t cols = min_i64(SUM_COLUMNS, p->N - col), step = p->M * p->N;
    for (int64_t r = 0; r < p->M; r++) {
        int64_t at = r * p->N + col;
        K(matvec_sum)((const real *)l->shared + index * t->parts * step + at, t->parts, step, cols, p->c + index * step + at);
    }
    finish(l, p, index, 0, col, p->M, cols, local);
}

/* --- CELLS ----------------------------------------------------------------------------- */

/* Piece number `i` of `n` about equal ones of `lines`, in whole panels. */
typedef struct range { int64_t first, n; } range;

static range piece(int64_t lines, int64_t panel, int64_t i, int64_t n)
{
    int64_t panels = ceil_div(lines, panel), first = i * panels / n * panel;
    return (range){ first, min_i64(lines, (i + 1) * panels / n * panel) - first };
}

/* rows x cols of C = (add: itself plus) a block of depth of A times B, B in the form given. */
static void add_depth(const product *e, const cut *t, range rows, range cols, form b, int64_t block,
                      bool add, char *room_a, char *room_b)
{
    int64_t k = block * t->kc, kc = min_i64(t->kc, e->K - k);
    side sa = side_a(e, t->a_in_place, from(&e->a, rows.first, k), rows.n, kc, room_a);
    side sb = side_b(e, b, from(&e->b, cols.first, k), cols.n, kc, room_b);
    sb.after = from(&sb.source, 0, block + 1 < t->n_block ? kc : 0).at;
    multiply(e, &sa, &sb, rows.n, cols.n, kc, e->c + rows.first * e->N + cols.first, add, b == AS_IT_LIES);
}

static void run_cell(const launch *l, const product *p, const cut *t, int64_t unit, char *local)
{
    int64_t grid = t->n_row * t->n_col, index = unit / grid;
    product e = entry_of(p, index);
    const gemm_core *g = e.core;
    range rows = piece(e.M, e.height, unit % grid / t->n_col, t->n_row);
    range cols = piece(e.N, g->nr, unit % t->n_col, t->n_col);
    char *room_a = local + EW_LOCAL_BYTES;
    char *room_b = room_a + round_up(ceil_div(rows.n, e.height) * panel_a(g, t->kc), 64) * !t->a_in_place;
    int64_t rest = t->b == AS_IT_LIES ? cols.n % VEC_LANES : 0;
    range whole = { cols.first, cols.n - rest }, last = { cols.first + whole.n, rest };
    bool add = begin(&e, rows.first, cols.first, rows.n, cols.n);
    for (int64_t block = 0; block < t->n_block; block++, add = true) {
        if (whole.n) add_depth(&e, t, rows, whole, t->b, block, add, room_a, room_b);
        if (rest) add_depth(&e, t, rows, last, PACKED, block, add, room_a, room_b);
    }
    finish(l, p, index, rows.first, cols.first, rows.n, cols.n, local);
}

/* --- SHARED --------------------------------------------------------------------------- */

/* What two phases, packing and computing, are about. */
typedef struct chunk {
    product     e;
    gemm_source from;               /* the shared operand, from the chunk's first line and depth 0 */
    int64_t     index, line, lines; /* batch entry; lines of the shared operand */
    int64_t     block, blocks;      /* of the depth */
    int64_t     tile;               /* lines in a panel */
} chunk;

static chunk chunk_of(const product *p, const cut *t, int phase)
{
    int64_t i = phase / 2;
    chunk c = { .block = i % t->n_deep * t->deep, .line = i / t->n_deep % t->n_wide * t->wide,
                .index = i / t->n_deep / t->n_wide, .tile = t->share_a ? p->height : p->core->nr };
    c.e = entry_of(p, c.index);
    c.blocks = min_i64(t->deep, t->n_block - c.block);
    c.lines = min_i64(t->wide, (t->share_a ? p->M : p->N) - c.line);
    c.from = from(t->share_a ? &c.e.a : &c.e.b, c.line, 0);
    return c;
}

/* Depth of block number `block` of a chunk, and bytes of a panel of it. */
static int64_t depth_of(const cut *t, const chunk *c, int64_t block)
{
    return min_i64(t->kc, c->e.K - (c->block + block) * t->kc);
}
static int64_t panel_of(const cut *t, const product *p, int64_t kc)
{
    return t->share_a ? panel_a(p->core, kc) : panel_b(p->core, kc);
}

static int64_t pack_tasks(const chunk *c) { return ceil_div(c->lines, PACK_PANELS * c->tile); }

static void run_pack(const launch *l, const cut *t, const chunk *c, int64_t task)
{
    int64_t block = task / pack_tasks(c), panel = task % pack_tasks(c) * PACK_PANELS, line = panel * c->tile;
    int64_t kc = depth_of(t, c, block), lines = min_i64(PACK_PANELS * c->tile, c->lines - line);
    gemm_source s = from(&c->from, line, (c->block + block) * t->kc);
    char *to = l->shared + block * t->block_bytes + panel * panel_of(t, &c->e, kc);
    if (t->share_a) pack_a(&c->e, &s, lines, kc, to);
    else c->e.core->pack_b(&s, lines, kc, to);
}

/* One depth block times the lines [line, line + n) that the task owns. */
static void run_block(const launch *l, const cut *t, const chunk *c, int64_t block, int64_t line, int64_t n,
                      char *local)
{
    const product *e = &c->e;
    int64_t k = (c->block + block) * t->kc, kc = depth_of(t, c, block);
    bool last = c->block + block == t->n_block - 1;
    gemm_source source = from(t->share_a ? &e->b : &e->a, line, k);
    char *room = local + EW_LOCAL_BYTES;
    side own = t->share_a ? side_b(e, t->b, source, n, kc, room) : side_a(e, t->a_in_place, source, n, kc, room);
    own.after = block + 1 < c->blocks ? from(&source, 0, kc).at : from(&e->b, line + n, c->block * t->kc).at;
    side shared = { .at = l->shared + block * t->block_bytes };
    int64_t stripe = own.form == FRESH ? c->lines : STRIPE_PANELS * c->tile;
    for (int64_t i = 0; i < c->lines; i += stripe) {
        int64_t m = min_i64(stripe, c->lines - i);
        int64_t row = t->share_a ? c->line + i : line, col = t->share_a ? line : c->line + i;
        int64_t rows = t->share_a ? m : n, cols = t->share_a ? n : m;
        bool add = k > 0 || begin(e, row, col, rows, cols);
        multiply(e, t->share_a ? &shared : &own, t->share_a ? &own : &shared, rows, cols, kc,
                 e->c + row * e->N + col, add, t->share_a && own.form != FRESH);
        if (last) finish(l, e, c->index, row, col, rows, cols, local);
        shared.at += STRIPE_PANELS * panel_of(t, e, kc);
    }
}

static void run_own(const launch *l, const cut *t, const chunk *c, int64_t task, char *local)
{
    int64_t lines = t->share_a ? c->e.N : c->e.M, tile = t->share_a ? c->e.core->nr : c->e.height;
    int64_t first = 0;
    for (; task > 0; task--) first += own_share(t, first);
    int64_t n = min_i64(own_share(t, first) * tile, lines - first * tile);
    for (int64_t block = 0; block < c->blocks; block++) run_block(l, t, c, block, first * tile, n, local);
}

/* --- the kernel ------------------------------------------------------------------------- */

/* Most products that are so small need no cut to know that they are one task. */
static bool one_task(const launch *l)
{
    const operand *c = launch_out(l, 0), *a = launch_in(l, 0);
    if (c->rank != 2 || c->dim[0] <= MATVEC_ROWS || c->dim[1] <= 1) return false;
    return c->dim[0] * c->dim[1] * a->dim[a->rank - 1] <= ONE_WORK;
}

static int phases(const launch *l)
{
    if (one_task(l)) return 1;
    product p = product_of(l);
    cut t = cut_of(&p, l->program);
    if (t.path == VECTOR && t.parts > 1) return 2;
    return t.path == SHARED ? (int)(2 * p.batch * t.n_wide * t.n_deep) : 1;
}

static int64_t tasks(const launch *l, int phase)
{
    if (one_task(l)) return 1;
    product p = product_of(l);
    cut t = cut_of(&p, l->program);
    if (t.path == NOTHING) return 0;
    if (t.path == VECTOR && phase == 1) return sum_tasks(&p);
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
    if (phase == 1) {
        run_sum(l, &p, &t, task, local);
        return;
    }
    int64_t end = min_i64(t.units, (task + 1) * t.group);
    for (int64_t unit = task * t.group; unit < end; unit++)
        (t.path == CELLS ? run_cell : t.parts > 1 ? run_part : run_vector)(l, &p, &t, unit, local);
}

static size_t shared_bytes(const launch *l)
{
    product p = product_of(l);
    cut t = cut_of(&p, l->program);
    if (t.path == VECTOR && t.parts > 1) return (size_t)(t.units * p.M * p.N) * sizeof(real);
    return t.path == SHARED ? (size_t)(t.deep * t.block_bytes) : 0;
}

const kernel K(k_matmul) = { phases, tasks, run, shared_bytes };
