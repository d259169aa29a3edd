/* op_update.c - optimisers: one op writes a parameter and its moments.
 *
 * The formulas are PyTorch's (torch.optim SGD, Adam, AdamW) and the paper's for
 * Lion, with g = grad_scale * grad:
 *
 *   sgd    g += wd p;  v = momentum v + g;  p -= lr (nesterov ? g + momentum v : v)
 *   adam   L2: g += wd p, decoupled: p -= lr wd p;  m += (1 - b1)(g - m);
 *          v = b2 v + (1 - b2) g^2;
 *          p -= lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps)
 *   lion   p -= lr wd p;  p -= lr sign(b1 m + (1 - b1) g);  m = b2 m + (1 - b2) g
 *
 * When finite is 0 not one bit changes.  narrow, where given, is the parameter in bf16: rewritten with it.
 * attr: the order of the arguments. */
#include "graph/graph.h"
#include <math.h>

/* Inputs stand in the order of the builders' arguments. */
enum { SGD_PARAM, SGD_GRAD, SGD_VELOCITY, SGD_NARROW, SGD_RATE, SGD_SCALE, SGD_FINITE, SGD_N_IN };
enum { ADAM_PARAM, ADAM_GRAD, ADAM_M, ADAM_V, ADAM_NARROW, ADAM_RATE, ADAM_SCALE, ADAM_STEP, ADAM_FINITE, ADAM_N_IN };
enum { LION_PARAM, LION_GRAD, LION_M, LION_NARROW, LION_RATE, LION_SCALE, LION_FINITE, LION_N_IN };

/* --- shapes --------------------------------------------------------------------- */

static bool like_param(tensor *y, int k, const char *name)
{
    const tensor *p = y->in[0], *t = y->in[k];
    if (t->dtype == p->dtype && genet__same_shape(&t->shape, &p->shape)) return true;
    return genet__fail(y, "%s is %s %s and the parameter %s %s", name, genet_dtype_name(t->dtype), SHAPE_TEXT(t),
                       genet_dtype_name(p->dtype), SHAPE_TEXT(p));
}

/* Inputs first .. finite are scalars, the last one the mask. */
static bool scalars_fit(tensor *y, int first, int finite)
{
    for (int k = first; k <= finite; k++) {
        dtype want = k == finite ? GENET_U8 : y->in[0]->dtype;
        if (y->in[k]->shape.rank || y->in[k]->dtype != want)
            return genet__fail(y, "input %d is %s %s, it must be a scalar of type %s", k, genet_dtype_name(y->in[k]->dtype),
                               SHAPE_TEXT(y->in[k]), genet_dtype_name(want));
    }
    return true;
}

static bool narrow_fits(tensor *y, int k)
{
    const tensor *p = y->in[0], *t = y->in[k];
    tensor *side = genet__side(y, k - 1);
    dtype type = p->dtype == GENET_F64 ? GENET_F64 : GENET_BF16;        /* the oracle rounds nothing */
    side->dtype = type;
    side->shape = t ? p->shape : (shape){ 1, { 0 } };
    if (!t || (t->dtype == type && genet__same_shape(&t->shape, &p->shape) && genet__is_dense(t))) return true;
    return genet__fail(y, "the narrow form is %s %s; it must be dense %s %s", genet_dtype_name(t->dtype), SHAPE_TEXT(t),
                       genet_dtype_name(type), SHAPE_TEXT(p));
}

/* The parameter, the moments (its inputs 2 .. 2 + n) and, after them, the narrow form become the results. */
static bool states_fit(tensor *y, int n)
{
    const tensor *p = y->in[0];
    if (!genet__is_float(p->dtype)) return genet__fail(y, "the parameter must be f32 or f64, not %s", genet_dtype_name(p->dtype));
    if (!genet__is_dense(p)) return genet__fail(y, "the parameter must be dense");
    genet__infer_same(y);
    for (int k = 0; k < n; k++) {
        const tensor *m = y->in[2 + k];
        tensor *side = genet__side(y, 1 + k);
        side->dtype = p->dtype;
        side->shape = m ? p->shape : (shape){ 1, { 0 } };
        if (!m) continue;
        if (!like_param(y, 2 + k, "the optimiser's state")) return false;
        if (!genet__is_dense(m)) return genet__fail(y, "the optimiser's state must be dense");
    }
    return narrow_fits(y, 2 + n) && like_param(y, 1, "the gradient");
}

static bool in_range(tensor *y, const char *name, double x, double low, double high)
{
    if (x >= low && x < high) return true;
    return genet__fail(y, "%s %g is not in %g..%g", name, x, low, high);
}

/* --- sgd ---------------------------------------------------------------------------- */

static bool infer_update_sgd(tensor *y)
{
    const double *f = y->attr.f;
    if (y->attr.i[0] && (!y->in[SGD_VELOCITY] || f[0] == 0)) return genet__fail(y, "nesterov needs momentum and its velocity");
    if (f[0] != 0 && !y->in[SGD_VELOCITY]) return genet__fail(y, "momentum %g needs a velocity", f[0]);
    return states_fit(y, 1) && scalars_fit(y, SGD_RATE, SGD_FINITE) && in_range(y, "momentum", f[0], 0, INFINITY) &&
           in_range(y, "weight decay", f[1], 0, INFINITY);
}

static void ref_update_sgd(const tensor *y, double *const in[], double *const out[])
{
    double momentum = y->attr.f[0], rate = in[SGD_RATE][0], *velocity = in[SGD_VELOCITY];
    for (int64_t i = 0; i < genet__numel(&y->shape); i++) {
        double p = in[SGD_PARAM][i], g = in[SGD_SCALE][0] * in[SGD_GRAD][i] + y->attr.f[1] * p;
        double v = velocity ? momentum * velocity[i] + g : g;
        bool change = in[SGD_FINITE][0] != 0;
        out[0][i] = change ? p - rate * (y->attr.i[0] ? g + momentum * v : v) : p;
        if (velocity) out[1][i] = change ? v : velocity[i];
        if (in[SGD_NARROW]) out[2][i] = change ? out[0][i] : in[SGD_NARROW][i];
    }
}

#define STATE(...) PF(-1, 1, __VA_ARGS__)
#define NARROW(...) PB(-1, 1, __VA_ARGS__)
#define RATE PF0(.1, .2)
#define GO { 'u', 1, 1, 0, {0} }
#define HALT { 'u', 0, 0, 0, {0} }
#define SET(...) .attr = { .f = { __VA_ARGS__ } }
static const probe probes_update_sgd[] = {
    { .edge = true, SET(0, 0), .in = { STATE(7, 5), STATE(7, 5), PNONE, PNONE, RATE, PF0(.5, 2), GO } },
    { .edge = true, SET(.9, .1), .in = { STATE(33), STATE(33), STATE(33), PNONE, RATE, PF0(.5, 2), GO } },
    { .edge = true, .attr = { .f = { .9, .1 }, .i = { 1 } }, .in = { STATE(3, 5, 17), STATE(3, 5, 17), STATE(3, 5, 17), PNONE, RATE, PF0(.5, 2), GO } },
    { .edge = true, SET(.9, .1), .in = { STATE(17), STATE(17), STATE(17), PNONE, RATE, PF0(.5, 2), HALT } },
    { .edge = true, SET(.9, 0), .in = { STATE(0, 4), STATE(0, 4), STATE(0, 4), PNONE, RATE, PF0(.5, 2), GO } },
    { .edge = true, SET(.9, 0), .in = { PF0(-1, 1), PF0(-1, 1), PF0(-1, 1), PNONE, RATE, PF0(.5, 2), GO } },
    { .edge = true, .tolerance = 4e-3, SET(0, .1), .in = { STATE(33), STATE(33), PNONE, NARROW(33), RATE, PF0(.5, 2), GO } },
    { .edge = true, .tolerance = 4e-3, SET(.9, 0), .in = { STATE(5, 17), STATE(5, 17), STATE(5, 17), NARROW(5, 17), RATE, PF0(.5, 2), GO } },
};
static double flops_update(const tensor *y) { return 10.0 * (double)genet__numel(&y->shape); }
ROW(update_sgd, NONE, REF, OPF_EFFECT, .n_in = SGD_N_IN, .n_side = 2, .infer = infer_update_sgd, .flops = flops_update,
    .state_in = 1u << SGD_PARAM | 1u << SGD_VELOCITY | 1u << SGD_NARROW)

genet_tensor *genet_update_sgd(genet_tensor *param, genet_tensor *grad, genet_tensor *velocity, genet_tensor *narrow,
                               genet_tensor *learning_rate, genet_tensor *grad_scale, genet_tensor *finite,
                               double momentum, bool nesterov, double weight_decay)
{
    attr a = { .f = { momentum, weight_decay }, .i = { nesterov } };
    return APPLY(OP_update_sgd, &a, param, grad, velocity, narrow, learning_rate, grad_scale, finite);
}

/* --- adam: Kingma & Ba 2014, arXiv 1412.6980; Loshchilov & Hutter 2017, arXiv 1711.05101 --- */

static bool infer_update_adam(tensor *y)
{
    const double *f = y->attr.f;
    if (!y->in[ADAM_M] || !y->in[ADAM_V]) return genet__fail(y, "both moments must be given");
    return states_fit(y, 2) && scalars_fit(y, ADAM_RATE, ADAM_FINITE) && in_range(y, "beta1", f[0], 0, 1) &&
           in_range(y, "beta2", f[1], 0, 1) && in_range(y, "eps", f[2], 0, INFINITY) &&
           in_range(y, "weight decay", f[3], 0, INFINITY);
}

static void ref_update_adam(const tensor *y, double *const in[], double *const out[])
{
    double b1 = y->attr.f[0], b2 = y->attr.f[1], decay = y->attr.f[3], rate = in[ADAM_RATE][0], t = in[ADAM_STEP][0];
    for (int64_t i = 0; i < genet__numel(&y->shape); i++) {
        double p = in[ADAM_PARAM][i], m = in[ADAM_M][i], v = in[ADAM_V][i], g = in[ADAM_SCALE][0] * in[ADAM_GRAD][i];
        bool change = in[ADAM_FINITE][0] != 0;
        out[0][i] = p, out[1][i] = m, out[2][i] = v;
        if (in[ADAM_NARROW]) out[3][i] = in[ADAM_NARROW][i];
        if (!change) continue;
        if (y->attr.i[0]) p -= rate * decay * p; else g += decay * p;
        out[1][i] = m = b1 * m + (1 - b1) * g;
        out[2][i] = v = b2 * v + (1 - b2) * g * g;
        out[0][i] = p - rate / (1 - pow(b1, t)) * m / (sqrt(v) / sqrt(1 - pow(b2, t)) + y->attr.f[2]);
        if (in[ADAM_NARROW]) out[3][i] = out[0][i];
    }
}

#define ADAM_WITH(narrow, ...) STATE(__VA_ARGS__), STATE(__VA_ARGS__), STATE(__VA_ARGS__), PF(.1, 1, __VA_ARGS__), narrow
#define ADAM(...) ADAM_WITH(PNONE, __VA_ARGS__)
static const probe probes_update_adam[] = {
    { .edge = true, SET(.9, .99, 1e-8, 0), .in = { ADAM(7, 5), RATE, PF0(.5, 2), PF0(1, 1), GO } },
    { .edge = true, .attr = { .f = { .9, .95, 1e-3, .1 }, .i = { 1 } }, .in = { ADAM(3, 5, 17), RATE, PF0(.5, 2), PF0(12, 12), GO } },
    { .edge = true, SET(.9, .95, 1e-3, .1), .in = { ADAM(33), RATE, PF0(.5, 2), PF0(100000, 100000), GO } },
    { .edge = true, SET(.9, .99, 1e-8, .1), .in = { ADAM(17), RATE, PF0(.5, 2), PF0(3, 3), HALT } },
    { .edge = true, SET(.9, .99, 1e-8, .1), .in = { ADAM(4, 0), RATE, PF0(.5, 2), PF0(3, 3), GO } },
    { .edge = true, .attr = { .f = { 0, 0, 1e-8, .1 }, .i = { 1 } }, .in = { ADAM(1), RATE, PF0(.5, 2), PF0(3, 3), GO } },
    { .edge = true, .tolerance = 4e-3, SET(.9, .99, 1e-3, .1), .in = { ADAM_WITH(NARROW(2, 33), 2, 33), RATE, PF0(.5, 2), PF0(3, 3), GO } },
    { .edge = true, .tolerance = 4e-3, SET(.9, .99, 1e-3, .1), .in = { ADAM_WITH(NARROW(17), 17), RATE, PF0(.5, 2), PF0(3, 3), HALT } },
    { .edge = true, .tolerance = 4e-3, SET(.9, .99, 1e-3, .1), .in = { ADAM_WITH(NARROW(17003), 17003), RATE, PF0(.5, 2), PF0(3, 3), GO } },
};
ROW(update_adam, NONE, REF, OPF_EFFECT, .n_in = ADAM_N_IN, .n_side = 3, .infer = infer_update_adam, .flops = flops_update,
    .state_in = 1u << ADAM_PARAM | 1u << ADAM_M | 1u << ADAM_V | 1u << ADAM_NARROW)

genet_tensor *genet_update_adam(genet_tensor *param, genet_tensor *grad, genet_tensor *m, genet_tensor *v,
                                genet_tensor *narrow, genet_tensor *learning_rate, genet_tensor *grad_scale, genet_tensor *step,
                                genet_tensor *finite, double beta1, double beta2, double eps, double weight_decay,
                                bool decoupled)
{
    attr a = { .f = { beta1, beta2, eps, weight_decay }, .i = { decoupled } };
    return APPLY(OP_update_adam, &a, param, grad, m, v, narrow, learning_rate, grad_scale, step, finite);
}

/* --- lion: Chen et al. 2023, arXiv 2302.06675, algorithm 2 ---------------------------- */

static bool infer_update_lion(tensor *y)
{
    const double *f = y->attr.f;
    if (!y->in[LION_M]) return genet__fail(y, "the moment must be given");
    return states_fit(y, 1) && scalars_fit(y, LION_RATE, LION_FINITE) && in_range(y, "beta1", f[0], 0, 1) &&
           in_range(y, "beta2", f[1], 0, 1) && in_range(y, "weight decay", f[2], 0, INFINITY);
}

static void ref_update_lion(const tensor *y, double *const in[], double *const out[])
{
    double b1 = y->attr.f[0], b2 = y->attr.f[1], rate = in[LION_RATE][0];
    for (int64_t i = 0; i < genet__numel(&y->shape); i++) {
        double p = in[LION_PARAM][i], m = in[LION_M][i], g = in[LION_SCALE][0] * in[LION_GRAD][i];
        double c = b1 * m + (1 - b1) * g, sign = c > 0 ? 1 : c < 0 ? -1 : c;
        bool change = in[LION_FINITE][0] != 0;
        out[0][i] = change ? p - rate * y->attr.f[2] * p - rate * sign : p;
        out[1][i] = change ? b2 * m + (1 - b2) * g : m;
        if (in[LION_NARROW]) out[2][i] = change ? out[0][i] : in[LION_NARROW][i];
    }
}

#define LION(...) STATE(__VA_ARGS__), STATE(__VA_ARGS__), STATE(__VA_ARGS__), PNONE
static const probe probes_update_lion[] = {
    { .edge = true, SET(.9, .99, .1), .in = { LION(7, 5), RATE, PF0(.5, 2), GO } },
    { .edge = true, SET(.9, .99, 0), .in = { LION(3, 5, 17), RATE, PF0(.5, 2), GO } },
    { .edge = true, SET(.9, .99, .1), .in = { LION(33), RATE, PF0(.5, 2), HALT } },
    { .edge = true, SET(.9, .99, .1), .in = { LION(0), RATE, PF0(.5, 2), GO } },
    { .edge = true, .tolerance = 4e-3, SET(.9, .99, .1), .in = { STATE(33), STATE(33), STATE(33), NARROW(33), RATE, PF0(.5, 2), GO } },
};
ROW(update_lion, NONE, REF, OPF_EFFECT, .n_in = LION_N_IN, .n_side = 2, .infer = infer_update_lion, .flops = flops_update,
    .state_in = 1u << LION_PARAM | 1u << LION_M | 1u << LION_NARROW)

genet_tensor *genet_update_lion(genet_tensor *param, genet_tensor *grad, genet_tensor *m, genet_tensor *narrow,
                                genet_tensor *learning_rate, genet_tensor *grad_scale, genet_tensor *finite, double beta1, double beta2,
                                double weight_decay)
{
    attr a = { .f = { beta1, beta2, weight_decay } };
    return APPLY(OP_update_lion, &a, param, grad, m, narrow, learning_rate, grad_scale, finite);
}
