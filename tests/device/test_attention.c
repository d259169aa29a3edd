/* labels: core
 * test_attention.c - the kernels of attention against naive loops in double,
 * on launches made by hand: shapes around tile edges, every option, every
 * instruction set; and what must hold bit for bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/rng.h"
#include "device/device.h"
#include "graph/op_attention.h"

typedef struct problem {
    int64_t B, T, S, H, Hkv, D;
    int     bias_b, bias_h;             /* extents of the bias: 0 none, 1 shared, -1 own */
    bool    q_lengths, k_lengths, rows, causal, apart;      /* apart: strided inputs */
    int64_t position, window;           /* position < 0: not given */
    double  softcap, dropout;
} problem;

enum { SEED_LOW = 17, SEED_HIGH = 4, STEP = 3, FIRST_ROW = 5, STREAM = 9, MAX_B = 16 };

/* All values of a problem, dense, in double. */
typedef struct values {
    problem p;
    int64_t nb, nh, Bk;                 /* extents of the bias; batch of k and v */
    double *q, *k, *v, *bias, *g, *y, *lse, *dq, *dk, *dv, *dbias;
    int32_t q_len[MAX_B], k_len[MAX_B], position[MAX_B], rng[4], *rows;
} values;

static double *random_values(int64_t n, uint32_t stream)
{
    double *x = malloc((size_t)(n + 1) * sizeof *x);
    for (int64_t i = 0; i < n; i++) x[i] = (float)(2 * genet__rng_uniform(1, stream, 0, (uint64_t)i) - 1);
    return x;
}
static double *zeros(int64_t n) { return calloc((size_t)(n + 1), sizeof(double)); }

static int64_t n_q(const values *z) { return z->p.B * z->p.T * z->p.H * z->p.D; }
static int64_t n_kv(const values *z) { return z->Bk * z->p.S * z->p.Hkv * z->p.D; }
static int64_t n_bias(const values *z) { return z->nb * z->nh * z->p.T * z->p.S; }
static int64_t n_lse(const values *z) { return z->p.B * z->p.H * z->p.T; }

static values values_of(problem p)
{
    values z = { .p = p, .Bk = p.rows ? p.B + 2 : p.B, .rng = { SEED_LOW, SEED_HIGH, STEP, FIRST_ROW } };
    z.nb = p.bias_b < 0 ? p.B : p.bias_b;
    z.nh = p.bias_h < 0 ? p.H : p.bias_h;
    z.q = random_values(n_q(&z), 1);
    z.k = random_values(n_kv(&z), 2);
    z.v = random_values(n_kv(&z), 3);
    z.g = random_values(n_q(&z), 4);
    z.bias = random_values(n_bias(&z), 5);
    for (int64_t i = 0; i < n_q(&z); i++) z.q[i] *= 3;
    z.y = zeros(n_q(&z)), z.lse = zeros(n_lse(&z)), z.dq = zeros(n_q(&z));
    z.dk = zeros(n_kv(&z)), z.dv = zeros(n_kv(&z)), z.dbias = zeros(n_bias(&z));
    z.rows = malloc((size_t)(p.B * p.S + 1) * sizeof *z.rows);
    for (int64_t b = 0; b < p.B; b++) {
        z.q_len[b] = (int32_t)(b == 0 ? p.T - p.T / 3 : b == 1 ? 0 : p.T + 5);
        z.k_len[b] = (int32_t)(b == 0 ? p.S - p.S / 3 : b == 1 ? 1 : b == 2 ? 0 : p.S + 7);
        z.position[b] = (int32_t)(p.position - b);
        for (int64_t j = 0; j < p.S; j++)       /* one in six points nowhere */
            z.rows[b * p.S + j] = (int32_t)((b + j * j) % (z.Bk + 2)) - 1;
    }
    return z;
}

static void values_free(values *z)
{
    double *all[] = { z->q, z->k, z->v, z->g, z->bias, z->y, z->lse, z->dq, z->dk, z->dv, z->dbias };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    free(z->rows);
}

/* --- the naive definition ---------------------------------------------------------- */

static bool visible(const values *z, int64_t b, int64_t i, int64_t j)
{
    const problem *p = &z->p;
    int64_t at = (p->position >= 0 ? z->position[b] : 0) + i;
    return !(p->q_lengths && i >= z->q_len[b]) && !(p->k_lengths && j >= z->k_len[b]) && !(p->causal && j > at) &&
           !(p->window > 0 && j <= at - p->window);
}

/* Place of key j in k and v; -1: nowhere. */
static int64_t key_at(const values *z, int64_t b, int64_t j, int64_t h)
{
    const problem *p = &z->p;
    int64_t row = p->rows ? z->rows[b * p->S + j] : b;
    return row < 0 || row >= z->Bk ? -1 : ((row * p->S + j) * p->Hkv + h / (p->H / p->Hkv)) * p->D;
}

static double scale_of(const problem *p) { return p->D ? 1 / sqrt((double)p->D) : 1; }

static void naive_row(values *z, int64_t b, int64_t h, int64_t i, double *s, double *slope, double *dp)
{
    const problem *p = &z->p;
    int64_t S = p->S, D = p->D, at = ((b * p->T + i) * p->H + h) * D, l = (b * p->H + h) * p->T + i;
    int64_t bias = (((z->nb > 1 ? b : 0) * z->nh + (z->nh > 1 ? h : 0)) * p->T + i) * S;
    double top = -INFINITY, sum = 0, delta = 0;
    for (int64_t j = 0; j < S; j++) {
        int64_t k = key_at(z, b, j, h);
        s[j] = dp[j] = 0, slope[j] = 1;
        for (int64_t d = 0; d < D && k >= 0; d++) s[j] += z->q[at + d] * z->k[k + d] * scale_of(p);
        if (p->softcap > 0) {
            double u = tanh(s[j] / p->softcap);
            s[j] = p->softcap * u, slope[j] = 1 - u * u;
        }
        if (z->nb) s[j] += z->bias[bias + j];
        if (!visible(z, b, i, j)) s[j] = -INFINITY;
        top = fmax(top, s[j]);
    }
    for (int64_t j = 0; j < S; j++) sum += s[j] = top == -INFINITY ? 0 : exp(s[j] - top);
    z->lse[l] = sum > 0 ? top + log(sum) : -INFINITY;
    for (int64_t j = 0; j < S && sum > 0; j++) {
        int64_t k = key_at(z, b, j, h);
        double w = s[j] /= sum, keep = 1;
        if (p->dropout > 0) {
            uint64_t index = ((((uint64_t)b + FIRST_ROW) * (uint64_t)p->H + (uint64_t)h) * (uint64_t)p->T + (uint64_t)i) *
                             (uint64_t)S + (uint64_t)j;
            double u = genet__rng_uniform((uint64_t)SEED_HIGH << 32 | SEED_LOW, STREAM, STEP, index);
            keep = u < p->dropout ? 0 : 1 / (1 - p->dropout);
        }
        for (int64_t d = 0; d < D && k >= 0; d++) {
            z->y[at + d] += w * keep * z->v[k + d];
            dp[j] += z->g[at + d] * z->v[k + d] * keep;
            z->dv[k + d] += w * keep * z->g[at + d];
        }
    }
    for (int64_t d = 0; d < D; d++) delta += z->g[at + d] * z->y[at + d];
    for (int64_t j = 0; j < S && sum > 0; j++) {
        int64_t k = key_at(z, b, j, h);
        double ds = s[j] * (dp[j] - delta);
        if (z->nb) z->dbias[bias + j] += ds;
        for (int64_t d = 0; d < D && k >= 0; d++) {
            z->dq[at + d] += ds * slope[j] * scale_of(p) * z->k[k + d];
            z->dk[k + d] += ds * slope[j] * scale_of(p) * z->q[at + d];
        }
    }
}

static void naive(values *z)
{
    const problem *p = &z->p;
    double *room = zeros(3 * p->S);
    for (int64_t b = 0; b < p->B; b++)
        for (int64_t h = 0; h < p->H; h++)
            for (int64_t i = 0; i < p->T; i++) naive_row(z, b, h, i, room, room + p->S, room + 2 * p->S);
    free(room);
}

/* --- launches by hand ----------------------------------------------------------------- */

typedef struct isa { const char *name; dtype real; const kernel_table *table; } isa;

static int isas(isa out[1 + CPU_TABLES])
{
    int n = 0;
    const kernel_table *table[CPU_TABLES];
    out[n++] = (isa){ "f64", GENET_F64, &genet__kernels_f64 };
    for (int i = 0, here = genet__cpu_tables(table); i < here; i++)
        out[n++] = (isa){ table[i]->isa, GENET_F32, table[i] };
    return n;
}

static void put(void *to, dtype t, int64_t i, double x)
{
    if (t == GENET_F64) ((double *)to)[i] = x; else ((float *)to)[i] = (float)x;
}
static int64_t place_of(const operand *o, int64_t i)
{
    int64_t at = 0;
    for (int k = o->rank - 1; k >= 0; k--) at += i % o->dim[k] * o->stride[k], i /= o->dim[k];
    return at;
}
static double get(const operand *o, int64_t i)
{
    int64_t at = place_of(o, i);
    return o->dtype == GENET_F64 ? ((const double *)o->data)[at] : ((const float *)o->data)[at];
}

/* An operand with these values (NULL: uninitialised), freshly allocated.
 * apart: every stride odd and wider than need be, or those of rows alone. */
enum { DENSE, APART, ROWS_APART };
static operand operand_of(dtype t, const double *x, int apart, int rank, const int64_t *dim)
{
    operand o = { .dtype = t, .rank = rank };
    int64_t step = apart == APART ? 3 : 1, n = 1;
    for (int i = rank - 1; i >= 0; i--) {
        o.dim[i] = dim[i];
        o.stride[i] = step;
        step *= dim[i] + (apart ? 1 : 0);
        n *= dim[i];
    }
    size_t bytes = (size_t)(step + 1) * genet_dtype_size(t);
    o.data = malloc(bytes);
    memset(o.data, 0xff, bytes);        /* NaN wherever nobody writes */
    for (int64_t i = 0; i < n && x; i++) put(o.data, t, place_of(&o, i), x[i]);
    return o;
}
#define OPERAND(t, x, apart, ...) \
    operand_of(t, x, apart, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]){__VA_ARGS__})

static operand integers(const int32_t *x, int64_t n, int rank, int64_t inner)
{
    operand o = { .dtype = GENET_I32, .rank = rank, .dim = { n / inner, inner }, .stride = { inner, 1 } };
    if (rank == 1) o.dim[0] = n, o.stride[0] = 1;
    o.data = malloc((size_t)(n + 1) * 4);
    memcpy(o.data, x, (size_t)n * 4);
    return o;
}

static void run(const kernel *k, launch *l, bool backwards)
{
    static _Alignas(64) char local[LOCAL_BYTES];
    memset(local, 0xff, sizeof local);
    l->shared_bytes = k->shared ? k->shared(l) : 0;
    l->shared = l->shared_bytes ? malloc(l->shared_bytes) : NULL;
    if (l->shared) memset(l->shared, 0xff, l->shared_bytes);
    for (int phase = 0; phase < (k->phases ? k->phases(l) : 1); phase++) {
        int64_t n = k->tasks(l, phase);
        for (int64_t i = 0; i < n; i++) k->run(l, phase, backwards ? n - 1 - i : i, local);
    }
    free(l->shared);
}

static attr attr_of(const problem *p)
{
    return (attr){ .f = { [ATT_SCALE] = scale_of(p), [ATT_SOFTCAP] = p->softcap, [ATT_DROPOUT] = p->dropout },
                   .i = { [ATT_CAUSAL] = p->causal, [ATT_WINDOW] = p->window, [ATT_STREAM] = STREAM } };
}

/* arg: y, lse, then the inputs. */
static void forward(const values *z, const isa *s, operand arg[2 + ATT_N_IN], bool backwards)
{
    const problem *p = &z->p;
    dtype t = s->real;
    operand *in = arg + 2;
    memset(arg, 0, (2 + ATT_N_IN) * sizeof *arg);
    arg[0] = OPERAND(t, NULL, false, p->B, p->T, p->H, p->D);
    arg[1] = OPERAND(t, NULL, false, p->B, p->H, p->T);
    in[ATT_Q] = OPERAND(t, z->q, p->apart, p->B, p->T, p->H, p->D);
    in[ATT_K] = OPERAND(t, z->k, p->apart, z->Bk, p->S, p->Hkv, p->D);
    in[ATT_V] = OPERAND(t, z->v, p->apart, z->Bk, p->S, p->Hkv, p->D);
    if (z->nb) in[ATT_BIAS] = OPERAND(t, z->bias, p->apart, z->nb, z->nh, p->T, p->S);
    if (p->q_lengths) in[ATT_Q_LENGTHS] = integers(z->q_len, p->B, 1, 1);
    if (p->k_lengths) in[ATT_K_LENGTHS] = integers(z->k_len, p->B, 1, 1);
    if (p->position >= 0) in[ATT_POSITION] = integers(z->position, p->B, 1, 1);
    if (p->rows) in[ATT_ROWS] = integers(z->rows, p->B * p->S, 2, p->S);
    if (p->dropout > 0) in[ATT_RNG] = integers(z->rng, 4, 1, 1);
    launch l = { .attr = attr_of(p), .n_out = 2, .n_in = ATT_N_IN, .n_arg = 2 + ATT_N_IN, .arg = arg };
    run(s->table->op[OP_attention], &l, backwards);
}

/* arg: dq, dk, dv, dbias, then the inputs; y and lse from forward's operands. */
static void backward(const values *z, const isa *s, const operand *from, operand arg[ATTG_N_OUT + ATTG_N_IN],
                     bool backwards)
{
    const problem *p = &z->p;
    dtype t = s->real;
    operand *in = arg + ATTG_N_OUT;
    memset(arg, 0, (ATTG_N_OUT + ATTG_N_IN) * sizeof *arg);
    arg[ATTG_DQ] = OPERAND(t, NULL, p->apart ? ROWS_APART : DENSE, p->B, p->T, p->H, p->D);
    arg[ATTG_DK] = OPERAND(t, NULL, p->apart ? ROWS_APART : DENSE, z->Bk, p->S, p->Hkv, p->D);
    arg[ATTG_DV] = OPERAND(t, NULL, DENSE, z->Bk, p->S, p->Hkv, p->D);
    if (z->nb) arg[ATTG_DBIAS] = OPERAND(t, NULL, false, z->nb, z->nh, p->T, p->S);
    const int same[][2] = { { ATTG_Q, ATT_Q }, { ATTG_K, ATT_K }, { ATTG_V, ATT_V }, { ATTG_BIAS, ATT_BIAS },
                            { ATTG_K_LENGTHS, ATT_K_LENGTHS }, { ATTG_POSITION, ATT_POSITION }, { ATTG_RNG, ATT_RNG } };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) in[same[i][0]] = from[2 + same[i][1]];
    in[ATTG_Y] = from[0];
    in[ATTG_LSE] = from[1];
    in[ATTG_G] = OPERAND(t, z->g, p->apart, p->B, p->T, p->H, p->D);
    launch l = { .attr = attr_of(p), .n_out = ATTG_N_OUT, .n_in = ATTG_N_IN, .n_arg = ATTG_N_OUT + ATTG_N_IN, .arg = arg };
    run(s->table->op[OP_attention_grad], &l, backwards);
}

static void release(operand *o, int n)
{
    for (int i = 0; i < n; i++) free(o[i].data);
}

/* --- against the naive definition ------------------------------------------------------ */

static void compare(const operand *got, const double *want, int64_t n, double tolerance, const char *what,
                    const problem *p, const char *name)
{
    double top = 1e-3;
    for (int64_t i = 0; i < n; i++)
        if (isfinite(want[i])) top = fmax(top, fabs(want[i]));
    for (int64_t i = 0; i < n; i++) {
        double x = get(got, i);
        if (x == want[i] || fabs(x - want[i]) <= tolerance * top) continue;
        fail_msg("%s on %s, B %d T %d S %d H %d/%d D %d: element %d is %.9g, want %.9g", what, name, (int)p->B, (int)p->T,
                 (int)p->S, (int)p->H, (int)p->Hkv, (int)p->D, (int)i, x, want[i]);
    }
}

static void check(problem p)
{
    values z = values_of(p);
    naive(&z);
    isa all[1 + CPU_TABLES];
    for (int i = 0, n = isas(all); i < n; i++) {
        operand f[2 + ATT_N_IN], b[ATTG_N_OUT + ATTG_N_IN];
        double tolerance = all[i].real == GENET_F64 ? 1e-11 : 2e-5;
        forward(&z, &all[i], f, i & 1);
        compare(&f[0], z.y, n_q(&z), tolerance, "y", &p, all[i].name);
        compare(&f[1], z.lse, n_lse(&z), tolerance, "log-sum-exp", &p, all[i].name);
        if (!p.rows) {
            backward(&z, &all[i], f, b, i & 1);
            compare(&b[ATTG_DQ], z.dq, n_q(&z), tolerance, "dq", &p, all[i].name);
            compare(&b[ATTG_DK], z.dk, n_kv(&z), tolerance, "dk", &p, all[i].name);
            compare(&b[ATTG_DV], z.dv, n_kv(&z), tolerance, "dv", &p, all[i].name);
            if (z.nb) compare(&b[ATTG_DBIAS], z.dbias, n_bias(&z), tolerance, "dbias", &p, all[i].name);
            release(b, ATTG_N_OUT);
            free(b[ATTG_N_OUT + ATTG_G].data);
        }
        release(f, 2 + ATT_N_IN);
    }
    values_free(&z);
}

static void test_shapes(void **state)
{
    (void)state;
    const int64_t t[] = { 1, 4, 5, 15, 16, 17, 33, 63, 64, 65, 131 }, d[] = { 1, 4, 8, 16, 20, 33, 64, 80 };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++)
        for (int causal = 0; causal < 2; causal++)
            check((problem){ .B = 1, .T = t[i], .S = t[i], .H = 2, .Hkv = 2, .D = d[i % 8], .causal = causal, .position = -1 });
    for (size_t i = 0; i < sizeof d / sizeof *d; i++)
        check((problem){ .B = 2, .T = 19, .S = 67, .H = 4, .Hkv = 2, .D = d[i], .causal = true, .position = 48 });
    check((problem){ .B = 1, .T = 6, .S = 9, .H = 1, .Hkv = 1, .D = 300, .position = -1 });
    check((problem){ .B = 1, .T = 34, .S = 9, .H = 1, .Hkv = 1, .D = 520, .position = -1 });
    check((problem){ .B = 1, .T = 34, .S = 66, .H = 1, .Hkv = 1, .D = ATT_MAX_HEAD, .position = -1 });
    /* many heads: one chunk; few: several */
    check((problem){ .B = 8, .T = 9, .S = 9, .H = 4, .Hkv = 4, .D = 4, .causal = true, .position = -1 });
    check((problem){ .B = 1, .T = 200, .S = 200, .H = 6, .Hkv = 1, .D = 8, .causal = true, .position = -1 });
    /* as wide and long as pays for tile registers */
    check((problem){ .B = 1, .T = 520, .S = 520, .H = 2, .Hkv = 1, .D = 64, .causal = true, .position = -1 });
    check((problem){ .B = 1, .T = 260, .S = 640, .H = 1, .Hkv = 1, .D = 128, .causal = true, .position = 370 });
    check((problem){ .B = 2, .T = 345, .S = 350, .H = 1, .Hkv = 1, .D = 97, .causal = true, .position = 5, .window = 50 });
    check((problem){ .B = 1, .T = 130, .S = 131, .H = 1, .Hkv = 1, .D = 256, .softcap = 2, .dropout = .1, .position = -1 });
    /* several tiles of queries a task, keys that are not held all at once */
    check((problem){ .B = 4, .T = 150, .S = 150, .H = 8, .Hkv = 4, .D = 4, .causal = true, .position = -1 });
    check((problem){ .B = 1, .T = 70, .S = 330, .H = 2, .Hkv = 1, .D = 300, .causal = true, .position = 200 });
    check((problem){ .B = 1, .T = 70, .S = 330, .H = 1, .Hkv = 1, .D = 300, .causal = true, .position = 250, .window = 60 });
}

/* One or a few queries: keys in several chunks, seen in part or not at all. */
static void test_long_cache(void **state)
{
    (void)state;
    for (int64_t t = 1; t < 5; t += 3)
        for (int64_t position = 20; position < 1400; position += 600) {
            problem p = { .B = 2, .T = t, .S = 1300, .H = 6, .Hkv = 2, .D = 5, .causal = true, .position = position };
            check(p);
            p.window = 530, p.rows = true, p.D = 16;
            check(p);
            p.window = 0, p.bias_b = 1, p.bias_h = -1, p.k_lengths = true, p.dropout = .1;
            check(p);
        }
}

static void test_empty(void **state)
{
    (void)state;
    for (int64_t t = 0; t < 12; t += 5) {
        check((problem){ .B = 1, .T = t, .S = 0, .H = 2, .Hkv = 1, .D = 4, .position = -1 });
        check((problem){ .B = 1, .T = t, .S = 3, .H = 2, .Hkv = 1, .D = 0, .position = -1 });
    }
    check((problem){ .B = 0, .T = 3, .S = 3, .H = 2, .Hkv = 1, .D = 4, .position = -1 });
}

static void test_options(void **state)
{
    (void)state;
    const int64_t t[] = { 2, 21, 70 };
    for (int i = 0; i < 3; i++)
        for (unsigned bits = 0; bits < 256; bits += i == 2 ? 37 : 1) {
            problem p = { .B = 4, .T = t[i], .S = i == 2 ? 131 : 23, .H = 4, .Hkv = 2, .D = i == 2 ? (bits & 2 ? 40 : 20) : 5,
                          .position = -1 };
            if (bits & 1) p.causal = true;
            if (bits & 2) p.position = i == 2 ? 61 : 4;
            if (bits & 4) p.q_lengths = true;
            if (bits & 8) p.k_lengths = true;
            if (bits & 16) p.bias_b = bits & 1 ? -1 : 1, p.bias_h = bits & 2 ? -1 : 1;
            if (bits & 32) p.softcap = 1.5;
            if (bits & 64) p.dropout = .3;
            if (bits & 128) p.apart = true, p.window = bits & 4 ? 7 : 0, p.rows = bits & 8;
            check(p);
        }
    check((problem){ .B = 2, .T = 140, .S = 140, .H = 2, .Hkv = 2, .D = 16, .causal = true, .position = -1, .window = 30 });
    check((problem){ .B = 2, .T = 140, .S = 140, .H = 2, .Hkv = 2, .D = 16, .position = -1, .window = 70 });
}

/* A score of -inf, as masks in other programs have it, is a key not seen. */
static void test_infinite_bias(void **state)
{
    (void)state;
    for (int64_t T = 2; T < 20; T += 10) {
        values z = values_of((problem){ .B = 1, .T = T, .S = 20, .H = 1, .Hkv = 1, .D = 6, .bias_b = 1, .bias_h = 1, .position = -1 });
        for (int64_t j = 0; j < 20; j++) z.bias[j] = -INFINITY, z.bias[20 + j] = j % 3 ? -INFINITY : 0;
        naive(&z);
        isa all[1 + CPU_TABLES];
        for (int i = 0, n = isas(all); i < n; i++) {
            operand f[2 + ATT_N_IN], b[ATTG_N_OUT + ATTG_N_IN];
            forward(&z, &all[i], f, false);
            backward(&z, &all[i], f, b, false);
            compare(&f[0], z.y, n_q(&z), 2e-5, "y", &z.p, all[i].name);
            compare(&f[1], z.lse, n_lse(&z), 2e-5, "log-sum-exp", &z.p, all[i].name);
            compare(&b[ATTG_DK], z.dk, n_kv(&z), 2e-5, "dk", &z.p, all[i].name);
            compare(&b[ATTG_DBIAS], z.dbias, n_bias(&z), 2e-5, "dbias", &z.p, all[i].name);
            release(b, ATTG_N_OUT);
            free(b[ATTG_N_OUT + ATTG_G].data);
            release(f, 2 + ATT_N_IN);
        }
        values_free(&z);
    }
}

/* --- bit for bit -------------------------------------------------------------------------- */

/* Rows 0 .. n of y (and their log-sum-exp) of two runs. */
static void same_rows(const problem *p, const operand *a, const operand *b, int64_t n)
{
    size_t size = genet_dtype_size(a[0].dtype);
    assert_memory_equal(a[0].data, b[0].data, (size_t)(n * p->H * p->D) * size);
    for (int64_t h = 0; h < p->H; h++)
        assert_memory_equal(a[1].data + (size_t)(h * p->T) * size, b[1].data + (size_t)(h * p->T) * size, (size_t)n * size);
}

/* A row's bits depend on what it sees alone: not on how long the cache is... */
static void check_longer_cache(problem p, int64_t S, const isa *s)
{
    values z = values_of(p);
    z.k_len[0] = (int32_t)p.S;
    operand f[2 + ATT_N_IN], g[2 + ATT_N_IN];
    forward(&z, s, f, false);
    problem longer = p;
    longer.S = S;
    values w = values_of(longer);
    memcpy(w.k, z.k, (size_t)n_kv(&z) * sizeof(double));
    memcpy(w.v, z.v, (size_t)n_kv(&z) * sizeof(double));
    w.k_len[0] = (int32_t)p.S;
    forward(&w, s, g, false);
    same_rows(&p, f, g, p.T);
    release(g, 2 + ATT_N_IN);
    release(f, 2 + ATT_N_IN);
    values_free(&w);
    values_free(&z);
}

/* ... nor on later tokens. */
static void test_causal_bits(void **state)
{
    (void)state;
    problem p = { .B = 1, .T = 70, .S = 70, .H = 2, .Hkv = 1, .D = 20, .causal = true, .position = -1, .k_lengths = true };
    isa all[1 + CPU_TABLES];
    for (int i = 0, n = isas(all); i < n; i++) {
        operand f[2 + ATT_N_IN], g[2 + ATT_N_IN];
        values z = values_of(p);
        z.k_len[0] = 70;
        forward(&z, &all[i], f, false);
        for (int64_t t = 7; t < 70; t += 9) {
            for (int64_t c = 0; c < p.D; c++) z.k[(t + 1) % 70 * p.D + c] += 5, z.v[(t + 1) % 70 * p.D + c] -= 2;
            forward(&z, &all[i], g, false);
            same_rows(&p, f, g, 8);
            release(g, 2 + ATT_N_IN);
        }
        release(f, 2 + ATT_N_IN);
        values_free(&z);
        check_longer_cache(p, 300, &all[i]);
        problem few = { .B = 1, .T = 3, .S = 400, .H = 2, .Hkv = 1, .D = 20, .position = -1, .k_lengths = true };
        check_longer_cache(few, 1700, &all[i]);
        few.S = 1100;
        check_longer_cache(few, 1700, &all[i]);
    }
}

/* Tasks in any order: the same bits. */
static void test_order_bits(void **state)
{
    (void)state;
    problem p = { .B = 2, .T = 150, .S = 150, .H = 4, .Hkv = 1, .D = 12, .causal = true, .position = -1,
                  .bias_b = 1, .bias_h = -1, .dropout = .2 };
    isa all[1 + CPU_TABLES];
    values z = values_of(p);
    for (int i = 0, n = isas(all); i < n; i++) {
        operand f[2][2 + ATT_N_IN], b[2][ATTG_N_OUT + ATTG_N_IN];
        for (int k = 0; k < 2; k++) {
            forward(&z, &all[i], f[k], k);
            backward(&z, &all[i], f[k], b[k], k);
        }
        size_t size = genet_dtype_size(all[i].real);
        assert_memory_equal(f[0][0].data, f[1][0].data, (size_t)n_q(&z) * size);
        assert_memory_equal(b[0][ATTG_DQ].data, b[1][ATTG_DQ].data, (size_t)n_q(&z) * size);
        assert_memory_equal(b[0][ATTG_DK].data, b[1][ATTG_DK].data, (size_t)n_kv(&z) * size);
        assert_memory_equal(b[0][ATTG_DV].data, b[1][ATTG_DV].data, (size_t)n_kv(&z) * size);
        assert_memory_equal(b[0][ATTG_DBIAS].data, b[1][ATTG_DBIAS].data, (size_t)n_bias(&z) * size);
        for (int k = 0; k < 2; k++) {
            release(b[k], ATTG_N_OUT);
            free(b[k][ATTG_N_OUT + ATTG_G].data);
            release(f[k], 2 + ATT_N_IN);
        }
    }
    values_free(&z);
}

/* --- a known answer --------------------------------------------------------------------- */

/* Q = K = V = [1 0 1; 0 1 1; 1 1 0], scale 1/sqrt(3), plain and causal. */
static void test_known(void **state)
{
    (void)state;
    const double x[] = { 1, 0, 1, 0, 1, 1, 1, 1, 0 };
    const double want[2][9] = {
        { .73554154, .52891692, .73554154, .52891692, .73554154, .73554154, .73554154, .73554154, .52891692 },
        { 1, 0, 1, .35954252, .64045748, 1, .73554154, .73554154, .52891692 } };
    isa all[1 + CPU_TABLES];
    for (int causal = 0; causal < 2; causal++) {
        values z = values_of((problem){ .B = 1, .T = 3, .S = 3, .H = 1, .Hkv = 1, .D = 3, .causal = causal, .position = -1 });
        memcpy(z.q, x, sizeof x), memcpy(z.k, x, sizeof x), memcpy(z.v, x, sizeof x);
        for (int i = 0, n = isas(all); i < n; i++) {
            operand f[2 + ATT_N_IN];
            forward(&z, &all[i], f, false);
            for (int j = 0; j < 9; j++) assert_true(fabs(get(&f[0], j) - want[causal][j]) < 1e-6);
            release(f, 2 + ATT_N_IN);
        }
        values_free(&z);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),         cmocka_unit_test(test_shapes),      cmocka_unit_test(test_empty),
        cmocka_unit_test(test_options),       cmocka_unit_test(test_infinite_bias), cmocka_unit_test(test_causal_bits),
        cmocka_unit_test(test_order_bits),    cmocka_unit_test(test_long_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
