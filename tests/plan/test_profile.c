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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_count_what_ran), cmocka_unit_test(plans_share_rows), cmocka_unit_test(trace_is_json),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
