/* op_basic.c - leaves, constants, casts, copies and assignment.
 *
 * attr: i[0..8) extents, i[8] rank, i[9] dtype for what is made from nothing;
 * i[0] the target type of cast and dequantize. */
#include "graph/graph.h"
#include <string.h>

enum { AT_RANK = 8, AT_TYPE = 9 };

static bool attr_of_shape(attr *a, dtype type, int rank, const int64_t *dim)
{
    a->i[AT_RANK] = rank;
    a->i[AT_TYPE] = (int64_t)type;
    if (rank < 0 || rank > MAX_DIM) return false;
    for (int i = 0; i < rank; i++) a->i[i] = dim[i];
    return true;
}

static bool infer_from_attr(tensor *y)
{
    int64_t type = y->attr.i[AT_TYPE], rank = y->attr.i[AT_RANK];
    if (rank < 0 || rank > MAX_DIM) return genet__fail(y, "rank %lld is not in 0..%d", (long long)rank, MAX_DIM);
    if (type < 0 || type >= GENET_DTYPE_COUNT) return genet__fail(y, "no type has number %lld", (long long)type);
    y->dtype = (dtype)type;
    y->shape.rank = (int)rank;
    for (int i = 0; i < rank; i++) {
        if (y->attr.i[i] < 0) return genet__fail(y, "extent %lld is negative", (long long)y->attr.i[i]);
        y->shape.dim[i] = y->attr.i[i];
    }
    return true;
}

/* --- leaves --------------------------------------------------------------- */

static void ref_nothing(const tensor *y, double *const in[], double *const out[]) { (void)y, (void)in, (void)out; }
#define ref_input ref_nothing
#define ref_state ref_nothing
static const probe probes_input[] = {{ .edge = true }};
static const probe probes_state[] = {{ .edge = true }};
ROW(input, ZERO, REF, OPF_LEAF | OPF_BLOCKS, .n_in = 0, .infer = infer_from_attr)
ROW(state, ZERO, REF, OPF_LEAF | OPF_BLOCKS, .n_in = 0, .infer = infer_from_attr)

static tensor *leaf(graph *g, op_id id, const char *name, dtype type, int rank, const int64_t *dim)
{
    attr a = {0};
    attr_of_shape(&a, type, rank, dim);
    return genet_tensor_set_name(genet__apply(g, id, NULL, 0, &a), name);
}

tensor *genet_input(graph *g, const char *name, dtype type, int rank, const int64_t *dim)
{
    return leaf(g, OP_input, name, type, rank, dim);
}

tensor *genet_state(graph *g, const char *name, dtype type, int rank, const int64_t *dim)
{
    tensor *t = leaf(g, OP_state, name, type, rank, dim);
    if (t->poisoned) return t;
    if (genet__map_get(&g->state_names, t->name)) {
        genet__fail(t, "there is a state %s already: one tensor for each piece of state", t->name);
        return &g->poison;
    }
    if (!genet__map_set(&g->state_names, t->name, t->id)) genet__graph_no_memory(g);
    return t;
}

/* --- constants ------------------------------------------------------------- */

static void ref_full(const tensor *y, double *const in[], double *const out[])
{
    (void)in;
    for (int64_t i = 0; i < genet__numel(&y->shape); i++) out[0][i] = y->attr.f[0];
}
static const probe probes_full[] = {
    { .edge = true, .attr = { .f = { 2.5 }, .i = { 3, 5, [AT_RANK] = 2, [AT_TYPE] = GENET_F32 } } },
    { .edge = true, .attr = { .f = { -7 }, .i = { 17, [AT_RANK] = 1, [AT_TYPE] = GENET_I32 } } },
    { .edge = true, .attr = { .f = { 1 }, .i = { 0, 4, [AT_RANK] = 2, [AT_TYPE] = GENET_U8 } } },
};
ROW(full, ZERO, REF, 0, .n_in = 0, .infer = infer_from_attr)

static void ref_iota(const tensor *y, double *const in[], double *const out[])
{
    (void)in;
    for (int64_t i = 0; i < genet__numel(&y->shape); i++) out[0][i] = y->attr.f[0] + y->attr.f[1] * (double)i;
}
static const probe probes_iota[] = {
    { .edge = true, .attr = { .f = { 0, 1 }, .i = { 17, [AT_RANK] = 1, [AT_TYPE] = GENET_I32 } } },
    { .edge = true, .attr = { .f = { -1, .25 }, .i = { 33, [AT_RANK] = 1, [AT_TYPE] = GENET_F32 } } },
};
ROW(iota, ZERO, REF, 0, .n_in = 0, .infer = infer_from_attr)

tensor *genet_full(graph *g, dtype type, double value, int rank, const int64_t *dim)
{
    attr a = { .f = { value } };
    attr_of_shape(&a, type, rank, dim);
    return genet__apply(g, OP_full, NULL, 0, &a);
}

tensor *genet_scalar_like(tensor *x, double value) { return genet_full(x->graph, x->dtype, value, 0, NULL); }

tensor *genet_iota(graph *g, dtype type, int64_t n, double start, double step)
{
    attr a = { .f = { start, step } };
    attr_of_shape(&a, type, 1, &n);
    return genet__apply(g, OP_iota, NULL, 0, &a);
}

/* --- cast, copy, stop -------------------------------------------------------- */

static bool infer_cast(tensor *y)
{
    int64_t type = y->attr.i[0];
    if (type < 0 || type >= GENET_DTYPE_COUNT) return genet__fail(y, "no type has number %lld", (long long)type);
    y->shape = y->in[0]->shape;
    y->dtype = (dtype)type;
    return true;
}
static void grad_cast(tensor *y, tensor *g, tensor **d)
{
    dtype from = y->in[0]->dtype, to = y->dtype;
    bool smooth = from != GENET_I32 && from != GENET_U8 && to != GENET_I32 && to != GENET_U8;
    d[0] = !smooth ? NULL : genet__is_float(from) ? genet_cast(g, from) : g;
}
/* Values that every type here holds exactly after truncation or rounding are
 * compared by the cast tests of the kernels; this one covers the routing. */
static void ref_cast(const tensor *y, double *const in[], double *const out[])
{
    for (int64_t i = 0; i < genet__numel(&y->shape); i++) {
        double x = in[0][i];
        out[0][i] = y->dtype == GENET_I32 || y->dtype == GENET_U8 ? (double)(int64_t)x : x;
    }
}
static const probe probes_cast[] = {
    { .attr = { .i = { GENET_F64 } }, .in = { PF(-2, 2, 3, 4) } },
    { .edge = true, .attr = { .i = { GENET_I32 } }, .in = { PF(-9, 9, 37) } },
    { .edge = true, .attr = { .i = { GENET_U8 } }, .in = { PI(0, 255, 5, 7) } },
    { .edge = true, .attr = { .i = { GENET_F32 } }, .in = { PI(-99, 99, 5, 7) } },
    { .edge = true, .attr = { .i = { GENET_F32 } }, .in = { PU(33) } },
    { .edge = true, .tolerance = 4e-3, .attr = { .i = { GENET_BF16 } }, .in = { PF(-2, 2, 3, 17) } },
    { .edge = true, .tolerance = 5e-4, .attr = { .i = { GENET_F16 } }, .in = { PF(-2, 2, 3, 17) } },
};
ROW(cast, OWN, REF, OPF_ELEMENTWISE | OPF_STRIDED, .n_in = 1, .infer = infer_cast)

/* Blocks are no elements: a kernel of their own widens them, to f32 (or f64), from which all else follows. */
tensor *genet_cast(tensor *x, dtype type)
{
    if (x->dtype == type) return x;
    if (genet__is_blocks(x->dtype)) {
        dtype wide = type == GENET_F64 ? GENET_F64 : GENET_F32;
        return genet_cast(APPLY(OP_dequantize, &(attr){ .i = { (int64_t)wide } }, x), type);
    }
    return APPLY(OP_cast, &(attr){ .i = { (int64_t)type } }, x);
}

/* Quantised weights are not learned: no gradient goes through. */
static bool infer_dequantize(tensor *y)
{
    const tensor *x = y->in[0];
    y->shape = x->shape;
    y->dtype = (dtype)y->attr.i[0];
    if (!genet__is_blocks(x->dtype) || !genet__is_float(y->dtype))
        return genet__fail(y, "widens q8_0 and q4_0 to f32 or f64, not %s", genet_dtype_name(x->dtype));
    return genet__is_dense(x) || genet__fail(y, "x %s is a window whose rows do not lie side by side: cast first, then take "
                                             "the window", SHAPE_TEXT(x));
}
static void ref_dequantize(const tensor *y, double *const in[], double *const out[])
{
    for (int64_t i = 0; i < genet__numel(&y->shape); i++) out[0][i] = in[0][i];
}
static const probe probes_dequantize[] = {
    { .edge = true, .attr = { .i = { GENET_F32 } }, .in = { PQ8_ROWS(-2, 2, 3, 64) } },
    { .edge = true, .attr = { .i = { GENET_F32 } }, .in = { PQ4_ROWS(-2, 2, 3, 64) } },
    { .edge = true, .attr = { .i = { GENET_F64 } }, .in = { PQ8_ROWS(-1e-6, 1e-6, 1, 32) } },
    { .edge = true, .attr = { .i = { GENET_F64 } }, .in = { PQ4_ROWS(-1e4, 1e4, 2, 1, 96) } },
    { .edge = true, .attr = { .i = { GENET_F32 } }, .in = { PQ8_ROWS(-2, 2, 0, 32) } },
    { .edge = true, .attr = { .i = { GENET_F32 } }, .in = { PQ8_ROWS(-2, 2, 301, 160) } },
    { .edge = true, .attr = { .i = { GENET_F32 } }, .in = { PQ4_ROWS(-2, 2, 301, 160) } },
};
ROW(dequantize, NONE, REF, OPF_BLOCKS, .n_in = 1, .infer = infer_dequantize, .flops = genet__flops_none)

static void ref_copy(const tensor *y, double *const in[], double *const out[])
{
    for (int64_t i = 0; i < genet__numel(&y->shape); i++) out[0][i] = in[y->n_in - 1][i];
}
static void grad_copy(tensor *y, tensor *g, tensor **d) { (void)y; d[0] = g; }
static const probe probes_copy[] = {
    { .in = { PF(-2, 2, 3, 4) } },
    { .edge = true, .in = { PF(-2, 2, 1) } },
    { .edge = true, .in = { PF(-2, 2, 5, 3, 17) } },
    { .edge = true, .in = { PF(-2, 2, 0, 3) } },
    { .edge = true, .in = { PI(-5, 5, 3, 7) } },
    { .edge = true, .in = { PU(3, 7) } },
};
ROW(copy, OWN, REF, OPF_ELEMENTWISE | OPF_STRIDED, .n_in = 1, .infer = genet__infer_same)

tensor *genet_copy(tensor *x) { return APPLY(OP_copy, NULL, x); }

static bool infer_stop(tensor *y)
{
    const tensor *x = y->in[0];
    y->root = x->root;
    y->start = x->start;
    memcpy(y->stride, x->stride, sizeof y->stride);
    return genet__infer_same(y);
}
#define ref_stop ref_copy
static const probe probes_stop[] = {{ .edge = true, .in = { PF(-2, 2, 3, 4) } }};
ROW(stop, ZERO, REF, OPF_VIEW | OPF_STRIDED | OPF_BLOCKS, .n_in = 1, .infer = infer_stop)

tensor *genet_stop(tensor *x) { return APPLY(OP_stop, NULL, x); }

/* --- assign -------------------------------------------------------------------- */

static bool infer_assign(tensor *y)
{
    const tensor *s = y->in[0], *v = y->in[1];
    shape both;
    if (v->dtype != s->dtype)
        return genet__fail(y, "state is %s and the value %s: use cast", genet_dtype_name(s->dtype),
                           genet_dtype_name(v->dtype));
    if (!genet__broadcast_shape(&s->shape, &v->shape, &both) || !genet__same_shape(&both, &s->shape))
        return genet__fail(y, "value %s does not fit into state %s", SHAPE_TEXT(v), SHAPE_TEXT(s));
    if (!genet__is_dense(s)) return genet__fail(y, "the state, or the window on it, must be dense");
    return genet__infer_same(y);
}
static void ref_assign(const tensor *y, double *const in[], double *const out[])
{
    const shape *v = &y->in[1]->shape;
    int64_t nv = genet__numel(v), n = genet__numel(&y->shape);
    for (int64_t i = 0; i < n; i++) {
        int64_t at = 0, step = 1, rest = i;         /* the element of v at flat index i */
        for (int k = 1; k <= y->shape.rank && k <= v->rank; k++) {
            int64_t c = rest % y->shape.dim[y->shape.rank - k];
            rest /= y->shape.dim[y->shape.rank - k];
            if (v->dim[v->rank - k] > 1) at += c * step;
            step *= v->dim[v->rank - k];
        }
        out[0][i] = nv ? in[1][at] : 0;
    }
}
static const probe probes_assign[] = {
    { .edge = true, .in = { PF(-2, 2, 3, 4), PF(-2, 2, 3, 4) } },
    { .edge = true, .in = { PF(-2, 2, 5, 17), PF(-2, 2, 17) } },
    { .edge = true, .in = { PI(-9, 9, 33), PI(-9, 9, 33) } },
};
ROW(assign, NONE, REF, OPF_ELEMENTWISE | OPF_STRIDED | OPF_EFFECT, .n_in = 2, .infer = infer_assign, .state_in = 1)

tensor *genet_assign(tensor *state, tensor *value) { return APPLY(OP_assign, NULL, state, value); }
