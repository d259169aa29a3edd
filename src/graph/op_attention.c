/* op_attention.c - scaled dot-product attention (Vaswani et al. 2017, arXiv
 * 1706.03762) and its backward pass as an op of its own.
 *
 *   s = scale q k^T;  s = softcap tanh(s / softcap);  s = s + bias
 *   s = -inf where key j is not visible to query i
 *   lse = log sum_j exp(s);  p = exp(s - lse);  y = dropout(p) v
 *
 * q, k and v may be bf16 each; it is computed in f32 then, and the result is f32.
 * A query that sees nothing (or only scores of -inf) has y = 0, lse = -inf, and
 * no gradient.  Operands: op_attention.h.  Kernels never hold the T x S scores;
 * the definitions here do. */
#include "graph/op_attention.h"
#include "graph/gradient.h"
#include <math.h>

/* Extents, under the letters of the design. */
typedef struct extents { int64_t B, T, S, H, Hkv, D, group; } extents;

static extents extents_of(const tensor *q, const tensor *k)
{
    const int64_t *n = q->shape.dim, *m = k->shape.dim;
    return (extents){ n[0], n[1], m[1], n[2], m[2], n[3], m[2] ? n[2] / m[2] : 1 };
}

/* --- shapes ------------------------------------------------------------------- */

static bool ints_fit(tensor *y, const tensor *t, const char *name, int rank, int64_t n0, int64_t n1)
{
    const shape *s = &t->shape;
    if (t->dtype == GENET_I32 && s->rank == rank && s->dim[0] == n0 && (rank == 1 || s->dim[1] == n1)) return true;
    const tensor want = { .shape = { rank, { n0, n1 } } };
    return genet__fail(y, "%s is %s %s, it must be i32 %s", name, genet_dtype_name(t->dtype), SHAPE_TEXT(t),
                       SHAPE_TEXT(&want));
}

static bool types_fit(dtype q, dtype k, dtype v)
{
    dtype t[] = { q, k, v };
    for (int i = 0; i < 3; i++)
        if (t[i] != GENET_F32 && t[i] != GENET_BF16 && t[i] != GENET_F64) return false;
    return q == GENET_F64 || k == GENET_F64 || v == GENET_F64 ? q == k && k == v : true;
}

/* What is computed with, and the type of every result. */
static dtype work_type(const tensor *q) { return q->dtype == GENET_F64 ? GENET_F64 : GENET_F32; }

/* q (B,T,H,D), k and v (B,S,Hkv,D); with rows, k and v may hold another batch. */
static bool heads_fit(tensor *y, const tensor *q, const tensor *k, const tensor *v, bool rows)
{
    if (q->shape.rank != 4 || k->shape.rank != 4 || !genet__same_shape(&k->shape, &v->shape))
        return genet__fail(y, "q %s, k %s and v %s must be (B,T,H,D), (B,S,Hkv,D) and as k", SHAPE_TEXT(q), SHAPE_TEXT(k),
                           SHAPE_TEXT(v));
    if (!types_fit(q->dtype, k->dtype, v->dtype))
        return genet__fail(y, "q, k and v are %s, %s and %s; they must be f32 or bf16, or all f64: use cast",
                           genet_dtype_name(q->dtype), genet_dtype_name(k->dtype), genet_dtype_name(v->dtype));
    const int64_t *n = q->shape.dim, *m = k->shape.dim;
    if ((n[0] != m[0] && !rows) || n[3] != m[3])
        return genet__fail(y, "q %s and k %s differ in batch or head size", SHAPE_TEXT(q), SHAPE_TEXT(k));
    if (m[2] ? n[2] % m[2] != 0 : n[2] != 0)
        return genet__fail(y, "the %lld heads of q are no multiple of the %lld of k", (long long)n[2], (long long)m[2]);
    if (n[3] > ATT_MAX_HEAD)
        return genet__fail(y, "head size %lld is above %d", (long long)n[3], ATT_MAX_HEAD);
    return true;
}

static bool bias_fits(tensor *y, const tensor *bias, const extents *e, dtype type)
{
    const int64_t *n = bias->shape.dim;
    if (bias->dtype == type && bias->shape.rank == 4 && (n[0] == 1 || n[0] == e->B) && (n[1] == 1 || n[1] == e->H) &&
        n[2] == e->T && n[3] == e->S) return true;
    return genet__fail(y, "bias is %s %s, it must be %s (1 or %lld, 1 or %lld, %lld, %lld); use broadcast",
                       genet_dtype_name(bias->dtype), SHAPE_TEXT(bias), genet_dtype_name(type), (long long)e->B,
                       (long long)e->H, (long long)e->T, (long long)e->S);
}

static bool options_fit(tensor *y, bool rng)
{
    const double *f = y->attr.f;
    if (!isfinite(f[ATT_SCALE])) return genet__fail(y, "scale is not finite");
    if (!(f[ATT_SOFTCAP] >= 0) || !isfinite(f[ATT_SOFTCAP]))
        return genet__fail(y, "softcap %g must be 0 (none) or positive", f[ATT_SOFTCAP]);
    if (!(f[ATT_DROPOUT] >= 0 && f[ATT_DROPOUT] < 1))
        return genet__fail(y, "dropout %g is not in 0..1 (1 excluded)", f[ATT_DROPOUT]);
    if (f[ATT_DROPOUT] > 0 && !rng) return genet__fail(y, "dropout %g needs an rng", f[ATT_DROPOUT]);
    if (y->attr.i[ATT_WINDOW] < 0)
        return genet__fail(y, "window %lld must be 0 (none) or positive", (long long)y->attr.i[ATT_WINDOW]);
    return true;
}

static void set_result(tensor *t, const tensor *like)
{
    t->shape = like->shape;
    t->dtype = work_type(like);
}

static bool infer_attention(tensor *y)
{
    tensor *const *in = y->in, *q = in[ATT_Q], *k = in[ATT_K];
    if (!heads_fit(y, q, k, in[ATT_V], in[ATT_ROWS] != NULL)) return false;
    extents e = extents_of(q, k);
    if (in[ATT_BIAS] && !bias_fits(y, in[ATT_BIAS], &e, work_type(q))) return false;
    if (in[ATT_Q_LENGTHS] && !ints_fit(y, in[ATT_Q_LENGTHS], "q_lengths", 1, e.B, 0)) return false;
    if (in[ATT_K_LENGTHS] && !ints_fit(y, in[ATT_K_LENGTHS], "k_lengths", 1, e.B, 0)) return false;
    if (in[ATT_POSITION] && !ints_fit(y, in[ATT_POSITION], "position", 1, e.B, 0)) return false;
    if (in[ATT_ROWS] && !ints_fit(y, in[ATT_ROWS], "rows", 2, e.B, e.S)) return false;
    if (in[ATT_RNG] && !ints_fit(y, in[ATT_RNG], "rng", 1, 4, 0)) return false;
    if (!options_fit(y, in[ATT_RNG] != NULL)) return false;
    set_result(y, q);
    tensor *lse = genet__side(y, 1);
    lse->dtype = y->dtype;
    lse->shape = (shape){ 3, { e.B, e.H, e.T } };
    return true;
}

static bool infer_attention_grad(tensor *y)
{
    tensor *const *in = y->in, *q = in[ATTG_Q], *k = in[ATTG_K], *bias = in[ATTG_BIAS];
    const tensor *lse = in[ATTG_LSE];
    if (!heads_fit(y, q, k, in[ATTG_V], false)) return false;
    extents e = extents_of(q, k);
    if (bias && !bias_fits(y, bias, &e, work_type(q))) return false;
    if (in[ATTG_K_LENGTHS] && !ints_fit(y, in[ATTG_K_LENGTHS], "k_lengths", 1, e.B, 0)) return false;
    if (in[ATTG_POSITION] && !ints_fit(y, in[ATTG_POSITION], "position", 1, e.B, 0)) return false;
    if (in[ATTG_RNG] && !ints_fit(y, in[ATTG_RNG], "rng", 1, 4, 0)) return false;
    if (!options_fit(y, in[ATTG_RNG] != NULL)) return false;
    for (int i = ATTG_Y; i < ATTG_N_IN; i++)
        if (in[i]->dtype != work_type(q) || (i != ATTG_LSE && !genet__same_shape(&in[i]->shape, &q->shape)))
            return genet__fail(y, "y %s and its gradient %s are not as q %s", SHAPE_TEXT(in[ATTG_Y]),
                               SHAPE_TEXT(in[ATTG_G]), SHAPE_TEXT(q));
    if (!genet__same_shape(&lse->shape, &(shape){ 3, { e.B, e.H, e.T } }))
        return genet__fail(y, "log-sum-exp %s does not fit q %s", SHAPE_TEXT(lse), SHAPE_TEXT(q));
    set_result(y, q);
    set_result(genet__side(y, ATTG_DK), k);
    set_result(genet__side(y, ATTG_DV), k);
    tensor *dbias = genet__side(y, ATTG_DBIAS);
    dbias->dtype = y->dtype;
    dbias->shape = bias ? bias->shape : (shape){ 1, { 0 } };
    return true;
}

/* Pairs of query and key that see each other when the queries are the last. */
static double pairs(const tensor *y, const extents *e)
{
    double all = (double)e->T * (double)e->S, hidden = y->attr.i[ATT_CAUSAL] ? (double)e->T * (double)(e->T - 1) / 2 : 0;
    return (double)e->B * (double)e->H * (all > hidden ? all - hidden : all) * (double)e->D;
}
static double flops_attention(const tensor *y)
{
    extents e = extents_of(y->in[ATT_Q], y->in[ATT_K]);
    return 4 * pairs(y, &e);
}
static double flops_attention_grad(const tensor *y)
{
    extents e = extents_of(y->in[ATTG_Q], y->in[ATTG_K]);
    return 10 * pairs(y, &e);
}

#define WIDEN(t) genet_cast(t, work_type(t))

/* --- the definition ------------------------------------------------------------- */

static tensor *reshaped(tensor *x, shape s)             { return genet_reshape(x, s.rank, s.dim); }
static tensor *full_like(tensor *x, double value, shape s) { return genet_full(x->graph, x->dtype, value, s.rank, s.dim); }

/* (B,T,H,D) as (B,Hkv,group,T,D), and back. */
static tensor *split_heads(tensor *x, const extents *e)
{
    tensor *t = reshaped(x, (shape){ 5, { e->B, e->T, e->Hkv, e->group, e->D } });
    return genet_permute(t, 5, (const int64_t[]){ 0, 2, 3, 1, 4 });
}
static tensor *join_heads(tensor *x, const extents *e)
{
    tensor *t = genet_permute(x, 5, (const int64_t[]){ 0, 3, 1, 2, 4 });
    return reshaped(t, (shape){ 4, { e->B, e->T, e->H, e->D } });
}

/* (B,S,Hkv,D) as (B,Hkv,1,S,D) for the whole group; and the sum over it back. */
static tensor *share_heads(tensor *x, const extents *e)
{
    tensor *t = genet_permute(x, 4, (const int64_t[]){ 0, 2, 1, 3 });
    return reshaped(t, (shape){ 5, { e->B, e->Hkv, 1, e->S, e->D } });
}
static tensor *sum_heads(tensor *x)
{
    return genet_permute(genet_sum(x, 1u << 2, false), 4, (const int64_t[]){ 0, 2, 1, 3 });
}

static tensor *transposed(tensor *x) { return genet_transpose(x, -1, -2); }
static tensor *grouped(tensor *x, const extents *e)     /* (B,H,T,S) as (B,Hkv,group,T,S) */
{
    return reshaped(x, (shape){ 5, { e->B, e->Hkv, e->group, e->T, e->S } });
}

/* A mask that broadcasts to (B,H,T,S); NULL: every key is visible. */
static tensor *visible(const tensor *y, const extents *e, tensor *q_lengths, tensor *k_lengths, tensor *position)
{
    graph *g = y->graph;
    int64_t window = y->attr.i[ATT_WINDOW];
    shape entry = { 4, { e->B, 1, 1, 1 } };
    tensor *i = reshaped(genet_iota(g, GENET_I32, e->T, 0, 1), (shape){ 2, { e->T, 1 } });
    tensor *j = genet_iota(g, GENET_I32, e->S, 0, 1), *mask[4];
    tensor *at = position ? ADD(reshaped(position, entry), i) : i;
    int n = 0;
    if (q_lengths) mask[n++] = LT(i, reshaped(q_lengths, entry));
    if (k_lengths) mask[n++] = LT(j, reshaped(k_lengths, entry));
    if (y->attr.i[ATT_CAUSAL]) mask[n++] = LE(j, at);
    if (window > 0) mask[n++] = GT(j, SUB(at, genet_scalar_like(at, (double)window)));
    for (int k = 1; k < n; k++) mask[0] = AND(mask[0], mask[k]);
    return n ? mask[0] : NULL;
}

/* Scores before the mask (B,H,T,S); *capped: before the bias, when there is a
 * softcap. */
static tensor *scores(const tensor *y, const extents *e, tensor *q, tensor *k, tensor *bias, tensor **capped)
{
    tensor *s = genet_matmul(split_heads(q, e), transposed(share_heads(k, e)));
    s = reshaped(s, (shape){ 4, { e->B, e->H, e->T, e->S } });
    s = MUL(s, genet_scalar_like(s, y->attr.f[ATT_SCALE]));
    double cap = y->attr.f[ATT_SOFTCAP];
    if (cap > 0) s = MUL(TANH(DIV(s, genet_scalar_like(s, cap))), genet_scalar_like(s, cap));
    *capped = s;
    return bias ? ADD(s, bias) : s;
}

static tensor *dropped(const tensor *y, tensor *x, tensor *rng)
{
    return y->attr.f[ATT_DROPOUT] > 0 ? genet_dropout(x, rng, (int)y->attr.i[ATT_STREAM], y->attr.f[ATT_DROPOUT]) : x;
}

/* Key (or value) j of batch entry b is that of row rows[b,j]. */
static tensor *by_rows(tensor *x, tensor *rows, const extents *e)
{
    int64_t n = x->shape.dim[0];
    tensor *at = ADD(MUL(rows, genet_scalar_like(rows, (double)e->S)), genet_iota(x->graph, GENET_I32, e->S, 0, 1));
    return genet_gather(reshaped(x, (shape){ 3, { n * e->S, e->Hkv, e->D } }), at);
}

/* Finite, and far below every score: exp of it is 0. */
static const double LOWEST = -1e30;

static void expand_attention(tensor *y, tensor **out)
{
    tensor **in = y->in, *q = WIDEN(in[ATT_Q]), *k = WIDEN(in[ATT_K]), *v = WIDEN(in[ATT_V]), *capped;
    extents e = extents_of(q, k);
    if (e.S == 0) {
        out[0] = full_like(q, 0, q->shape);
        out[1] = full_like(q, -INFINITY, (shape){ 3, { e.B, e.H, e.T } });
        return;
    }
    if (in[ATT_ROWS]) k = by_rows(k, in[ATT_ROWS], &e), v = by_rows(v, in[ATT_ROWS], &e);
    tensor *mask = visible(y, &e, in[ATT_Q_LENGTHS], in[ATT_K_LENGTHS], in[ATT_POSITION]);
    tensor *s = scores(y, &e, q, k, in[ATT_BIAS], &capped);
    tensor *zero = genet_scalar_like(s, 0), *one = genet_scalar_like(s, 1), *lowest = genet_scalar_like(s, LOWEST);
    if (mask) s = WHERE(mask, s, lowest);
    tensor *top = genet_stop(genet_max(genet_max_over(s, 1u << 3, true), lowest));
    tensor *p = EXP(SUB(s, top));
    if (mask) p = WHERE(mask, p, zero);
    tensor *sum = genet_sum(p, 1u << 3, true), *seen = GT(sum, zero);       /* (B,H,T,1) */
    sum = WHERE(seen, sum, one);
    p = dropped(y, DIV(p, sum), in[ATT_RNG]);
    out[0] = join_heads(genet_matmul(grouped(p, &e), share_heads(v, &e)), &e);
    tensor *lse = WHERE(seen, ADD(top, LOG(sum)), genet_scalar_like(s, -INFINITY));
    out[1] = reshaped(lse, (shape){ 3, { e.B, e.H, e.T } });
}

/* The formulas at the head of device/cpu/k_attention_grad.c. */
static void expand_attention_grad(tensor *y, tensor **out)
{
    tensor **in = y->in, *q = WIDEN(in[ATTG_Q]), *k = WIDEN(in[ATTG_K]), *v = WIDEN(in[ATTG_V]);
    tensor *g = in[ATTG_G], *bias = in[ATTG_BIAS], *capped;
    extents e = extents_of(q, k);
    if (e.S == 0) {
        out[ATTG_DQ] = full_like(q, 0, q->shape);
        out[ATTG_DK] = full_like(q, 0, k->shape);
        out[ATTG_DV] = full_like(q, 0, k->shape);
        out[ATTG_DBIAS] = full_like(q, 0, genet__side(y, ATTG_DBIAS)->shape);
        return;
    }
    shape row = { 4, { e.B, e.H, e.T, 1 } };
    tensor *lse = reshaped(in[ATTG_LSE], row), *s = scores(y, &e, q, k, bias, &capped);
    tensor *zero = genet_scalar_like(s, 0), *mask = GT(lse, genet_scalar_like(s, LOWEST));
    tensor *open = visible(y, &e, NULL, in[ATTG_K_LENGTHS], in[ATTG_POSITION]);
    if (open) mask = AND(mask, open);
    tensor *p = WHERE(mask, EXP(WHERE(mask, SUB(s, lse), zero)), zero);
    tensor *g5 = split_heads(g, &e), *k5 = share_heads(k, &e);
    tensor *dp = genet_matmul(g5, transposed(share_heads(v, &e)));
    dp = dropped(y, reshaped(dp, p->shape), in[ATTG_RNG]);
    tensor *delta = genet_permute(genet_sum(MUL(g, in[ATTG_Y]), 1u << 3, false), 3, (const int64_t[]){ 0, 2, 1 });
    tensor *ds = MUL(p, SUB(dp, reshaped(delta, row)));
    if (bias) out[ATTG_DBIAS] = genet__sum_to(ds, &bias->shape);
    else out[ATTG_DBIAS] = full_like(q, 0, genet__side(y, ATTG_DBIAS)->shape);
    double cap = y->attr.f[ATT_SOFTCAP];
    if (cap > 0) ds = MUL(ds, SUB(genet_scalar_like(s, 1), SQUARE(DIV(capped, genet_scalar_like(s, cap)))));
    ds = grouped(MUL(ds, genet_scalar_like(s, y->attr.f[ATT_SCALE])), &e);
    p = grouped(dropped(y, p, in[ATTG_RNG]), &e);
    out[ATTG_DQ] = join_heads(genet_matmul(ds, k5), &e);
    out[ATTG_DK] = sum_heads(genet_matmul(transposed(ds), split_heads(q, &e)));
    out[ATTG_DV] = sum_heads(genet_matmul(transposed(p), g5));
}

/* --- gradient -------------------------------------------------------------------- */

static tensor *saved_or_none(tensor *t) { return t ? SAVED(t) : NULL; }

static void grad_attention(tensor *y, tensor *g, tensor **d)
{
    tensor **in = y->in;
    if (in[ATT_ROWS]) {
        genet__fail(y, "keys read through rows have no gradient; gather them first, or cut with stop()");
        return;
    }
    tensor *from[ATTG_N_IN] = {
        [ATTG_Q] = SAVED(in[ATT_Q]), [ATTG_K] = SAVED(in[ATT_K]), [ATTG_V] = SAVED(in[ATT_V]),
        [ATTG_BIAS] = saved_or_none(in[ATT_BIAS]), [ATTG_K_LENGTHS] = saved_or_none(in[ATT_K_LENGTHS]),
        [ATTG_POSITION] = saved_or_none(in[ATT_POSITION]), [ATTG_RNG] = saved_or_none(in[ATT_RNG]),
        [ATTG_Y] = SAVED(y), [ATTG_LSE] = SAVED(genet__side(y, 1)), [ATTG_G] = g,
    };
    tensor *r = genet__apply(y->graph, OP_attention_grad, from, ATTG_N_IN, &y->attr);
    if (r->poisoned) return;
    d[ATT_Q] = r;
    d[ATT_K] = genet__side(r, ATTG_DK);
    d[ATT_V] = genet__side(r, ATTG_DV);
    if (in[ATT_BIAS]) d[ATT_BIAS] = genet__side(r, ATTG_DBIAS);
}

/* --- probes ------------------------------------------------------------------------ */

#define RNG PI(0, 1 << 20, 4)
#define HEADS(B, T, S, H, Hkv, D) PF(-1, 1, B, T, H, D), PF(-1, 1, B, S, Hkv, D), PF(-1, 1, B, S, Hkv, D)
#define SHORT_HEADS(B, T, S, H, Hkv, D) PB(-1, 1, B, T, H, D), PB(-1, 1, B, S, Hkv, D), PB(-1, 1, B, S, Hkv, D)
#define WITH(scale, softcap, dropout, causal, window) \
    .attr = { .f = { scale, softcap, dropout }, .i = { causal, window, [ATT_STREAM] = 3 } }

static const probe probes_attention[] = {
    { WITH(.7, 0, 0, 0, 0), .in = { HEADS(1, 2, 3, 2, 1, 2) } },
    { WITH(1, 0, 0, 1, 0), .in = { HEADS(1, 3, 3, 2, 2, 2) } },
    { WITH(.8, 0, 0, 1, 2), .in = { HEADS(2, 2, 3, 1, 1, 2), PNONE, PNONE, PNONE, PI(0, 2, 2) } },
    { WITH(1, 1.5, 0, 0, 0), .in = { HEADS(1, 2, 3, 2, 1, 2), PF(-1, 1, 1, 2, 2, 3) } },
    { WITH(1, 0, .4, 0, 0), .in = { HEADS(2, 2, 3, 1, 1, 2), PF(-1, 1, 1, 1, 2, 3), PNONE, PNONE, PNONE, PNONE, RNG } },
    { WITH(1, 0, 0, 1, 0), .in = { HEADS(2, 3, 2, 1, 1, 2), PF(-1, 1, 2, 1, 3, 2), PI(0, 3, 2), PI(0, 2, 2), PI(-1, 1, 2) } },
    { .tolerance = 8e-3, WITH(.7, 0, 0, 1, 0), .in = { SHORT_HEADS(1, 5, 5, 2, 1, 2) } },
    { .tolerance = 8e-3, WITH(.7, 0, 0, 0, 0), .in = { PF(-1, 1, 1, 2, 2, 3), PB(-1, 1, 1, 3, 1, 3), PF(-1, 1, 1, 3, 1, 3) } },
    { .edge = true, WITH(.25, 0, 0, 1, 0), .in = { HEADS(2, 17, 17, 4, 2, 16) } },
    { .edge = true, WITH(.25, 0, 0, 1, 0), .in = { SHORT_HEADS(2, 17, 17, 4, 2, 16) } },
    { .edge = true, WITH(.2, 0, 0, 1, 0), .in = { HEADS(1, 150, 150, 2, 1, 40) } },
    { .edge = true, WITH(.2, 0, 0, 1, 0), .in = { SHORT_HEADS(1, 150, 150, 2, 1, 40) } },
    { .edge = true, WITH(.2, 2, .1, 1, 50), .in = { HEADS(1, 100, 107, 2, 2, 64), PF(-2, 2, 1, 1, 100, 107), PI(90, 100, 1), PI(90, 107, 1), PI(0, 5, 1), PNONE, RNG } },
    { .edge = true, WITH(.2, 0, 0, 1, 0), .in = { PB(-1, 1, 2, 70, 1, 32), PB(-1, 1, 3, 71, 1, 32), PF(-1, 1, 3, 71, 1, 32),
      PNONE, PNONE, PNONE, PI(0, 20, 2), PI(-1, 3, 2, 71) } },
    { .edge = true, WITH(.3, 0, 0, 1, 0), .in = { PF(-1, 1, 1, 2, 4, 9), PB(-1, 1, 1, 1100, 2, 9), PB(-1, 1, 1, 1100, 2, 9), PNONE, PNONE, PNONE, PI(1050, 1060, 1) } },
    { .edge = true, WITH(.3, 0, 0, 1, 0), .in = { HEADS(1, 65, 129, 2, 1, 20), PNONE, PNONE, PNONE, PI(60, 64, 1) } },
    { .edge = true, WITH(.3, 0, 0, 0, 0), .in = { HEADS(1, 1, 33, 3, 1, 5), PF(-2, 2, 1, 3, 1, 33) } },
    { .edge = true, WITH(.3, 2, 0, 1, 9), .in = { HEADS(2, 33, 31, 3, 3, 33), PF(-2, 2, 2, 1, 33, 31), PI(0, 40, 2), PI(0, 40, 2), PI(0, 5, 2) } },
    { .edge = true, WITH(.3, 0, .2, 1, 0), .in = { HEADS(2, 15, 18, 2, 1, 8), PNONE, PNONE, PNONE, PI(0, 5, 2), PNONE, RNG } },
    { .edge = true, WITH(.3, 0, 0, 0, 0), .in = { PF(-1, 1, 2, 6, 2, 4), PF(-1, 1, 3, 19, 1, 4), PF(-1, 1, 3, 19, 1, 4),
      PNONE, PNONE, PNONE, PNONE, PI(-1, 3, 2, 19) } },
    { .edge = true, WITH(.3, 0, 0, 1, 0), .in = { PF(-1, 1, 2, 1, 2, 4), PF(-1, 1, 3, 19, 1, 4), PF(-1, 1, 3, 19, 1, 4),
      PNONE, PNONE, PNONE, PI(0, 20, 2), PI(-1, 3, 2, 19) } },
    { .edge = true, WITH(1, 0, 0, 0, 0), .in = { HEADS(2, 5, 0, 2, 1, 3) } },
    { .edge = true, WITH(1, 0, 0, 1, 0), .in = { HEADS(0, 5, 5, 2, 1, 3) } },
    { .edge = true, WITH(1, 0, 0, 1, 0), .in = { HEADS(1, 0, 5, 2, 1, 3) } },
};
ROW(attention, OWN, EXPAND, OPF_STRIDED | OPF_PRODUCT, .n_in = ATT_N_IN, .n_side = 1, .infer = infer_attention,
    .flops = flops_attention)

/* y, lse and g: any numbers will do; lse near what scores of this size give. */
#define REST(B, T, H, D) PF(-1, 1, B, T, H, D), PF(.5, 2, B, H, T), PF(-1, 1, B, T, H, D)
static const probe probes_attention_grad[] = {
    { WITH(.7, 0, 0, 1, 0), .in = { HEADS(1, 2, 2, 2, 1, 2), PNONE, PNONE, PNONE, PNONE, REST(1, 2, 2, 2) } },
    { WITH(1, 1.5, 0, 0, 0), .in = { HEADS(1, 2, 3, 1, 1, 2), PF(-1, 1, 1, 1, 2, 3), PNONE, PNONE, PNONE, REST(1, 2, 1, 2) } },
    { WITH(1, 0, .4, 0, 2), .in = { HEADS(2, 2, 3, 1, 1, 1), PF(-1, 1, 1, 1, 2, 3), PI(0, 3, 2), PI(0, 1, 2), RNG, REST(2, 2, 1, 1) } },
    { .tolerance = 8e-3, WITH(.7, 0, 0, 1, 0), .in = { SHORT_HEADS(1, 2, 2, 2, 1, 2), PNONE, PNONE, PNONE, PNONE, REST(1, 2, 2, 2) } },
    { .edge = true, WITH(.25, 0, 0, 1, 0), .in = { HEADS(2, 17, 17, 4, 2, 16), PNONE, PNONE, PNONE, PNONE, REST(2, 17, 4, 16) } },
    { .edge = true, WITH(.25, 0, 0, 1, 0), .in = { SHORT_HEADS(2, 17, 17, 4, 2, 16), PNONE, PNONE, PNONE, PNONE, REST(2, 17, 4, 16) } },
    { .edge = true, WITH(.2, 0, 0, 1, 0), .in = { HEADS(1, 150, 150, 2, 1, 40), PNONE, PNONE, PNONE, PNONE, REST(1, 150, 2, 40) } },
    { .edge = true, WITH(.2, 0, 0, 1, 0), .in = { SHORT_HEADS(1, 150, 150, 2, 1, 40), PNONE, PNONE, PNONE, PNONE, REST(1, 150, 2, 40) } },
    { .edge = true, WITH(.2, 2, .1, 1, 50), .in = { HEADS(1, 100, 107, 2, 2, 64), PNONE, PI(90, 107, 1), PI(0, 5, 1), RNG, REST(1, 100, 2, 64) } },
    { .edge = true, WITH(.3, 0, 0, 1, 0), .in = { HEADS(1, 65, 129, 4, 1, 20), PNONE, PNONE, PI(60, 64, 1), PNONE, REST(1, 65, 4, 20) } },
    { .edge = true, WITH(.3, 2, .2, 1, 9), .in = { HEADS(2, 33, 31, 3, 3, 33), PF(-2, 2, 2, 1, 33, 31), PI(0, 40, 2), PI(0, 5, 2), RNG, REST(2, 33, 3, 33) } },
    { .edge = true, WITH(1, 0, 0, 0, 0), .in = { HEADS(2, 5, 0, 2, 1, 3), PNONE, PNONE, PNONE, PNONE, REST(2, 5, 2, 3) } },
    { .edge = true, WITH(1, 0, 0, 1, 0), .in = { HEADS(1, 0, 5, 2, 1, 3), PNONE, PNONE, PNONE, PNONE, REST(1, 0, 2, 3) } },
};
ROW(attention_grad, EXPAND, EXPAND, OPF_STRIDED | OPF_PRODUCT, .n_in = ATTG_N_IN, .n_side = 3, .infer = infer_attention_grad,
    .apart = 1u << ATTG_DQ | 1u << ATTG_DK | 1u << ATTG_DV, .flops = flops_attention_grad)

/* --- builder ------------------------------------------------------------------------ */

genet_tensor *genet_attention(genet_tensor *q, genet_tensor *k, genet_tensor *v, const genet_attention_options *o)
{
    const genet_attention_options none = {0};
    if (!o) o = &none;
    double D = (double)genet_tensor_dim(q, -1), scale = o->scale != 0 ? o->scale : 1 / sqrt(D > 0 ? D : 1);
    attr a = { .f = { [ATT_SCALE] = scale, [ATT_SOFTCAP] = o->softcap, [ATT_DROPOUT] = o->dropout },
               .i = { [ATT_CAUSAL] = o->causal != 0, [ATT_WINDOW] = o->window, [ATT_STREAM] = o->stream } };
    tensor *in[ATT_N_IN] = {
        [ATT_Q] = q, [ATT_K] = k, [ATT_V] = v, [ATT_BIAS] = o->bias, [ATT_Q_LENGTHS] = o->q_lengths,
        [ATT_K_LENGTHS] = o->k_lengths, [ATT_POSITION] = o->position, [ATT_ROWS] = o->rows,
        [ATT_RNG] = o->dropout != 0 ? o->rng : NULL,
    };
    return genet__apply(q->graph, OP_attention, in, ATT_N_IN, &a);
}
