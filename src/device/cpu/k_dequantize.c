/* k_dequantize.c - blocks of quantised weights to floats: rows of an embedding
 * that were picked, or a matrix that something else than a product reads.  A
 * task is a run of blocks. */
#include "base/quant.h"
#include "device/cpu/widen.h"

enum { TASK_BLOCKS = 512 };

static int64_t blocks_of(const launch *l) { return operand_numel(launch_out(l, 0)) / QUANT_BLOCK; }

static int64_t dequantize_tasks(const launch *l, int phase)
{
    (void)phase;
    return ceil_div(blocks_of(l), TASK_BLOCKS);
}

static void run_dequantize(const launch *l, int phase, int64_t task, char *local)
{
    (void)phase, (void)local;
    const operand *x = launch_in(l, 0);
    int64_t first = task * TASK_BLOCKS, n = min_i64(TASK_BLOCKS, blocks_of(l) - first);
    real *y = (real *)launch_out(l, 0)->data + first * QUANT_BLOCK;
    K(widen)(x->data, x->dtype, first * QUANT_BLOCK, 1, n * QUANT_BLOCK, y);
}
const kernel K(k_dequantize) = { .tasks = dequantize_tasks, .run = run_dequantize };
