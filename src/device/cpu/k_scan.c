/* k_scan.c - along one axis of a dense input: argmax and cumsum; and
 * all_finite.
 *
 * The input is (outer, N, inner) around the axis.  With inner = 1 a task takes
 * whole rows, else a tile of columns, and runs along the axis vector by
 * vector. */
#include "device/cpu/k_fold.h"

enum { GRAIN = 16384, SCAN_TILE = 256, CHUNK = 64 };

typedef struct scan { int64_t outer, N, inner, per_task, tiles; } scan;

static scan scan_of(const launch *l)
{
    const operand *x = launch_in(l, 0);
    int axis = (int)l->attr.i[0];
    scan s = { 1, x->dim[axis], 1, 1, 1 };
    for (int i = 0; i < axis; i++) s.outer *= x->dim[i];
    for (int i = axis + 1; i < x->rank; i++) s.inner *= x->dim[i];
    s.tiles = ceil_div(s.inner, SCAN_TILE);
    s.per_task = max_i64(1, GRAIN / max_i64(1, s.N * min_i64(s.inner, SCAN_TILE)));
    return s;
}

static int64_t scan_tasks(const launch *l, int phase)
{
    (void)phase;
    scan s = scan_of(l);
    return ceil_div(s.outer * s.tiles, s.per_task);
}

/* --- argmax: NaN is above everything, the first of equals wins ----------------- */

static int32_t argmax_row(const real *x, int64_t n)
{
    real top = fold_row(FOLD_MAX, x, x, 0, n);
    for (int64_t i = 0; i < n; i += CHUNK) {
        int64_t m = min_i64(CHUNK, n - i);
        int found = 0;
        for (int64_t j = 0; j < m; j++) found |= (x[i + j] == top) | (x[i + j] != x[i + j]);
        if (!found) continue;
        for (int64_t j = 0; j < m; j++)
            if (x[i + j] == top || x[i + j] != x[i + j]) return (int32_t)(i + j);
    }
    return 0;
}

static void argmax_columns(const scan *s, const real *x, int64_t width, int32_t *y)
{
    real top[SCAN_TILE];
    for (int64_t c = 0; c < width; c++) top[c] = x[c], y[c] = 0;
    for (int64_t i = 1; i < s->N; i++) {
        const real *row = x + i * s->inner;
        for (int64_t c = 0; c < width; c++) {
            real a = row[c], b = top[c];
            int above = (a > b) | ((a != a) & (b == b));
            top[c] = above ? a : b;
            y[c] = above ? (int32_t)i : y[c];
        }
    }
}

static void argmax_run(const launch *l, int phase, int64_t task, char *local)
{
    (void)phase, (void)local;
    scan s = scan_of(l);
    const real *x = (const real *)launch_in(l, 0)->data;
    int32_t *y = (int32_t *)launch_out(l, 0)->data;
    int64_t end = min_i64(s.outer * s.tiles, (task + 1) * s.per_task);
    for (int64_t u = task * s.per_task; u < end; u++) {
        int64_t o = u / s.tiles, c = u % s.tiles * SCAN_TILE;
        if (s.inner == 1) y[o] = argmax_row(x + o * s.N, s.N);
        else argmax_columns(&s, x + o * s.N * s.inner + c, min_i64(SCAN_TILE, s.inner - c), y + o * s.inner + c);
    }
}
const kernel K(k_argmax) = { .tasks = scan_tasks, .run = argmax_run };

/* --- cumsum: accumulated in double ----------------------------------------------- */

static void cumsum_columns(const scan *s, const real *restrict x, int64_t width, real *restrict y)
{
    double sum[SCAN_TILE];
    for (int64_t c = 0; c < width; c++) sum[c] = 0;
    for (int64_t i = 0; i < s->N; i++)
        for (int64_t c = 0; c < width; c++) {
            sum[c] += (double)x[i * s->inner + c];
            y[i * s->inner + c] = (real)sum[c];
        }
}

static void cumsum_run(const launch *l, int phase, int64_t task, char *local)
{
    (void)phase, (void)local;
    scan s = scan_of(l);
    const real *x = (const real *)launch_in(l, 0)->data;
    real *y = (real *)launch_out(l, 0)->data;
    int64_t end = min_i64(s.outer * s.tiles, (task + 1) * s.per_task);
    for (int64_t u = task * s.per_task; u < end; u++) {
        int64_t c = u % s.tiles * SCAN_TILE, at = u / s.tiles * s.N * s.inner + c;
        cumsum_columns(&s, x + at, min_i64(SCAN_TILE, s.inner - c), y + at);
    }
}
const kernel K(k_cumsum) = { .tasks = scan_tasks, .run = cumsum_run };

/* --- all_finite: pieces leave a byte each, the second phase joins them ------------- */

static int64_t finite_pieces(const launch *l) { return ceil_div(operand_numel(launch_in(l, 0)), 4 * GRAIN); }
static int finite_phases(const launch *l) { (void)l; return 2; }
static int64_t finite_tasks(const launch *l, int phase) { return phase ? 1 : finite_pieces(l); }
static size_t finite_shared(const launch *l) { return (size_t)finite_pieces(l); }

static void all_finite_run(const launch *l, int phase, int64_t task, char *local)
{
    (void)local;
    if (phase) {
        char good = 1;
        for (int64_t i = 0, n = finite_pieces(l); i < n; i++) good &= l->shared[i];
        *launch_out(l, 0)->data = good;
        return;
    }
    const operand *in = launch_in(l, 0);
    const real *x = (const real *)in->data + task * 4 * GRAIN;
    int64_t n = min_i64(4 * GRAIN, operand_numel(in) - task * 4 * GRAIN);
    int bad = 0;
    for (int64_t i = 0; i < n; i++) {
        real zero = x[i] - x[i];            /* NaN for inf and NaN */
        bad |= zero != zero;
    }
    l->shared[task] = !bad;
}
const kernel K(k_all_finite) = { finite_phases, finite_tasks, all_finite_run, finite_shared };
