/* op_random.c - chance as counters: random_uniform, random_normal, dropout.
 *
 * A number is a function of (seed, stream, step, index), see base/rng.h, where
 * index counts elements from the beginning of the GLOBAL batch: so the same
 * rows get the same numbers however a batch is cut over ranks, accumulation
 * steps or threads, and a gradient draws its mask again instead of keeping it.
 *
 * rng: i32 (4): seed low, seed high, step, row of the global batch where
 * dimension 0 begins.  attr: f[0] dropout's probability; i[0..8) extents, i[8]
 * rank, i[9] dtype of what is made from nothing; i[15] the stream.  Dropout is elementwise, and its function sees
 * f alone: f[1] the stream, f[2] elements of a row. */
#include "graph/graph.h"
#include "base/rng.h"
#include <string.h>

enum { AT_RANK = 8, AT_TYPE = 9, AT_STREAM = 15, AT_DROP_STREAM = 1, AT_PER_ROW = 2 };

static bool rng_fits(tensor *y, const tensor *rng)
{
    if (rng->dtype == GENET_I32 && rng->shape.rank == 1 && rng->shape.dim[0] == 4) return true;
    return genet__fail(y, "rng is %s %s; it must be i32 [4]: seed low, seed high, step, first row",
                       genet_dtype_name(rng->dtype), SHAPE_TEXT(rng));
}

/* --- naive definitions ------------------------------------------------------------- */

typedef double draw_fn(uint64_t seed, uint32_t stream, uint32_t step, uint64_t index);

/* out[i] = the number of element i of y. */
static void draw(draw_fn *fn, const tensor *y, const double *rng, double *out)
{
    int64_t n = genet__numel(&y->shape), per_row = n;
    if (y->shape.rank > 0 && n > 0) per_row = n / y->shape.dim[0];
    uint64_t seed = (uint64_t)(uint32_t)(int32_t)rng[1] << 32 | (uint32_t)(int32_t)rng[0];
    uint64_t first = (uint64_t)(uint32_t)(int32_t)rng[3] * (uint64_t)per_row;
    for (int64_t i = 0; i < n; i++)
        out[i] = fn(seed, (uint32_t)y->attr.i[AT_STREAM], (uint32_t)(int32_t)rng[2], first + (uint64_t)i);
}
static void ref_random_uniform(const tensor *y, double *const in[], double *const out[])
{
    draw(genet__rng_uniform, y, in[0], out[0]);
}
static void ref_random_normal(const tensor *y, double *const in[], double *const out[])
{
    draw(genet__rng_normal, y, in[0], out[0]);
}
static void ref_dropout(const tensor *y, double *const in[], double *const out[])
{
    double p = y->attr.f[0];
    draw(genet__rng_uniform, y, in[1], out[0]);
    for (int64_t i = 0; i < genet__numel(&y->shape); i++) out[0][i] = out[0][i] < p ? 0 : in[0][i] / (1 - p);
}

/* --- uniform and normal --------------------------------------------------------------- */

static bool infer_random(tensor *y)
{
    const int64_t *a = y->attr.i, rank = a[AT_RANK], type = a[AT_TYPE];
    if (!rng_fits(y, y->in[0])) return false;
    if (rank < 0 || rank > MAX_DIM) return genet__fail(y, "rank %lld is not in 0..%d", (long long)rank, MAX_DIM);
    if (type != GENET_F32 && type != GENET_F64) return genet__fail(y, "random numbers are f32 or f64; use cast");
    y->dtype = (dtype)type;
    y->shape.rank = (int)rank;
    memcpy(y->shape.dim, a, sizeof y->shape.dim);
    return true;
}
static double flops_random(const tensor *y) { return 40.0 * (double)genet__numel(&y->shape); }

#define RNG PI(0, 1 << 20, 4)
#define MADE(type, rank, ...) .attr = { .i = { __VA_ARGS__, [AT_RANK] = rank, [AT_TYPE] = type, [AT_STREAM] = 77 } }
#define PROBES_RANDOM                                                   \
    { .edge = true, MADE(GENET_F32, 2, 3, 5), .in = { RNG } },          \
    { .edge = true, MADE(GENET_F64, 2, 3, 5), .in = { RNG } },          \
    { .edge = true, MADE(GENET_F32, 0, 0), .in = { RNG } },             \
    { .edge = true, MADE(GENET_F32, 1, 0), .in = { RNG } },             \
    { .edge = true, MADE(GENET_F32, 1, 1), .in = { RNG } },             \
    { .edge = true, MADE(GENET_F32, 3, 7, 3, 17), .in = { RNG } },      \
    { .edge = true, MADE(GENET_F64, 2, 33, 31), .in = { RNG } },        \
    { .edge = true, MADE(GENET_F32, 2, 71, 241), .in = { RNG } },
static const probe probes_random_uniform[] = { PROBES_RANDOM };
static const probe probes_random_normal[]  = { PROBES_RANDOM };
ROW(random_uniform, ZERO, REF, 0, .n_in = 1, .infer = infer_random, .flops = flops_random)
ROW(random_normal,  ZERO, REF, 0, .n_in = 1, .infer = infer_random, .flops = flops_random)

static tensor *make_random(op_id id, tensor *rng, int stream, dtype type, int rank, const int64_t *dim)
{
    attr a = { .i = { [AT_RANK] = rank, [AT_TYPE] = (int64_t)type, [AT_STREAM] = stream } };
    for (int i = 0; i < rank && i < MAX_DIM; i++) a.i[i] = dim[i];
    return APPLY(id, &a, rng);
}
tensor *genet_random_uniform(tensor *rng, int stream, dtype type, int rank, const int64_t *dim)
{
    return make_random(OP_random_uniform, rng, stream, type, rank, dim);
}
tensor *genet_random_normal(tensor *rng, int stream, dtype type, int rank, const int64_t *dim)
{
    return make_random(OP_random_normal, rng, stream, type, rank, dim);
}

/* --- dropout: x (..), rng -------------------------------------------------------------- */

static bool infer_dropout(tensor *y)
{
    double p = y->attr.f[0];
    if (!genet__is_float(y->in[0]->dtype))
        return genet__fail(y, "x must be f32 or f64, not %s", genet_dtype_name(y->in[0]->dtype));
    if (!(p >= 0 && p <= 1)) return genet__fail(y, "probability %g is not in 0..1", p);
    if (!rng_fits(y, y->in[1]) || !genet__infer_same(y)) return false;
    int64_t per_row = 1;
    for (int i = 1; i < y->shape.rank; i++) per_row *= y->shape.dim[i];
    y->attr.f[AT_DROP_STREAM] = (double)y->attr.i[AT_STREAM];
    y->attr.f[AT_PER_ROW] = (double)per_row;
    return true;
}
/* Linear in x: the gradient is the same op with the same counters. */
static void grad_dropout(tensor *y, tensor *g, tensor **d) { d[0] = APPLY(OP_dropout, &y->attr, g, SAVED(y->in[1])); }

#define DROP(p) .attr = { .f = { p }, .i = { [AT_STREAM] = 5 } }
static const probe probes_dropout[] = {
    { DROP(.3), .in = { PF(-2, 2, 3, 4), RNG } },
    { DROP(.5), .in = { PF0(-2, 2), RNG } },
    { .edge = true, DROP(0), .in = { PF(-2, 2, 17), RNG } },
    { .edge = true, DROP(1), .in = { PF(-2, 2, 5, 3), RNG } },
    { .edge = true, DROP(.9), .in = { PF(-2, 2, 2, 3, 33), RNG } },
    { .edge = true, DROP(.1), .in = { PF(-2, 2, 71, 241), RNG } },
    { .edge = true, DROP(.1), .in = { PF(-2, 2, 0, 3), RNG } },
};
ROW(dropout, OWN, REF, OPF_ELEMENTWISE | OPF_STRIDED | OPF_INDEXED, .n_in = 2, .infer = infer_dropout, .flops = flops_random)

tensor *genet_dropout(tensor *x, tensor *rng, int stream, double p)
{
    attr a = { .f = { p }, .i = { [AT_STREAM] = stream } };
    return p == 0 ? x : APPLY(OP_dropout, &a, x, rng);
}
