/* op_index.c - rows and elements picked by i32 indices, and their transposes:
 * gather and scatter_add along the first dimension, gather_last and
 * scatter_last along the last one, write_at into rows of state.
 *
 * Each pair is its own gradient.  An index out of range picks zeros, adds
 * nothing, writes nothing; indices get no gradient.
 *
 * attr: i[0] the extent that a scatter makes (rows, n). */
#include "graph/graph.h"
#include <string.h>

/* --- what several of them check ---------------------------------------------------- */

static bool index_fits(tensor *y, const tensor *index)
{
    if (index->dtype == GENET_I32) return true;
    return genet__fail(y, "indices must be i32, not %s", genet_dtype_name(index->dtype));
}

static bool float_fits(tensor *y, const tensor *g)
{
    if (genet__is_float(g->dtype)) return true;
    return genet__fail(y, "only f32 and f64 are added up, not %s: use cast", genet_dtype_name(g->dtype));
}

/* dim[from..to) of both agree. */
static bool dims_agree(const tensor *a, const tensor *b, int from, int to)
{
    for (int i = from; i < to; i++)
        if (a->shape.dim[i] != b->shape.dim[i]) return false;
    return true;
}

/* Elements of the dimensions from..rank. */
static int64_t extent_from(const tensor *t, int from)
{
    int64_t n = 1;
    for (int i = from; i < t->shape.rank; i++) n *= t->shape.dim[i];
    return n;
}

/* --- gather: y[i..., :] = x[index[i...], :] --------------------------------------- */

/* index (I...), x (N, R...) -> (I..., R...) */
static bool infer_gather(tensor *y)
{
    const tensor *x = y->in[0], *index = y->in[1];
    if (!index_fits(y, index)) return false;
    if (x->shape.rank < 1) return genet__fail(y, "x is a scalar: it has no rows");
    if (genet__is_blocks(x->dtype) && (x->shape.rank < 2 || !genet__is_dense(x)))
        return genet__fail(y, "rows of %s %s are no whole blocks side by side", genet_dtype_name(x->dtype), SHAPE_TEXT(x));
    int lead = index->shape.rank, rank = lead + x->shape.rank - 1;
    if (rank > MAX_DIM)
        return genet__fail(y, "rows of x %s at index %s make more than %d dimensions", SHAPE_TEXT(x), SHAPE_TEXT(index),
                           MAX_DIM);
    y->dtype = x->dtype;
    y->shape = index->shape;
    y->shape.rank = rank;
    for (int i = 1; i < x->shape.rank; i++) y->shape.dim[lead + i - 1] = x->shape.dim[i];
    return true;
}
static bool has_gradient(const tensor *x)
{
    return x->dtype != GENET_I32 && x->dtype != GENET_U8 && !genet__is_blocks(x->dtype);
}
/* A row picked twice gets both gradients, one never picked gets zeros. */
static void grad_gather(tensor *y, tensor *g, tensor **d)
{
    const tensor *x = y->in[0];
    if (has_gradient(x)) d[0] = genet_scatter_add(g, SAVED(y->in[1]), x->shape.dim[0]);
}
static void ref_gather(const tensor *y, double *const in[], double *const out[])
{
    int64_t rows = y->in[0]->shape.dim[0], width = extent_from(y->in[0], 1);
    for (int64_t i = 0; i < genet__numel(&y->shape); i++) {
        double at = in[1][i / width];
        out[0][i] = at >= 0 && at < (double)rows ? in[0][(int64_t)at * width + i % width] : 0;
    }
}
/* Indices one below and one above the range are drawn too. */
static const probe probes_gather[] = {
    { .in = { PF(-2, 2, 4, 3), PI(-1, 4, 5) } },
    { .in = { PF(-2, 2, 5), PI(-1, 5, 2, 3) } },
    { .edge = true, .in = { PF(-2, 2, 7, 17), PI(-2, 8, 3, 5) } },
    { .edge = true, .in = { PF(-2, 2, 3, 2, 33), { 'i', 0, 2, 0, {0} } } },
    { .edge = true, .in = { PI(-9, 9, 7, 5), PI(-1, 7, 11) } },
    { .edge = true, .in = { PU(9), PI(-1, 9, 17) } },
    { .edge = true, .in = { PF(-2, 2, 0, 5), PI(-1, 1, 3) } },
    { .edge = true, .in = { PF(-2, 2, 3, 5), PI(-1, 1, 0) } },
    { .edge = true, .in = { PF(-2, 2, 31, 129), PI(-1, 31, 271) } },
    { .edge = true, .in = { PB(-2, 2, 7, 5), PI(-1, 7, 11) } },
    { .edge = true, .in = { PH(-2, 2, 7, 3, 5), PI(-1, 7, 2, 3) } },
    { .edge = true, .in = { PQ8_ROWS(-2, 2, 7, 32), PI(-1, 7, 3, 5) } },
    { .edge = true, .in = { PQ4_ROWS(-2, 2, 31, 2, 96), PI(-1, 31, 1201) } },
};
ROW(gather, OWN, REF, OPF_BLOCKS, .n_in = 2, .infer = infer_gather, .flops = genet__flops_none)

tensor *genet_gather(tensor *x, tensor *index) { return APPLY(OP_gather, NULL, x, index); }

/* --- scatter_add: y[r, :] = (onto[r, :] +) sum of g[i..., :] over index[i...] = r ----- */

/* g (I..., R...), index (I...), onto? (rows, R...) -> (rows, R...): the transpose of gather. */
static bool infer_scatter_add(tensor *y)
{
    const tensor *g = y->in[0], *index = y->in[1];
    int lead = index->shape.rank;
    if (!index_fits(y, index) || !float_fits(y, g)) return false;
    if (g->shape.rank < lead || !dims_agree(g, index, 0, lead))
        return genet__fail(y, "g %s does not begin with the extents of index %s", SHAPE_TEXT(g), SHAPE_TEXT(index));
    if (y->attr.i[0] < 0) return genet__fail(y, "%lld rows are impossible", (long long)y->attr.i[0]);
    y->dtype = g->dtype;
    y->shape.rank = g->shape.rank - lead + 1;
    y->shape.dim[0] = y->attr.i[0];
    for (int i = 1; i < y->shape.rank && i < MAX_DIM; i++) y->shape.dim[i] = g->shape.dim[lead + i - 1];
    const tensor *onto = y->in[2];
    return !onto || (onto->dtype == y->dtype && genet__same_shape(&onto->shape, &y->shape)) ||
           genet__fail(y, "what is added to, %s, must be as the result %s", SHAPE_TEXT(onto), SHAPE_TEXT(y));
}
static void grad_scatter_add(tensor *y, tensor *g, tensor **d)
{
    d[0] = genet_gather(g, SAVED(y->in[1]));
    d[2] = g;
}
static void ref_scatter_add(const tensor *y, double *const in[], double *const out[])
{
    int64_t rows = y->shape.dim[0], width = extent_from(y, 1);
    for (int64_t i = 0; i < rows * width; i++) out[0][i] = in[2] ? in[2][i] : 0;
    for (int64_t i = 0; i < genet__numel(&y->in[0]->shape); i++) {
        double at = in[1][i / width];
        if (at >= 0 && at < (double)rows) out[0][(int64_t)at * width + i % width] += in[0][i];
    }
}
static double flops_scatter_add(const tensor *y) { return (double)genet__numel(&y->in[0]->shape); }
/* Among them: all picks on one row, no rows, several blocks of columns, and
 * many rows of a single element. */
static const probe probes_scatter_add[] = {
    { .attr = { .i = { 4 } }, .in = { PF(-2, 2, 5, 3), PI(-1, 4, 5) } },
    { .attr = { .i = { 3 } }, .in = { PF(-2, 2, 2, 4), PI(-1, 3, 2, 4) } },
    { .edge = true, .attr = { .i = { 7 } }, .in = { PF(-2, 2, 3, 5, 17), PI(-2, 8, 3, 5) } },
    { .edge = true, .attr = { .i = { 1 } }, .in = { PF(-2, 2, 129, 15), PI(0, 0, 129) } },
    { .edge = true, .attr = { .i = { 3 } }, .in = { PF(-2, 2, 33), { 'i', 0, 2, 0, {0} } } },
    { .edge = true, .attr = { .i = { 0 } }, .in = { PF(-2, 2, 5, 3), PI(-1, 1, 5) } },
    { .edge = true, .attr = { .i = { 5 } }, .in = { PF(-2, 2, 0, 3), PI(-1, 1, 0) } },
    { .edge = true, .attr = { .i = { 5 } }, .in = { PF(-2, 2, 3, 0), PI(-1, 1, 3) } },
    { .edge = true, .attr = { .i = { 67 } }, .in = { PF(-2, 2, 53, 521), PI(-1, 67, 53) } },
    { .edge = true, .attr = { .i = { 9001 } }, .in = { PF(-2, 2, 601), PI(-1, 9001, 601) } },
    { .attr = { .i = { 4 } }, .in = { PF(-2, 2, 5, 3), PI(-1, 4, 5), PF(-2, 2, 4, 3) } },
    { .edge = true, .attr = { .i = { 67 } }, .in = { PF(-2, 2, 53, 521), PI(-1, 67, 53), PF(-2, 2, 67, 521) } },
};
ROW(scatter_add, OWN, REF, 0, .n_in = 3, .over = 1u << 2, .infer = infer_scatter_add, .flops = flops_scatter_add)

tensor *genet_scatter_add(tensor *g, tensor *index, int64_t rows)
{
    return APPLY(OP_scatter_add, &(attr){ .i = { rows } }, g, index, NULL);
}
tensor *genet__scatter_onto(tensor *a, tensor *b)
{
    bool plain = genet__op_is(b, OP_scatter_add) && !b->in[2];
    if (!plain || a->dtype != b->dtype || !genet__same_shape(&a->shape, &b->shape)) return NULL;
    return APPLY(OP_scatter_add, &b->attr, b->in[0], b->in[1], a);
}

/* --- gather_last: y[..., k] = x[..., index[..., k]] -------------------------------------- */

/* in[0] (L..., N) and in[1], the index, (L..., K). */
static bool last_fits(tensor *y)
{
    const tensor *x = y->in[0], *index = y->in[1];
    int rank = x->shape.rank;
    if (!index_fits(y, index)) return false;
    if (rank >= 1 && index->shape.rank == rank && dims_agree(x, index, 0, rank - 1)) return true;
    return genet__fail(y, "%s and index %s must agree in all dimensions but the last", SHAPE_TEXT(x), SHAPE_TEXT(index));
}
/* The class probability of each target is this, with K = 1. */
static bool infer_gather_last(tensor *y)
{
    y->dtype = y->in[0]->dtype;
    y->shape = y->in[1]->shape;
    return last_fits(y);
}
static void grad_gather_last(tensor *y, tensor *g, tensor **d)
{
    const tensor *x = y->in[0];
    if (!has_gradient(x)) return;
    d[0] = genet_scatter_last(g, SAVED(y->in[1]), x->shape.dim[x->shape.rank - 1]);
}
static void ref_gather_last(const tensor *y, double *const in[], double *const out[])
{
    int64_t picks = y->shape.dim[y->shape.rank - 1], width = y->in[0]->shape.dim[y->shape.rank - 1];
    for (int64_t i = 0; i < genet__numel(&y->shape); i++) {
        double at = in[1][i];
        out[0][i] = at >= 0 && at < (double)width ? in[0][i / picks * width + (int64_t)at] : 0;
    }
}
static const probe probes_gather_last[] = {
    { .in = { PF(-2, 2, 3, 5), PI(-1, 5, 3, 2) } },
    { .in = { PF(-2, 2, 4), PI(0, 3, 6) } },
    { .edge = true, .in = { PF(-2, 2, 2, 3, 17), PI(-2, 18, 2, 3, 5) } },
    { .edge = true, .in = { PF(-2, 2, 7, 33), PI(-1, 33, 7, 1) } },
    { .edge = true, .in = { PI(-9, 9, 3, 5), PI(-1, 5, 3, 4) } },
    { .edge = true, .in = { PU(3, 5), PI(-1, 5, 3, 4) } },
    { .edge = true, .in = { PF(-2, 2, 3, 0), PI(-1, 1, 3, 2) } },
    { .edge = true, .in = { PF(-2, 2, 3, 2), PI(-1, 1, 3, 0) } },
    { .edge = true, .in = { PF(-2, 2, 5, 37), PI(-1, 37, 5, 3301) } },
};
ROW(gather_last, OWN, REF, 0, .n_in = 2, .infer = infer_gather_last, .flops = genet__flops_none)

tensor *genet_gather_last(tensor *x, tensor *index) { return APPLY(OP_gather_last, NULL, x, index); }

/* --- scatter_last: y[..., j] = sum of g[..., k] over index[..., k] = j ----------------------- */

/* g (L..., K), index (L..., K) -> (L..., n) */
static bool infer_scatter_last(tensor *y)
{
    y->dtype = y->in[0]->dtype;
    y->shape = y->in[0]->shape;
    if (!last_fits(y) || !float_fits(y, y->in[0])) return false;
    int last = y->shape.rank - 1;
    if (y->in[0]->shape.dim[last] != y->in[1]->shape.dim[last])
        return genet__fail(y, "g %s and index %s differ", SHAPE_TEXT(y->in[0]), SHAPE_TEXT(y->in[1]));
    if (y->attr.i[0] < 0) return genet__fail(y, "a last dimension of %lld is impossible", (long long)y->attr.i[0]);
    y->shape.dim[last] = y->attr.i[0];
    return true;
}
static void grad_scatter_last(tensor *y, tensor *g, tensor **d) { d[0] = genet_gather_last(g, SAVED(y->in[1])); }
/* Indices may repeat within a row: their terms add up. */
static void ref_scatter_last(const tensor *y, double *const in[], double *const out[])
{
    const shape *s = &y->in[0]->shape;
    int64_t picks = s->dim[s->rank - 1], width = y->shape.dim[s->rank - 1];
    for (int64_t i = 0; i < genet__numel(&y->shape); i++) out[0][i] = 0;
    for (int64_t i = 0; i < genet__numel(s); i++) {
        double at = in[1][i];
        if (at >= 0 && at < (double)width) out[0][i / picks * width + (int64_t)at] += in[0][i];
    }
}
static const probe probes_scatter_last[] = {
    { .attr = { .i = { 5 } }, .in = { PF(-2, 2, 3, 2), PI(-1, 5, 3, 2) } },
    { .attr = { .i = { 3 } }, .in = { PF(-2, 2, 6), PI(0, 2, 6) } },
    { .edge = true, .attr = { .i = { 17 } }, .in = { PF(-2, 2, 2, 3, 33), PI(-2, 18, 2, 3, 33) } },
    { .edge = true, .attr = { .i = { 0 } }, .in = { PF(-2, 2, 3, 2), PI(-1, 1, 3, 2) } },
    { .edge = true, .attr = { .i = { 4 } }, .in = { PF(-2, 2, 3, 0), PI(-1, 1, 3, 0) } },
    { .edge = true, .attr = { .i = { 4001 } }, .in = { PF(-2, 2, 23, 1), PI(0, 4000, 23, 1) } },
};
ROW(scatter_last, OWN, REF, 0, .n_in = 2, .infer = infer_scatter_last, .flops = flops_scatter_add)

tensor *genet_scatter_last(tensor *g, tensor *index, int64_t n)
{
    return APPLY(OP_scatter_last, &(attr){ .i = { n } }, g, index);
}

/* --- write_at ----------------------------------------------------------------------------------- */

/* The rank of position says which form is meant: 0, rows are dimension 0;
 * 1, dimension 0 is a batch with a position each, rows are dimension 1; of a
 * smaller batch the state's first entries are written. */
static bool infer_write_at(tensor *y)
{
    const tensor *state = y->in[0], *value = y->in[1], *position = y->in[2];
    int axis = position->shape.rank, rank = state->shape.rank;
    if (!index_fits(y, position)) return false;
    if (value->dtype != state->dtype)
        return genet__fail(y, "state is %s and the value %s: use cast", genet_dtype_name(state->dtype),
                           genet_dtype_name(value->dtype));
    if (axis > 1 || rank <= axis || value->shape.rank != rank || !dims_agree(state, value, axis + 1, rank) ||
        (axis && (value->shape.dim[0] > state->shape.dim[0] || position->shape.dim[0] != value->shape.dim[0])))
        return genet__fail(y, "value %s at position %s does not fit state %s", SHAPE_TEXT(value), SHAPE_TEXT(position),
                           SHAPE_TEXT(state));
    return genet__infer_same(y);
}
/* width: elements of one row; b: the batch entry whose position counts. */
static void ref_write_at(const tensor *y, double *const in[], double *const out[])
{
    const shape *s = &y->shape, *v = &y->in[1]->shape;
    int axis = y->in[2]->shape.rank;
    int64_t rows = s->dim[axis], n = v->dim[axis], width = extent_from(y, axis + 1);
    for (int64_t i = 0; i < genet__numel(s); i++) out[0][i] = in[0][i];
    for (int64_t i = 0; i < genet__numel(v); i++) {
        int64_t row = i / width % n, b = i / width / n, at = (int64_t)in[2][b] + row;
        if (at >= 0 && at < rows) out[0][(b * rows + at) * width + i % width] = in[1][i];
    }
}
/* Positions that begin before the state or end behind it are among these. */
static const probe probes_write_at[] = {
    { .edge = true, .in = { PF(-2, 2, 7, 3), PF(-2, 2, 2, 3), { 'i', -2, 7, 0, {0} } } },
    { .edge = true, .in = { PF(-2, 2, 17), PF(-2, 2, 5), { 'i', 10, 16, 0, {0} } } },
    { .edge = true, .in = { PF(-2, 2, 3, 7, 2, 5), PF(-2, 2, 3, 2, 2, 5), PI(-1, 7, 3) } },
    { .edge = true, .in = { PF(-2, 2, 5, 33), PF(-2, 2, 5, 1), PI(0, 32, 5) } },
    { .edge = true, .in = { PF(-2, 2, 5, 7, 3), PF(-2, 2, 2, 4, 3), PI(-1, 6, 2) } },
    { .edge = true, .in = { PI(-9, 9, 7, 3), PI(-9, 9, 3, 3), { 'i', 0, 4, 0, {0} } } },
    { .edge = true, .in = { PF(-2, 2, 7, 3), PF(-2, 2, 0, 3), { 'i', 0, 4, 0, {0} } } },
    { .edge = true, .in = { PF(-2, 2, 67, 521), PF(-2, 2, 53, 521), { 'i', 0, 20, 0, {0} } } },
};
/* No gradient: state is written for a later run, not read in this one. */
ROW(write_at, NONE, REF, OPF_EFFECT | OPF_STRIDED, .n_in = 3, .infer = infer_write_at, .state_in = 1,
    .flops = genet__flops_none)

tensor *genet_write_at(tensor *state, tensor *value, tensor *position)
{
    return APPLY(OP_write_at, NULL, state, value, position);
}
