/* labels: core
 * test_elementwise.c - the elementwise functions by themselves, straight from
 * the tables of every instruction set that this processor has: errors over all
 * floats against the references in double, special values, bits of short and
 * shifted runs, integers at the ends of their range, casts, and programs over
 * strided operands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/half.h"
#include "base/rng.h"
#include "device/device.h"

/* --- tables and lines --------------------------------------------------------- */

typedef struct isas { const kernel_table *table[CPU_TABLES]; int n; } isas;

static isas isas_here(void)
{
    isas s;
    s.n = genet__cpu_tables(s.table);
    return s;
}

static bool is_line(const op *o) { return o->sig != NULL; }
static bool has_letter(const op *o, char letter) { return strchr(o->sig, letter) != NULL; }
static bool gives_mask(const op *o) { return o->sig[strlen(o->sig) - 1] == 'M'; }
static const double *defaults(const op *o) { return o->probes[0].attr.f; }

/* What the line's reference says of n elements of inputs a, b, c. */
static void reference(const op *o, double *const in[], double *out, int64_t n)
{
    tensor x = { .shape = { 1, { n } } }, y = x;
    y.attr = o->probes[0].attr;
    y.n_in = o->n_in;
    y.in = (tensor *[]){ &x, &x, &x };
    o->ref(&y, in, (double *[]){ out });
}

/* --- errors ---------------------------------------------------------------------- */

/* The distance of floats about x. */
static double ulp_of(double x)
{
    int e;
    frexp(fmax(fabs(x), FLT_MIN), &e);
    return ldexp(1, e - 24);
}

/* b: the second input, which an error counted in its units is of. */
static bool within(const op *o, float got, double want, double b)
{
    float nearest = (float)want;
    if (isnan(want) || isnan(got)) return isnan(want) && isnan(got);
    if (want == 0 || isinf(want)) return !memcmp(&got, &nearest, 4);        /* and its sign */
    if (got == nearest) return true;
    double top = ldexp(1, 128), g = fmax(-top, fmin(top, (double)got)), w = fmax(-top, fmin(top, want));
    double tiny = o->ulp && fabs(w) < ldexp(1, -118) ? ldexp(1, -143) : 0;
    return fabs(g - w) <= fmax(abs(o->ulp) * ulp_of(o->ulp < 0 ? fmax(fabs(w), fabs(b)) : w), tiny);
}

static float float_of(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

enum { SWEEP = 1 << 20 };
typedef struct sweep { float *f[3], *y; double *d[3], *want; } sweep;

static int sweep_open(void **state)
{
    sweep *s = calloc(1, sizeof *s);
    for (int k = 0; k < 3; k++) s->f[k] = malloc(SWEEP * sizeof(float)), s->d[k] = malloc(SWEEP * sizeof(double));
    s->y = malloc(SWEEP * sizeof(float));
    s->want = malloc(SWEEP * sizeof(double));
    *state = s;
    return 0;
}

static int sweep_close(void **state)
{
    sweep *s = *state;
    for (int k = 0; k < 3; k++) free(s->f[k]), free(s->d[k]);
    free(s->y);
    free(s->want);
    free(s);
    return 0;
}

static void check_sweep(sweep *s, const op *o, int64_t n)
{
    isas all = isas_here();
    for (int k = 0; k < o->n_in; k++)
        for (int64_t i = 0; i < n; i++) s->d[k][i] = s->f[k][i];
    reference(o, s->d, s->want, n);
    for (int t = 0; t < all.n; t++) {
        all.table[t]->ew[o->id](s->y, s->f[0], s->f[1], s->f[2], n, defaults(o));
        for (int64_t i = 0; i < n; i++) {
            double got = gives_mask(o) ? ((uint8_t *)s->y)[i] : s->y[i];
            if (within(o, (float)got, s->want[i], s->d[1][i])) continue;
            fail_msg("%s on %s: of %a and %a: %a, want %a (%.2f ulp)", o->name, all.table[t]->isa, (double)s->f[0][i],
                     (double)s->f[1][i], got, s->want[i], fabs(got - s->want[i]) / ulp_of(s->want[i]));
        }
    }
}

static const float special[] = {
    0, 0x1p-149f, 0x1.fffffcp-127f, FLT_MIN, 1e-20f, 0x1p-24f, 0.1f, 0.25f, 0x1.fffffep-2f, 0.5f, 0x1.fffffep-1f, 1,
    0x1.000002p0f, 1.5f, 2, 2.5f, 3, 3.5f, 3.93f, 3.95f, 9.0109f, 14.2f, 14.6f, 17.4f, 33, 87.33654f, 87.33655f, 88.72283f,
    88.72284f, 88.8f, 103.97f, 103.98f, 105, 8388607.5f, 0x1p23f, 0x1p24f, 16777218, 0x1p31f, 1e20f, 0x1p127f, FLT_MAX,
    INFINITY, NAN,
};
enum { N_SPECIAL = sizeof special / sizeof *special };
static float special_at(int64_t i) { return i % 2 ? -special[i / 2 % N_SPECIAL] : special[i / 2 % N_SPECIAL]; }

/* Every 4096th float, and the special values. */
static void test_unary_errors(void **state)
{
    sweep *s = *state;
    for (int64_t i = 0; i < SWEEP; i++)
        s->f[0][i] = s->f[1][i] = i < 2 * N_SPECIAL ? special_at(i) : float_of((uint32_t)(i * 4096 + i % 4096));
    for (int id = 0; id < OP_COUNT; id++) {
        const op *o = genet__op_table[id];
        if (is_line(o) && o->n_in == 1 && !has_letter(o, 'M')) check_sweep(s, o, SWEEP);
    }
}

/* All pairs of special values, then random ones, of all sizes and near 1. */
static void test_binary_errors(void **state)
{
    sweep *s = *state;
    for (int64_t i = 0; i < SWEEP / 4; i++) {
        double u = genet__rng_uniform(1, 0, 0, (uint64_t)i), v = genet__rng_uniform(1, 1, 0, (uint64_t)i);
        bool near = i % 2;
        s->f[0][i] = near ? (float)exp(20 * u - 10) : float_of((uint32_t)(u * 4294967296.0));
        s->f[1][i] = near ? (float)(10 * v - 5) : float_of((uint32_t)(v * 4294967296.0));
        if (i % 8 == 3) s->f[0][i] = 1 + (float)(u - 0.5) * 0x1p-10f, s->f[1][i] *= 1000;
        if (i % 8 == 5) s->f[0][i] = -s->f[0][i], s->f[1][i] = rintf(s->f[1][i]);
        if (i >= 4 * N_SPECIAL * N_SPECIAL) continue;
        s->f[0][i] = special_at(i / (2 * N_SPECIAL));
        s->f[1][i] = special_at(i % (2 * N_SPECIAL));
    }
    for (int id = 0; id < OP_COUNT; id++) {
        const op *o = genet__op_table[id];
        if (is_line(o) && o->n_in == 2 && !strchr("M", o->sig[0])) check_sweep(s, o, SWEEP / 4);
    }
}

/* --- bits ----------------------------------------------------------------------------- */

/* Runs of every length and alignment give the bits of single elements, in
 * place too. */
static void check_runs(const kernel_table *t, const op *o)
{
    enum { N = 96 };
    static float a[N], b[N], c[N];
    static uint8_t mask[N];
    float one[N], y[N];
    bool to_mask = gives_mask(o);
    size_t size = to_mask ? 1 : 4;
    for (int i = 0; i < N; i++) {
        a[i] = (float)(8 * genet__rng_uniform(2, 0, 0, (uint64_t)i) - 4);
        b[i] = (float)(8 * genet__rng_uniform(2, 1, 0, (uint64_t)i) - 4);
        c[i] = (float)(8 * genet__rng_uniform(2, 2, 0, (uint64_t)i) - 4);
        mask[i] = i % 3 == 0;
    }
    const void *in[3] = { o->sig[0] == 'M' ? (void *)mask : a, o->sig[1] == 'M' ? (void *)mask : b, c };
    size_t in_size[3] = { o->sig[0] == 'M' ? 1 : 4, o->sig[1] == 'M' ? 1 : 4, 4 };
#define AT(k, i) ((const char *)in[k] + (size_t)(i) * in_size[k])
    for (int i = 0; i < N; i++) t->ew[o->id]((char *)one + (size_t)i * size, AT(0, i), AT(1, i), AT(2, i), 1, defaults(o));
    for (int from = 0; from < 16; from++)
        for (int n = 0; n <= 70; n++) {
            memset(y, 0x5a, sizeof y);
            t->ew[o->id](y, AT(0, from), AT(1, from), AT(2, from), n, defaults(o));
            assert_memory_equal(y, (char *)one + (size_t)from * size, (size_t)n * size);
            assert_int_equal(((unsigned char *)y)[(size_t)n * size], 0x5a);
            if (in_size[0] != size) continue;
            memcpy(y, AT(0, from), (size_t)n * size);
            t->ew[o->id](y, y, AT(1, from), AT(2, from), n, defaults(o));
            assert_memory_equal(y, (char *)one + (size_t)from * size, (size_t)n * size);
        }
#undef AT
}

static void test_bits(void **state)
{
    (void)state;
    isas all = isas_here();
    for (int t = 0; t < all.n; t++)
        for (int id = 0; id < OP_COUNT; id++)
            if (is_line(genet__op_table[id])) check_runs(all.table[t], genet__op_table[id]);
}

/* --- attributes --------------------------------------------------------------------------- */

/* Of 1 the square is 1, and -1 may be mistaken for the negative of its
 * neighbour: a rule may use such attributes wrongly and pass. */
static void test_telling_attributes(void **state)
{
    (void)state;
    for (int id = 0; id < OP_COUNT; id++) {
        if (!is_line(genet__op_table[id])) continue;
        const double *f = defaults(genet__op_table[id]);
        assert_true(fabs(f[0]) != 1 && fabs(f[1]) != 1);
        assert_true(f[1] == 0 || fabs(f[0]) != fabs(f[1]));
        assert_true(f[1] == 0 || f[0] != 0);
    }
}

/* --- integers ---------------------------------------------------------------------------- */

static void test_integers(void **state)
{
    (void)state;
    static const int32_t v[] = { 0, 1, -1, 2, 46341, -46341, 65536, INT32_MAX, INT32_MIN, INT32_MIN + 1 };
    enum { N = sizeof v / sizeof *v };
    ew_fn *const *ew = genet__kernels_i32.ew;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            int64_t a = v[i], b = v[j];
            int32_t y;
            uint8_t m;
#define RUN(y, name)        ew[OP_##name](y, &v[i], &v[j], NULL, 1, NULL)
#define WRAPS(name, value)  RUN(&y, name); assert_int_equal(y, (int32_t)(uint32_t)(uint64_t)(value))
#define HOLDS(name, value)  RUN(&m, name); assert_int_equal(m, value)
            WRAPS(add, a + b);
            WRAPS(sub, a - b);
            WRAPS(mul, a * b);
            WRAPS(min, a < b ? a : b);
            WRAPS(max, a > b ? a : b);
            WRAPS(neg, -a);
            WRAPS(abs, a < 0 ? -a : a);
            WRAPS(sign, (a > 0) - (a < 0));
            WRAPS(square, a * a);
            HOLDS(lt, a < b);
            HOLDS(ge, a >= b);
            HOLDS(eq, a == b);
            ew[OP_where](&y, &(uint8_t){ i & 1 }, &v[i], &v[j], 1, NULL);
            assert_int_equal(y, i & 1 ? v[i] : v[j]);
        }
    assert_null(ew[OP_exp]);
}

/* --- casts ---------------------------------------------------------------------------------- */

static void check_halves(const kernel_table *t)
{
    static uint16_t h[65536], back[65536];
    static float f[65536];
    for (int i = 0; i < 65536; i++) h[i] = (uint16_t)i;
    t->cast[GENET_F16][GENET_F32](f, h, NULL, NULL, 65536, NULL);
    t->cast[GENET_F32][GENET_F16](back, f, NULL, NULL, 65536, NULL);
    for (int i = 0; i < 65536; i++) {
        float want = genet__from_f16(h[i]);
        assert_memory_equal(&f[i], &want, 4);
        assert_int_equal(back[i], genet__to_f16(want));
    }
    t->cast[GENET_BF16][GENET_F32](f, h, NULL, NULL, 65536, NULL);
    for (int i = 0; i < 65536; i++) {
        float want = genet__from_bf16(h[i]);
        assert_memory_equal(&f[i], &want, 4);
    }
    for (int i = 0; i < 65536; i++) f[i] = float_of((uint32_t)i * 65537u + (uint32_t)(i % 5) * 0x1000u);
    t->cast[GENET_F32][GENET_F16](back, f, NULL, NULL, 65536, NULL);
    for (int i = 0; i < 65536; i++) assert_int_equal(back[i], genet__to_f16(f[i]));
    t->cast[GENET_F32][GENET_BF16](back, f, NULL, NULL, 65536, NULL);
    for (int i = 0; i < 65536; i++) assert_int_equal(back[i], genet__to_bf16(f[i]));
}

/* Doubles just beside a half-way point must not be rounded to it first. */
static void check_single_rounding(const kernel_table *t)
{
    const double x[] = { 1 + ldexp(1, -11) + ldexp(1, -40), 1 + ldexp(1, -11) - ldexp(1, -40), 1 + ldexp(1, -11),
                         65520, ldexp(1, -25) + ldexp(1, -70), 1e300, -INFINITY };
    const uint16_t f16[] = { 0x3c01, 0x3c00, 0x3c00, 0x7c00, 1, 0x7c00, 0xfc00 };
    uint16_t y[7];
    t->cast[GENET_F64][GENET_F16](y, x, NULL, NULL, 7, NULL);
    assert_memory_equal(y, f16, sizeof y);
    const double z[] = { 1 + ldexp(1, -8) + ldexp(1, -40), 1 + ldexp(1, -8), -3.4e38, 3.3e38, 1e39 };
    const uint16_t bf16[] = { 0x3f81, 0x3f80, 0xff80, 0x7f78, 0x7f80 };
    t->cast[GENET_F64][GENET_BF16](y, z, NULL, NULL, 5, NULL);
    assert_memory_equal(y, bf16, sizeof bf16);
}

static void check_to_integers(const kernel_table *t)
{
    const float x[] = { 1.99f, -1.99f, 0x1p31f, -0x1p31f, 3e9f, -3e9f, INFINITY, -INFINITY, NAN, 254.9f, 255.5f, -0.5f,
                        2147483520 };
    const int32_t i32[] = { 1, -1, INT32_MAX, INT32_MIN, INT32_MAX, INT32_MIN, INT32_MAX, INT32_MIN, 0, 254, 255, 0,
                            2147483520 };
    const uint8_t u8[] = { 1, 0, 255, 0, 255, 0, 255, 0, 0, 254, 255, 0, 255 };
    enum { N = sizeof x / sizeof *x };
    int32_t y[N];
    uint8_t z[N];
    double d[N];
    t->cast[GENET_F32][GENET_I32](y, x, NULL, NULL, N, NULL);
    assert_memory_equal(y, i32, sizeof y);
    t->cast[GENET_F32][GENET_U8](z, x, NULL, NULL, N, NULL);
    assert_memory_equal(z, u8, sizeof z);
    t->cast[GENET_F32][GENET_F64](d, x, NULL, NULL, N, NULL);
    t->cast[GENET_F64][GENET_I32](y, d, NULL, NULL, N, NULL);
    assert_memory_equal(y, i32, sizeof y);
    t->cast[GENET_I32][GENET_U8](z, i32, NULL, NULL, N, NULL);
    assert_memory_equal(z, u8, sizeof z);
}

static void test_casts(void **state)
{
    (void)state;
    isas all = isas_here();
    for (int t = 0; t < all.n; t++) {
        check_halves(all.table[t]);
        check_single_rounding(all.table[t]);
        check_to_integers(all.table[t]);
        for (int from = 0; from < GENET_Q8_0; from++)        /* small whole numbers go everywhere */
            for (int to = 0; to < GENET_Q8_0; to++) {
                double x = 77, y = 0;
                char a[8], b[8];
                all.table[t]->cast[GENET_F64][from](a, &x, NULL, NULL, 1, NULL);
                all.table[t]->cast[from][to](b, a, NULL, NULL, 1, NULL);
                all.table[t]->cast[to][GENET_F64](&y, b, NULL, NULL, 1, NULL);
                assert_true(y == 77);
            }
    }
}

/* --- programs ------------------------------------------------------------------------------------ */

static operand operand_of(void *data, dtype type, int rank, const int64_t *dim, const int64_t *stride)
{
    operand o = { .data = data, .dtype = type, .rank = rank };
    memcpy(o.dim, dim, (size_t)rank * sizeof *dim);
    memcpy(o.stride, stride, (size_t)rank * sizeof *stride);
    return o;
}

static operand dense(void *data, dtype type, int64_t n) { return operand_of(data, type, 1, &n, &(int64_t){ 1 }); }

static int64_t offset_of(const operand *o, int64_t flat)
{
    int64_t at = 0;
    for (int d = o->rank - 1; d >= 0; d--) {
        at += flat % o->dim[d] * o->stride[d];
        flat /= o->dim[d];
    }
    return at;
}

static void run_all(const kernel_table *t, const launch *l, char *local)
{
    for (int64_t task = t->elementwise->tasks(l, 0) - 1; task >= 0; task--) t->elementwise->run(l, 0, task, local);
}

/* mask = a < b; y = f32(i32(where(mask, a + 2, b))): types mixed, a and b of
 * any layout, the mask and y stored. */
static void check_program(const kernel_table *t, const operand *a, const operand *b, int64_t n, char *local)
{
    float *y = malloc((size_t)n * sizeof *y + 1);
    uint8_t *mask = malloc((size_t)n + 1);
    operand arg[] = { dense(y, GENET_F32, n), dense(mask, GENET_U8, n), *a, *b };
    enum { Y, MASK, A, B, TWO, SUM, CHOSEN, WHOLE, N_REG };
    ew_reg reg[N_REG] = {
        [Y] = { .kind = EW_ARG, .dtype = GENET_F32, .arg = 0, .slot = -1 },
        [MASK] = { .kind = EW_ARG, .dtype = GENET_U8, .arg = 1, .slot = -1 },
        [A] = { .kind = EW_ARG, .dtype = GENET_F32, .arg = 2, .slot = 0 },
        [B] = { .kind = EW_ARG, .dtype = GENET_F32, .arg = 3, .slot = 1 },
        [TWO] = { .kind = EW_CONST, .dtype = GENET_F32, .slot = 2, .value = 2 }, [SUM] = { .dtype = GENET_F32, .slot = 3 },
        [CHOSEN] = { .dtype = GENET_F32, .slot = 3 }, [WHOLE] = { .dtype = GENET_I32, .slot = 4 },
    };
    ew_instr instr[] = {
        { t->ew[OP_lt], MASK, A, B, -1, false, {0} },
        { t->ew[OP_add], SUM, A, TWO, -1, false, {0} },
        { t->ew[OP_where], CHOSEN, MASK, SUM, B, false, {0} },
        { t->cast[GENET_F32][GENET_I32], WHOLE, CHOSEN, -1, -1, false, {0} },
        { t->cast[GENET_I32][GENET_F32], Y, WHOLE, -1, -1, false, {0} },
    };
    ew_program p = { { 1, { n } }, n, N_REG, sizeof instr / sizeof *instr, 5, reg, instr };
    launch l = { .kernel = t->elementwise, .n_arg = 4, .arg = arg, .program = &p };
    run_all(t, &l, local);
    for (int64_t i = 0; i < n; i++) {
        float x = ((float *)(void *)a->data)[offset_of(a, i)], z = ((float *)(void *)b->data)[offset_of(b, i)];
        assert_int_equal(mask[i], x < z);
        assert_true(y[i] == truncf(x < z ? x + 2 : z));
    }
    free(y);
    free(mask);
}

/* A copy alone, which is gathered in place; elements of each size. */
static void check_copy(const kernel_table *t, operand a, int64_t n, char *local)
{
    for (int type = 0; type < GENET_Q8_0; type++) {
        size_t size = genet_dtype_size((dtype)type);
        char *y = malloc((size_t)n * size + 1);
        a.dtype = (dtype)type;
        operand arg[] = { dense(y, (dtype)type, n), a };
        ew_reg reg[] = { { .kind = EW_ARG, .dtype = (dtype)type, .arg = 0, .slot = -1 },
                         { .kind = EW_ARG, .dtype = (dtype)type, .arg = 1, .slot = 0 } };
        ew_instr instr = { t->cast[type][type], 0, 1, -1, -1, false, {0} };
        ew_program p = { { 1, { n } }, n, 2, 1, 1, reg, &instr };
        launch l = { .kernel = t->elementwise, .n_arg = 2, .arg = arg, .program = &p };
        run_all(t, &l, local);
        for (int64_t i = 0; i < n; i++)
            assert_memory_equal(y + (size_t)i * size, a.data + offset_of(&a, i) * (int64_t)size, size);
        free(y);
    }
}

static void test_programs(void **state)
{
    (void)state;
    static const struct { int rank; int64_t dim[4], a[4], b[4]; } layout[] = {
        { 1, { 1 }, { 1 }, { 1 } }, { 1, { 511 }, { 1 }, { 2 } }, { 1, { 1025 }, { 0 }, { 1 } },
        { 2, { 0, 5 }, { 5, 1 }, { 0, 1 } }, { 2, { 37, 29 }, { 29, 1 }, { 0, 1 } },
        { 2, { 37, 29 }, { 1, 37 }, { 1, 0 } }, { 2, { 3, 700 }, { 700, 1 }, { 0, 1 } },
        { 3, { 5, 1, 700 }, { 700, 3, 1 }, { 1, 0, 5 } }, { 4, { 3, 5, 7, 11 }, { 385, 11, 55, 1 }, { 0, 1, 0, 5 } },
        { 3, { 130, 3, 129 }, { 387, 129, 1 }, { 1, 130, 390 } }, { 2, { 300, 130 }, { 1, 300 }, { 130, 1 } },
    };
    char *data = malloc(60000 * 8), *other = malloc(60000 * 8), *local = aligned_alloc(64, LOCAL_BYTES);
    for (int64_t i = 0; i < 60000; i++) {
        ((float *)(void *)data)[i] = (float)(200 * genet__rng_uniform(3, 0, 0, (uint64_t)i) - 100);
        ((float *)(void *)other)[i] = (float)(200 * genet__rng_uniform(3, 1, 0, (uint64_t)i) - 100);
    }
    memcpy(data + 60000 * 4, other, 60000 * 4);
    isas all = isas_here();
    for (int t = 0; t < all.n; t++)
        for (size_t k = 0; k < sizeof layout / sizeof *layout; k++) {
            operand a = operand_of(data, GENET_F32, layout[k].rank, layout[k].dim, layout[k].a);
            operand b = operand_of(other, GENET_F32, layout[k].rank, layout[k].dim, layout[k].b);
            int64_t n = 1;
            for (int d = 0; d < a.rank; d++) n *= a.dim[d];
            check_program(all.table[t], &a, &b, n, local);
            check_copy(all.table[t], a, n, local);
        }
    free(data);
    free(other);
    free(local);
}

/* --- types and shapes ------------------------------------------------------------------------------ */

static void expect_error(const char *text, tensor *(*build)(tensor *f, tensor *i, tensor *m, tensor *row))
{
    genet_graph *g = genet_graph_new();
    tensor *f = genet_input(g, "f", GENET_F32, GENET_DIMS(2, 3)), *i = genet_input(g, "i", GENET_I32, GENET_DIMS(2, 3));
    tensor *m = genet_input(g, "m", GENET_U8, GENET_DIMS(2, 3)), *row = genet_input(g, "row", GENET_F32, GENET_DIMS(2));
    build(f, i, m, row);
    assert_non_null(genet_graph_error(g));
    if (!strstr(genet_graph_error(g), text)) fail_msg("%s: not in: %s", text, genet_graph_error(g));
    genet_graph_free(g);
}

#define BUILD(name, call) \
    static tensor *name(tensor *f, tensor *i, tensor *m, tensor *row) { (void)f, (void)i, (void)m, (void)row; return call; }
BUILD(build_mixed, genet_add(f, i))
BUILD(build_chosen, genet_where(m, i, f))
BUILD(build_integer, genet_exp(i))
BUILD(build_mask, genet_neg(m))
BUILD(build_no_mask, genet_logical_and(m, f))
BUILD(build_shapes, genet_mul(f, row))

static void test_errors(void **state)
{
    (void)state;
    expect_error("add: mixes f32 and i32: use cast", build_mixed);
    expect_error("where: mixes i32 and f32: use cast", build_chosen);
    expect_error("exp: a is i32, not f32 or f64: use cast", build_integer);
    expect_error("neg: a is u8, not f32, f64 or i32: use cast", build_mask);
    expect_error("logical_and: b is f32, not a mask (u8): compare, or use cast", build_no_mask);
    expect_error("mul: shapes [2,3] and [2] do not broadcast", build_shapes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_unary_errors, sweep_open, sweep_close),
        cmocka_unit_test_setup_teardown(test_binary_errors, sweep_open, sweep_close),
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_telling_attributes),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_casts),
        cmocka_unit_test(test_programs),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
