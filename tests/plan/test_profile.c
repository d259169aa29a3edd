/* labels: core
 * test_profile.c - the profile of a device's plans: what ran is counted, times
 * fit into each other, values stay the same, the trace is JSON that a viewer
 * can draw. */
#include <stdio.h>
#include "base/alloc.h"
#include "base/json.h"
#include "tiny.h"

enum { N = 3, RUNS = 5 };

/* gelu(x w + b), then its sum. */
typedef struct net { genet_device *d; genet_graph *g; genet_workspace *space; genet_plan *plan; genet_tensor *x, *y; genet_err err; } net;

static void net_open(net *n, int threads)
{
    *n = (net){ .d = genet_device_cpu(threads, NULL), .g = genet_graph_new() };
    n->space = genet_workspace_new(n->d);
    genet_scope_push(n->g, "odd \"name\"\n\xff");       /* a trace must survive it */
    n->x = genet_input(n->g, "x", GENET_F32, D(64, 48));
    genet_tensor *w = genet_transpose(genet_mul(n->x, n->x), 0, 1);
    n->y = genet_sum(genet_gelu_tanh(genet_add(genet_matmul(n->x, w), genet_scalar_like(n->x, 1))), 3, false);
    genet_scope_pop(n->g);
}

static void net_compile(net *n)
{
    genet_plan_free(n->plan);
    n->plan = genet_compile(n->g, &n->y, 1, n->d, NULL, &n->err);
    assert_non_null(n->plan);
    assert_true(genet_plan_attach(n->plan, n->space, &n->err));
}

static float net_run(net *n)
{
    float x[64 * 48], y;
    for (int i = 0; i < 64 * 48; i++) x[i] = (float)(i % 17) * 0.01f;
    assert_true(genet_plan_write(n->plan, n->x, x, sizeof x, &n->err));
    assert_true(genet_plan_run(n->plan, &n->err));
    assert_true(genet_plan_read(n->plan, n->y, &y, sizeof y, &n->err));
    return y;
}

static void net_close(net *n)
{
    genet_plan_free(n->plan);
    genet_workspace_free(n->space);
    genet_graph_free(n->g);
    genet_device_free(n->d);
}

static const genet_profile_row *row_of(const genet_profile *p, const char *op)
{
    const genet_profile_row *row;
    int n = genet_profile_rows(p, &row);
    for (int i = 0; i < n; i++)
        if (!strncmp(row[i].op, op, strlen(op))) return &row[i];
    return NULL;
}

static void rows_count_what_ran(void **state)
{
    (void)state;
    for (int threads = 1; threads <= N; threads++) {
        net n;
        net_open(&n, threads);
        net_compile(&n);
        float before = net_run(&n);
        genet_profile *p = genet_profile_new(n.d, &n.err);
        assert_non_null(p);
        assert_null(genet_profile_new(n.d, &n.err));            /* one at a time */
        net_run(&n);                                            /* not started: not counted */
        const genet_profile_row *row;
        assert_int_equal(genet_profile_rows(p, &row), 0);
        genet_profile_start(p);
        for (int i = 0; i < RUNS; i++) assert_memory_equal(&before, &(float){ net_run(&n) }, sizeof before);
        genet_profile_stop(p);
        net_run(&n);
        genet_plan_info info = genet_plan_describe(n.plan);
        double flops = 0, bytes = 0, seconds = 0;
        int kernels = 0, all = genet_profile_rows(p, &row);
        for (int i = 0; i < all; i++) {
            assert_int_equal(row[i].calls, RUNS);
            seconds += row[i].seconds;
            if (!row[i].kernel) continue;
            kernels++;
            flops += row[i].flops;
            bytes += row[i].bytes;
            assert_true(row[i].busy_s > 0 && row[i].busy_s <= threads * row[i].seconds * 1.0000001);
        }
        assert_int_equal(kernels, info.n_kernels);
        assert_float_equal(flops, RUNS * info.flops, 1e-3f);
        assert_float_equal(bytes, RUNS * info.bytes, 1e-3f);
        assert_true(seconds > 0 && seconds <= genet_profile_seconds(p));
        assert_non_null(row_of(p, "write"));
        assert_non_null(row_of(p, "threads"));
        const genet_profile_row *product = row_of(p, "matmul");
        assert_non_null(product);
        assert_string_equal(product->shapes, "[64,48] [48,64]T");
        genet_profile_free(p);
        net_close(&n);
    }
}

/* Two plans of the same graph share rows; compiling is a row; what comes after a free is another profile's. */
static void plans_share_rows(void **state)
{
    (void)state;
    net n;
    net_open(&n, 2);
    for (int turn = 0; turn < 2; turn++) {
        genet_profile *p = genet_profile_new(n.d, &n.err);
        genet_profile_start(p);
        for (int i = 0; i < 2; i++) {
            net_compile(&n);
            net_run(&n);
        }
        assert_int_equal(row_of(p, "compile")->calls, 2);
        assert_int_equal(row_of(p, "matmul")->calls, 2);
        genet_profile_free(p);
        assert_true(net_run(&n) > 0);
    }
    net_close(&n);
}

/* Slices have names, threads, times that go forward, and lie within what was measured. */
static void trace_is_json(void **state)
{
    (void)state;
    net n;
    net_open(&n, 2);
    net_compile(&n);
    genet_profile *p = genet_profile_new(n.d, &n.err);
    char *empty = genet_profile_trace(p, &n.err);
    json_t *j = genet__json_parse(empty, strlen(empty), "empty trace", &n.err);
    assert_non_null(j);
    json_decref(j);
    free(empty);
    genet_profile_start(p);
    for (int i = 0; i < RUNS; i++) net_run(&n);
    genet_profile_stop(p);
    char *text = genet_profile_trace(p, &n.err);
    assert_non_null(text);
    j = genet__json_parse(text, strlen(text), "trace", &n.err);
    if (!j) print_error("%s\n", n.err.text);
    assert_non_null(j);
    json_t *events = json_object_get(j, "traceEvents"), *e;
    size_t i;
    int slices = 0, kernels = 0;
    json_array_foreach(events, i, e) {
        const char *kind = json_string_value(json_object_get(e, "ph"));
        assert_non_null(json_string_value(json_object_get(e, "name")));
        assert_true(!strcmp(kind, "M") || !strcmp(kind, "X"));
        if (*kind == 'M') continue;
        double ts = json_number_value(json_object_get(e, "ts")), dur = json_number_value(json_object_get(e, "dur"));
        assert_true(ts >= 0 && dur >= 0 && (ts + dur) * 1e-6 <= genet_profile_seconds(p) * 1.001);
        assert_in_range(json_integer_value(json_object_get(e, "tid")), 0, 1);
        slices++;
        kernels += !strcmp(json_string_value(json_object_get(e, "cat")), "kernel");
    }
    genet_plan_info info = genet_plan_describe(n.plan);
    assert_true(kernels >= RUNS * info.n_kernels);
    assert_true(slices >= kernels + 3 * RUNS);          /* write, threads, read */
    json_decref(j);
    free(text);
    genet_profile_free(p);
    net_close(&n);
}

/* Whatever allocation fails, a run says so and the next profile is whole. */
static void memory_runs_out(void **state)
{
    (void)state;
    net n;
    net_open(&n, 2);
    net_compile(&n);
    float x[64 * 48] = {0};
    bool whole = false;
    for (int k = 0; !whole; k++) {
        assert_true(k < 200);
        genet__alloc_fail_after(k);
        genet_profile *p = genet_profile_new(n.d, &n.err);
        if (p) genet_profile_start(p);
        genet_plan_write(n.plan, n.x, x, sizeof x, &n.err);
        bool ok = p && genet_plan_run(n.plan, &n.err);
        char *text = ok ? genet_profile_trace(p, &n.err) : NULL;
        if (!text) assert_int_equal(n.err.code, GENET_ERR_MEMORY);
        genet__alloc_fail_after(-1);
        whole = text != NULL;
        free(text);
        genet_profile_free(p);
    }
    net_close(&n);
}

/* The kind of a product's operations is that of its types; what is no product is OTHER. */
static void rows_say_their_kind(void **state)
{
    (void)state;
    static const struct { genet_dtype a, b; genet_arithmetic kind; } cases[] = {
        { GENET_F32, GENET_F32, GENET_ARITHMETIC_F32 },   { GENET_F32, GENET_BF16, GENET_ARITHMETIC_MIXED },
        { GENET_BF16, GENET_F32, GENET_ARITHMETIC_MIXED }, { GENET_F32, GENET_F16, GENET_ARITHMETIC_MIXED },
        { GENET_BF16, GENET_BF16, GENET_ARITHMETIC_BF16 }, { GENET_BF16, GENET_F16, GENET_ARITHMETIC_BF16 },
        { GENET_F32, GENET_Q8_0, GENET_ARITHMETIC_INT8 },  { GENET_BF16, GENET_Q4_0, GENET_ARITHMETIC_INT8 },
        { GENET_F64, GENET_F64, GENET_ARITHMETIC_OTHER },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        genet_err err;
        genet_device *d = genet_device_cpu(1, NULL);
        genet_graph *g = genet_graph_new();
        genet_workspace *w = genet_workspace_new(d);
        static char memory[2][64 * 64 * 8];
        genet_tensor *a = genet_state(g, "a", cases[i].a, D(64, 64)), *b = genet_state(g, "b", cases[i].b, D(64, 64));
        genet_tensor *y = genet_sum(genet_matmul(a, genet_transpose(b, 0, 1)), 3, false);
        genet_plan *p = genet_compile(g, &y, 1, d, NULL, &err);
        assert_non_null(p);
        assert_true(genet_plan_bind(p, a, memory[0], &err) && genet_plan_bind(p, b, memory[1], &err));
        assert_true(genet_plan_attach(p, w, &err));
        genet_profile *profile = genet_profile_new(d, &err);
        genet_profile_start(profile);
        assert_true(genet_plan_run(p, &err));
        assert_int_equal(row_of(profile, "matmul")->arithmetic, cases[i].kind);
        assert_int_equal(row_of(profile, "sum")->arithmetic, GENET_ARITHMETIC_OTHER);
        genet_profile_free(profile);
        genet_plan_free(p);
        genet_workspace_free(w);
        genet_graph_free(g);
        genet_device_free(d);
    }
}

/* A plan of outputs y (n) over what x and ids are written with, run once on a profile. */
static genet_profile *run_once(genet_device *d, genet_graph *g, genet_tensor *y, genet_tensor *const in[], const void *const from[],
                               const size_t size[], int n)
{
    genet_err err;
    genet_workspace *w = genet_workspace_new(d);
    genet_plan *p = genet_compile(g, &y, 1, d, NULL, &err);
    assert_non_null(p);
    assert_true(genet_plan_attach(p, w, &err));
    genet_profile *profile = genet_profile_new(d, &err);
    genet_profile_start(profile);
    for (int i = 0; i < n; i++) assert_true(genet_plan_write(p, in[i], from[i], size[i], &err));
    assert_true(genet_plan_run(p, &err));
    genet_profile_stop(profile);
    genet_plan_free(p);
    genet_workspace_free(w);
    return profile;
}

/* Bytes are those that a kernel touches: of a table the rows that are taken, of a cache what the position shows. */
static void rows_count_what_is_touched(void **state)
{
    (void)state;
    static float table[1000 * 8], cache[4 * 64 * 8];
    enum { ROWS = 5, AT = 10 };
    int32_t ids[ROWS] = { 1, 2, 3, 999, 0 }, position = AT;
    genet_device *d = genet_device_cpu(2, NULL);
    genet_graph *g = genet_graph_new();
    genet_tensor *x = genet_input(g, "x", GENET_F32, D(1000, 8)), *i = genet_input(g, "i", GENET_I32, D(ROWS));
    genet_profile *p = run_once(d, g, genet_gather(x, i), (genet_tensor *[]){ x, i }, (const void *[]){ table, ids },
                                (size_t[]){ sizeof table, sizeof ids }, 2);
    assert_float_equal(row_of(p, "gather")->bytes, 2 * ROWS * 8 * 4 + ROWS * 4, 0.5f);
    genet_profile_free(p);
    genet_graph_free(g);

    g = genet_graph_new();
    genet_tensor *q = genet_input(g, "q", GENET_F32, D(1, 1, 4, 8)), *k = genet_input(g, "k", GENET_F32, D(1, 64, 4, 8));
    genet_tensor *at = genet_input(g, "at", GENET_I32, D(1));
    genet_tensor *y = genet_attention(q, k, k, &(genet_attention_options){ .causal = true, .position = at });
    p = run_once(d, g, y, (genet_tensor *[]){ q, k, at }, (const void *[]){ cache, cache, &position },
                 (size_t[]){ 4 * 8 * 4, sizeof cache, sizeof position }, 3);
    const genet_profile_row *row = row_of(p, "attention");
    assert_float_equal(row->flops, 4 * 4 * 8 * (AT + 1), 0.5f);             /* two products, of which one query sees 11 keys */
    assert_true(row->bytes >= 2 * (AT + 1) * 4 * 8 * 4 && row->bytes < 2 * (AT + 1) * 4 * 8 * 4 + 600);
    genet_profile_free(p);
    genet_graph_free(g);
    genet_device_free(d);
}

/* What is computed where the concatenation has it is not moved. */
static void parts_in_place_move_nothing(void **state)
{
    (void)state;
    static float x[64 * 64];
    genet_device *d = genet_device_cpu(1, NULL);
    genet_graph *g = genet_graph_new();
    genet_tensor *in = genet_input(g, "x", GENET_F32, D(64, 64));
    genet_tensor *part[2] = { genet_matmul(in, in), in };
    genet_profile *p = run_once(d, g, genet_concat(part, 2, 0), &in, (const void *[]){ x }, (size_t[]){ sizeof x }, 1);
    assert_float_equal(row_of(p, "concat")->bytes, 2 * sizeof x, 0.5f);     /* the product is there already */
    genet_profile_free(p);
    genet_graph_free(g);
    genet_device_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_count_what_ran), cmocka_unit_test(plans_share_rows), cmocka_unit_test(trace_is_json),
        cmocka_unit_test(memory_runs_out), cmocka_unit_test(rows_say_their_kind), cmocka_unit_test(rows_count_what_is_touched),
        cmocka_unit_test(parts_in_place_move_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
