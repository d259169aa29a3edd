/* labels: core
 * test_golden_ops.c - single ops and optimisers as PyTorch computes them
 * (tools/golden.py, in double): values, and the gradient of every input. */
#include <math.h>
#include "tiny.h"
#include "format/safetensors.h"
#include "golden/golden.h"

static const double bar = 3e-6;         /* of the largest element: rounding of f32 */

typedef struct world {
    tiny t;
    safetensors s;
    const char *op;
    genet_tensor *wrt[5];               /* float inputs, dy the last, and their names */
    const char *name[5];
    int n;
} world;

static const safetensor *get(const world *w, const char *name)
{
    char full[100];
    snprintf(full, sizeof full, "%s.%s", w->op, name);
    const safetensor *t = genet__safetensors_find(&w->s, full);
    if (!t) fail_msg("%s is not in ops.safetensors", full);
    return t;
}

static world open_world(const char *op)
{
    world w = { .op = op };
    tiny_open(&w.t);
    if (!genet__safetensors_open(&w.s, golden_path("ops.safetensors"), &w.t.err)) fail_msg("%s", w.t.err.text);
    return w;
}

/* A float input that a gradient is wanted for. */
static genet_tensor *take(world *w, const char *name)
{
    const safetensor *s = get(w, name);
    double v[1000];
    float f[1000];
    assert_true(s->numel <= 1000 && genet__safetensor_to_f32(s, f));
    for (int64_t i = 0; i < s->numel; i++) v[i] = (double)f[i];
    w->name[w->n] = name;
    return w->wrt[w->n++] = tiny_f32(&w->t, v, s->rank, s->dim);
}

static genet_tensor *take_i32(world *w, const char *name)
{
    const safetensor *s = get(w, name);
    int32_t v[100];
    assert_true(s->dtype == GENET_I32 && s->numel <= 100);
    memcpy(v, s->at, s->size_bytes);
    return tiny_i32(&w->t, v, s->rank, s->dim);
}

static void expect(world *w, genet_tensor *y, const safetensor *s)
{
    float got[1000], want[1000];
    double scale = 1e-3, worst = 0;
    assert_int_equal(genet_tensor_numel(y), s->numel);
    assert_true(s->numel <= 1000 && genet__safetensor_to_f32(s, want));
    if (!genet_plan_read(w->t.plan, y, got, s->size_bytes, &w->t.err)) fail_msg("%s", w->t.err.text);
    for (int64_t i = 0; i < s->numel; i++) {
        scale = fmax(scale, fabs((double)want[i]));
        worst = fmax(worst, fabs((double)got[i] - (double)want[i]));
        if (isnan(got[i])) worst = INFINITY;
    }
    if (!(worst <= bar * scale)) fail_msg("%s: off by %g of its scale", s->name, worst / scale);
}

/* y, and the gradients of sum(y * dy) for what was taken. */
static void finish(world *w, genet_tensor *y)
{
    genet_tensor *out[5] = { y };
    int n = w->n;
    genet_tensor *loss = genet_tensor_rank(y) ? genet_sum(genet_mul(y, take(w, "dy")), genet_axes_all(y), false) : y;
    genet_grad(loss, w->wrt, n, out + 1);
    for (int i = 0; i < n; i++) if (!out[i + 1]) fail_msg("%s: no gradient for %s", w->op, w->name[i]);
    tiny_run(&w->t, out, n + 1);
    expect(w, y, get(w, "y"));
    for (int i = 0; i < n; i++) {
        char name[20];
        snprintf(name, sizeof name, "d%s", w->name[i]);
        expect(w, out[i + 1], get(w, name));
    }
    tiny_close(&w->t);
    genet__safetensors_close(&w->s);
}

static void test_attention(void **state)
{
    (void)state;
    world w = open_world("attention_gqa_causal");
    genet_tensor *q = take(&w, "q"), *k = take(&w, "k"), *v = take(&w, "v");
    finish(&w, genet_attention(q, k, v, &(genet_attention_options){ .causal = true }));
    w = open_world("attention_bias_lengths");
    q = take(&w, "q"), k = take(&w, "k"), v = take(&w, "v");
    genet_tensor *bias = take(&w, "bias"), *lengths = take_i32(&w, "k_lengths");
    finish(&w, genet_attention(q, k, v, &(genet_attention_options){ .bias = bias, .k_lengths = lengths }));
    w = open_world("attention_position_window_softcap");
    q = take(&w, "q"), k = take(&w, "k"), v = take(&w, "v");
    genet_attention_options o = { .position = take_i32(&w, "position"), .causal = true, .window = 3, .softcap = 1.5 };
    finish(&w, genet_attention(q, k, v, &o));
}

static void test_rope(void **state)
{
    (void)state;
    world w = open_world("rope_halves");
    finish(&w, genet_rope(take(&w, "x"), NULL, 10000, false));
}

static void test_losses(void **state)
{
    (void)state;
    world w = open_world("cross_entropy_smoothed");
    genet_tensor *x = take(&w, "logits");
    finish(&w, genet_cross_entropy(x, take_i32(&w, "target"), -100, 0.1));
    w = open_world("huber");
    x = take(&w, "x");
    finish(&w, genet_huber(x, take(&w, "target"), 0.7));
    w = open_world("kl_div");
    x = take(&w, "x");
    finish(&w, genet_kl_div(x, take(&w, "target")));
    w = open_world("bce_with_logits");
    x = take(&w, "x");
    finish(&w, genet_bce_with_logits(x, take(&w, "target")));
}

static void test_norms(void **state)
{
    (void)state;
    world w = open_world("layer_norm");
    genet_tensor *x = take(&w, "x"), *weight = take(&w, "weight");
    finish(&w, genet_layer_norm(x, weight, take(&w, "bias"), 1e-5));
    w = open_world("rms_norm");
    x = take(&w, "x");
    finish(&w, genet_rms_norm(x, take(&w, "weight"), 1e-6));
    w = open_world("gelu_erf");
    finish(&w, genet_gelu(take(&w, "x")));
    w = open_world("gelu_tanh");
    finish(&w, genet_gelu_tanh(take(&w, "x")));
}

/* --- optimisers ---------------------------------------------------------------------- */

enum { N = 7, STEPS = 5 };

typedef struct optimiser { genet_tensor *p, *m, *v, *grad, *lr, *scale, *step, *finite; } optimiser;
typedef genet_tensor *update_fn(const optimiser *o);

static genet_tensor *sgd(const optimiser *o)
{
    return genet_update_sgd(o->p, o->grad, NULL, NULL, o->lr, o->scale, o->finite, 0, false, 0.01);
}

static genet_tensor *momentum(const optimiser *o)
{
    return genet_update_sgd(o->p, o->grad, o->m, NULL, o->lr, o->scale, o->finite, 0.9, false, 0.01);
}

static genet_tensor *nesterov(const optimiser *o)
{
    return genet_update_sgd(o->p, o->grad, o->m, NULL, o->lr, o->scale, o->finite, 0.9, true, 0.01);
}

static genet_tensor *adam(const optimiser *o)
{
    return genet_update_adam(o->p, o->grad, o->m, o->v, NULL, o->lr, o->scale, o->step, o->finite, 0.9, 0.99, 1e-8, 0.05, false);
}

static genet_tensor *adamw(const optimiser *o)
{
    return genet_update_adam(o->p, o->grad, o->m, o->v, NULL, o->lr, o->scale, o->step, o->finite, 0.9, 0.99, 1e-8, 0.1, true);
}

static genet_tensor *lion(const optimiser *o)
{
    return genet_update_lion(o->p, o->grad, o->m, NULL, o->lr, o->scale, o->finite, 0.9, 0.99, 0.1);
}

static void put(world *w, genet_tensor *t, const void *bytes, size_t n)
{
    if (!genet_plan_write(w->t.plan, t, bytes, n, &w->t.err)) fail_msg("%s", w->t.err.text);
}

static void run_optimiser(const char *name, update_fn *update, float learning_rate)
{
    world w = open_world("optimizer");
    genet_graph *g = w.t.g;
    genet_device *d = w.t.device;
    genet_err *err = &w.t.err;
    optimiser o = { .p = genet_state(g, "p", GENET_F32, GENET_DIMS(N)), .m = genet_state(g, "m", GENET_F32, GENET_DIMS(N)),
                    .v = genet_state(g, "v", GENET_F32, GENET_DIMS(N)), .grad = genet_input(g, "grad", GENET_F32, GENET_DIMS(N)),
                    .lr = genet_input(g, "lr", GENET_F32, 0, NULL), .scale = genet_input(g, "scale", GENET_F32, 0, NULL),
                    .step = genet_input(g, "step", GENET_F32, 0, NULL), .finite = genet_input(g, "finite", GENET_U8, 0, NULL) };
    genet_tensor *y = update(&o);
    w.t.plan = genet_compile(g, &y, 1, d, NULL, err);
    if (!w.t.plan) fail_msg("%s", err->text);
    void *memory = genet_device_alloc(d, 3 * 64, err);          /* p, m, v; zeroed */
    genet_device_write(d, memory, get(&w, "start")->at, N * sizeof(float));
    genet_tensor *state[3] = { o.p, o.m, o.v };
    for (int i = 0; i < 3; i++) genet_plan_bind(w.t.plan, state[i], (char *)memory + 64 * i, NULL);    /* unused ones refuse */
    assert_true(genet_plan_attach(w.t.plan, w.t.space, err));
    const safetensor *grads = get(&w, "grads"), *want = get(&w, name);
    for (int s = 0; s < STEPS; s++) {
        float grad[N], got[N], expected[N], number = (float)(s + 1), one = 1;
        uint8_t finite = 1;
        memcpy(grad, grads->at + s * (int)sizeof grad, sizeof grad);
        memcpy(expected, want->at + s * (int)sizeof expected, sizeof expected);
        put(&w, o.grad, grad, sizeof grad);
        put(&w, o.lr, &learning_rate, sizeof learning_rate);
        put(&w, o.scale, &one, sizeof one);
        if (update == adam || update == adamw) put(&w, o.step, &number, sizeof number);
        put(&w, o.finite, &finite, sizeof finite);
        if (!genet_plan_run(w.t.plan, err)) fail_msg("%s", err->text);
        genet_device_read(d, memory, got, sizeof got);
        for (int i = 0; i < N; i++)
            if (!(fabs((double)got[i] - (double)expected[i]) <= 1e-6)) fail_msg("%s: step %d, [%d]: %g, not %g", name, s, i,
                                                                              (double)got[i], (double)expected[i]);
    }
    genet_device_release(d, memory, 3 * 64);
    tiny_close(&w.t);
    genet__safetensors_close(&w.s);
}

static void test_optimisers(void **state)
{
    (void)state;
    run_optimiser("sgd", sgd, 0.1f);
    run_optimiser("momentum", momentum, 0.1f);
    run_optimiser("nesterov", nesterov, 0.1f);
    run_optimiser("adam", adam, 0.01f);
    run_optimiser("adamw", adamw, 0.01f);
    run_optimiser("lion", lion, 0.01f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention), cmocka_unit_test(test_rope), cmocka_unit_test(test_losses), cmocka_unit_test(test_norms),
        cmocka_unit_test(test_optimisers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
