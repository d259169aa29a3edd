/* labels: core
 * test_engine.c - what a graph and a plan promise: the first error in words,
 * single-assignment state, gradients that are missing, no allocation while
 * running, shared memory that never overlaps. */
#include <stdio.h>
#include "base/alloc.h"
#include "base/rng.h"
#include "plan/plan.h"
#include "tiny.h"

#define assert_contains(text, part) do { if (!strstr(text, part)) fail_msg("\"%s\" lacks \"%s\"", text, part); } while (0)

/* --- errors --------------------------------------------------------------------- */

static void first_error_is_kept_with_names_and_shapes(void **state)
{
    (void)state;
    tiny t;
    tiny_open(&t);
    genet_tensor *x = genet_input(t.g, "x", GENET_F32, D(4, 64, 768));
    genet_scope_push(t.g, "h.3");
    genet_scope_push(t.g, "attn");
    genet_tensor *w = genet_input(t.g, "w", GENET_F32, D(512, 768));
    genet_tensor *y = genet_relu(genet_add(genet_matmul(x, w), x));
    genet_scope_pop(t.g);
    genet_scope_pop(t.g);
    genet_sum(genet_reshape(y, D(3)), 1, false);
    const char *words = genet_graph_error(t.g);
    assert_non_null(words);
    assert_contains(words, "matmul");
    assert_contains(words, "[4,64,768]");
    assert_contains(words, "[512,768]");
    assert_contains(words, "h.3.attn");
    assert_null(genet_compile(t.g, &y, 1, t.device, NULL, &t.err));
    assert_string_equal(t.err.text, words);
    assert_int_equal(t.err.code, GENET_ERR_GRAPH);
    tiny_close(&t);
}

static void types_are_never_promoted(void **state)
{
    (void)state;
    tiny t;
    tiny_open(&t);
    genet_tensor *a = genet_input(t.g, "a", GENET_F32, D(3)), *b = genet_input(t.g, "b", GENET_F64, D(3));
    genet_add(a, b);
    assert_contains(genet_graph_error(t.g), "f32");
    assert_contains(genet_graph_error(t.g), "f64");
    assert_contains(genet_graph_error(t.g), "cast");
    tiny_close(&t);
}

static void old_state_after_its_write_is_refused(void **state)
{
    (void)state;
    tiny t;
    tiny_open(&t);
    genet_tensor *s = genet_state(t.g, "cache", GENET_F32, D(4)), *one = genet_scalar_like(s, 1);
    genet_tensor *view = genet_slice(s, 0, 1, 2, 1);
    genet_assign(s, genet_add(s, one));
    genet_tensor *y = genet_sum(view, 1, false);
    assert_null(genet_compile(t.g, &y, 1, t.device, NULL, &t.err));
    assert_contains(t.err.text, "cache");
    assert_contains(t.err.text, "sum");
    assert_contains(t.err.text, "assign");
    tiny_close(&t);
}

static void new_state_is_read_through_the_write(void **state)
{
    (void)state;
    tiny t;
    tiny_open(&t);
    genet_tensor *s = genet_state(t.g, "s", GENET_F32, D(4)), *one = genet_scalar_like(s, 1);
    genet_tensor *before = genet_sum(s, 1, false);
    genet_tensor *now = genet_assign(s, genet_add(genet_flip(s, 0), one));
    genet_tensor *out[2] = { before, genet_sum(genet_mul(now, now), 1, false) };
    t.plan = genet_compile(t.g, out, 2, t.device, NULL, &t.err);
    assert_non_null(t.plan);
    assert_true(genet_plan_attach(t.plan, t.space, &t.err));
    assert_false(genet_plan_run(t.plan, &t.err));           /* not bound yet */
    assert_contains(t.err.text, "s has no memory");
    float v[4] = { 1, 2, 3, 4 }, got;
    void *at = genet_device_alloc(t.device, sizeof v, &t.err);
    genet_device_write(t.device, at, v, sizeof v);
    assert_true(genet_plan_bind(t.plan, s, at, &t.err));
    for (int run = 0; run < 2; run++) {
        assert_true(genet_plan_run(t.plan, &t.err));
        assert_true(genet_plan_read(t.plan, out[0], &got, sizeof got, &t.err));
        assert_float_equal(got, run ? 14 : 10, 0);
        assert_true(genet_plan_read(t.plan, out[1], &got, sizeof got, &t.err));
        assert_float_equal(got, run ? 9 + 16 + 25 + 36 : 25 + 16 + 9 + 4, 0);
    }
    genet_device_read(t.device, at, v, sizeof v);
    const float want[4] = { 3, 4, 5, 6 };
    assert_memory_equal(v, want, sizeof v);
    genet_device_release(t.device, at, sizeof v);
    tiny_close(&t);
}

static void a_missing_gradient_is_named(void **state)
{
    (void)state;
    tiny t;
    tiny_open(&t);
    genet_tensor *s = genet_state(t.g, "s", GENET_F32, D(4)), *w = genet_input(t.g, "w", GENET_F32, D(4)), *d;
    genet_tensor *now = genet_assign(s, genet_mul(w, w));
    genet_grad(genet_sum(now, 1, false), &w, 1, &d);
    assert_contains(genet_graph_error(t.g), "assign");
    assert_contains(genet_graph_error(t.g), "no gradient");
    tiny_close(&t);
}

static void no_path_gives_no_gradient(void **state)
{
    (void)state;
    tiny t;
    tiny_open(&t);
    genet_tensor *w[2] = { genet_input(t.g, "a", GENET_F32, D(4)), genet_input(t.g, "b", GENET_F32, D(4)) }, *d[2];
    genet_grad(genet_sum(genet_mul(w[0], genet_stop(w[1])), 1, false), w, 2, d);
    assert_non_null(d[0]);
    assert_null(d[1]);
    assert_null(genet_graph_error(t.g));
    tiny_close(&t);
}

static void stale_and_misshapen_inputs_are_refused(void **state)
{
    (void)state;
    tiny t;
    tiny_open(&t);
    genet_tensor *x = genet_input(t.g, "tokens", GENET_F32, D(4)), *y = genet_relu(x), *other = genet_neg(x);
    t.plan = genet_compile(t.g, &y, 1, t.device, NULL, &t.err);
    float v[4] = { 1, -2, 3, -4 };
    assert_false(genet_plan_run(t.plan, &t.err));
    assert_contains(t.err.text, "workspace");
    assert_true(genet_plan_attach(t.plan, t.space, &t.err));
    assert_false(genet_plan_run(t.plan, &t.err));
    assert_contains(t.err.text, "tokens");
    assert_false(genet_plan_write(t.plan, x, v, 12, &t.err));
    assert_contains(t.err.text, "16 bytes");
    assert_true(genet_plan_write(t.plan, x, v, sizeof v, &t.err));
    assert_true(genet_plan_run(t.plan, &t.err));
    assert_false(genet_plan_run(t.plan, &t.err));           /* memory is shared: once is once */
    assert_false(genet_plan_read(t.plan, other, v, sizeof v, &t.err));
    assert_true(genet_plan_read(t.plan, y, v, sizeof v, &t.err));
    assert_float_equal(v[0] + v[1] + v[2] + v[3], 4, 0);
    tiny_close(&t);
}

/* Plans lend each other memory: what one wrote is gone once another wrote or ran. */
static void a_workspace_holds_one_plans_values(void **state)
{
    (void)state;
    tiny t;
    tiny_open(&t);
    genet_tensor *x = genet_input(t.g, "x", GENET_F32, D(4)), *y[2] = { genet_relu(x), genet_exp(x) };
    genet_plan *p[2];
    float v[4] = { 1, -2, 3, -4 };
    for (int i = 0; i < 2; i++) {
        p[i] = genet_compile(t.g, &y[i], 1, t.device, NULL, &t.err);
        assert_true(genet_plan_attach(p[i], t.space, &t.err));
    }
    assert_false(genet_plan_read(p[0], y[0], v, sizeof v, &t.err));         /* before any run */
    for (int i = 0; i < 2; i++) assert_true(genet_plan_write(p[i], x, v, sizeof v, &t.err));
    assert_false(genet_plan_run(p[0], &t.err));
    assert_contains(t.err.text, "x was not written");
    for (int i = 0; i < 2; i++) {
        assert_true(genet_plan_write(p[i], x, v, sizeof v, &t.err));
        assert_true(genet_plan_run(p[i], &t.err));
    }
    assert_false(genet_plan_read(p[0], y[0], v, sizeof v, &t.err));
    assert_true(genet_plan_read(p[1], y[1], v, sizeof v, &t.err));
    for (int i = 0; i < 2; i++) genet_plan_free(p[i]);
    tiny_close(&t);
}

static void state_is_written_once_and_read_anew(void **state)
{
    (void)state;
    tiny t;
    tiny_open(&t);
    genet_tensor *s = genet_state(t.g, "s", GENET_F32, D(4)), *now = genet_assign(s, genet_add(s, s));
    genet_tensor *out[2] = { genet_reshape(s, D(2, 2)), now };
    assert_null(genet_compile(t.g, out, 2, t.device, NULL, &t.err));
    assert_contains(t.err.text, "state s");
    genet_state(t.g, "s", GENET_F32, D(4));
    assert_contains(genet_graph_error(t.g), "a state s already");
    tiny_close(&t);
    tiny_open(&t);
    genet_tensor *w = genet_state(t.g, "w", GENET_F32, D(6)), *g = genet_input(t.g, "g", GENET_F32, D(4));
    genet_tensor *one = genet_scalar_like(g, 1), *yes = genet_full(t.g, GENET_U8, 1, 0, NULL);
    genet_update_lion(genet_slice(w, 0, 0, 4, 1), g, genet_slice(w, 0, 2, 4, 1), NULL, one, one, yes, .9, .99, 0);
    assert_contains(genet_graph_error(t.g), "share memory");
    tiny_close(&t);
}

/* Writing a window of a state from another window of it. */
static void state_may_be_moved_within_itself(void **state)
{
    (void)state;
    tiny t;
    tiny_open(&t);
    genet_tensor *s = genet_state(t.g, "s", GENET_F32, D(6, 1)), *at = tiny_i32(&t, (int32_t[]){ 1 }, 0, NULL);
    genet_tensor *now = genet_write_at(s, genet_slice(s, 0, 0, 4, 1), at);
    if (genet_graph_error(t.g)) fail_msg("%s", genet_graph_error(t.g));
    t.plan = genet_compile(t.g, &now, 1, t.device, NULL, &t.err);
    assert_non_null(t.plan);
    float v[6] = { 0, 1, 2, 3, 4, 5 };
    void *memory = genet_device_alloc(t.device, sizeof v, &t.err);
    genet_device_write(t.device, memory, v, sizeof v);
    assert_true(genet_plan_bind(t.plan, s, memory, &t.err) && genet_plan_attach(t.plan, t.space, &t.err));
    assert_true(genet_plan_write(t.plan, t.input[0], t.bytes[0], t.size[0], &t.err));
    assert_true(genet_plan_run(t.plan, &t.err));
    EXPECT(&t, now, 0, 0, 0, 1, 2, 3, 5);
    genet_device_release(t.device, memory, sizeof v);
    tiny_close(&t);
}

/* A recomputed value is the value: also for second derivatives by it. */
static void second_derivatives_see_through_checkpoints(void **state)
{
    (void)state;
    float got[2][3];
    for (int checkpoint = 0; checkpoint < 2; checkpoint++) {
        tiny t;
        tiny_open(&t);
        genet_tensor *h = genet_sin(TINY(&t, D(3), .3, 1.2, 2)), *u = genet_exp(h), *y = genet_mul(u, h), *d, *dd;
        if (checkpoint) genet_checkpoint(y);
        genet_grad(genet_sum(genet_square(y), 1, false), &h, 1, &d);
        genet_grad(genet_sum(genet_square(d), 1, false), &h, 1, &dd);
        tiny_run(&t, &dd, 1);
        assert_true(genet_plan_read(t.plan, dd, got[checkpoint], sizeof got[0], &t.err));
        tiny_close(&t);
    }
    assert_memory_equal(got[0], got[1], sizeof got[0]);
}

static void gradients_reach_stored_types(void **state)
{
    (void)state;
    tiny t;
    tiny_open(&t);
    genet_tensor *w = genet_cast(TINY(&t, D(3, 2), 1, 2, 3, 4, 5, 6), GENET_BF16), *d;
    genet_tensor *i = tiny_i32(&t, (int32_t[]){ 2, 0, 2 }, D(3));
    genet_tensor *y = genet_cast(genet_gather(w, i), GENET_F32);
    genet_grad(genet_add(genet_sum(y, 3, false), genet_sum(genet_cast(w, GENET_F32), 3, false)), &w, 1, &d);
    assert_non_null(d);
    genet_tensor *f = genet_cast(d, GENET_F32);
    tiny_run(&t, &f, 1);
    EXPECT(&t, f, 0, 2, 2, 1, 1, 3, 3);
    tiny_close(&t);
}

/* Slices that touch, overlap or leave a gap: their gradients add up where they meet. */
static void gradients_of_slices_add_up(void **state)
{
    (void)state;
    static const struct { int64_t from[2]; double want[6]; } row[] = {
        { { 0, 3 }, { 1, 1, 1, 2, 2, 2 } }, { { 3, 0 }, { 2, 2, 2, 1, 1, 1 } },
        { { 0, 2 }, { 1, 1, 3, 2, 2, 0 } }, { { 1, 0 }, { 2, 3, 3, 1, 0, 0 } }, { { 1, 1 }, { 0, 3, 3, 3, 0, 0 } },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        tiny t;
        tiny_open(&t);
        genet_tensor *x = TINY(&t, D(6), 1, 2, 3, 4, 5, 6), *d;
        genet_tensor *a = genet_slice(x, 0, row[i].from[0], 3, 1), *b = genet_slice(x, 0, row[i].from[1], 3, 1);
        genet_tensor *loss = genet_add(genet_sum(a, 1, false), genet_sum(genet_mul(b, genet_scalar_like(b, 2)), 1, false));
        genet_grad(loss, &x, 1, &d);
        tiny_run(&t, &d, 1);
        tiny_expect(&t, d, row[i].want, 6, 0);
        tiny_close(&t);
    }
}

static void tensors_of_other_graphs_are_refused(void **state)
{
    (void)state;
    tiny t, other;
    tiny_open(&t);
    tiny_open(&other);
    genet_tensor *x = TINY(&t, D(3), 1, 2, 3), *d;
    for (int i = 0; i < 100; i++) genet_scalar_like(genet_input(other.g, "y", GENET_F32, D(3)), 1);
    genet_tensor *foreign = genet_input(other.g, "z", GENET_F32, D(3));
    genet_grad(genet_sum(x, 1, false), &foreign, 1, &d);
    assert_null(d);
    assert_contains(genet_graph_error(t.g), "not of the loss's graph");
    tiny_close(&t);
    tiny_close(&other);
}

/* Wild arguments give an error in the graph, never a crash. */
static void impossible_arguments_are_errors(void **state)
{
    (void)state;
    for (int i = 0; i < 22; i++) {
        tiny t;
        tiny_open(&t);
        genet_tensor *x = genet_input(t.g, "x", GENET_F32, D(2, 3)), *k = genet_input(t.g, "k", GENET_I32, D(4));
        int64_t huge[2] = { INT64_MAX / 2, INT64_MAX / 2 }, nine[9] = { 1, 1, 1, 1, 1, 1, 1, 1, 1 }, twice[2] = { 0, 0 };
        switch (i) {
        case 0: genet_reshape(x, 2, (int64_t[]){ -1, -1 }); break;
        case 1: genet_reshape(x, 9, nine); break;
        case 2: genet_permute(x, 2, twice); break;
        case 3: genet_slice(x, 5, 0, 1, 1); break;
        case 4: genet_slice(x, 0, 1, 5, 1); break;
        case 5: genet_slice(x, 0, 0, 1, 0); break;
        case 6: genet_broadcast(x, 2, (int64_t[]){ 4, 3 }); break;
        case 7: genet_concat(&x, 1, 7); break;
        case 8: genet_pad(x, (int64_t[]){ -1, 0 }, (int64_t[]){ 0, 0 }, 0); break;
        case 9: genet_flip(x, -9); break;
        case 10: genet_gather(x, x); break;
        case 11: genet_scatter_add(x, k, -4); break;
        case 12: genet_sum(x, 1u << 20, false); break;
        case 13: genet_argmax(x, 3, false); break;
        case 14: genet_topk(x, 9); break;
        case 15: genet_softmax(x, 2); break;
        case 16: genet_layer_norm(x, k, NULL, 1e-5); break;
        case 17: genet_cross_entropy(x, x, -100, 0); break;
        case 18: genet_input(t.g, "y", GENET_F32, 2, huge); break;
        case 19: genet_cast(x, (genet_dtype)77); break;
        case 20: genet_assign(x, x); break;
        case 21: genet_matmul(k, k); break;
        }
        if (!genet_graph_error(t.g)) fail_msg("case %d was accepted", i);
        tiny_close(&t);
    }
}

/* --- memory and time ----------------------------------------------------------------- */

/* layers of relu(x w) with a residual, and its loss's gradients. */
static int build_deep(genet_graph *g, int layers, bool checkpoint, genet_tensor **out)
{
    genet_tensor *x = genet_input(g, "x", GENET_F32, D(64, 32)), *w[32];
    for (int i = 0; i < layers; i++) {
        w[i] = genet_input(g, "w", GENET_F32, D(32, 32));
        x = genet_add(x, genet_gelu(genet_matmul(genet_layer_norm(x, NULL, NULL, 1e-5), w[i])));
        if (checkpoint) genet_checkpoint(x);
    }
    out[0] = genet_sum(genet_square(x), 3, false);
    genet_grad(out[0], w, layers, out + 1);
    return layers + 1;
}

static void fill_inputs(genet_plan *p, genet_graph *g, genet_err *err)
{
    for (int i = 0; i < g->n; i++) {
        tensor *t = g->node[i];
        if (!genet__op_is(t, OP_input) || t->dtype != GENET_F32) continue;
        int64_t n = genet__numel(&t->shape);
        float *v = malloc((size_t)(n + 1) * sizeof *v);
        for (int64_t k = 0; k < n; k++) v[k] = (float)(genet__rng_uniform(3, (uint32_t)i, 0, (uint64_t)k) - .5);
        assert_true(genet_plan_write(p, t, v, (size_t)n * sizeof *v, err));
        free(v);
    }
}

static void running_allocates_nothing(void **state)
{
    (void)state;
    tiny t;
    tiny_open(&t);
    genet_tensor *out[40];
    int n = build_deep(t.g, 6, false, out);
    t.plan = genet_compile(t.g, out, n, t.device, NULL, &t.err);
    assert_non_null(t.plan);
    assert_true(genet_plan_attach(t.plan, t.space, &t.err));
    fill_inputs(t.plan, t.g, &t.err);
    assert_true(genet_plan_run(t.plan, &t.err));
    fill_inputs(t.plan, t.g, &t.err);
    genet__alloc_fail_after(-1);
    assert_true(genet_plan_run(t.plan, &t.err));
    assert_int_equal(genet__alloc_fail_after(-1), 0);
    tiny_close(&t);
}

static void placement_is_near_its_lower_bound(void **state)
{
    (void)state;
    tiny t;
    tiny_open(&t);
    genet_tensor *out[40];
    int n = build_deep(t.g, 24, false, out);
    t.plan = genet_compile(t.g, out, n, t.device, NULL, &t.err);
    assert_non_null(t.plan);
    genet_plan_info i = genet_plan_describe(t.plan);
    assert_true((double)i.workspace_bytes <= 1.05 * (double)i.lower_bound_bytes);
    assert_true(i.workspace_bytes < i.naive_bytes);
    tiny_close(&t);
}

static size_t deep_gradients(bool checkpoint, float *loss, float *d, const genet_compile_options *o)
{
    tiny t;
    tiny_open(&t);
    genet_tensor *out[40];
    int n = build_deep(t.g, 16, checkpoint, out);
    t.plan = genet_compile(t.g, out, n, t.device, o, &t.err);
    assert_non_null(t.plan);
    assert_true(genet_plan_attach(t.plan, t.space, &t.err));
    fill_inputs(t.plan, t.g, &t.err);
    assert_true(genet_plan_run(t.plan, &t.err));
    assert_true(genet_plan_read(t.plan, out[0], loss, sizeof *loss, &t.err));
    for (int i = 1; i < n; i++) assert_true(genet_plan_read(t.plan, out[i], d + (i - 1) * 1024, 4096, &t.err));
    size_t bytes = genet_plan_describe(t.plan).workspace_bytes;
    tiny_close(&t);
    return bytes;
}

static void checkpointing_saves_memory_and_not_a_bit_changes(void **state)
{
    (void)state;
    static float loss[2], d[2][16 * 1024];
    size_t plain = deep_gradients(false, &loss[0], d[0], NULL), less = deep_gradients(true, &loss[1], d[1], NULL);
    assert_memory_equal(&loss[0], &loss[1], sizeof loss[0]);
    assert_memory_equal(d[0], d[1], sizeof d[0]);
    if (less * 2 > plain) fail_msg("%zu bytes with checkpoints, %zu without", less, plain);
    deep_gradients(true, &loss[1], d[1], &(genet_compile_options){ .poison = true });
    assert_memory_equal(d[0], d[1], sizeof d[0]);
}

static void epilogues_are_fused(void **state)
{
    (void)state;
    tiny t;
    tiny_open(&t);
    genet_tensor *x = genet_input(t.g, "x", GENET_F32, D(4, 16, 32)), *w = genet_input(t.g, "w", GENET_F32, D(32, 32));
    genet_tensor *b = genet_input(t.g, "b", GENET_F32, D(32));
    genet_tensor *y = genet_add(genet_gelu(genet_add(genet_matmul(x, w), b)), x);
    t.plan = genet_compile(t.g, &y, 1, t.device, NULL, &t.err);
    assert_non_null(t.plan);
    assert_int_equal(genet_plan_describe(t.plan).n_kernels, 1);
    tiny_close(&t);
}

/* Sums of one tensor run at the same time; what reads one of them does not. */
static void independent_launches_run_beside_each_other(void **state)
{
    (void)state;
    tiny t;
    tiny_open(&t);
    genet_tensor *x = genet_input(t.g, "x", GENET_F32, D(300, 200));
    genet_tensor *rows = genet_sum(x, 1u << 0, false), *columns = genet_sum(x, 1u << 1, false);
    genet_tensor *out[] = { rows, columns, genet_sum(genet_square(rows), 1u << 0, false) };
    t.plan = genet_compile(t.g, out, 3, t.device, NULL, &t.err);
    assert_true(t.plan && t.plan->n_step > 2);
    assert_int_equal(t.plan->launch[0].beside, 1);
    assert_int_equal(t.plan->launch[2].beside, 0);
    tiny_close(&t);
}

/* q, k and v are slices of one tensor: their gradients lie in its gradient from the start. */
static void gradients_of_neighbouring_slices_are_not_copied(void **state)
{
    (void)state;
    tiny t;
    tiny_open(&t);
    genet_tensor *x = genet_input(t.g, "x", GENET_F32, D(2, 64, 6, 32)), *part[3], *dx;
    for (int i = 0; i < 3; i++) part[i] = genet_slice(x, 2, 2 * i, 2, 1);
    genet_tensor *y = genet_attention(part[0], part[1], part[2], &(genet_attention_options){ .causal = true, .scale = 1 });
    genet_grad(genet_sum(y, genet_axes_all(y), false), &x, 1, &dx);
    t.plan = genet_compile(t.g, &dx, 1, t.device, NULL, &t.err);
    assert_non_null(t.plan);
    size_t heads = 2 * 64 * 2 * 32 * 4;
    assert_true(genet_plan_describe(t.plan).naive_bytes < (3 + 3 + 1 + 1) * heads + 2 * heads);  /* x, dx, y, g; no dq, dk, dv */
    tiny_close(&t);
}

static void parts_of_a_concatenation_are_computed_in_place(void **state)
{
    (void)state;
    tiny t;
    tiny_open(&t);
    genet_tensor *part[3];
    for (int i = 0; i < 3; i++) part[i] = genet_exp(genet_input(t.g, "x", GENET_F32, D(1000 + i)));
    genet_tensor *all = genet_concat(part, 3, 0);
    t.plan = genet_compile(t.g, &all, 1, t.device, NULL, &t.err);
    genet_plan_info i = genet_plan_describe(t.plan);
    assert_true(i.workspace_bytes < 2 * 3003 * 4 + 1024);        /* inputs and the whole, no third copy */
    tiny_close(&t);
}

/* Sums before and after norms, forward and backward, and dropout are part of their kernels. */
static void norms_run_with_what_is_around_them(void **state)
{
    (void)state;
    tiny t;
    tiny_open(&t);
    genet_tensor *x = genet_input(t.g, "x", GENET_F32, D(4, 16, 32)), *r = genet_input(t.g, "r", GENET_F32, D(4, 16, 32));
    genet_tensor *rng = genet_input(t.g, "rng", GENET_I32, D(4)), *w = genet_input(t.g, "w", GENET_F32, D(32, 32));
    genet_tensor *h = genet_add(genet_dropout(genet_matmul(x, w), rng, 1, 0.1), r), *n = genet_layer_norm(h, NULL, NULL, 1e-5);
    genet_tensor *s = genet_add(x, r), *y = genet_mul(genet_layer_norm(s, NULL, NULL, 1e-5), s), *out[] = { n, y };
    t.plan = genet_compile(t.g, out, 2, t.device, NULL, &t.err);
    assert_int_equal(genet_plan_describe(t.plan).n_kernels, 3);     /* product ... sum; norm; sum, norm, product */
    genet_plan_free(t.plan);
    genet_grad(genet_sum(genet_add(genet_square(n), genet_square(h)), genet_axes_all(h), false), &r, 1, out);
    t.plan = genet_compile(t.g, out, 1, t.device, NULL, &t.err);
    char *text = genet_plan_print(t.plan);
    assert_contains(text, "layer_norm_grad+");
    free(text);
    tiny_close(&t);
}

static size_t workspace_of(tiny *t, genet_tensor *const out[], int n)
{
    t->plan = genet_compile(t->g, out, n, t->device, NULL, &t->err);
    assert_non_null(t->plan);
    return genet_plan_describe(t->plan).workspace_bytes;
}

/* The gradient of a matrix that is used five times is a sum of products, made in one place. */
static void sums_of_products_lie_in_one_place(void **state)
{
    (void)state;
    tiny t;
    tiny_open(&t);
    enum { N = 256 };
    genet_tensor *w = genet_state(t.g, "w", GENET_F32, D(N, N)), *sum = NULL, *d;
    for (int i = 0; i < 5; i++) {
        genet_tensor *y = genet_matmul(genet_input(t.g, "x", GENET_F32, D(1, N)), w);
        sum = sum ? genet_add(sum, genet_mul(y, y)) : y;
    }
    genet_grad(genet_sum(sum, genet_axes_all(sum), false), &w, 1, &d);
    assert_non_null(d);
    assert_true(workspace_of(&t, &d, 1) < 2 * N * N * 4);
    tiny_close(&t);
}

/* 2048 x 50257 logits would take 412 MB, twice; in chunks of 128 MiB at most only the weight's gradient is large. */
static void logits_of_a_large_vocabulary_never_exist_at_once(void **state)
{
    (void)state;
    enum { ROWS = 2048, C = 16, V = 50257 };
    for (int gradients = 0; gradients < 2; gradients++) {
        tiny t;
        tiny_open(&t);
        genet_tensor *x = genet_input(t.g, "x", GENET_F32, D(ROWS, C)), *w = genet_state(t.g, "w", GENET_F32, D(V, C));
        genet_tensor *target = genet_input(t.g, "target", GENET_I32, D(ROWS)), *wrt[] = { x, w }, *out[3];
        out[0] = genet_linear_cross_entropy(x, w, target, -100, 0);
        genet_grad(out[0], wrt, 2, out + 1);
        size_t most = gradients ? (128 << 20) + V * C * 4 : 128 << 20;
        assert_true(workspace_of(&t, out, gradients ? 3 : 1) < most + (2 << 20));
        tiny_close(&t);
    }
}

/* --- random graphs: nothing that the compiler does may change a bit ------------------- */

typedef struct dice { uint64_t seed, n; } dice;
static int roll(dice *d, int n) { return (int)genet__rng_below(d->seed, 1, 0, d->n++, (uint64_t)n); }

enum { POOL = 64, SIDE_LENGTH = 6 };

/* Everything is (6,6), so that all combinations fit. */
static genet_tensor *random_op(dice *d, genet_graph *g, genet_tensor **pool, int n, genet_tensor **states, int n_state)
{
    genet_tensor *a = pool[roll(d, n)], *b = pool[roll(d, n)], *c = pool[roll(d, n)];
    switch (roll(d, 24)) {
    case 0: return genet_add(a, b);
    case 1: return genet_mul(a, genet_tanh(b));
    case 2: return genet_sub(a, genet_transpose(b, 0, 1));
    case 3: return genet_tanh(genet_matmul(a, b));
    case 4: return genet_add(genet_tanh(genet_matmul(genet_transpose(a, 0, 1), b)), c);
    case 5: return genet_where(genet_lt(a, b), b, c);
    case 6: return genet_softmax(a, -1);
    case 7: return genet_flip(genet_transpose(a, 0, 1), 0);
    case 8: return genet_add(a, genet_sum(b, 2, true));
    case 9: return genet_add(genet_sum(a, 1, true), b);
    case 10: return genet_reshape(genet_concat((genet_tensor *[]){ genet_slice(a, 0, 0, 3, 1), genet_slice(b, 0, 3, 3, 1) }, 2, 0), D(6, 6));
    case 11: return genet_reshape(genet_concat((genet_tensor *[]){ genet_reshape(genet_sin(a), D(36)), genet_reshape(a, D(36)) }, 2, 0), D(2, 6, 6));
    case 12: return genet_transpose(genet_neg(a), 0, 1);
    case 13: return genet_mul(genet_broadcast(genet_slice(a, 0, 2, 1, 1), D(6, 6)), b);
    case 14: return genet_sigmoid(genet_add(a, genet_scalar_like(a, 0.25)));
    case 15: return genet_layer_norm(a, NULL, NULL, 1e-3);
    case 16: return genet_reshape(genet_relu(genet_reshape(a, D(4, 9))), D(6, 6));
    case 17: return genet_cast(genet_cast(a, GENET_BF16), GENET_F32);
    case 18:        /* overlapping slices */
        return genet_pad(genet_add(genet_slice(a, 0, 0, 4, 1), genet_slice(a, 0, 2, 4, 1)), (int64_t[]){ 2, 0 }, (int64_t[]){ 0, 0 }, 0);
    case 19: return genet_add(genet_layer_norm(genet_add(a, b), NULL, NULL, 1e-3), c);
    case 20: return genet_dropout(genet_mul(a, b), genet_iota(g, GENET_I32, 4, 3, 5), 2, 0.25);
    case 21: return genet_rms_norm(genet_mul(a, genet_neg(b)), genet_reshape(genet_slice(c, 0, 1, 1, 1), D(6)), 1e-3);
    default: {
        int s = roll(d, n_state);
        if (roll(d, 2)) states[s] = genet_assign(states[s], genet_tanh(genet_add(states[s], roll(d, 2) ? a : genet_transpose(states[s], 0, 1))));
        return genet_add(states[s], a);
    }
    }
}

static genet_tensor *square_of(genet_tensor *t)
{
    return genet_tensor_rank(t) == 3 ? genet_reshape(genet_slice(t, 0, 1, 1, 1), D(6, 6)) : t;
}

typedef struct outcome { float out[4][36], state[2][36]; bool failed; } outcome;

static void random_graph(uint64_t seed, genet_device *device, const genet_compile_options *o, bool checkpoint, outcome *r)
{
    dice d = { seed, 0 };
    genet_err err = {0};
    genet_graph *g = genet_graph_new();
    genet_tensor *pool[POOL], *states[2], *leaf[2], *w[3], *dw[3], *out[4];
    int n = 0;
    for (int i = 0; i < 3; i++) pool[n++] = w[i] = genet_input(g, "w", GENET_F32, D(6, 6));
    for (int i = 0; i < 2; i++) leaf[i] = states[i] = genet_state(g, i ? "s1" : "s0", GENET_F32, D(6, 6));
    while (n < 40) {
        /* state enters values only before any gradient is asked through it */
        pool[n] = square_of(random_op(&d, g, pool, n, states, 2));
        if (roll(&d, 8) == 0) pool[n] = genet_stop(pool[n]);
        if (roll(&d, 9) == 0) {
            genet_tensor *t = genet_copy(pool[n]);
            pool[n] = checkpoint ? genet_checkpoint(t) : t;
        }
        n++;
    }
    out[0] = genet_copy(pool[n - 1]);
    for (int i = 0; i < 2; i++) states[i] = genet_stop(states[i]);
    genet_tensor *loss = genet_sum(genet_mul(pool[n - 1], pool[n - 2]), 3, false);
    genet_grad(loss, w, 3, dw);
    for (int i = 0; i < 3; i++) out[i + 1] = genet_copy(dw[i] ? dw[i] : w[i]);
    *r = (outcome){ .failed = genet_graph_error(g) != NULL };
    genet_plan *p = r->failed ? NULL : genet_compile(g, out, 4, device, o, &err);
    if (!p) r->failed = true;
    genet_workspace *space = genet_workspace_new(device);
    if (p) {
        assert_true(genet_plan_attach(p, space, &err));
        void *at[2];
        for (int i = 0; i < 2; i++) {
            float v[36];
            for (int k = 0; k < 36; k++) v[k] = (float)(k % 7) * .1f - .2f * (float)i;
            at[i] = genet_device_alloc(device, sizeof v, &err);
            genet_device_write(device, at[i], v, sizeof v);
            assert_true(genet_plan_bind(p, leaf[i], at[i], &err));
        }
        fill_inputs(p, g, &err);
        if (!genet_plan_run(p, &err)) fail_msg("%s", err.text);
        for (int i = 0; i < 4; i++) assert_true(genet_plan_read(p, out[i], r->out[i], sizeof r->out[i], &err));
        for (int i = 0; i < 2; i++) {
            genet_device_read(device, at[i], r->state[i], sizeof r->state[i]);
            genet_device_release(device, at[i], sizeof r->state[i]);
        }
    }
    genet_plan_free(p);
    genet_workspace_free(space);
    genet_graph_free(g);
}

static void nothing_the_compiler_does_changes_a_bit(void **state)
{
    (void)state;
    genet_err err = {0};
    genet_device *one = genet_device_cpu(1, &err), *three = genet_device_cpu(3, &err), *guard = genet_device_guard(2, &err);
    static const genet_compile_options plain = { .no_fuse = true }, poison = { .poison = true }, both = { true, true };
    int ran = 0;
    for (uint64_t seed = 0; seed < 400; seed++) {
        outcome want, got;
        random_graph(seed, one, &plain, false, &want);
        if (want.failed) continue;      /* an old state was read, or a gradient wanted through an assignment */
        ran++;
        const struct { genet_device *d; const genet_compile_options *o; bool checkpoint; const char *what; } other[] = {
            { one, NULL, false, "fused" }, { one, &poison, false, "fused and poisoned" }, { one, &both, false, "poisoned" },
            { three, NULL, false, "three threads" }, { guard, NULL, false, "guarded" }, { one, &poison, true, "checkpointed" },
        };
        for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
            random_graph(seed, other[i].d, other[i].o, other[i].checkpoint, &got);
            /* recomputing what read a state that was then written is refused at compile */
            if (other[i].checkpoint && got.failed) continue;
            if (memcmp(&want, &got, sizeof want)) fail_msg("graph %d differs when %s", (int)seed, other[i].what);
        }
    }
    if (ran < 60) fail_msg("only %d of 400 random graphs could run", ran);
    genet_device_free(one);
    genet_device_free(three);
    genet_device_free(guard);
}

/* --- memory that runs out --------------------------------------------------------------- */

static void every_allocation_may_fail(void **state)
{
    (void)state;
    genet_err err = {0};
    genet_device *d = genet_device_cpu(1, &err);
    for (long n = 0;; n++) {
        genet__alloc_fail_after(n);
        genet_graph *g = genet_graph_new();
        genet_plan *p = NULL;
        genet_workspace *w = genet_workspace_new(d);
        genet_tensor *out[40];
        err = (genet_err){0};
        bool ok = false;
        if (g && w) {
            int m = build_deep(g, 3, true, out);
            p = genet_compile(g, out, m, d, NULL, &err);
            ok = p && genet_plan_attach(p, w, &err);
            if (!ok) assert_int_equal(err.code, GENET_ERR_MEMORY);
        }
        genet_plan_free(p);
        genet_workspace_free(w);
        genet_graph_free(g);
        genet__alloc_fail_after(-1);
        if (ok) break;
        assert_true(n < 100000);
    }
    genet_device_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_error_is_kept_with_names_and_shapes), cmocka_unit_test(types_are_never_promoted),
        cmocka_unit_test(old_state_after_its_write_is_refused), cmocka_unit_test(new_state_is_read_through_the_write),
        cmocka_unit_test(a_missing_gradient_is_named), cmocka_unit_test(no_path_gives_no_gradient),
        cmocka_unit_test(stale_and_misshapen_inputs_are_refused), cmocka_unit_test(a_workspace_holds_one_plans_values),
        cmocka_unit_test(state_is_written_once_and_read_anew), cmocka_unit_test(state_may_be_moved_within_itself),
        cmocka_unit_test(second_derivatives_see_through_checkpoints), cmocka_unit_test(gradients_reach_stored_types),
        cmocka_unit_test(tensors_of_other_graphs_are_refused), cmocka_unit_test(gradients_of_slices_add_up), cmocka_unit_test(impossible_arguments_are_errors),
        cmocka_unit_test(running_allocates_nothing), cmocka_unit_test(placement_is_near_its_lower_bound),
        cmocka_unit_test(checkpointing_saves_memory_and_not_a_bit_changes), cmocka_unit_test(epilogues_are_fused),
        cmocka_unit_test(parts_of_a_concatenation_are_computed_in_place),
        cmocka_unit_test(independent_launches_run_beside_each_other),
        cmocka_unit_test(gradients_of_neighbouring_slices_are_not_copied),
        cmocka_unit_test(norms_run_with_what_is_around_them),
        cmocka_unit_test(sums_of_products_lie_in_one_place),
        cmocka_unit_test(logits_of_a_large_vocabulary_never_exist_at_once),
        cmocka_unit_test(nothing_the_compiler_does_changes_a_bit), cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
