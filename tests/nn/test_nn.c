/* labels: core
 * test_nn.c - params (declared once, placed once, filled by name), layers'
 * shapes, and the updating part of a step: what is not reached is named,
 * accumulated micro-batches equal one batch, clipping and decay as PyTorch. */
#include <math.h>
#include <stdio.h>
#include "base/alloc.h"
#include "base/half.h"
#include "nn/optim.h"
#include "tiny.h"

static genet_device *device;
static genet_err     err;

static int setup(void **state)
{
    (void)state;
    device = genet_device_cpu(1, &err);
    return device ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    genet_device_free(device);
    return 0;
}

static void read_all(params *p, const char *name, float *to)
{
    param *w = genet__params_find(p, name);
    assert_non_null(w);
    assert_true(genet__params_read(p, w, to, w->size_bytes, &err));
}

/* --- params ------------------------------------------------------------------------ */

static void test_one_node_a_graph(void **state)
{
    (void)state;
    params *p = genet__params_new(device, 1, &err);
    graph *g = genet_graph_new();
    net n = { .graph = g, .params = p };
    net_push(&n, "h", 3);
    tensor *a = genet__net_weight(&n, "w", GENET_DIMS(2, 3), INIT_OF_ONES);
    assert_ptr_equal(a, genet__net_weight(&n, "w", GENET_DIMS(2, 3), INIT_OF_ONES));
    net_pop(&n);
    assert_string_equal(g->scope, "");
    assert_string_equal(genet_tensor_name(a), "h.3.w");
    assert_int_equal(p->n, 1);
    assert_null(genet_graph_error(g));
    net_push(&n, "h", 3);
    genet__net_weight(&n, "w", GENET_DIMS(3, 2), INIT_OF_ONES);
    assert_non_null(strstr(genet_graph_error(g), "h.3.w is f32 [2,3], and is asked for as f32 [3,2]"));
    genet_graph_free(g);
    genet__params_free(p);
}

/* Values depend on seed and name alone: not on order, nor on what else there is. */
static void test_initial_values(void **state)
{
    (void)state;
    float first[1000], again[1000], other[1000];
    for (int turn = 0; turn < 2; turn++) {
        params *p = genet__params_new(device, 7, &err);
        graph *g = genet_graph_new();
        net n = { .graph = g, .params = p };
        const char *name[] = { "a", "b", "c" };
        for (int i = 0; i < 3; i++)
            genet__net_weight(&n, name[turn ? 2 - i : i], GENET_DIMS(1000), INIT_OF_NORMAL(0.5));
        assert_true(genet__params_place(p, &err) && genet__params_fill(p, &err));
        read_all(p, "b", turn ? again : first);
        read_all(p, "c", other);
        genet_graph_free(g);
        genet__params_free(p);
    }
    assert_memory_equal(first, again, sizeof first);
    assert_memory_not_equal(first, other, sizeof first);
    double sum = 0, squares = 0;
    for (int i = 0; i < 1000; i++) sum += (double)first[i], squares += (double)first[i] * (double)first[i];
    assert_true(fabs(sum / 1000) < 0.06 && fabs(sqrt(squares / 1000) - 0.5) < 0.05);
}

static void test_bounds_of_uniform(void **state)
{
    (void)state;
    params *p = genet__params_new(device, 7, &err);
    graph *g = genet_graph_new();
    net n = { .graph = g, .params = p };
    genet__net_weight(&n, "kaiming", GENET_DIMS(400), (init){ INIT_KAIMING, 1, 12, 5 });
    genet__net_weight(&n, "xavier", GENET_DIMS(400), (init){ INIT_XAVIER, 1, 12, 12 });
    assert_true(genet__params_place(p, &err) && genet__params_fill(p, &err));
    float x[400];
    for (int turn = 0; turn < 2; turn++) {
        float most = 0;
        read_all(p, turn ? "xavier" : "kaiming", x);
        for (int i = 0; i < 400; i++) most = fmaxf(most, fabsf(x[i]));
        assert_true(most <= 0.5f && most > 0.48f);      /* sqrt(3/12) = sqrt(6/24) = 0.5 */
    }
    genet_graph_free(g);
    genet__params_free(p);
}

static void test_sizes_are_checked(void **state)
{
    (void)state;
    params *p = genet__params_new(device, 1, &err);
    graph *g = genet_graph_new();
    net n = { .graph = g, .params = p };
    genet__net_weight(&n, "w", GENET_DIMS(4), INIT_OF_ZEROS);
    float x[5] = {0};
    param *w = genet__params_find(p, "w");
    assert_false(genet__params_write(p, w, x, sizeof x, &err));
    assert_true(genet__params_place(p, &err));
    void *address = w->address;
    assert_false(genet__params_write(p, w, x, sizeof x, &err));
    assert_true(genet__params_write(p, w, x, 16, &err));
    assert_true(genet__params_place(p, &err));          /* nothing new: nothing moves */
    assert_ptr_equal(address, w->address);
    assert_int_equal(p->n_block, 1);
    assert_null(genet__params_find(p, "v"));
    genet_graph_free(g);
    genet__params_free(p);
}

/* --- layers --------------------------------------------------------------------------- */

static void test_layers(void **state)
{
    (void)state;
    params *p = genet__params_new(device, 1, &err);
    graph *g = genet_graph_new();
    net n = { .graph = g, .params = p };
    tensor *x = genet_input(g, "x", GENET_F32, GENET_DIMS(2, 3, 4));
    tensor *y = linear(&n, "fc", x, 5, NULL);
    assert_string_equal(SHAPE_TEXT(y), "[2,3,5]");
    assert_int_equal(genet__params_find(p, "fc.weight")->shape.dim[0], 5);
    y = linear(&n, "conv", x, 5, &(linear_options){ .in_out = true, .no_bias = true });
    assert_int_equal(genet__params_find(p, "conv.weight")->shape.dim[0], 4);
    assert_null(genet__params_find(p, "conv.bias"));
    assert_string_equal(SHAPE_TEXT(layer_norm(&n, "ln", y, 1e-5)), "[2,3,5]");
    assert_ptr_equal(dropout(&n, y, 0.5), y);            /* not training */
    assert_null(genet_graph_error(g));
    linear(&n, "bad", genet_full(g, GENET_F32, 1, 0, NULL), 5, NULL);
    assert_non_null(strstr(genet_graph_error(g), "bad"));
    assert_null(genet__activation("nonsense"));
    assert_non_null(genet__activation("gelu_new"));
    genet_graph_free(g);
    genet__params_free(p);
}

/* --- a step ----------------------------------------------------------------------------- */

/* y = a x + b on rows; the loss is the squared error, summed. */
typedef struct fit {
    params *p;
    graph *g;
    genet_plan *plan;
    genet_workspace *w;
    tensor *x, *y, *gradient;
    optim_step s;
} fit;

static void fit_build_in(dtype type, fit *f, params *p, int64_t rows, const optim_options *o, bool accumulate)
{
    *f = (fit){ .p = p, .g = genet_graph_new(), .w = genet_workspace_new(device) };
    net n = { .graph = f->g, .params = p, .training = true, .dtype = type };
    f->x = genet_input(f->g, "x", GENET_F32, GENET_DIMS(rows, 3));
    f->y = genet_input(f->g, "y", GENET_F32, GENET_DIMS(rows, 2));
    tensor *loss = genet_mse(linear(&n, "fc", f->x, 2, NULL), f->y), *count = genet_side(loss, 1);
    optim_weights w;
    arena a = {0};
    assert_true(genet__optim_weights(&n, &a, &w, &err));
    f->gradient = genet__optim_gradient(&n, &w, loss, &err);
    assert_non_null(f->gradient);
    tensor *out[4] = { f->gradient };
    if (accumulate) {
        optim_sums sums = genet__optim_sums(&n, w.start[w.n]);
        genet__optim_accumulate(&sums, f->gradient, loss, count);
    } else {
        f->s = genet__optim_update(&n, o, &w, f->gradient, loss, count);
        out[1] = f->s.loss, out[2] = f->s.grad_norm, out[3] = f->s.finite;
    }
    f->plan = genet_compile(f->g, out, accumulate ? 0 : 4, device, NULL, &err);
    if (!f->plan) print_error("%s\n", err.text);
    assert_non_null(f->plan);
    genet__arena_release(&a);
}

static void fit_build(fit *f, params *p, int64_t rows, const optim_options *o, bool accumulate)
{
    fit_build_in(GENET_F32, f, p, rows, o, accumulate);
}

static void fit_attach(fit *f)
{
    assert_true(genet__params_place(f->p, &err) && genet__params_fill(f->p, &err));
    assert_true(genet_plan_attach(f->plan, f->w, &err));
    assert_true(genet__params_bind(f->p, f->g, f->plan, &err));
}

static void fit_release(fit *f)
{
    genet_plan_free(f->plan);
    genet_workspace_free(f->w);
    genet_graph_free(f->g);
}

static void fit_write(fit *f, const float *x, const float *y, int rows, float lr, float step)
{
    assert_true(genet_plan_write(f->plan, f->x, x, (size_t)rows * 3 * sizeof *x, &err));
    assert_true(genet_plan_write(f->plan, f->y, y, (size_t)rows * 2 * sizeof *y, &err));
    if (!f->s.step) return;
    assert_true(genet_plan_write(f->plan, f->s.learning_rate, &lr, sizeof lr, &err));
    assert_true(genet_plan_write(f->plan, f->s.step, &step, sizeof step, &err));
}

static void data(float *x, float *y)
{
    for (int i = 0; i < 24; i++) x[i] = (float)sin(i * 1.3);
    for (int i = 0; i < 16; i++) y[i] = (float)cos(i * 0.7) * 3;
}

static const optim_options adamw = { .optimizer = "adamw", .beta1 = 0.9, .beta2 = 0.99, .adam_epsilon = 1e-8,
                                     .weight_decay = 0.1, .max_grad_norm = 0.5 };

/* 8 rows at once, and 4 times 2 accumulated, learn the same. */
static void test_accumulation(void **state)
{
    (void)state;
    float x[24], y[16], once[6], parts[6];
    data(x, y);
    params *p = genet__params_new(device, 5, &err), *q = genet__params_new(device, 5, &err);
    fit all, micro;
    fit_build(&all, p, 8, &adamw, false);
    fit_attach(&all);
    for (int step = 1; step <= 3; step++) {
        fit_write(&all, x, y, 8, 0.01f, (float)step);
        assert_true(genet_plan_run(all.plan, &err));
    }
    read_all(p, "fc.weight", once);

    fit_build(&micro, q, 2, &adamw, true);
    graph *g = genet_graph_new();           /* the update, in a graph of its own */
    net n = { .graph = g, .params = q };
    int64_t weight[] = { 2, 3 }, bias[] = { 2 }, total = 8;
    genet__net_weight(&n, "fc.weight", 2, weight, INIT_OF_ZEROS);
    genet__net_weight(&n, "fc.bias", 1, bias, INIT_OF_ZEROS);
    optim_weights w;
    arena a = {0};
    assert_true(genet__optim_weights(&n, &a, &w, &err));
    optim_sums sums = genet__optim_sums(&n, total);
    optim_step s = genet__optim_update(&n, &adamw, &w, sums.gradient, sums.loss, sums.count);
    genet__optim_clear(&sums);
    genet_plan *update = genet_compile(g, &s.loss, 1, device, NULL, &err);
    assert_non_null(update);
    fit_attach(&micro);
    assert_true(genet_plan_attach(update, micro.w, &err) && genet__params_bind(q, g, update, &err));
    for (int step = 1; step <= 3; step++) {
        float lr = 0.01f, number = (float)step;
        for (int i = 0; i < 4; i++) {
            fit_write(&micro, x + 6 * i, y + 4 * i, 2, 0, 0);
            assert_true(genet_plan_run(micro.plan, &err));
        }
        assert_true(genet_plan_write(update, s.learning_rate, &lr, sizeof lr, &err));
        assert_true(genet_plan_write(update, s.step, &number, sizeof number, &err));
        assert_true(genet_plan_run(update, &err));
    }
    read_all(q, "fc.weight", parts);
    for (int i = 0; i < 6; i++) assert_true(fabsf(once[i] - parts[i]) <= 1e-5f * fabsf(once[i]));
    float left;
    read_all(q, "sum.count", &left);
    assert_true(left == 0);
    genet_plan_free(update);
    genet_graph_free(g);
    genet__arena_release(&a);
    fit_release(&all);
    fit_release(&micro);
    genet__params_free(p);
    genet__params_free(q);
}

/* A NaN in the data changes nothing, and says so. */
static void test_not_finite(void **state)
{
    (void)state;
    float x[24], y[16], before[6], after[6];
    uint8_t finite;
    data(x, y);
    params *p = genet__params_new(device, 5, &err);
    fit f;
    fit_build(&f, p, 8, &adamw, false);
    fit_attach(&f);
    read_all(p, "fc.weight", before);
    x[7] = NAN;
    fit_write(&f, x, y, 8, 0.01f, 1);
    assert_true(genet_plan_run(f.plan, &err));
    assert_true(genet_plan_read(f.plan, f.s.finite, &finite, 1, &err));
    assert_int_equal(finite, 0);
    read_all(p, "fc.weight", after);
    assert_memory_equal(before, after, sizeof before);
    float m[6], zero[6] = {0};
    read_all(p, "optimizer.m.fc.weight", m);
    assert_memory_equal(m, zero, sizeof m);
    fit_release(&f);
    genet__params_free(p);
}

/* --- mixed precision -------------------------------------------------------------------- */

/* fc.weight's derived form is it, rounded; returns whether rounding lost anything. */
static bool expect_rounded(params *p)
{
    float w[6];
    uint16_t narrow[6];
    bool lost = false;
    read_all(p, "fc.weight", w);
    assert_true(genet__params_read(p, genet__params_find(p, "fc.weight")->derived, narrow, sizeof narrow, &err));
    for (int i = 0; i < 6; i++) {
        assert_int_equal(narrow[i], genet__to_bf16(w[i]));
        lost |= genet__from_bf16(narrow[i]) != w[i];
    }
    return lost;
}

/* Whoever writes a weight: the initial fill, each optimiser, a reset, the host. */
static void test_derived_form_follows(void **state)
{
    (void)state;
    static const char *const optimizer[] = { "sgd", "adam", "adamw", "lion" };
    float x[24], y[16], host[6] = { 1.001f, -2, 3e-9f, NAN, INFINITY, -3e38f };
    data(x, y);
    for (int i = 0; i < 8; i++) {
        optim_options o = { .optimizer = optimizer[i / 2], .beta1 = 0.9, .beta2 = 0.99, .adam_epsilon = 1e-8,
                            .momentum = i % 2 ? 0.9 : 0, .weight_decay = 0.1, .max_grad_norm = 1 };
        params *p = genet__params_new(device, 5, &err);
        fit f;
        fit_build_in(GENET_BF16, &f, p, 8, &o, false);
        assert_int_equal(genet__params_find(p, "fc.weight.bf16")->kind, PARAM_DERIVED);
        assert_null(genet__params_find(p, "fc.bias")->derived);         /* no product reads it */
        fit_attach(&f);
        assert_true(expect_rounded(p));
        float before[6], after[6];
        read_all(p, "fc.weight", before);
        for (int step = 1; step <= 3; step++) {
            fit_write(&f, x, y, 8, 0.01f, (float)step);
            assert_true(genet_plan_run(f.plan, &err));
            assert_true(expect_rounded(p));
        }
        read_all(p, "fc.weight", after);
        assert_memory_not_equal(before, after, sizeof before);
        assert_true(genet__params_reset(p, PARAM_WEIGHT, &err));
        read_all(p, "fc.weight", after);
        assert_memory_equal(before, after, sizeof before);
        assert_true(expect_rounded(p));
        assert_true(genet__params_write(p, genet__params_find(p, "fc.weight"), host, sizeof host, &err));
        uint16_t narrow[6];
        assert_true(genet__params_read(p, genet__params_find(p, "fc.weight.bf16"), narrow, sizeof narrow, &err));
        for (int k = 0; k < 6; k++) assert_int_equal(narrow[k], genet__to_bf16(host[k]));
        fit_release(&f);
        genet__params_free(p);
    }
}

/* Steps too small for bf16 to tell add up in the weights. */
static void test_weights_stay_f32(void **state)
{
    (void)state;
    float x[24], y[16], before[6], after[6];
    data(x, y);
    optim_options o = { .optimizer = "lion", .beta1 = 0.9, .beta2 = 0.99 };       /* each step changes by the rate */
    params *p = genet__params_new(device, 5, &err);
    fit f;
    fit_build_in(GENET_BF16, &f, p, 8, &o, false);
    fit_attach(&f);
    read_all(p, "fc.weight", before);
    for (int step = 1; step <= 4; step++) {
        fit_write(&f, x, y, 8, 1e-6f, (float)step);
        assert_true(genet_plan_run(f.plan, &err));
    }
    read_all(p, "fc.weight", after);
    for (int i = 0; i < 6; i++) assert_true(fabsf(fabsf(after[i] - before[i]) - 4e-6f) < 2e-7f);
    fit_release(&f);
    genet__params_free(p);
}

static double rounded(float x) { return (double)genet__from_bf16(genet__to_bf16(x)); }

/* Products of rounded operands, summed in f32: the operands are rounded, their sums are not. */
static void test_gradient_is_not_rounded(void **state)
{
    (void)state;
    float x[24], y[16], w[6], bias[2], gradient[8];
    data(x, y);
    params *p = genet__params_new(device, 5, &err);
    fit f;
    fit_build_in(GENET_BF16, &f, p, 8, &adamw, false);
    fit_attach(&f);
    read_all(p, "fc.weight", w);
    read_all(p, "fc.bias", bias);
    fit_write(&f, x, y, 8, 0, 1);
    assert_true(genet_plan_run(f.plan, &err));
    assert_true(genet_plan_read(f.plan, f.gradient, gradient, sizeof gradient, &err));
    double want[8] = {0};
    for (int r = 0; r < 8; r++)
        for (int o = 0; o < 2; o++) {
            double out = (double)bias[o], g;
            for (int k = 0; k < 3; k++) out += rounded(x[3 * r + k]) * rounded(w[3 * o + k]);
            g = 2 * (out - (double)y[2 * r + o]);
            want[6 + o] += g;
            for (int k = 0; k < 3; k++) want[3 * o + k] += rounded((float)g) * rounded(x[3 * r + k]);
        }
    for (int i = 0; i < 8; i++) assert_true(fabs((double)gradient[i] - want[i]) < 2e-5);
    fit_release(&f);
    genet__params_free(p);
}

/* Plain SGD moves against the clipped mean gradient; decay spares the bias. */
static void test_clipping_and_decay(void **state)
{
    (void)state;
    float x[24], y[16], before[8], after[8], gradient[8], norm;
    data(x, y);
    optim_options o = { .optimizer = "sgd", .weight_decay = 0.5, .max_grad_norm = 0.25 };
    params *p = genet__params_new(device, 5, &err);
    fit f;
    fit_build(&f, p, 8, &o, false);
    fit_attach(&f);
    read_all(p, "fc.weight", before);
    read_all(p, "fc.bias", before + 6);
    fit_write(&f, x, y, 8, 0.1f, 1);
    assert_true(genet_plan_run(f.plan, &err));
    assert_true(genet_plan_read(f.plan, f.gradient, gradient, sizeof gradient, &err));
    assert_true(genet_plan_read(f.plan, f.s.grad_norm, &norm, sizeof norm, &err));
    read_all(p, "fc.weight", after);
    read_all(p, "fc.bias", after + 6);
    double squares = 0;
    for (int i = 0; i < 8; i++) squares += pow((double)gradient[i] / 16, 2);      /* 8 rows of 2 */
    assert_true(fabs((double)norm - sqrt(squares)) < 1e-5 * sqrt(squares) && norm > 0.25f);
    for (int i = 0; i < 8; i++) {
        double g = (double)gradient[i] / 16 * 0.25 / ((double)norm + 1e-6) + (i < 6 ? 0.5 * (double)before[i] : 0);
        assert_true(fabs((double)after[i] - ((double)before[i] - 0.1 * g)) < 1e-6);
    }
    fit_release(&f);
    genet__params_free(p);
}

/* A weight that the loss does not reach, or that the graph lacks, is named;
 * frozen ones are left alone. */
static void test_unreached(void **state)
{
    (void)state;
    params *p = genet__params_new(device, 5, &err);
    graph *g = genet_graph_new();
    net n = { .graph = g, .params = p };
    tensor *x = genet_input(g, "x", GENET_F32, GENET_DIMS(2, 3));
    tensor *loss = genet_sum(linear(&n, "used", x, 2, NULL), 3, false);
    linear(&n, "idle", x, 2, NULL);
    optim_weights w;
    arena a = {0};
    assert_true(genet__optim_weights(&n, &a, &w, &err));
    assert_null(genet__optim_gradient(&n, &w, loss, &err));
    assert_non_null(strstr(err.text, "idle.weight, idle.bias"));
    assert_int_equal(genet__params_freeze(p, "idle.", true), 2);
    assert_true(genet__optim_weights(&n, &a, &w, &err));
    assert_int_equal(w.n, 2);
    assert_non_null(genet__optim_gradient(&n, &w, loss, &err));
    genet__params_freeze(p, "", true);
    assert_false(genet__optim_weights(&n, &a, &w, &err));
    assert_non_null(strstr(err.text, "frozen"));
    graph *empty = genet_graph_new();
    genet__params_freeze(p, "used", false);
    assert_false(genet__optim_weights(&(net){ .graph = empty, .params = p }, &a, &w, &err));
    assert_non_null(strstr(err.text, "used.weight"));
    genet_graph_free(empty);
    genet_graph_free(g);
    genet__arena_release(&a);
    genet__params_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_node_a_graph),  cmocka_unit_test(test_initial_values),
        cmocka_unit_test(test_bounds_of_uniform), cmocka_unit_test(test_sizes_are_checked),
        cmocka_unit_test(test_layers),            cmocka_unit_test(test_accumulation),
        cmocka_unit_test(test_not_finite), cmocka_unit_test(test_derived_form_follows),
        cmocka_unit_test(test_weights_stay_f32), cmocka_unit_test(test_gradient_is_not_rounded),        cmocka_unit_test(test_clipping_and_decay),
        cmocka_unit_test(test_unreached),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
