/* op_linear_cross_entropy.c - the cross-entropy of x W^T against classes, for
 * a W of so many rows that logits should not exist all at once.
 *
 * Rows of x are taken in chunks, by shape alone.  A chunk's logits become their
 * own gradient, and that a part of dx and of dW, before the next chunk begins:
 *     D = softmax(x W^T) - onehot(t),  dx = D W,  dW = sum over chunks of D^T x
 * (and with smoothing, see op_cross_entropy.c).  So both gradients are sides,
 * made in the forward pass without computing anything twice; where nobody reads them they
 * are not made.
 *
 * x (rows, C), W (V, C), t i32 (rows).  Types as in matmul; quantised weights have no gradients.  attr: i[0]
 * ignore_index, f[0] label_smoothing
 * as in cross_entropy; i[1] most rows of a chunk, 0: by size.  Sides: count, dx, dW. */
#include <math.h>
#include "graph/graph.h"

enum { CHUNK_LOGITS = 32 << 20 };       /* elements: 128 MiB of f32 */
enum { COUNT = 1, DX = 2, DW = 3 };

static bool infer_linear_cross_entropy(tensor *y)
{
    const tensor *x = y->in[0], *w = y->in[1], *t = y->in[2];
    tensor *dx = genet__side(y, DX), *dw = genet__side(y, DW);
    bool matrices = x->shape.rank == 2 && w->shape.rank == 2 && t->shape.rank == 1;
    if (!matrices || x->shape.dim[1] != w->shape.dim[1] || x->shape.dim[0] != t->shape.dim[0] || x->shape.dim[0] < 1)
        return genet__fail(y, "x %s, weight %s and target %s must be (rows, C), (V, C) and (rows), with a row at least",
                           SHAPE_TEXT(x), SHAPE_TEXT(w), SHAPE_TEXT(t));
    if (t->dtype != GENET_I32) return genet__fail(y, "target is %s, and must be i32", genet_dtype_name(t->dtype));
    y->dtype = genet__side(y, COUNT)->dtype = dx->dtype = dw->dtype = x->dtype == GENET_F64 ? GENET_F64 : GENET_F32;
    dx->shape = x->shape;
    dw->shape = w->shape;
    return true;
}

/* Rows of a chunk: all chunks about as long. */
static int64_t rows_at_once(const tensor *y)
{
    int64_t rows = y->in[0]->shape.dim[0], V = y->in[1]->shape.dim[0], most = y->attr.i[1];
    if (most < 1) most = CHUNK_LOGITS / (V < 1 ? 1 : V);
    if (most < 1) most = 1;
    int64_t n = (rows + most - 1) / most;
    return (rows + n - 1) / n;
}

/* a + b, where there is an a. */
static tensor *plus(tensor *a, tensor *b) { return a ? genet_add(a, b) : b; }

static void expand_linear_cross_entropy(tensor *y, tensor **out)
{
    tensor *x = y->in[0], *w = y->in[1], *one = genet_full(y->graph, y->dtype, 1, 0, NULL);
    int64_t rows = x->shape.dim[0], step = rows_at_once(y), n = 0;
    tensor **dx = genet__arena_alloc(&y->graph->arena, sizeof *dx * (size_t)((rows + step - 1) / step));
    if (!dx) return genet__graph_no_memory(y->graph);
    bool quantised = genet__is_blocks(w->dtype);
    for (int k = 0; k <= DW; k++) out[k] = NULL;
    for (int64_t r = 0; r < rows; r += step) {
        int64_t m = rows - r < step ? rows - r : step;
        tensor *part = genet_slice(x, 0, r, m, 1), *target = genet_slice(y->in[2], 0, r, m, 1);
        tensor *logits = genet_matmul(part, genet_transpose(w, 0, 1));              /* (m, V) */
        tensor *loss = APPLY(OP_cross_entropy, &y->attr, logits, target);
        tensor *d = APPLY(OP_cross_entropy_grad, &y->attr, logits, target, genet__side(loss, 2), one);
        out[0] = plus(out[0], loss);
        out[COUNT] = plus(out[COUNT], genet__side(loss, 1));
        if (quantised) continue;
        tensor *dw = genet_matmul(genet_transpose(d, 0, 1), part);
        dx[n++] = genet_matmul(d, w);
        if (dw->poisoned) return;
        out[DW] = out[DW] ? genet__matmul_onto(out[DW], dw) : dw;
    }
    if (n) out[DX] = n > 1 ? genet_concat(dx, (int)n, 0) : dx[0];
}

/* The sides are the gradients of the sum; it is usually all there is, and g then 1. */
static tensor *scaled(tensor *d, tensor *g)
{
    return genet__op_is(g, OP_full) && g->attr.f[0] == 1 ? d : genet_mul(d, g);
}

static void grad_linear_cross_entropy(tensor *y, tensor *g, tensor **d)
{
    d[0] = scaled(SAVED(genet__side(y, DX)), g);
    d[1] = scaled(SAVED(genet__side(y, DW)), g);
}

/* Loss of one row, and D of it. */
static double ref_row(const tensor *y, const double *x, const double *w, double t, double *d)
{
    int64_t V = y->in[1]->shape.dim[0], C = y->in[0]->shape.dim[1];
    double e = y->attr.f[0], sum = 0, mean = 0, picked = 0;
    bool ignored = t == (double)y->attr.i[0], wrong = !ignored && (t < 0 || t >= (double)V);
    for (int64_t v = 0; v < V; v++) {
        d[v] = 0;
        for (int64_t c = 0; c < C; c++) d[v] += x[c] * w[v * C + c];
        mean += d[v] / (double)V;
        sum += exp(d[v]);
        if ((double)v == t) picked = d[v];
    }
    for (int64_t v = 0; v < V; v++)
        d[v] = ignored ? 0 : wrong ? NAN : exp(d[v]) / sum - (1 - e) * ((double)v == t) - e / (double)V;
    return ignored ? 0 : wrong ? NAN : log(sum) - (1 - e) * picked - e * mean;
}

static void ref_linear_cross_entropy(const tensor *y, double *const in[], double *const out[])
{
    int64_t rows = y->in[0]->shape.dim[0], V = y->in[1]->shape.dim[0], C = y->in[0]->shape.dim[1];
    double d[64];                               /* of probes only: V is small there */
    out[0][0] = out[COUNT][0] = 0;
    for (int64_t i = 0; i < V * C; i++) out[DW][i] = 0;
    for (int64_t r = 0; r < rows; r++) {
        const double *x = in[0] + r * C;
        out[0][0] += ref_row(y, x, in[1], in[2][r], d);
        out[COUNT][0] += in[2][r] != (double)y->attr.i[0];
        for (int64_t c = 0; c < C; c++) {
            out[DX][r * C + c] = 0;
            for (int64_t v = 0; v < V; v++) {
                out[DX][r * C + c] += d[v] * in[1][v * C + c];
                out[DW][v * C + c] += d[v] * x[c];
            }
        }
    }
}

#define CHUNKED(ignore, smoothing, most) .attr = { .f = { smoothing }, .i = { ignore, most } }
static const probe probes_linear_cross_entropy[] = {
    { CHUNKED(-100, 0, 0), .in = { PF(-1, 1, 3, 2), PF(-1, 1, 4, 2), PI(0, 3, 3) } },
    { CHUNKED(1, .1, 2), .in = { PF(-1, 1, 5, 3), PF(-1, 1, 4, 3), PI(0, 3, 5) } },
    { CHUNKED(-100, 0, 1), .in = { PF(-1, 1, 3, 2), PF(-1, 1, 4, 2), PI(0, 3, 3) } },
    { .edge = true, CHUNKED(-1, 0, 16), .in = { PF(-1, 1, 67, 33), PF(-1, 1, 61, 33), PI(-1, 60, 67) } },
    { .edge = true, CHUNKED(-1, .2, 7), .in = { PF(-1, 1, 21, 5), PF(-1, 1, 17, 5), PI(-1, 17, 21) } },
    { .edge = true, CHUNKED(-100, 0, 0), .in = { PF(-1, 1, 1, 1), PF(-1, 1, 1, 1), PI(0, 0, 1) } },
};
ROW(linear_cross_entropy, OWN, BOTH, OPF_BLOCKS, .n_in = 3, .n_side = 3, .flat_sides = 1 << COUNT,
    .infer = infer_linear_cross_entropy, .flops = genet__flops_none)

tensor *genet_linear_cross_entropy(tensor *x, tensor *weight, tensor *target, int64_t ignore_index, double label_smoothing)
{
    attr a = { .f = { label_smoothing }, .i = { ignore_index } };
    return APPLY(OP_linear_cross_entropy, &a, x, weight, target);
}
