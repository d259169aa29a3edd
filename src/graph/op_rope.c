/* op_rope.c - rotary position (Su et al. 2021, arXiv 2104.09864, eq. 34): the
 * pair number i of a head is turned by position * base^(-2i/D).
 *
 * Pairs are (i, i + D/2), as in checkpoints of the Llama family, or, when
 * interleaved, (2i, 2i + 1), as in the paper.  Models that stretch their context
 * give the D/2 frequencies themselves.  Angles are made in double and
 * only their cosine and sine are rounded.  A rotation is orthogonal: its
 * gradient is the rotation back.
 *
 * attr: f[0] base, i[0] interleaved, i[1] backwards (by the negative angle). */
#include "graph/graph.h"
#include <math.h>

enum { AT_INTERLEAVED, AT_BACKWARDS };

static bool infer_rope(tensor *y)
{
    const tensor *x = y->in[0], *position = y->in[1], *freq = y->in[2];
    double base = y->attr.f[0];
    if (!genet__is_float(x->dtype)) return genet__fail(y, "x must be f32 or f64, not %s", genet_dtype_name(x->dtype));
    if (x->shape.rank != 4) return genet__fail(y, "x %s must be (B,T,H,D)", SHAPE_TEXT(x));
    if (x->shape.dim[3] % 2) return genet__fail(y, "head size of x %s must be even", SHAPE_TEXT(x));
    if (!(base > 0) || !isfinite(base)) return genet__fail(y, "base %g must be positive", base);
    if (position && (position->dtype != GENET_I32 || position->shape.rank != 1 || position->shape.dim[0] != x->shape.dim[0]))
        return genet__fail(y, "position is %s %s, it must be i32 [%lld]", genet_dtype_name(position->dtype),
                           SHAPE_TEXT(position), (long long)x->shape.dim[0]);
    if (freq && (freq->dtype != x->dtype || freq->shape.rank != 1 || freq->shape.dim[0] != x->shape.dim[3] / 2))
        return genet__fail(y, "frequencies are %s %s, they must be %s [%lld]", genet_dtype_name(freq->dtype), SHAPE_TEXT(freq),
                           genet_dtype_name(x->dtype), (long long)x->shape.dim[3] / 2);
    return genet__infer_same(y);
}

/* What angles are the position's multiples of: (1 or B, T, 1, 1). */
static tensor *positions_of(const tensor *y)
{
    int64_t B = y->shape.dim[0], T = y->shape.dim[1];
    tensor *p = genet_reshape(genet_iota(y->graph, y->dtype, T, 0, 1), GENET_DIMS(1, T, 1, 1));
    if (!y->in[1]) return p;
    return genet_add(p, genet_reshape(genet_cast(SAVED(y->in[1]), y->dtype), GENET_DIMS(B, 1, 1, 1)));
}

/* The first (0) or second members of the pairs of t: (B, T, H, D/2). */
static tensor *members(const tensor *y, tensor *t, int second)
{
    int64_t half = y->shape.dim[3] / 2;
    return y->attr.i[AT_INTERLEAVED] ? genet_slice(t, 3, second, half, 2) : genet_slice(t, 3, second * half, half, 1);
}

/* With t = position * frequency: dy_a/dt = -y_b, dy_b/dt = y_a. */
static tensor *grad_frequencies(tensor *y, tensor *g)
{
    tensor *now = SAVED(y);
    tensor *turn = genet_sub(genet_mul(members(y, g, 1), members(y, now, 0)), genet_mul(members(y, g, 0), members(y, now, 1)));
    tensor *d = genet_sum(genet_mul(turn, positions_of(y)), 7, false);
    return y->attr.i[AT_BACKWARDS] ? genet_neg(d) : d;
}

static void grad_rope(tensor *y, tensor *g, tensor **d)
{
    attr back = y->attr;
    back.i[AT_BACKWARDS] = !back.i[AT_BACKWARDS];
    d[0] = APPLY(OP_rope, &back, g, y->in[1] ? SAVED(y->in[1]) : NULL, y->in[2] ? SAVED(y->in[2]) : NULL);
    if (y->in[2]) d[2] = grad_frequencies(y, g);
}

static void ref_rope(const tensor *y, double *const in[], double *const out[])
{
    const int64_t *n = y->shape.dim, B = n[0], T = n[1], H = n[2], D = n[3], half = D / 2;
    bool interleaved = y->attr.i[AT_INTERLEAVED];
    for (int64_t r = 0; r < B * T * H; r++) {
        double position = (in[1] ? in[1][r / H / T] : 0) + (double)(r / H % T);
        for (int64_t i = 0; i < half; i++) {
            double angle = position * (in[2] ? in[2][i] : pow(y->attr.f[0], -2.0 * (double)i / (double)D));
            if (y->attr.i[AT_BACKWARDS]) angle = -angle;
            int64_t a = r * D + (interleaved ? 2 * i : i), b = interleaved ? a + 1 : a + half;
            out[0][a] = in[0][a] * cos(angle) - in[0][b] * sin(angle);
            out[0][b] = in[0][b] * cos(angle) + in[0][a] * sin(angle);
        }
    }
}

static double flops_rope(const tensor *y) { return 3.0 * (double)genet__numel(&y->shape); }

#define TURN(base, interleaved, backwards) .attr = { .f = { base }, .i = { interleaved, backwards } }
static const probe probes_rope[] = {
    { TURN(100, 0, 0), .in = { PF(-1, 1, 2, 3, 1, 4) } },
    { TURN(100, 1, 0), .in = { PF(-1, 1, 2, 2, 2, 4), PI(0, 50, 2) } },
    { TURN(10000, 0, 1), .in = { PF(-1, 1, 1, 2, 2, 6), PI(-5, 5, 1) } },
    { TURN(1, 0, 0), .in = { PF(-1, 1, 2, 2, 1, 6), PI(0, 9, 2), PF(0, 1, 3) } },
    { .edge = true, TURN(10000, 0, 0), .in = { PF(-1, 1, 2, 67, 3, 34), PI(0, 100, 2) } },
    { .edge = true, TURN(1, 1, 1), .in = { PF(-1, 1, 1, 40, 2, 32), [2] = PF(-1, 1, 16) } },
    { .edge = true, TURN(10000, 1, 0), .in = { PF(-1, 1, 1, 33, 5, 32) } },
    { .edge = true, TURN(500000, 0, 0), .in = { PF(-1, 1, 3, 1, 2, 64), PI(0, 4000, 3) } },
    { .edge = true, TURN(10000, 1, 1), .in = { PF(-1, 1, 1, 5, 1, 2), PI(-70, -60, 1) } },
    { .edge = true, TURN(10000, 0, 0), .in = { PF(-1, 1, 2, 0, 3, 4) } },
    { .edge = true, TURN(10000, 0, 0), .in = { PF(-1, 1, 2, 3, 3, 0) } },
};
ROW(rope, OWN, REF, OPF_STRIDED, .n_in = 3, .infer = infer_rope, .flops = flops_rope)

genet_tensor *genet_rope(genet_tensor *x, genet_tensor *position, double base, bool interleaved)
{
    attr a = { .f = { base }, .i = { interleaved } };
    return APPLY(OP_rope, &a, x, position, NULL);
}

genet_tensor *genet_rope_by(genet_tensor *x, genet_tensor *position, genet_tensor *frequencies, bool interleaved)
{
    attr a = { .f = { 1 }, .i = { interleaved } };
    return APPLY(OP_rope, &a, x, position, frequencies);
}
