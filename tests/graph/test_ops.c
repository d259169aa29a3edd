/* labels: core
 * test_ops.c - every op, from its row alone: no code here knows any op.
 *
 * Each probe is run in double on the double build of the kernels against the
 * naive reference and the definition; in float on every instruction set; with
 * strided inputs; on seven threads and behind guarded addresses bit for bit;
 * its gradients and second gradients against central differences; fused,
 * unfused and poisoned bit for bit; and through a checkpoint bit for bit.
 *
 *   test_ops [OP ...]      only these */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/half.h"
#include "base/quant.h"
#include "base/rng.h"
#include "device/device.h"

enum { MAX_OUT = 1 + MAX_SIDE, N_ISA = CPU_TABLES };
static const char *const isa_name[N_ISA] = { "plain", "avx2", "avx512", "amx" };

typedef struct devices {
    genet_device *isa[N_ISA];       /* one thread each; NULL: not this processor */
    genet_device *best, *seven, *guard;
    genet_workspace *space;         /* made anew for each device */
} devices;

/* How a probe's inputs are laid out, and what is built on the op. */
typedef enum layout { DENSE, PERMUTED, STEPPED } layout;

typedef struct values { double *at; int64_t n; } values;

typedef struct trial {
    const op    *op;
    const probe *probe;
    int          index;
    double      *in[MAX_IN];        /* what the inputs hold, dense row-major */
    int64_t      n_in_elements[MAX_IN];
} trial;

static int passed, failed;

static bool fail(const trial *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    printf("FAILED %s probe %d: ", t->op->name, t->index);
    vprintf(fmt, ap);
    printf("\n");
    va_end(ap);
    failed++;
    return false;
}

/* --- values ------------------------------------------------------------------- */

static int64_t probe_numel(const probe_in *p)
{
    int64_t n = 1;
    for (int i = 0; i < p->rank; i++) n *= p->dim[i];
    return n;
}

/* Is it a number that has slopes? */
static bool is_real(const probe_in *p) { return p->type == 'f' || p->type == 'b' || p->type == 'h'; }
static bool is_quantised(const probe_in *p) { return p->type == 'q' || p->type == '4'; }

/* Element i of a matrix that is quantised along its columns: a scale that f16
 * has times a whole number; the first of a block has the largest magnitude, so
 * that quantising finds the same scale again. */
static double draw_quantised(const probe_in *p, double u, int64_t i)
{
    int64_t k = i / p->dim[1], block = i % p->dim[1] * 7 + k / QUANT_BLOCK;
    double scale = ldexp(1 + (double)(block % 11) / 16, p->type == 'q' ? -7 : -3);
    if (p->type == 'q') return scale * (k % QUANT_BLOCK ? floor(u * 255) - 127 : 127);
    return scale * (k % QUANT_BLOCK ? floor(u * 16) - 8 : -8);
}

static double draw(const probe_in *p, uint32_t stream, int64_t i)
{
    double u = genet__rng_uniform(7, stream, 0, (uint64_t)i);
    if (is_quantised(p)) return draw_quantised(p, u, i);
    if (p->type == 'b') return genet__from_bf16(genet__to_bf16((float)(p->lo + u * (p->hi - p->lo))));
    if (p->type == 'h') return genet__from_f16(genet__to_f16((float)(p->lo + u * (p->hi - p->lo))));
    if (p->type == 'i' || p->type == 'u') return p->lo + floor(u * (p->hi - p->lo + 1));
    return (double)(float)(p->lo + u * (p->hi - p->lo));
}

static bool is_rows(const probe_in *p) { return p->type == 'Q' || p->type == 'K'; }
static void round_to_blocks(const probe_in *p, double *v, int64_t n);

static void trial_init(trial *t, const op *o, int index)
{
    *t = (trial){ .op = o, .probe = &o->probes[index], .index = index };
    for (int k = 0; k < MAX_IN; k++) {
        const probe_in *p = &t->probe->in[k];
        if (!p->type) continue;
        int64_t n = t->n_in_elements[k] = probe_numel(p);
        t->in[k] = malloc((size_t)(n + 1) * sizeof(double));
        for (int64_t i = 0; i < n; i++) t->in[k][i] = draw(p, (uint32_t)(k + 10 * index), i);
        if (is_rows(p)) round_to_blocks(p, t->in[k], n);
    }
}

static void trial_release(trial *t)
{
    for (int k = 0; k < MAX_IN; k++) free(t->in[k]);
}

static float from_half(uint16_t h)
{
    int e = h >> 10 & 31, m = h & 1023;
    float f = e ? ldexpf((float)(m + 1024), e - 25) : ldexpf((float)m, -24);
    return h & 0x8000 ? -f : f;
}

static double get(const void *at, dtype type, int64_t i)
{
    switch (type) {
    case GENET_F32: return ((const float *)at)[i];
    case GENET_F64: return ((const double *)at)[i];
    case GENET_I32: return ((const int32_t *)at)[i];
    case GENET_U8:  return ((const uint8_t *)at)[i];
    case GENET_F16: return from_half(((const uint16_t *)at)[i]);
    default: {
        uint32_t u = (uint32_t)((const uint16_t *)at)[i] << 16;
        float f;
        memcpy(&f, &u, 4);
        return f;
    }
    }
}

static void put(void *at, dtype type, int64_t i, double v)
{
    switch (type) {
    case GENET_F32: ((float *)at)[i] = (float)v; break;
    case GENET_F64: ((double *)at)[i] = v; break;
    case GENET_I32: ((int32_t *)at)[i] = (int32_t)v; break;
    case GENET_BF16: ((uint16_t *)at)[i] = genet__to_bf16((float)v); break;
    case GENET_F16: ((uint16_t *)at)[i] = genet__to_f16((float)v); break;
    default:        ((uint8_t *)at)[i] = (uint8_t)v; break;
    }
}

/* n values in the order of memory. */
static void put_all(void *at, dtype type, int64_t n, const double *v)
{
    float *x = malloc((size_t)(n + 1) * sizeof *x);
    for (int64_t i = 0; i < n; i++) x[i] = (float)v[i];
    if (type == GENET_Q8_0) genet__quantize_q8_0(x, n, at);
    else if (type == GENET_Q4_0) genet__quantize_q4_0(x, n, at);
    else for (int64_t i = 0; i < n; i++) put(at, type, i, v[i]);
    free(x);
}

static void get_all(const void *at, dtype type, int64_t n, double *v)
{
    float *x = malloc((size_t)(n + 1) * sizeof *x);
    if (type == GENET_Q8_0) genet__dequantize_q8_0(at, n, x);
    else if (type == GENET_Q4_0) genet__dequantize_q4_0(at, n, x);
    for (int64_t i = 0; i < n; i++) v[i] = genet__is_blocks(type) ? (double)x[i] : get(at, type, i);
    free(x);
}

/* The values of rows in blocks, as blocks hold them. */
static void round_to_blocks(const probe_in *p, double *v, int64_t n)
{
    dtype type = p->type == 'Q' ? GENET_Q8_0 : GENET_Q4_0;
    char *bytes = malloc(genet_dtype_bytes(type, n) + 1);
    put_all(bytes, type, n, v);
    get_all(bytes, type, n, v);
    free(bytes);
}

/* --- one built graph, with the leaves that hold the probe's values -------------- */

typedef struct built {
    genet_graph *g;
    dtype    real;
    layout   layout;
    tensor  *leaf[MAX_IN], *in[MAX_IN], *y;
    tensor  *extra[4];              /* weights and directions: inputs filled with noise */
    int      n_extra;
} built;

static int n_inputs(const trial *t)
{
    if (t->op->n_in >= 0) return t->op->n_in;
    int n = 0;
    while (n < MAX_IN && t->probe->in[n].type) n++;
    return n;
}

static dtype type_of(const probe_in *p, dtype real)
{
    switch (p->type) {
    case 'f': return real;
    case 'b': return real == GENET_F64 ? real : GENET_BF16;
    case 'h': return real == GENET_F64 ? real : GENET_F16;
    case 'q': return real == GENET_F64 ? real : GENET_Q8_0;
    case '4': return real == GENET_F64 ? real : GENET_Q4_0;
    case 'Q': return GENET_Q8_0;
    case 'K': return GENET_Q4_0;
    case 'i': return GENET_I32;
    default:  return GENET_U8;
    }
}

/* A leaf whose memory is not the value's order, and the view that is. */
static tensor *lay_out(built *b, int k, const probe_in *p, bool state)
{
    int64_t dim[MAX_DIM] = {0}, back[MAX_DIM];
    char name[16];
    snprintf(name, sizeof name, "in%d", k);
    memcpy(dim, p->dim, sizeof p->dim);
    layout l = is_quantised(p) ? PERMUTED : state || p->rank == 0 || is_rows(p) ? DENSE : b->layout;
    for (int i = 0; i < p->rank; i++) {
        back[i] = p->rank - 1 - i;
        if (l == PERMUTED) dim[i] = p->dim[p->rank - 1 - i];
    }
    if (l == STEPPED) dim[p->rank - 1] = 2 * p->dim[p->rank - 1] + 1;
    tensor *leaf = b->leaf[k] = (state ? genet_state : genet_input)(b->g, name, type_of(p, b->real), p->rank, dim);
    if (l == PERMUTED) return genet_permute(leaf, p->rank, back);
    if (l == STEPPED) return genet_slice(leaf, p->rank - 1, 1, p->dim[p->rank - 1], 2);
    return leaf;
}

static built build(const trial *t, dtype real, layout l)
{
    built b = { .g = genet_graph_new(), .real = real, .layout = l };
    for (int k = 0; k < n_inputs(t); k++)
        if (t->probe->in[k].type) b.in[k] = lay_out(&b, k, &t->probe->in[k], genet__rewrites(t->op, k));
    b.y = genet__apply(b.g, t->op->id, b.in, n_inputs(t), &t->probe->attr);
    return b;
}

static tensor *noise_like(built *b, const tensor *y)
{
    char name[16];
    snprintf(name, sizeof name, "noise%d", b->n_extra);
    return b->extra[b->n_extra++] = genet_input(b->g, name, y->dtype, y->shape.rank, y->shape.dim);
}

/* The element of leaf k's memory that shows the value's flat index i. */
static int64_t leaf_index(const built *b, int k, int64_t i)
{
    const tensor *v = b->in[k];
    int64_t at = v->start;
    for (int d = v->shape.rank - 1; d >= 0; d--) {
        at += i % v->shape.dim[d] * v->stride[d];
        i /= v->shape.dim[d];
    }
    return at;
}

typedef struct session { genet_device *d; genet_plan *plan; genet_workspace *w; void *state[MAX_IN]; size_t state_bytes[MAX_IN]; } session;

static void session_close(session *s)
{
    for (int k = 0; k < MAX_IN; k++)
        if (s->state[k]) genet_device_release(s->d, s->state[k], s->state_bytes[k]);
    genet_plan_free(s->plan);
    genet_workspace_free(s->w);
}

static bool write_leaf(session *s, tensor *leaf, void *bytes, int k, genet_err *err)
{
    size_t size = genet_dtype_bytes(leaf->dtype, genet__numel(&leaf->shape));
    if (!genet__op_is(leaf, OP_state)) return genet_plan_write(s->plan, leaf, bytes, size, err);
    genet_device_write(s->d, s->state[k], bytes, size);
    return true;
}

/* Write all leaves (values may be the trial's or perturbed ones) and run. */
static bool run_with(session *s, const trial *t, built *b, double *const in[], genet_err *err)
{
    for (int k = 0; k < MAX_IN; k++) {
        tensor *leaf = b->leaf[k];
        if (!leaf) continue;
        int64_t n = genet__numel(&leaf->shape);
        char *bytes = malloc(genet_dtype_bytes(leaf->dtype, n) + 1);
        double *laid = calloc((size_t)n + 1, sizeof *laid);
        for (int64_t i = 0; i < t->n_in_elements[k]; i++) laid[leaf_index(b, k, i)] = in[k][i];
        put_all(bytes, leaf->dtype, n, laid);
        bool ok = write_leaf(s, leaf, bytes, k, err);
        free(laid);
        free(bytes);
        if (!ok) return false;
    }
    for (int e = 0; e < b->n_extra; e++) {
        tensor *x = b->extra[e];
        int64_t n = genet__numel(&x->shape);
        char *bytes = calloc((size_t)n + 1, genet_dtype_size(x->dtype));
        for (int64_t i = 0; i < n; i++)
            put(bytes, x->dtype, i, (double)(float)(2 * genet__rng_uniform(11, (uint32_t)e, 0, (uint64_t)i) - 1));
        bool ok = write_leaf(s, x, bytes, 0, err);
        free(bytes);
        if (!ok) return false;
    }
    return genet_plan_run(s->plan, err);
}

static bool session_open(session *s, built *b, tensor *const out[], int n_out, genet_device *d,
                         const genet_compile_options *o, genet_err *err)
{
    *s = (session){ .d = d, .plan = genet_compile(b->g, out, n_out, d, o, err), .w = genet_workspace_new(d) };
    if (!s->plan || !genet_plan_attach(s->plan, s->w, err)) return false;
    for (int k = 0; k < MAX_IN; k++) {
        if (!b->leaf[k] || !genet__op_is(b->leaf[k], OP_state)) continue;
        s->state_bytes[k] = (size_t)genet__numel(&b->leaf[k]->shape) * genet_dtype_size(b->leaf[k]->dtype);
        s->state[k] = genet_device_alloc(d, s->state_bytes[k], err);
        if (!s->state[k] || !genet_plan_bind(s->plan, b->leaf[k], s->state[k], err)) return false;
    }
    return true;
}

static bool read_values(session *s, tensor *t, values *v, genet_err *err)
{
    size_t size = genet_dtype_bytes(t->dtype, genet__numel(&t->shape));
    char *bytes = malloc(size + 1);
    bool ok = genet_plan_read(s->plan, t, bytes, size, err);
    *v = (values){ malloc(((size_t)genet__numel(&t->shape) + 1) * sizeof(double)), genet__numel(&t->shape) };
    if (ok) get_all(bytes, t->dtype, v->n, v->at);
    free(bytes);
    return ok;
}

static void values_free(values *v, int n)
{
    for (int i = 0; i < n; i++) free(v[i].at), v[i].at = NULL;
}

/* Compile, run once, read all outputs.  Takes b->g. */
static bool evaluate(const trial *t, built *b, tensor *const out[], int n_out, genet_device *d,
                     const genet_compile_options *o, values *v)
{
    genet_err err = {0};
    session s;
    bool ok = session_open(&s, b, out, n_out, d, o, &err) && run_with(&s, t, b, t->in, &err);
    for (int i = 0; ok && i < n_out; i++) ok = read_values(&s, out[i], &v[i], &err);
    session_close(&s);
    if (!ok) fail(t, "%s", err.text);
    return ok;
}

/* --- comparing -------------------------------------------------------------------- */

static double scale_of(const values *v)
{
    double top = 0;
    for (int64_t i = 0; i < v->n; i++)
        if (isfinite(v->at[i])) top = fmax(top, fabs(v->at[i]));
    return fmax(top, 1e-3);
}

static bool close_to(const trial *t, const values *got, const values *want, double tolerance, const char *what, int k)
{
    double bound = tolerance * scale_of(want);
    for (int64_t i = 0; i < want->n; i++) {
        double g = got->at[i], w = want->at[i];
        if (g == w || (isnan(g) && isnan(w))) continue;
        if (!(fabs(g - w) <= bound))
            return fail(t, "%s: output %d element %lld is %.9g, want %.9g (bound %.2g)", what, k, (long long)i, g, w, bound);
    }
    return true;
}

static bool same_bits(const trial *t, const values *a, const values *b, int n, const char *what)
{
    for (int k = 0; k < n; k++)
        for (int64_t i = 0; i < a[k].n; i++)
            if (memcmp(&a[k].at[i], &b[k].at[i], sizeof(double)) && !(isnan(a[k].at[i]) && isnan(b[k].at[i])))
                return fail(t, "%s: output %d element %lld differs: %.17g and %.17g", what, k, (long long)i, a[k].at[i], b[k].at[i]);
    return true;
}

/* All outputs of the op that hold something. */
static int outputs_of(tensor *y, tensor **out)
{
    int n = 0;
    for (int k = 0; k <= y->op->n_side; k++) {
        tensor *s = genet__side(y, k);
        bool view = s->op->flags & OPF_VIEW;
        /* an optional state that was not given has no new value */
        bool absent = false;
        int j = 0;
        for (int i = 0; i < y->n_in; i++)
            if (genet__rewrites(y->op, i) && j++ == k) absent = !y->in[i];
        if (!absent) out[n++] = view ? genet_copy(s) : s;
    }
    return n;
}

/* --- 1. values ---------------------------------------------------------------------- */

static bool plain_run(const trial *t, dtype real, layout l, genet_device *d, const genet_compile_options *o, values *v, int *n)
{
    tensor *out[MAX_OUT];
    built b = build(t, real, l);
    *n = 0;
    if (b.g->failed && l != DENSE && t->op->flags & OPF_VIEW) {     /* not every window has every view */
        genet_graph_free(b.g);
        return true;
    }
    bool ok = !b.g->failed || fail(t, "%s", b.g->error);
    *n = ok ? outputs_of(b.y, out) : 0;
    ok = ok && evaluate(t, &b, out, *n, d, o, v);
    genet_graph_free(b.g);
    return ok;
}

static bool check_reference(const trial *t, const values *v, int n)
{
    double *out[MAX_OUT] = {0};
    built b = build(t, GENET_F64, DENSE);
    tensor *o[MAX_OUT];
    bool ok = outputs_of(b.y, o) == n;
    for (int k = 0; k <= t->op->n_side; k++) {
        int64_t size = genet__numel(&genet__side(b.y, k)->shape);
        out[k] = calloc((size_t)size + 1, sizeof(double));
        /* what an effect leaves alone keeps its value */
        int j = 0;
        for (int i = 0; i < b.y->n_in; i++)
            if (genet__rewrites(t->op, i) && j++ == k && b.y->in[i]) memcpy(out[k], t->in[i], (size_t)size * sizeof(double));
    }
    t->op->ref(b.y, t->in, out);
    double bound = t->probe->tolerance > 1e-4 ? t->probe->tolerance : 1e-9;
    if (t->op->flags & OPF_ZERO_GRAD && !t->op->sig) bound = fmax(bound, 1e-5);     /* chance has float precision */
    for (int k = 0, i = 0; ok && k <= t->op->n_side && i < n; k++) {
        tensor *s = genet__side(b.y, k);
        if (genet__numel(&s->shape) != v[i].n) continue;
        values want = { out[k], v[i].n };
        ok = close_to(t, &v[i], &want, bound, "double kernel against reference", k);
        i++;
    }
    for (int k = 0; k < MAX_OUT; k++) free(out[k]);
    genet_graph_free(b.g);
    return ok;
}

static bool check_definition(const trial *t, const values *v, int n, genet_device *d)
{
    tensor *out[MAX_OUT], *def[MAX_SIDE + 1], *want[MAX_OUT];
    values w[MAX_OUT] = {{0}};
    built b = build(t, GENET_F64, DENSE);
    int m = outputs_of(b.y, out), n_want = 0, which[MAX_OUT];
    genet__expand(b.y, def);
    for (int k = 0; k < m && k <= MAX_SIDE; k++)
        if (def[k]) which[n_want] = k, want[n_want++] = genet_copy(def[k]);
    bool ok = !b.g->failed || fail(t, "definition: %s", b.g->error);
    ok = ok && m == n && evaluate(t, &b, want, n_want, d, NULL, w);
    for (int k = 0; ok && k < n_want; k++) {
        ok = (w[k].n == v[which[k]].n || fail(t, "definition: output %d has another size", which[k])) &&
             close_to(t, &v[which[k]], &w[k], 1e-9, "double kernel against definition", which[k]);
    }
    values_free(w, n_want);
    genet_graph_free(b.g);
    return ok;
}

static bool check_values(const trial *t, const devices *d)
{
    values want[MAX_OUT] = {{0}}, got[MAX_OUT] = {{0}}, again[MAX_OUT] = {{0}};
    int n, m;
    bool ok = plain_run(t, GENET_F64, DENSE, d->best, NULL, want, &n);
    if (ok && t->op->ref) ok = check_reference(t, want, n);
    if (ok && t->op->expand) ok = check_definition(t, want, n, d->best);
    double tolerance = t->probe->tolerance > 0 ? t->probe->tolerance : 2e-5;
    for (int i = 0; ok && i < N_ISA; i++)
        for (layout l = DENSE; ok && d->isa[i] && l <= STEPPED; l++) {
            char what[60];
            snprintf(what, sizeof what, "f32 %s%s against double", isa_name[i], l == DENSE ? "" : l == PERMUTED ? " permuted" : " stepped");
            ok = plain_run(t, GENET_F32, l, d->isa[i], NULL, got, &m);
            for (int k = 0; ok && k < m; k++) ok = close_to(t, &got[k], &want[k], tolerance, what, k);
            values_free(got, m);
        }
    ok = ok && plain_run(t, GENET_F32, DENSE, d->best, NULL, got, &m);
    const struct { genet_device *d; const char *what; } other[] = {{ d->seven, "seven threads against one" }, { d->guard, "guard device" }};
    for (int i = 0; ok && i < 2; i++) {
        ok = plain_run(t, GENET_F32, DENSE, other[i].d, NULL, again, &m) && same_bits(t, got, again, m, other[i].what);
        values_free(again, m);
    }
    values_free(got, MAX_OUT);
    values_free(want, n);
    return ok;
}

/* --- 2. gradients --------------------------------------------------------------------- */

typedef struct gradient { tensor *loss, *d[MAX_IN], *wrt[MAX_IN]; int at[MAX_IN], n; } gradient;

static tensor *weighted(built *b, tensor *y)
{
    if (!genet__is_float(y->dtype)) y = genet_cast(y, GENET_F32);
    return genet_sum(genet_mul(y, noise_like(b, y)), genet_axes_all(y), false);
}

/* loss = sum(w y), and its gradients with respect to the float inputs. order 2:
 * of the sum of those gradients, each weighted. */
static gradient differentiate(const trial *t, built *b, int order)
{
    gradient r = { .loss = weighted(b, b->y) };
    for (int k = 0; k < n_inputs(t); k++)
        if (b->in[k] && is_real(&t->probe->in[k])) {
            r.at[r.n] = k;
            r.wrt[r.n++] = b->in[k];
        }
    genet_grad(r.loss, r.wrt, r.n, r.d);
    if (order == 1) return r;
    tensor *loss = NULL;
    for (int i = 0; i < r.n && b->n_extra < 4; i++) {
        if (!r.d[i]) continue;
        tensor *part = weighted(b, r.d[i]);
        loss = loss ? genet_add(loss, part) : part;
    }
    if (!loss) return (gradient){0};
    r.loss = loss;
    genet_grad(loss, r.wrt, r.n, r.d);
    return r;
}

static bool differentiable(const trial *t)
{
    const op *o = t->op;
    bool any = false;
    for (int k = 0; k < n_inputs(t); k++) any |= is_real(&t->probe->in[k]);
    if (o->sig && strchr(o->sig, '>')[1] == 'M') return false;      /* a mask */
    return any && !t->probe->edge && !(o->flags & (OPF_ZERO_GRAD | OPF_NO_GRAD | OPF_LEAF));
}

static bool loss_at(session *s, const trial *t, built *b, double *const in[], tensor *loss, double *out)
{
    genet_err err = {0};
    if (!run_with(s, t, b, in, &err) || !genet_plan_read(s->plan, loss, out, sizeof *out, &err)) return fail(t, "%s", err.text);
    return true;
}

static bool central(session *s, const trial *t, built *b, tensor *loss, int k, int64_t i, double h, double *slope)
{
    double *in[MAX_IN], up, down, keep = t->in[k][i];
    memcpy(in, t->in, sizeof in);
    in[k][i] = keep + h;
    bool ok = loss_at(s, t, b, in, loss, &up);
    in[k][i] = keep - h;
    ok = ok && loss_at(s, t, b, in, loss, &down);
    in[k][i] = keep;
    *slope = ok ? (up - down) / (2 * h) : 0;
    return ok;
}

static bool check_slopes(const trial *t, built *b, const gradient *r, genet_device *d, int order)
{
    genet_err err = {0};
    session s;
    values v[MAX_IN] = {{0}};
    tensor *out[MAX_IN + 1] = { r->loss };
    int n = 1;
    for (int i = 0; i < r->n; i++)
        if (r->d[i]) out[n++] = genet_copy(r->d[i]);
    if (b->g->failed) return fail(t, "gradient of order %d: %s", order, b->g->error);
    bool ok = session_open(&s, b, out, n, d, NULL, &err) && run_with(&s, t, b, t->in, &err);
    for (int i = 1; ok && i < n; i++) ok = read_values(&s, out[i], &v[i - 1], &err);
    if (!ok) fail(t, "gradient of order %d: %s", order, err.text);
    for (int i = 0, j = 0; ok && i < r->n; i++) {
        int k = r->at[i];
        values slope = { malloc((size_t)(t->n_in_elements[k] + 1) * sizeof(double)), t->n_in_elements[k] };
        values zero = { calloc((size_t)slope.n + 1, sizeof(double)), slope.n };
        for (int64_t e = 0; ok && e < slope.n; e++) ok = central(&s, t, b, r->loss, k, e, 2e-6, &slope.at[e]);
        char what[60];
        snprintf(what, sizeof what, "gradient of order %d of input %d", order, k);
        double top = fmax(scale_of(&slope), 1.0);
        ok = ok && close_to(t, r->d[i] ? &v[j] : &zero, &slope, (order == 1 ? 1e-6 : 4e-6) * top / scale_of(&slope), what, k);
        j += r->d[i] != NULL;
        free(slope.at);
        free(zero.at);
    }
    values_free(v, MAX_IN);
    session_close(&s);
    return ok;
}

/* Gradients as plain values, for comparing builds of one graph. */
static bool gradient_run(const trial *t, dtype real, genet_device *d, const genet_compile_options *o, bool checkpoint,
                         bool shallow, int order, values *v, int *n)
{
    built b = { .g = genet_graph_new(), .real = real };
    for (int k = 0; k < n_inputs(t); k++)
        if (t->probe->in[k].type) b.in[k] = lay_out(&b, k, &t->probe->in[k], genet__rewrites(t->op, k));
    tensor *in[MAX_IN];
    memcpy(in, b.in, sizeof in);
    for (int k = 0; k < n_inputs(t) && !shallow; k++)       /* work inside the region, to be repeated */
        if (in[k] && t->probe->in[k].type == 'f') in[k] = genet_mul(in[k], genet_scalar_like(in[k], 1));
    b.y = genet__apply(b.g, t->op->id, in, n_inputs(t), &t->probe->attr);
    tensor *y = shallow ? b.y : genet_mul(b.y, genet_add(b.y, genet_scalar_like(b.y, 0.5)));
    if (checkpoint) genet_checkpoint(y);
    b.y = y;
    gradient r = differentiate(t, &b, order);
    tensor *out[MAX_IN + 1] = { r.loss };
    *n = r.loss ? 1 : 0;
    for (int i = 0; i < r.n; i++)
        if (r.d[i]) out[(*n)++] = genet_copy(r.d[i]);
    bool ok = !b.g->failed || fail(t, "%s", b.g->error);
    ok = ok && evaluate(t, &b, out, *n, d, o, v);
    genet_graph_free(b.g);
    return ok;
}

static bool check_gradients(const trial *t, const devices *d)
{
    for (int order = 1; order <= 2; order++) {
        built b = build(t, GENET_F64, DENSE);
        gradient r = differentiate(t, &b, order);
        bool ok = !b.g->failed || fail(t, "gradient of order %d: %s", order, b.g->error);
        ok = ok && (!r.loss || check_slopes(t, &b, &r, d->best, order));
        genet_graph_free(b.g);
        if (!ok) return false;
    }
    return true;
}

static bool check_float_gradients(const trial *t, const devices *d)
{
    values want[MAX_IN + 1] = {{0}}, got[MAX_IN + 1] = {{0}};
    int n;
    bool ok = gradient_run(t, GENET_F64, d->best, NULL, false, true, 1, want, &n);
    double tolerance = t->probe->tolerance > 0 ? 4 * t->probe->tolerance : 1e-4;
    for (int i = 0; ok && i < N_ISA; i++) {
        if (!d->isa[i]) continue;
        char what[40];
        snprintf(what, sizeof what, "f32 gradient on %s", isa_name[i]);
        ok = gradient_run(t, GENET_F32, d->isa[i], NULL, false, true, 1, got, &n);
        for (int k = 1; ok && k < n; k++) ok = close_to(t, &got[k], &want[k], tolerance, what, k);
        values_free(got, n);
    }
    values_free(want, MAX_IN + 1);
    return ok;
}

static bool check_builds(const trial *t, const devices *d)
{
    static const genet_compile_options unfused = { .no_fuse = true }, poisoned = { .poison = true };
    const struct { genet_device *d; const genet_compile_options *o; bool checkpoint; const char *what; } other[] = {
        { d->best, &unfused, false, "unfused" }, { d->best, &poisoned, false, "poisoned" },
        { d->best, NULL, true, "checkpointed" }, { d->seven, NULL, false, "seven threads" },
        { d->guard, NULL, false, "guard device" },
    };
    values want[MAX_IN + 1] = {{0}}, got[MAX_IN + 1] = {{0}};
    int n;
    bool ok = true;
    for (int order = 1; ok && order <= 2; order++) {
        ok = gradient_run(t, GENET_F32, d->best, NULL, false, false, order, want, &n);
        for (size_t i = 0; ok && i < sizeof other / sizeof *other; i++) {
            char what[80];
            snprintf(what, sizeof what, "gradients of order %d, %s against plain", order, other[i].what);
            ok = gradient_run(t, GENET_F32, other[i].d, other[i].o, other[i].checkpoint, false, order, got, &n) &&
                 same_bits(t, want, got, n, what);
            values_free(got, MAX_IN + 1);
        }
        values_free(want, MAX_IN + 1);
    }
    return ok;
}

/* --- all of it --------------------------------------------------------------------------- */

static void check(const op *o, int index, const devices *d)
{
    trial t;
    trial_init(&t, o, index);
    bool ok = check_values(&t, d);
    if (ok && differentiable(&t)) ok = check_gradients(&t, d) && check_float_gradients(&t, d) && check_builds(&t, d);
    if (ok) passed++;
    trial_release(&t);
}

static bool devices_open(devices *d)
{
    genet_err err = {0};
    *d = (devices){0};
    for (int i = 0; i < N_ISA; i++) {
        setenv("GENET_ISA", isa_name[i], 1);
        d->isa[i] = genet_device_cpu(1, &err);
        if (d->isa[i]) d->best = d->isa[i];
        else printf("SKIPPED %s: %s\n", isa_name[i], err.text);
    }
    unsetenv("GENET_ISA");
    d->seven = genet_device_cpu(7, &err);
    d->guard = genet_device_guard(2, &err);
    if (d->best && d->seven && d->guard) return true;
    printf("FAILED: %s\n", err.text);
    return false;
}

static void devices_close(devices *d)
{
    for (int i = 0; i < N_ISA; i++) genet_device_free(d->isa[i]);
    genet_device_free(d->seven);
    genet_device_free(d->guard);
}

int main(int argc, char **argv)
{
    devices d;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!devices_open(&d)) return 1;
    for (int id = 0; id < OP_COUNT; id++) {
        const op *o = genet__op_table[id];
        bool wanted = argc == 1;
        for (int i = 1; i < argc; i++) wanted |= !strcmp(argv[i], o->name);
        if (!wanted || o->flags & OPF_LEAF) continue;
        if (o->n_probes == 0) {
            printf("FAILED %s: no probes\n", o->name);
            failed++;
        }
        for (int i = 0; i < o->n_probes; i++) check(o, i, &d);
    }
    devices_close(&d);
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
