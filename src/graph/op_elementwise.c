/* op_elementwise.c - rows, builders, gradients, references and probes of the
 * elementwise ops: all of them made from the lines of elementwise.def, which
 * is included once for each.
 *
 * The reference is a line's value over double and libm; kernels compute the
 * same text over the functions of vec.h.  The generic infer reads the
 * signature. */
#include <math.h>
#include "graph/gradient.h"

/* What stands before the columns of a line is pasted to this file's macros:
 * an empty column, ATTR(...) or ATTR2(...). */
#define PARAMETERS_
#define PARAMETERS_ATTR(p, v)        , double p
#define PARAMETERS_ATTR2(p, v, q, w) , double p, double q
#define VALUES_                      0
#define VALUES_ATTR(p, v)            p
#define VALUES_ATTR2(p, v, q, w)     p, q
#define TRIED_                       0
#define TRIED_ATTR(p, v)             v
#define TRIED_ATTR2(p, v, q, w)      v, w
#define LOCALS_
#define LOCALS_ATTR(p, v)            const double p_##p = f[0];
#define LOCALS_ATTR2(p, v, q, w)     const double p_##p = f[0], p_##q = f[1];

/* --- infer ------------------------------------------------------------------- */

static const char input_name[] = "abc";

static bool type_fits(tensor *y, int k, char letter)
{
    dtype t = y->in[k]->dtype;
    if (letter == 'M' && t != GENET_U8)
        return genet__fail(y, "%c is %s, not a mask (u8): compare, or use cast", input_name[k], genet_dtype_name(t));
    if (letter == 'F' && !genet__is_float(t))
        return genet__fail(y, "%c is %s, not f32 or f64: use cast", input_name[k], genet_dtype_name(t));
    if (letter == 'N' && !genet__is_float(t) && t != GENET_I32)
        return genet__fail(y, "%c is %s, not f32, f64 or i32: use cast", input_name[k], genet_dtype_name(t));
    return true;
}

/* Inputs that a letter F or N stands for have one type. */
static bool types_agree(tensor *y, const char *sig, const tensor **typed)
{
    *typed = NULL;
    for (int k = 0; k < y->n_in; k++) {
        if (!y->in[k]) return genet__fail(y, "%c is missing", input_name[k]);
        if (sig[k] == 'M') continue;
        if (*typed && (*typed)->dtype != y->in[k]->dtype)
            return genet__fail(y, "mixes %s and %s: use cast", genet_dtype_name((*typed)->dtype),
                               genet_dtype_name(y->in[k]->dtype));
        *typed = y->in[k];
    }
    return true;
}

static bool infer_elementwise(tensor *y)
{
    const char *sig = y->op->sig;
    const tensor *typed;
    if (!types_agree(y, sig, &typed)) return false;
    for (int k = 0; k < y->n_in; k++) {
        const tensor *x = y->in[k];
        shape s = k ? y->shape : x->shape;
        if (!type_fits(y, k, sig[k])) return false;
        if (!genet__broadcast_shape(&s, &x->shape, &y->shape))
            return genet__fail(y, "shapes %s and %s do not broadcast", SHAPE_TEXT(y), SHAPE_TEXT(x));
    }
    y->dtype = sig[y->n_in + 1] == 'M' ? GENET_U8 : typed->dtype;
    return true;
}

/* --- builders ------------------------------------------------------------------ */

#define ATTRIBUTES(attr_) &(attr){ .f = { VALUES_##attr_ } }
#define UNARY(name, sig, value, da, in, attr_, ulp, doc) \
    tensor *genet_##name(tensor *a PARAMETERS_##attr_) { return APPLY(OP_##name, ATTRIBUTES(attr_), a); }
#define BINARY(name, sig, value, da, db, in, attr_, ulp, doc) \
    tensor *genet_##name(tensor *a, tensor *b PARAMETERS_##attr_) { return APPLY(OP_##name, ATTRIBUTES(attr_), a, b); }
#define TERNARY(name, sig, value, da, db, dc, in, attr_, ulp, doc)              \
    tensor *genet_##name(tensor *a, tensor *b, tensor *c PARAMETERS_##attr_)    \
    {                                                                           \
        return APPLY(OP_##name, ATTRIBUTES(attr_), a, b, c);                    \
    }
#include "genet/elementwise.def"
#undef UNARY
#undef BINARY
#undef TERNARY

/* --- references ------------------------------------------------------------------ */

typedef double value_fn(double a, double b, double c, const double *f);

/* The element of x that meets element i of the broadcast shape s. */
static int64_t broadcast_index(const shape *s, const shape *x, int64_t i)
{
    int64_t at = 0, step = 1;
    for (int k = 1; k <= x->rank; k++) {
        int64_t dim = s->dim[s->rank - k];
        if (x->dim[x->rank - k] > 1) at += i % dim * step;
        step *= x->dim[x->rank - k];
        i /= dim;
    }
    return at;
}

static void ref_each(const tensor *y, double *const in[], double *out, value_fn *value)
{
    for (int64_t i = 0; i < genet__numel(&y->shape); i++) {
        double x[3] = {0};
        for (int k = 0; k < y->n_in; k++) x[k] = in[k][broadcast_index(&y->shape, &y->in[k]->shape, i)];
        out[i] = value(x[0], x[1], x[2], y->attr.f);
    }
}

/* The functions that vec.h has and libm has not. */
typedef double real;
static double exp_neg(double x)    { return exp(x); }
static double gelu_exp(double b)   { return exp(-1.5957691216057308 * b * (1 + 0.044715 * b * b)); }
static double gelu_slope(double a)
{
    double b = fmin(9.9, fabs(a)), z = gelu_exp(b), w = 1.5957691216057308 * b * (1 + 3 * 0.044715 * b * b), e = 1 + z;
    return isnan(a) ? a : (a < 0 ? z * (e - w) : e + z * w) / (e * e);
}
static double normal_cdf(double x) { return 0.5 * erfc(-x / sqrt(2)); }

#define R(x)    ((double)(x))
#define P(name) p_##name
#define REFERENCE(name, value, attr_)                                               \
    static double value_##name(double a, double b, double c, const double *f)       \
    {                                                                               \
        LOCALS_##attr_                                                              \
        (void)a, (void)b, (void)c, (void)f;                                         \
        return value;                                                               \
    }                                                                               \
    static void ref_##name(const tensor *y, double *const in[], double *const out[]) \
    {                                                                               \
        ref_each(y, in, out[0], value_##name);                                      \
    }
#define UNARY(name, sig, value, da, in, attr_, ulp, doc)           REFERENCE(name, value, attr_)
#define BINARY(name, sig, value, da, db, in, attr_, ulp, doc)      REFERENCE(name, value, attr_)
#define TERNARY(name, sig, value, da, db, dc, in, attr_, ulp, doc) REFERENCE(name, value, attr_)
#include "genet/elementwise.def"
#undef UNARY
#undef BINARY
#undef TERNARY
#undef R
#undef P

/* --- gradients --------------------------------------------------------------------- */

/* Values are asked for where a rule mentions them: a rule that does not keeps
 * nothing alive and recomputes nothing. */
#define A       SAVED(y->in[0])
#define B       SAVED(y->in[1])
#define C       SAVED(y->in[2])
#define Y       SAVED(y)
#define R(x)    CONSTANT(x)
#define P(name) CONSTANT(p_##name)
#define NONE    NULL
#define RULE(name, attr_, ...)                                  \
    static void grad_##name(tensor *y, tensor *G, tensor **d)   \
    {                                                           \
        const double *f = y->attr.f;                            \
        LOCALS_##attr_                                          \
        (void)f, (void)G;                                       \
        __VA_ARGS__                                             \
    }
#define UNARY(name, sig, value, da, in, attr_, ulp, doc)      RULE(name, attr_, d[0] = da;)
#define BINARY(name, sig, value, da, db, in, attr_, ulp, doc) RULE(name, attr_, d[0] = da; d[1] = db;)
#define TERNARY(name, sig, value, da, db, dc, in, attr_, ulp, doc) \
    RULE(name, attr_, d[0] = da; d[1] = db; d[2] = dc;)
#include "genet/elementwise.def"
#undef UNARY
#undef BINARY
#undef TERNARY
#undef A
#undef B
#undef C
#undef Y
#undef R
#undef P

/* --- probes -------------------------------------------------------------------------- */

/* Intervals become one tuple an input, and a piece of one, with a shape, a
 * probe's input.  Every piece has a tiny probe, so that gradients are tried on it;
 * where there are fewer than three the last one stands for the others. */
#define I(lo, hi)                       ('f', lo, hi, lo, hi, lo, hi),
#define I2(lo, hi, lo2, hi2)            ('f', lo, hi, lo2, hi2, lo2, hi2),
#define I3(lo, hi, lo2, hi2, lo3, hi3)  ('f', lo, hi, lo2, hi2, lo3, hi3),
#define MASK                            ('u', 0, 1, 0, 1, 0, 1),
#define PIECE_1(type, lo, hi, ...)      type, lo, hi
#define PIECE_2(type, lo, hi, lo2, hi2, ...) type, lo2, hi2
#define PIECE_3(type, lo, hi, lo2, hi2, lo3, hi3) type, lo3, hi3
#define WHOLE(type, ...)                (type) == 'u' ? 'u' : 'i', (type) == 'u' ? 0 : -9, (type) == 'u' ? 1 : 9
#define ON(piece, interval, ...)        { piece interval, PROBE_RANK(__VA_ARGS__), { __VA_ARGS__ } }
#define ON_SCALAR(piece, interval)      { piece interval, 0, { 0 } }

#define PROBE(edge_, at, ...)           { .edge = edge_, .attr = { .f = { UNWRAP at } }, .in = { __VA_ARGS__ } }
#define UNWRAP(...)                     __VA_ARGS__

#define UNARY_EDGE(at, a, ...) PROBE(true, at, ON(PIECE_1, a, __VA_ARGS__))
#define UNARY_PROBES(at, a, ...)                                                                        \
    PROBE(false, at, ON(PIECE_1, a, 3, 4)), PROBE(false, at, ON(PIECE_2, a, 7)),                        \
    UNARY_EDGE(at, a, 1), UNARY_EDGE(at, a, 15), UNARY_EDGE(at, a, 16), UNARY_EDGE(at, a, 33),          \
    UNARY_EDGE(at, a, 7, 73), UNARY_EDGE(at, a, 513), UNARY_EDGE(at, a, 0, 3),                          \
    PROBE(false, at, ON_SCALAR(PIECE_3, a)), PROBE(true, at, ON(WHOLE, a, 37)),

#define BINARY_EDGE(at, a, b, sa, sb) PROBE(true, at, ON(PIECE_1, a, UNWRAP sa), ON(PIECE_2, b, UNWRAP sb))
#define BINARY_PROBES(at, a, b, ...)                                                                    \
    PROBE(false, at, ON(PIECE_1, a, 3, 4), ON(PIECE_1, b, 3, 4)),                                       \
    PROBE(false, at, ON(PIECE_2, a, 3, 4), ON(PIECE_2, b, 4)),                                          \
    PROBE(false, at, ON(PIECE_1, a, 3, 1), ON(PIECE_1, b, 2, 1, 4)),                                    \
    PROBE(false, at, ON_SCALAR(PIECE_3, a), ON(PIECE_3, b, 5)),                                         \
    BINARY_EDGE(at, a, b, (1), (1)), BINARY_EDGE(at, a, b, (17), (17)),                                 \
    BINARY_EDGE(at, a, b, (513), (1)), BINARY_EDGE(at, a, b, (511), (511)),                             \
    BINARY_EDGE(at, a, b, (33, 31), (31)), BINARY_EDGE(at, a, b, (31, 1), (31, 17)),                    \
    BINARY_EDGE(at, a, b, (5, 3, 37), (3, 1)), BINARY_EDGE(at, a, b, (0, 4), (4)),                      \
    BINARY_EDGE(at, a, b, (3, 0), (1, 1)), PROBE(true, at, ON(WHOLE, a, 37, 2), ON(WHOLE, b, 37, 1)),

#define TERNARY_EDGE(at, a, b, c, sa, sb, sc) \
    PROBE(true, at, ON(PIECE_1, a, UNWRAP sa), ON(PIECE_1, b, UNWRAP sb), ON(PIECE_2, c, UNWRAP sc))
#define TERNARY_PROBES(at, a, b, c, ...)                                                                \
    PROBE(false, at, ON(PIECE_1, a, 3, 4), ON(PIECE_1, b, 3, 4), ON(PIECE_1, c, 3, 4)),                 \
    PROBE(false, at, ON(PIECE_2, a, 3, 1), ON(PIECE_2, b, 4), ON_SCALAR(PIECE_2, c)),                   \
    PROBE(false, at, ON(PIECE_3, a, 4), ON(PIECE_3, b, 1), ON(PIECE_3, c, 4)),                          \
    TERNARY_EDGE(at, a, b, c, (1), (1), (1)), TERNARY_EDGE(at, a, b, c, (17), (17), (17)),              \
    TERNARY_EDGE(at, a, b, c, (33, 31), (31), (33, 1)), TERNARY_EDGE(at, a, b, c, (513), (513), (1)),   \
    TERNARY_EDGE(at, a, b, c, (0, 4), (4), (1)),                                                        \
    PROBE(true, at, ON(WHOLE, a, 37), ON(WHOLE, b, 37), ON(WHOLE, c, 37)),

/* One more expansion, so that the tuples are arguments. */
#define EXPAND(probes, ...) probes(__VA_ARGS__)

/* --- rows ------------------------------------------------------------------------------ */

#define IS_NONE(text) (__builtin_strcmp(text, "NONE") == 0)
/* The last probe is of integers: for lines with an N. */
#define HAS_N(sig)    (__builtin_strchr(sig, 'N') != NULL)
#define LINE(name_, sig_, n_in_, ulp_, no_gradient, ...)                                 \
    static const probe probes_##name_[] = { EXPAND(__VA_ARGS__) };                              \
    const op genet__op_##name_ = {                                                              \
        .name = #name_, .id = OP_##name_, .n_in = n_in_, .sig = sig_, .ulp = ulp_,              \
        .flags = OPF_ELEMENTWISE | OPF_STRIDED | ((no_gradient) ? OPF_ZERO_GRAD : 0),           \
        .infer = infer_elementwise, .grad = grad_##name_, .ref = ref_##name_,                   \
        .probes = probes_##name_,                                                               \
        .n_probes = (int)(sizeof probes_##name_ / sizeof *probes_##name_) - (HAS_N(sig_) ? 0 : 1) \
    };

#define UNARY(name, sig, value, da, in, attr_, ulp, doc) \
    LINE(name, #sig, 1, ulp, IS_NONE(#da), UNARY_PROBES, (TRIED_##attr_), in)
#define BINARY(name, sig, value, da, db, in, attr_, ulp, doc) \
    LINE(name, #sig, 2, ulp, IS_NONE(#da) && IS_NONE(#db), BINARY_PROBES, (TRIED_##attr_), in)
#define TERNARY(name, sig, value, da, db, dc, in, attr_, ulp, doc) \
    LINE(name, #sig, 3, ulp, IS_NONE(#da) && IS_NONE(#db) && IS_NONE(#dc), TERNARY_PROBES, (TRIED_##attr_), in)
#include "genet/elementwise.def"
