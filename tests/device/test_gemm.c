/* labels: core
 * test_gemm.c - the matmul kernel by itself, on every instruction set that this
 * processor has: hand-made launches against naive sums in double.
 *
 * Operands, C and the kernel's scratch end where a page without access begins,
 * so one element too far is a fault.  Each launch runs twice, its tasks in
 * rising and in falling order over dirty scratch, and must give the same bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "device/device.h"

/* --- instruction sets ------------------------------------------------------------- */

typedef struct isa { const char *name; const kernel *kernel; dtype dtype; double eps; } isa;
enum { N_ISA = 1 + CPU_TABLES };

static int isas(isa out[N_ISA])
{
    const kernel_table *table[CPU_TABLES];
    int n = 0, n_here = genet__cpu_tables(table);
    out[n++] = (isa){ "f64", genet__kernels_f64.op[OP_matmul], GENET_F64, 0x1p-53 };
    while (n_here-- > 0) out[n++] = (isa){ table[n_here]->isa, table[n_here]->op[OP_matmul], GENET_F32, 0x1p-24 };
    return n;
}

/* --- memory before a wall ------------------------------------------------------------ */

typedef struct walled { char *at; char *map; size_t map_bytes; } walled;

/* size_bytes of 0xff (NaN in both types) that end at a page without access. */
static walled walled_new(size_t size_bytes)
{
    size_t page = 4096, body = (size_bytes + page - 1) / page * page;
    walled w = { .map_bytes = body + page };
    w.map = mmap(NULL, w.map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(w.map != MAP_FAILED);
    assert_int_equal(mprotect(w.map + body, page, PROT_NONE), 0);
    w.at = w.map + body - size_bytes;
    memset(w.at, 0xff, size_bytes);
    return w;
}
static void walled_free(walled *w) { munmap(w->map, w->map_bytes); }

static double get(const char *at, dtype t, int64_t i)
{
    return t == GENET_F64 ? ((const double *)at)[i] : (double)((const float *)at)[i];
}
static void put(char *at, dtype t, int64_t i, double x)
{
    if (t == GENET_F64) ((double *)at)[i] = x; else ((float *)at)[i] = (float)x;
}

/* --- operands in every layout ---------------------------------------------------------- */

typedef enum layout {
    ROWS, ROWS_PADDED, ROWS_PAGED,              /* unit column stride; PAGED: rows 4 KiB (or 8) apart */
    COLS, COLS_PADDED, COLS_PAGED,              /* unit row stride: transposed */
    STEPPED, SAME_ROW, SAME_COL,                /* no unit stride; broadcast rows; broadcast columns */
    HEADS,                                      /* (B, H, T, D) seen in (B, T, H, D) */
    N_LAYOUT
} layout;

typedef struct input { operand o; walled w; } input;

/* A matrix or batch of them; dim: rank extents.  Values are multiples of 2^-10
 * in [-1, 1), exact in both types. */
static input input_new(const isa *s, layout how, int rank, const int64_t *dim, uint32_t seed)
{
    input x = { .o = { .dtype = s->dtype, .rank = rank } };
    int64_t r = dim[rank - 2], c = dim[rank - 1], rs = c, cs = 1;
    switch (how) {
    case ROWS_PADDED: rs = c + 3; break;
    case ROWS_PAGED:  rs = (c + 1023) / 1024 * 1024; break;
    case COLS:        rs = 1; cs = r; break;
    case COLS_PADDED: rs = 1; cs = r + 5; break;
    case COLS_PAGED:  rs = 1; cs = (r + 1023) / 1024 * 1024; break;
    case STEPPED:     rs = 2 * c + 1; cs = 2; break;
    case SAME_ROW:    rs = 0; break;
    case SAME_COL:    rs = 1; cs = 0; break;
    case HEADS:       rs = c * (rank > 2 ? dim[rank - 3] : 1); break;
    default:          break;
    }
    int64_t step = how == HEADS ? c : rs * r + cs * c, span = 1;
    memcpy(x.o.dim, dim, (size_t)rank * sizeof *dim);
    x.o.stride[rank - 2] = rs;
    x.o.stride[rank - 1] = cs;
    for (int i = rank - 3; i >= 0; i--) {
        x.o.stride[i] = step;
        step = how == HEADS && i == rank - 3 ? rs * r : step * dim[i];
    }
    for (int i = 0; i < rank; i++) span = dim[i] && span ? span + (dim[i] - 1) * x.o.stride[i] : 0;
    x.w = walled_new((size_t)span * genet_dtype_size(s->dtype));
    x.o.data = x.w.at;
    for (int64_t i = 0; i < span; i++) {
        seed = seed * 1664525u + 1013904223u;
        put(x.o.data, s->dtype, i, ((int)(seed >> 21) - 1024) / 1024.0);
    }
    return x;
}

/* --- running a launch --------------------------------------------------------------------- */

static void run_tasks(const launch *l, int phase, bool falling, char *local)
{
    int64_t n = l->kernel->tasks(l, phase);
    for (int64_t i = 0; i < n; i++) l->kernel->run(l, phase, falling ? n - 1 - i : i, local);
}

static walled local;        /* one thread's, dirty from the launch before */

static void run_launch(launch *l, bool falling)
{
    walled shared = walled_new(l->shared_bytes = l->kernel->shared(l));
    l->shared = shared.at;
    int n = l->kernel->phases(l);
    for (int phase = 0; phase < n; phase++) run_tasks(l, phase, falling, local.at);
    walled_free(&shared);
}

/* Run both ways; the second result stays in c. */
static void run_both_ways(launch *l, walled *c, size_t c_bytes)
{
    char *first = malloc(c_bytes + 1);
    assert_non_null(first);
    run_launch(l, false);
    memcpy(first, c->at, c_bytes);
    memset(c->at, 0xff, c_bytes);
    run_launch(l, true);
    assert_memory_equal(first, c->at, c_bytes);
    free(first);
}

/* --- the naive answer ----------------------------------------------------------------------- */

/* Element `flat` of the product, and the sum of magnitudes that scales its
 * rounding error. */
static double naive(const operand *c, const operand *a, const operand *b, int64_t flat, double *scale)
{
    int64_t ia = 0, ib = 0, K = a->dim[a->rank - 1], rest = flat;
    for (int i = 1; i <= c->rank; i++) {
        int64_t n = c->dim[c->rank - i], k = rest % n;
        rest /= n;
        if (i != 1 && i <= a->rank && a->dim[a->rank - i] != 1) ia += k * a->stride[a->rank - i];
        if (i != 2 && i <= b->rank && b->dim[b->rank - i] != 1) ib += k * b->stride[b->rank - i];
    }
    double sum = 0;
    *scale = 0;
    for (int64_t k = 0; k < K; k++) {
        double p = get(a->data, a->dtype, ia + k * a->stride[a->rank - 1]) *
                   get(b->data, b->dtype, ib + k * b->stride[b->rank - 2]);
        sum += p;
        *scale += fabs(p);
    }
    return sum;
}

typedef struct sample { int64_t every; bool bias; } sample;

/* The epilogue of these tests: y = a + b. */
static void add_f32(void *y, const void *a, const void *b, const void *c, int64_t n, const double *p)
{
    (void)c, (void)p;
    for (int64_t i = 0; i < n; i++) ((float *)y)[i] = ((const float *)a)[i] + ((const float *)b)[i];
}
static void add_f64(void *y, const void *a, const void *b, const void *c, int64_t n, const double *p)
{
    (void)c, (void)p;
    for (int64_t i = 0; i < n; i++) ((double *)y)[i] = ((const double *)a)[i] + ((const double *)b)[i];
}

/* C = A B (+ bias by column, in place: an element finished twice shows), all
 * or every n-th element compared. */
static void check(const isa *s, const input *a, const input *b, sample how)
{
    launch l = { .kernel = s->kernel, .n_out = 1, .n_in = 2, .n_arg = how.bias ? 4 : 3 };
    operand arg[4] = { { .dtype = s->dtype }, a->o, b->o }, *c = &arg[0];
    c->rank = a->o.rank > b->o.rank ? a->o.rank : b->o.rank;
    int64_t numel = 1;
    for (int i = 1; i <= c->rank; i++) {
        int64_t p = i <= a->o.rank ? a->o.dim[a->o.rank - i] : 1, q = i <= b->o.rank ? b->o.dim[b->o.rank - i] : 1;
        c->dim[c->rank - i] = i == 1 ? q : i == 2 ? p : p == 1 ? q : p;
        c->stride[c->rank - i] = numel;
        numel *= c->dim[c->rank - i];
    }
    l.arg = arg;
    input bias = { 0 };
    ew_program program;
    ew_reg reg[2] = { { EW_ARG, s->dtype, 0, 0, 0 }, { EW_ARG, s->dtype, 3, 1, 0 } };
    ew_instr instr = { s->dtype == GENET_F64 ? add_f64 : add_f32, 0, 0, 1, -1, false, { 0 } };
    if (how.bias) {
        bias = input_new(s, SAME_ROW, c->rank, c->dim, 3);
        for (int i = 0; i < c->rank - 1; i++) bias.o.stride[i] = 0;
        arg[3] = bias.o;
        program = (ew_program){ .numel = numel, .n_reg = 2, .n_instr = 1, .n_slot = 2, .reg = reg, .instr = &instr };
        program.space.rank = c->rank;
        memcpy(program.space.dim, c->dim, sizeof c->dim);
        l.program = &program;
    }
    size_t bytes = (size_t)numel * genet_dtype_size(s->dtype);
    walled cw = walled_new(bytes);
    c->data = cw.at;
    run_both_ways(&l, &cw, bytes);
    for (int64_t i = 0; i < numel; i += how.every) {
        double scale, want = naive(c, &a->o, &b->o, i, &scale), got = get(c->data, s->dtype, i);
        if (how.bias) want += get(bias.o.data, s->dtype, i % c->dim[c->rank - 1]);
        double bound = s->eps * ((double)a->o.dim[a->o.rank - 1] + 2) * (scale + 1);
        if (!(fabs(got - want) <= bound))
            fail_msg("%s: M %lld N %lld K %lld, element %lld: %.9g, not %.9g", s->name, (long long)c->dim[c->rank - 2],
                     (long long)c->dim[c->rank - 1], (long long)a->o.dim[a->o.rank - 1], (long long)i, got, want);
    }
    walled_free(&cw);
    if (how.bias) walled_free(&bias.w);
}

static void check_layouts(const isa *s, layout la, layout lb, int ra, const int64_t *da, int rb, const int64_t *db,
                          sample how)
{
    input a = input_new(s, la, ra, da, 1), b = input_new(s, lb, rb, db, 2);
    check(s, &a, &b, how);
    walled_free(&a.w);
    walled_free(&b.w);
}

static void check_matrix(const isa *s, layout la, layout lb, int64_t M, int64_t N, int64_t K, sample how)
{
    check_layouts(s, la, lb, 2, (int64_t[]){ M, K }, 2, (int64_t[]){ K, N }, how);
}

#define EACH_ISA(s)                                                        \
    isa all_[N_ISA];                                                       \
    int n_ = isas(all_);                                                   \
    for (const isa *s = all_; s < all_ + n_; s++)

/* --- tests ------------------------------------------------------------------------------------ */

static const sample whole = { 1, false }, with_bias = { 1, true };

/* Tiles of 14 x 32, 6 x 16, 4 x 8 and 4 x 4, all of their edges. */
static void test_small_shapes(void **state)
{
    (void)state;
    static const int64_t Ms[] = { 0, 1, 2, 3, 4, 5, 7, 8, 11, 13, 14, 15, 27, 29, 43 };
    static const int64_t Ns[] = { 0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 65, 97 };
    static const int64_t Ks[] = { 0, 1, 2, 3, 4, 5, 16, 33 };
    EACH_ISA(s)
        for (size_t i = 0; i < sizeof Ms / sizeof *Ms; i++)
            for (size_t j = 0; j < sizeof Ns / sizeof *Ns; j++)
                for (size_t k = 0; k < sizeof Ks / sizeof *Ks; k++)
                    check_matrix(s, ROWS, (i + j) % 2 ? ROWS : COLS, Ms[i], Ns[j], Ks[k], k % 2 ? with_bias : whole);
}

/* One row, one small product, and both ways of sharing. */
static void test_layouts(void **state)
{
    (void)state;
    EACH_ISA(s)
        for (layout la = 0; la < N_LAYOUT; la++)
            for (layout lb = 0; lb < N_LAYOUT; lb++) {
                check_matrix(s, la, lb, 1, 131, 75, with_bias);
                check_matrix(s, la, lb, 77, 1, 83, with_bias);
                check_matrix(s, la, lb, 31, 48, 37, whole);
                check_matrix(s, la, lb, 131, 103, 79, (sample){ 5, true });
                check_matrix(s, la, lb, 37, 301, 97, (sample){ 5, true });
            }
}

/* Blocks of depth are 768 or less; chunks of the shared operand 8 MiB or less. */
static void test_deep_and_large(void **state)
{
    (void)state;
    static const int64_t Ks[] = { 767, 768, 769, 1536, 1537 };
    isa widest = { 0 };
    EACH_ISA(s) {
        for (size_t k = 0; k < sizeof Ks / sizeof *Ks; k++) {
            check_matrix(s, ROWS, ROWS, 15, 33, Ks[k], whole);
            check_matrix(s, COLS, ROWS, 45, 130, Ks[k], with_bias);
            check_matrix(s, ROWS, COLS, 130, 45, Ks[k], with_bias);
        }
        check_matrix(s, COLS, COLS, 20, 24, 30011, (sample){ 7, true });
        check_matrix(s, ROWS, COLS, 155, 301, 8009, (sample){ 971, true });
        check_matrix(s, COLS, ROWS, 3000, 20, 768, (sample){ 97, true });
        check_matrix(s, ROWS, COLS, 3, 5003, 770, (sample){ 97, true });
        check_matrix(s, ROWS, ROWS, 1, 5003, 770, (sample){ 7, true });
        check_matrix(s, ROWS, ROWS, 31, 515, 1026, (sample){ 97, true });       /* few rows, B packed on the way: */
        check_matrix(s, ROWS, ROWS_PADDED, 50, 700, 511, (sample){ 97, true });
        check_matrix(s, COLS, ROWS, 150, 301, 601, (sample){ 97, true });
        widest = *s;
    }
    check_matrix(&widest, ROWS, ROWS, 540, 1070, 1999, (sample){ 971, true });
}

static void test_batches(void **state)
{
    (void)state;
    static const struct { int ra; int64_t a[4]; int rb; int64_t b[4]; } shapes[] = {
        { 3, { 9, 5, 7 }, 3, { 9, 7, 33 } },
        { 4, { 3, 4, 17, 8 }, 4, { 3, 4, 8, 16 } },
        { 4, { 2, 3, 64, 32 }, 4, { 2, 3, 32, 64 } },
        { 4, { 3, 1, 5, 6 }, 3, { 4, 6, 9 } },                 /* broadcast, each a different axis */
        { 2, { 5, 6 }, 4, { 2, 3, 6, 7 } },
        { 4, { 2, 3, 5, 6 }, 2, { 6, 7 } },                     /* rows that may be folded */
        { 4, { 2, 3, 1, 19 }, 2, { 19, 130 } },
        { 4, { 2, 3, 1, 19 }, 4, { 2, 3, 19, 130 } },           /* many single rows */
        { 4, { 5, 3, 23, 19 }, 4, { 5, 3, 19, 1 } },
        { 3, { 3, 131, 103 }, 3, { 3, 103, 79 } },              /* shared, entry by entry */
        { 3, { 9, 131, 103 }, 3, { 1, 103, 79 } },
        { 3, { 0, 3, 4 }, 3, { 1, 4, 5 } },
        { 3, { 2, 3, 0 }, 3, { 1, 0, 5 } },
    };
    static const layout pairs[][2] = { { ROWS, ROWS }, { HEADS, HEADS }, { COLS, ROWS }, { ROWS_PADDED, COLS },
                                       { HEADS, COLS_PADDED }, { STEPPED, STEPPED } };
    EACH_ISA(s)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            for (size_t k = 0; k < sizeof pairs / sizeof *pairs; k++)
                check_layouts(s, pairs[k][0], pairs[k][1], shapes[i].ra, shapes[i].a, shapes[i].rb, shapes[i].b,
                              with_bias);
}

static int make_local(void **state)
{
    (void)state;
    local = walled_new(LOCAL_BYTES);
    return 0;
}
static int free_local(void **state)
{
    (void)state;
    walled_free(&local);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_shapes),
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_deep_and_large),
        cmocka_unit_test(test_batches),
    };
    return cmocka_run_group_tests(tests, make_local, free_local);
}
