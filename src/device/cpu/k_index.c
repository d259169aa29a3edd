/* k_index.c - sums into rows and elements picked by indices: scatter_add and
 * scatter_last.  (The picking itself only moves bytes: m_move.c.)
 *
 * Every element of the result belongs to one task, which adds its terms in
 * the order of the indices: no atomics, and the same bits on any number of
 * threads. */
#include "device/cpu/kernel.h"

/* --- scatter_add ------------------------------------------------------------------
 * y (rows, width), g (picks, width), index (picks), onto? as y, perhaps y itself.  A task owns a block of
 * rows and a block of columns, and scans all indices for its rows.  There are
 * only as many row blocks as keep the scans cheaper than the sums. */
enum { SCATTER_COLUMNS = 512, SCATTER_TASKS = 64, SCATTER_GRAIN = 8192, SCAN_COST = 8 };

typedef struct scatter { int64_t rows, width, picks, row_blocks, column_blocks; } scatter;

static scatter scatter_of(const launch *l)
{
    const operand *y = launch_out(l, 0);
    scatter s = { .rows = y->dim[0], .width = 1, .picks = operand_numel(launch_in(l, 1)) };
    for (int i = 1; i < y->rank; i++) s.width *= y->dim[i];
    if (s.rows == 0 || s.width == 0) return s;
    s.column_blocks = ceil_div(s.width, SCATTER_COLUMNS);
    int64_t columns = ceil_div(s.width, s.column_blocks), work = (s.rows + s.picks) * columns;
    int64_t blocks = min_i64(work / SCATTER_GRAIN, work / (SCAN_COST * max_i64(1, s.picks)));
    s.row_blocks = max_i64(1, min_i64(min_i64(blocks, SCATTER_TASKS), s.rows));
    return s;
}

static int64_t scatter_add_tasks(const launch *l, int phase)
{
    (void)phase;
    scatter s = scatter_of(l);
    return s.row_blocks * s.column_blocks;
}

static void add_to(real *restrict y, const real *restrict g, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y[i] += g[i];
}

static void run_scatter_add(const launch *l, int phase, int64_t task, char *local)
{
    (void)phase, (void)local;
    scatter s = scatter_of(l);
    int64_t i = task / s.column_blocks, j = task % s.column_blocks;
    int64_t row0 = s.rows * i / s.row_blocks, row1 = s.rows * (i + 1) / s.row_blocks;
    int64_t column0 = s.width * j / s.column_blocks, n = s.width * (j + 1) / s.column_blocks - column0;
    const real *g = (const real *)launch_in(l, 0)->data + column0;
    const int32_t *index = (const int32_t *)launch_in(l, 1)->data;
    real *y = (real *)launch_out(l, 0)->data + column0;
    const real *onto = (const real *)launch_in(l, 2)->data;
    if (onto) onto += column0;
    for (int64_t r = row0; r < row1 && onto != y; r++) {
        if (onto) memcpy(y + r * s.width, onto + r * s.width, (size_t)n * sizeof(real));
        else memset(y + r * s.width, 0, (size_t)n * sizeof(real));
    }
    for (int64_t k = 0; k < s.picks; k++) {
        int64_t r = index[k];
        if (r >= row0 && r < row1) add_to(y + r * s.width, g + k * s.width, n);
    }
}
const kernel K(k_scatter_add) = { .tasks = scatter_add_tasks, .run = run_scatter_add };

/* --- scatter_last: a task owns whole rows ----------------------------------------
 * y (rows, width), g and index (rows, picks). */

typedef struct last_rows { int64_t rows, width, picks, block; } last_rows;

static last_rows last_rows_of(const launch *l)
{
    const operand *y = launch_out(l, 0), *g = launch_in(l, 0);
    last_rows s = { .rows = 1, .width = y->dim[y->rank - 1], .picks = g->dim[g->rank - 1] };
    for (int i = 0; i + 1 < y->rank; i++) s.rows *= y->dim[i];
    s.block = max_i64(1, SCATTER_GRAIN / max_i64(1, s.width + s.picks));
    return s;
}

static int64_t scatter_last_tasks(const launch *l, int phase)
{
    (void)phase;
    last_rows s = last_rows_of(l);
    return s.width ? ceil_div(s.rows, s.block) : 0;
}

static void run_scatter_last(const launch *l, int phase, int64_t task, char *local)
{
    (void)phase, (void)local;
    last_rows s = last_rows_of(l);
    for (int64_t r = task * s.block; r < min_i64((task + 1) * s.block, s.rows); r++) {
        const real *g = (const real *)launch_in(l, 0)->data + r * s.picks;
        const int32_t *index = (const int32_t *)launch_in(l, 1)->data + r * s.picks;
        real *y = (real *)launch_out(l, 0)->data + r * s.width;
        memset(y, 0, (size_t)s.width * sizeof(real));
        for (int64_t k = 0; k < s.picks; k++)
            if (index[k] >= 0 && index[k] < s.width) y[index[k]] += g[k];
    }
}
const kernel K(k_scatter_last) = { .tasks = scatter_last_tasks, .run = run_scatter_last };
