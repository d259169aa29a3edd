/* k_norm.c - softmax, log_softmax, layer and RMS norm over the last axis, and
 * the norms' backward kernels.
 *
 * A task is a run of rows; a row stays in L1 between its passes, the run in L2
 * between the programs before and after the kernel.  The backward
 * kernels also leave in shared memory, for each task, its rows' sums for
 * dweight and dbias; the second phase adds these in a fixed tree. */
#include "device/cpu/k_fold.h"
#include "device/cpu/vec.h"

enum { GRAIN = 16384, BATCH = 8, BATCH_ELEMENTS = 4096, GRAD_MIN_ROWS = 16, GRAD_MAX_ROWS = 256 };

typedef struct rows { int64_t C, n, per_task, batch; } rows;

static rows rows_of(const launch *l)
{
    const operand *x = launch_in(l, 0);
    int64_t C = x->dim[x->rank - 1], n = C ? operand_numel(x) / C : 0, wide = max_i64(1, C);
    return (rows){ C, n, max_i64(1, GRAIN / wide), max_i64(1, min_i64(BATCH, BATCH_ELEMENTS / wide)) };
}

static int64_t row_tasks(const launch *l, int phase)
{
    (void)phase;
    rows r = rows_of(l);
    return ceil_div(r.n, r.per_task);
}

static const real *in_of(const launch *l, int k) { return (const real *)launch_in(l, k)->data; }
static real *out_of(const launch *l, int k) { return (real *)launch_out(l, k)->data; }

/* Forward kernels take a few rows at a time through each pass, so that the
 * long chains (fold, divide, root) of neighbours overlap. */
typedef void batch_fn(const launch *l, int64_t first, int64_t n, int64_t C);

INLINE void in_batches(const launch *l, int64_t task, batch_fn *fn, char *local)
{
    rows r = rows_of(l);
    int64_t first = task * r.per_task, end = min_i64(r.n, first + r.per_task);
    K(ew_program)(l, l->before, first * r.C, (end - first) * r.C, local);
    for (int64_t i = first; i < end; i += r.batch) fn(l, i, min_i64(r.batch, end - i), r.C);
    K(ew_run)(l, first * r.C, (end - first) * r.C, local);
}
#define ROW_KERNEL(name)                                                                    \
    static void name##_run(const launch *l, int phase, int64_t task, char *local)           \
    {                                                                                       \
        (void)phase;                                                                        \
        in_batches(l, task, name##_batch, local);                                           \
    }                                                                                       \
    const kernel K(k_##name) = { .tasks = row_tasks, .run = name##_run };

/* --- softmax: a row of nothing but -inf gives NaN, as 0/0 does -------------------- */

/* For n rows: y = exp(x - top), top = max x, sum = sum of y.  y may be x. */
INLINE void exp_rows(const real *x, int64_t n, int64_t C, real *y, real *top, real *sum)
{
    for (int64_t r = 0; r < n; r++) top[r] = fold_row(FOLD_MAX, x + r * C, x + r * C, 0, C);
    for (int64_t r = 0; r < n; r++) {
        const real m = top[r];
        IN_PLACE
        for (int64_t j = r * C; j < (r + 1) * C; j++) y[j] = vec_exp_neg(x[j] - m);
    }
    for (int64_t r = 0; r < n; r++) sum[r] = fold_row(FOLD_SUM, y + r * C, y + r * C, 0, C);
}

static void softmax_batch(const launch *l, int64_t first, int64_t n, int64_t C)
{
    real *y = out_of(l, 0) + first * C, top[BATCH], sum[BATCH];
    exp_rows(in_of(l, 0) + first * C, n, C, y, top, sum);
    for (int64_t r = 0; r < n; r++) {
        const real scale = 1 / sum[r];
        for (int64_t j = r * C; j < (r + 1) * C; j++) y[j] *= scale;
    }
}
ROW_KERNEL(softmax)

static void log_softmax_batch(const launch *l, int64_t first, int64_t n, int64_t C)
{
    const real *restrict x = in_of(l, 0) + first * C;
    real *restrict y = out_of(l, 0) + first * C;
    real top[BATCH], sum[BATCH];
    exp_rows(x, n, C, y, top, sum);
    for (int64_t r = 0; r < n; r++) {
        const real m = top[r], log_sum = vec_log(sum[r]);
        for (int64_t j = r * C; j < (r + 1) * C; j++) y[j] = x[j] - m - log_sum;
    }
}
ROW_KERNEL(log_softmax)

/* --- forward norms ----------------------------------------------------------------- */

/* y = (x - mean) * scale * weight + bias, either of which may be NULL. */
static void affine_row(const real *restrict x, real mean, real scale, const real *restrict weight,
                       const real *restrict bias, int64_t n, real *restrict y)
{
    if (weight && bias) for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * scale * weight[i] + bias[i];
    else if (weight)    for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * scale * weight[i];
    else if (bias)      for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * scale + bias[i];
    else                for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * scale;
}

/* y, mean, rstd from x, weight, bias */
static void layer_norm_batch(const launch *l, int64_t first, int64_t n, int64_t C)
{
    const real *x = in_of(l, 0) + first * C, eps = (real)l->attr.f[0];
    real *y = out_of(l, 0) + first * C, mean[BATCH], rstd[BATCH];
    for (int64_t r = 0; r < n; r++) mean[r] = fold_row(FOLD_SUM, x + r * C, x + r * C, 0, C) / (real)C;
    for (int64_t r = 0; r < n; r++) rstd[r] = fold_row(FOLD_DEVIATION2, x + r * C, x + r * C, mean[r], C);
    for (int64_t r = 0; r < n; r++) rstd[r] = vec_rsqrt(rstd[r] / (real)C + eps);
    for (int64_t r = 0; r < n; r++) affine_row(x + r * C, mean[r], rstd[r], in_of(l, 1), in_of(l, 2), C, y + r * C);
    if (out_of(l, 1)) memcpy(out_of(l, 1) + first, mean, (size_t)n * sizeof(real));
    if (out_of(l, 2)) memcpy(out_of(l, 2) + first, rstd, (size_t)n * sizeof(real));
}
ROW_KERNEL(layer_norm)

/* y, rrms from x, weight */
static void rms_norm_batch(const launch *l, int64_t first, int64_t n, int64_t C)
{
    const real *x = in_of(l, 0) + first * C, eps = (real)l->attr.f[0];
    real *y = out_of(l, 0) + first * C, rrms[BATCH];
    for (int64_t r = 0; r < n; r++) rrms[r] = fold_row(FOLD_DOT, x + r * C, x + r * C, 0, C);
    for (int64_t r = 0; r < n; r++) rrms[r] = vec_rsqrt(rrms[r] / (real)C + eps);
    for (int64_t r = 0; r < n; r++) affine_row(x + r * C, 0, rrms[r], in_of(l, 1), NULL, C, y + r * C);
    if (out_of(l, 1)) memcpy(out_of(l, 1) + first, rrms, (size_t)n * sizeof(real));
}
ROW_KERNEL(rms_norm)

/* --- backward ------------------------------------------------------------------------
 * With n = (x - mean) rstd, h = g weight:
 *     dx = rstd (h - mean(h) - n mean(h n)),  dweight = sum g n,  dbias = sum g
 * (the chain rule on Ba et al. 2016, equation 4).  RMS norm is the same with
 * mean = 0 and without mean(h). */

static rows grad_rows_of(const launch *l)
{
    rows r = rows_of(l);
    r.per_task = max_i64(GRAD_MIN_ROWS, min_i64(GRAD_MAX_ROWS, r.per_task));
    return r;
}
static int64_t grad_pieces(const launch *l)
{
    rows r = grad_rows_of(l);
    return ceil_div(r.n, r.per_task);
}
static int norm_grad_phases(const launch *l) { (void)l; return 2; }
static int64_t norm_grad_tasks(const launch *l, int phase)
{
    return phase ? ceil_div(rows_of(l).C, FOLD_TILE) : grad_pieces(l);
}
/* (pieces, sides, C) */
static size_t norm_grad_shared(const launch *l)
{
    return (size_t)(grad_pieces(l) * (l->n_out - 1) * rows_of(l).C) * sizeof(real);
}

/* One row's dx; c1 is mean(h), or 0 in RMS norm. */
INLINE void grad_row(const real *restrict x, const real *restrict g, const real *restrict weight, real mean,
                     real rstd, bool centred, int64_t C, real *restrict dx)
{
    const real *h = weight ? dx : g;
    if (weight) for (int64_t i = 0; i < C; i++) dx[i] = g[i] * weight[i];
    const real c1 = centred ? fold_row(FOLD_SUM, h, h, 0, C) / (real)C : 0;
    const real c2 = fold_row(FOLD_DOT_DEVIATION, x, h, mean, C) * rstd / (real)C;
    if (weight) for (int64_t i = 0; i < C; i++) dx[i] = rstd * (dx[i] - c1 - (x[i] - mean) * rstd * c2);
    else        for (int64_t i = 0; i < C; i++) dx[i] = rstd * (g[i] - c1 - (x[i] - mean) * rstd * c2);
}

static void add_scaled_row(const real *restrict g, const real *restrict x, real mean, real rstd, int64_t C,
                           real *restrict dweight)
{
    for (int64_t i = 0; i < C; i++) dweight[i] += g[i] * ((x[i] - mean) * rstd);
}
static void add_row(const real *restrict g, int64_t C, real *restrict dbias)
{
    for (int64_t i = 0; i < C; i++) dbias[i] += g[i];
}

/* Add the pieces' rows of side k. */
static void norm_grad_join(const launch *l, int64_t task, char *local)
{
    int64_t C = rows_of(l).C, c = task * FOLD_TILE, pieces = grad_pieces(l), sides = l->n_out - 1;
    fold_lines lines = { 1, { pieces }, { sides * C } };
    for (int k = 1; k <= sides; k++)
        if (out_of(l, k))
            fold_columns(FOLD_SUM, &lines, (const real *)l->shared + (k - 1) * C + c, 0, pieces,
                         min_i64(FOLD_TILE, C - c), out_of(l, k) + c, (real *)local);
}

/* The first phase of both: one piece's rows into dx, its sums into
 * dweight and dbias (NULL: RMS norm, and so is mean). */
INLINE void norm_grad_piece(const launch *l, int64_t task, const real *mean, const real *rstd, const real *g,
                            real *dweight, real *dbias, char *local)
{
    rows r = grad_rows_of(l);
    int64_t C = r.C, first = task * r.per_task, end = min_i64(r.n, first + r.per_task);
    const real *x = in_of(l, 0);
    real *dx = out_of(l, 0);
    K(ew_program)(l, l->before, first * C, (end - first) * C, local);
    memset(dweight, 0, (size_t)C * sizeof(real));
    if (dbias) memset(dbias, 0, (size_t)C * sizeof(real));
    for (int64_t i = first; i < end; i++) {
        const real *xi = x + i * C, *gi = g + i * C, m = mean ? mean[i] : 0;
        if (dx) grad_row(xi, gi, in_of(l, 1), m, rstd[i], mean != NULL, C, dx + i * C);
        if (out_of(l, 1)) add_scaled_row(gi, xi, m, rstd[i], C, dweight);
        if (dbias && out_of(l, 2)) add_row(gi, C, dbias);
    }
    K(ew_run)(l, first * C, (end - first) * C, local);
}

/* dx, dweight, dbias from x, weight, mean, rstd, g */
static void layer_norm_grad_run(const launch *l, int phase, int64_t task, char *local)
{
    real *sums = (real *)l->shared + task * 2 * rows_of(l).C;
    if (phase) norm_grad_join(l, task, local);
    else norm_grad_piece(l, task, in_of(l, 2), in_of(l, 3), in_of(l, 4), sums, sums + rows_of(l).C, local);
}
const kernel K(k_layer_norm_grad) = { norm_grad_phases, norm_grad_tasks, layer_norm_grad_run, norm_grad_shared };

/* dx, dweight from x, weight, rrms, g */
static void rms_norm_grad_run(const launch *l, int phase, int64_t task, char *local)
{
    if (phase) norm_grad_join(l, task, local);
    else norm_grad_piece(l, task, NULL, in_of(l, 2), in_of(l, 3), (real *)l->shared + task * rows_of(l).C, NULL, local);
}
const kernel K(k_rms_norm_grad) = { norm_grad_phases, norm_grad_tasks, rms_norm_grad_run, norm_grad_shared };
