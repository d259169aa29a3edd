/* k_reduce.c - sums, of squares too, maxima and log-sum-exp over any axes of inputs with any
 * strides.
 *
 * The input's dimensions become two lists, kept and reduced, merged where
 * they are contiguous.  Where the innermost kept one is contiguous a unit of
 * work is a tile of columns, else one result.  Units are grouped, or their
 * rows cut in pieces, into tasks of some ten thousand elements; pieces leave
 * partial results in shared memory (pieces, K), which the second phase folds
 * as columns. */
#include "device/cpu/k_fold.h"
#include "device/cpu/vec.h"

/* Elements of a task at least (when there are so many), and at most; tiles of
 * columns may have more before a second phase pays. */
enum { GRAIN = 16384, PIECE = 32768, PIECE_COLUMNS = 131072 };

typedef struct walk {
    const real *x;
    int        n_kept;
    int64_t    kept[MAX_DIM], kept_stride[MAX_DIM];
    fold_lines red;
    int64_t    K, R;                /* results, elements of each */
    bool       columns;
    int64_t    width, n_tile;       /* results of a unit; units across the innermost kept dimension */
    int64_t    units, per_task;     /* units, units of a task */
    int64_t    pieces, piece;       /* in how many pieces a unit's rows are cut, rows of one */
} walk;

/* Drop extents of 1, join neighbours that are contiguous; at least one
 * dimension is left. */
static int merge_dims(int n, int64_t *dim, int64_t *stride)
{
    int m = 0;
    for (int i = 0; i < n; i++) {
        if (dim[i] == 1) continue;
        if (m && stride[m - 1] == dim[i] * stride[i]) dim[m - 1] *= dim[i];
        else dim[m++] = dim[i];
        stride[m - 1] = stride[i];
    }
    if (!m) dim[0] = 1, stride[0] = 1, m = 1;
    return m;
}

/* Reduced dimensions may be taken in any order: smallest stride innermost,
 * repeated elements (stride 0) outermost. */
static void sort_lines(fold_lines *l)
{
    for (int i = 1; i < l->n; i++) {
        int64_t d = l->dim[i], s = l->stride[i];
        int j = i;
        for (; j > 0 && l->stride[j - 1] && (l->stride[j - 1] < s || !s); j--)
            l->dim[j] = l->dim[j - 1], l->stride[j] = l->stride[j - 1];
        l->dim[j] = d, l->stride[j] = s;
    }
}

static walk walk_of(const launch *l, bool may_tile, bool may_cut)
{
    const operand *x = launch_in(l, 0);
    walk w = { .x = (const real *)x->data, .K = 1, .R = 1 };
    for (int i = 0; i < x->rank; i++) {
        if (l->attr.i[0] >> i & 1) {
            w.red.dim[w.red.n] = x->dim[i], w.red.stride[w.red.n++] = x->stride[i];
            w.R *= x->dim[i];
        } else {
            w.kept[w.n_kept] = x->dim[i], w.kept_stride[w.n_kept++] = x->stride[i];
            w.K *= x->dim[i];
        }
    }
    w.n_kept = merge_dims(w.n_kept, w.kept, w.kept_stride);
    sort_lines(&w.red);
    w.red.n = merge_dims(w.red.n, w.red.dim, w.red.stride);
    int64_t inner = w.kept[w.n_kept - 1];
    w.columns = may_tile && inner > 1 && w.kept_stride[w.n_kept - 1] == 1;
    w.width  = w.columns ? min_i64(FOLD_TILE, inner) : 1;
    w.n_tile = ceil_div(inner, w.width);
    w.units  = w.K ? w.K / inner * w.n_tile : 0;
    int64_t size = max_i64(1, w.width * w.R), most = w.columns ? PIECE_COLUMNS : PIECE;
    w.pieces = may_cut ? ceil_div(size, most) : 1;
    w.piece  = ceil_div(w.R, w.pieces);
    w.per_task = w.pieces > 1 ? 1 : max_i64(1, GRAIN / size);
    return w;
}

/* Unit u: the first of its results, how many, and where its first row begins. */
static int64_t walk_unit(const walk *w, int64_t u, int64_t *width, const real **x)
{
    int last = w->n_kept - 1;
    int64_t outer = u / w->n_tile, place = u % w->n_tile * w->width, at = place * w->kept_stride[last];
    int64_t result = outer * w->kept[last] + place;
    for (int i = last - 1; i >= 0; i--) {
        at += outer % w->kept[i] * w->kept_stride[i];
        outer /= w->kept[i];
    }
    *width = min_i64(w->width, w->kept[last] - place);
    *x = w->x + at;
    return result;
}

/* --- one result ------------------------------------------------------------- */

/* n <= FOLD_BLOCK elements as a contiguous row: in place or gathered; with
 * shift, exp(x - shift) of them. */
INLINE const real *row_of(const real *p, int64_t step, int64_t n, const real *shift, real *row)
{
    if (step == 1 && !shift) return p;
    if (step == 1) for (int64_t i = 0; i < n; i++) row[i] = p[i];
    else           for (int64_t i = 0; i < n; i++) row[i] = p[i * step];
    if (shift) {
        const real by = *shift;
        for (int64_t i = 0; i < n; i++) row[i] = vec_exp_neg(row[i] - by);
    }
    return row;
}

/* Elements r0 <= r < r1 of the result whose first one is x. */
INLINE real fold_result(enum fold fold, const walk *w, const real *x, int64_t r0, int64_t r1, const real *shift)
{
    int64_t inner = w->red.dim[w->red.n - 1], step = w->red.stride[w->red.n - 1];
    real local[FOLD_BLOCK];
    cascade s;
    s.n = 0, s.count = 0;
    for (int64_t r = r0; r < r1; ) {
        const real *p = x + fold_line(&w->red, r);
        int64_t end = min_i64(r1, r - r % inner + inner);
        for (; r < end; ) {
            int64_t n = min_i64(FOLD_BLOCK, end - r);
            const real *row = row_of(p, step, n, shift, local);
            cascade_push(fold, &s, fold_block(fold, row, row, 0, n));
            p += n * step;
            r += n;
        }
    }
    return cascade_end(fold, &s);
}

/* --- sum, max_over ------------------------------------------------------------ */

static int reduce_phases(const launch *l) { return walk_of(l, true, true).pieces > 1 ? 2 : 1; }

static int64_t reduce_tasks(const launch *l, int phase)
{
    walk w = walk_of(l, true, true);
    if (phase == 1) return ceil_div(w.K, FOLD_TILE);
    return ceil_div(w.units, w.per_task) * w.pieces;
}

static size_t reduce_shared(const launch *l)
{
    walk w = walk_of(l, true, true);
    return w.pieces > 1 ? (size_t)(w.pieces * w.K) * sizeof(real) : 0;
}

/* fold: of what is read; join: of the pieces' results. */
INLINE void reduce_run(enum fold fold, enum fold join, const launch *l, int phase, int64_t task, char *local)
{
    walk w = walk_of(l, true, true);
    real *y = (real *)launch_out(l, 0)->data, *partial = (real *)l->shared;
    if (phase == 1) {
        int64_t k = task * FOLD_TILE;
        fold_lines pieces = { 1, { w.pieces }, { w.K } };
        fold_columns(join, &pieces, partial + k, 0, w.pieces, min_i64(FOLD_TILE, w.K - k), y + k, (real *)local);
        return;
    }
    int64_t p = task % w.pieces, u0 = task / w.pieces * w.per_task, u1 = min_i64(w.units, u0 + w.per_task);
    int64_t r0 = min_i64(w.R, p * w.piece), r1 = min_i64(w.R, r0 + w.piece);
    real *to = w.pieces > 1 ? partial + p * w.K : y;
    for (int64_t u = u0; u < u1; u++) {
        int64_t width;
        const real *x;
        int64_t k = walk_unit(&w, u, &width, &x);
        if (w.columns) fold_columns(fold, &w.red, x, r0, r1, width, to + k, (real *)local);
        else to[k] = fold_result(fold, &w, x, r0, r1, NULL);
    }
}

static void sum_run(const launch *l, int phase, int64_t task, char *local)
{
    reduce_run(FOLD_SUM, FOLD_SUM, l, phase, task, local);
}
static void max_over_run(const launch *l, int phase, int64_t task, char *local)
{
    reduce_run(FOLD_MAX, FOLD_MAX, l, phase, task, local);
}
/* Over all axes: no columns. */
static void sum_squares_run(const launch *l, int phase, int64_t task, char *local)
{
    reduce_run(FOLD_DOT, FOLD_SUM, l, phase, task, local);
}
const kernel K(k_sum_squares) = { reduce_phases, reduce_tasks, sum_squares_run, reduce_shared };
const kernel K(k_sum)      = { reduce_phases, reduce_tasks, sum_run,      reduce_shared };
const kernel K(k_max_over) = { reduce_phases, reduce_tasks, max_over_run, reduce_shared };

/* --- logsumexp: a result is one task's, in two passes ---------------------------- */

static int64_t logsumexp_tasks(const launch *l, int phase)
{
    (void)phase;
    walk w = walk_of(l, false, false);
    return ceil_div(w.units, w.per_task);
}

static void logsumexp_run(const launch *l, int phase, int64_t task, char *local)
{
    (void)phase, (void)local;
    walk w = walk_of(l, false, false);
    real *y = (real *)launch_out(l, 0)->data;
    int64_t u0 = task * w.per_task, u1 = min_i64(w.units, u0 + w.per_task);
    for (int64_t u = u0; u < u1; u++) {
        int64_t width;
        const real *x;
        int64_t k = walk_unit(&w, u, &width, &x);
        real top = fold_result(FOLD_MAX, &w, x, 0, w.R, NULL);
        /* inf - inf is no number: without a finite largest element nothing is shifted */
        real shift = top - top == 0 ? top : 0;
        y[k] = top == INFINITY ? top : shift + vec_log(fold_result(FOLD_SUM, &w, x, 0, w.R, &shift));
    }
}
const kernel K(k_logsumexp) = { .tasks = logsumexp_tasks, .run = logsumexp_run };
