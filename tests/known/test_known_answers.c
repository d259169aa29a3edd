/* labels: core
 * test_known_answers.c - classic worked examples of the subject, with their
 * right values, computed by the engine. */
#include <math.h>
#include "text/tokenizer_train.h"
#include "tiny.h"

static void regression_by_gradient_descent(void **state)
{
    /* y = w x + b, mean squared error, x = 1 2 3, y = 2 4 6, from zero, rate 0.1 */
    (void)state;
    static const double want[4][5] = {      /* w, b, loss, dw, db */
        { 0, 0, 18.6666667, -18.6666667, -8 }, { 1.8666667, 0.8, 0.2962963, 1.9555556, 1.0666667 },
        { 1.6711111, 0.6933333, 0.0733761, -0.2962963, 0.0711111 }, { 1.7007407, 0.6862222, 0, 0, 0 } };
    double w = 0, b = 0;
    for (int step = 0; step < 4; step++) {
        assert_float_equal((float)w, (float)want[step][0], 2e-6f);
        assert_float_equal((float)b, (float)want[step][1], 2e-6f);
        if (step == 3) break;
        tiny t;
        tiny_open(&t);
        genet_tensor *x = TINY(&t, D(3), 1, 2, 3), *y = TINY(&t, D(3), 2, 4, 6);
        genet_tensor *p[2] = { TINY(&t, D(1), w), TINY(&t, D(1), b) }, *d[2];
        genet_tensor *sum = genet_mse(genet_add(genet_mul(x, p[0]), p[1]), y);
        genet_tensor *loss = genet_div(sum, genet_side(sum, 1));
        genet_grad(loss, p, 2, d);
        tiny_run(&t, (genet_tensor *[]){ loss, d[0], d[1] }, 3);
        tiny_expect(&t, loss, &want[step][2], 1, 2e-6);
        float dw, db;
        assert_true(genet_plan_read(t.plan, d[0], &dw, sizeof dw, &t.err));
        assert_true(genet_plan_read(t.plan, d[1], &db, sizeof db, &t.err));
        if (step == 0) {
            assert_float_equal(dw, -18.6666667f, 1e-5f);
            assert_float_equal(db, -8.0f, 1e-5f);
        }
        w -= 0.1 * (double)dw;
        b -= 0.1 * (double)db;
        tiny_close(&t);
    }
}

static void recurrence_of_tanh(void **state)
{
    (void)state;
    tiny t;
    tiny_open(&t);
    genet_tensor *x = TINY(&t, D(4), 1, 0, 0, 0), *h = TINY(&t, D(1), 0), *out[4];
    for (int i = 0; i < 4; i++)
        out[i] = h = genet_tanh(genet_add(genet_slice(x, 0, i, 1, 1), genet_mul(h, genet_scalar_like(h, 0.5))));
    genet_tensor *all = genet_concat(out, 4, 0);
    tiny_run(&t, &all, 1);
    EXPECT(&t, all, 2e-7, .76159416, .36339948, .17972621, .08962199);
    tiny_close(&t);
}

static void chain_rule_and_perplexity(void **state)
{
    /* P = 1/2, 1/4, 1/8: joint 1/64, perplexity 4; uniform over V gives V */
    (void)state;
    tiny t;
    tiny_open(&t);
    genet_tensor *p = TINY(&t, D(3), .5, .25, .125), *logits = TINY(&t, D(2, 5), 1, 1, 1, 1, 1, 3, 3, 3, 3, 3);
    genet_tensor *joint = genet_exp(genet_sum(genet_log(p), 1, false));
    genet_tensor *perplexity = genet_exp(genet_neg(genet_mean(genet_log(p), 1, false)));
    genet_tensor *loss = genet_cross_entropy(logits, tiny_i32(&t, (int32_t[]){ 0, 3 }, D(2)), -100, 0);
    genet_tensor *uniform = genet_exp(genet_div(loss, genet_side(loss, 1)));
    tiny_run(&t, (genet_tensor *[]){ joint, perplexity, uniform }, 3);
    EXPECT(&t, joint, 1e-8, 1. / 64);
    EXPECT(&t, perplexity, 1e-6, 4);
    EXPECT(&t, uniform, 1e-5, 5);
    tiny_close(&t);
}

static void attention_of_three(void **state)
{
    /* Q = K = V, one head of size 3: scores have 2 on the diagonal, else 1 */
    (void)state;
    tiny t;
    tiny_open(&t);
    genet_tensor *x = TINY(&t, D(1, 3, 1, 3), 1, 0, 1, 0, 1, 1, 1, 1, 0), *m = genet_reshape(x, D(3, 3));
    genet_tensor *free_ = genet_attention(x, x, x, &(genet_attention_options){0});
    genet_tensor *causal = genet_attention(x, x, x, &(genet_attention_options){ .causal = 1 });
    genet_tensor *scores = genet_matmul(m, genet_transpose(m, 0, 1));
    genet_tensor *weights = genet_softmax(genet_div(scores, genet_scalar_like(m, sqrt(3))), -1);
    tiny_run(&t, (genet_tensor *[]){ free_, causal, scores, weights, genet_sum(weights, 2, false) }, 4);
    EXPECT(&t, scores, 0, 2, 1, 1, 1, 2, 1, 1, 1, 2);
    const double a = .47108308, b = .26445846;
    EXPECT(&t, weights, 1e-7, a, b, b, b, a, b, b, b, a);
    EXPECT(&t, free_, 2e-7, .73554154, .52891692, .73554154, .52891692, .73554154, .73554154, .73554154, .73554154,
           .52891692);
    EXPECT(&t, causal, 2e-7, 1, 0, 1, .35954252, .64045748, 1, .73554154, .73554154, .52891692);
    tiny_close(&t);
}

static void sinusoidal_positions(void **state)
{
    (void)state;
    tiny t;
    tiny_open(&t);
    genet_tensor *p = genet_reshape(genet_iota(t.g, GENET_F32, 4, 0, 1), D(4, 1));
    genet_tensor *angle = genet_mul(p, TINY(&t, D(1, 2), 1, 0.01));         /* 10000^(-2i/4) */
    genet_tensor *s = genet_reshape(genet_sin(angle), D(4, 2, 1)), *c = genet_reshape(genet_cos(angle), D(4, 2, 1));
    genet_tensor *pe = genet_reshape(genet_concat((genet_tensor *[]){ s, c }, 2, 2), D(4, 4));
    genet_tensor *first = genet_copy(genet_slice(pe, 0, 0, 3, 1)), *next = genet_slice(pe, 0, 1, 3, 1);
    genet_tensor *dot = genet_sum(genet_mul(first, next), 2, false);
    tiny_run(&t, (genet_tensor *[]){ first, dot }, 2);
    EXPECT(&t, first, 2e-7, 0, 1, 0, 1, .84147098, .54030231, .00999983, .99995, .90929743, -.41614684, .01999867,
           .99980001);
    EXPECT(&t, dot, 5e-7, 1.54025231, 1.54025231, 1.54025231);
    tiny_close(&t);
}

static void layer_norm_and_softmax(void **state)
{
    (void)state;
    tiny t;
    tiny_open(&t);
    genet_tensor *n = genet_layer_norm(TINY(&t, D(1, 4), 1, 2, 3, 4), NULL, NULL, 1e-5);
    genet_tensor *s = genet_softmax(TINY(&t, D(2, 3), 1, 2, 3, 1001, 1002, 1003), -1);
    tiny_run(&t, (genet_tensor *[]){ n, s }, 2);
    EXPECT(&t, n, 2e-7, -1.34163542, -.44721181, .44721181, 1.34163542);
    EXPECT(&t, s, 1e-7, .09003057, .24472847, .66524096, .09003057, .24472847, .66524096);
    tiny_close(&t);
}

static void residual_of_a_zero_layer(void **state)
{
    /* the last layer is zero: y = x, and dy/dx is the identity, bit for bit */
    (void)state;
    tiny t;
    tiny_open(&t);
    genet_tensor *x = TINY(&t, D(2, 3), .1, .2, .3, -.4, .5, .6), *w = TINY(&t, D(3, 3), 0, 0, 0, 0, 0, 0, 0, 0, 0);
    genet_tensor *y = genet_add(genet_matmul(genet_gelu(x), w), x), *d;
    genet_grad(genet_sum(y, 3, false), &x, 1, &d);
    genet_tensor *same = genet_copy(d);
    tiny_run(&t, (genet_tensor *[]){ y, same }, 2);
    EXPECT(&t, y, 0, .1, .2, .3, -.4, .5, .6);
    EXPECT(&t, same, 0, 1, 1, 1, 1, 1, 1);
    tiny_close(&t);
}

static void cosine_of_bags(void **state)
{
    (void)state;
    tiny t;
    tiny_open(&t);
    genet_tensor *a = TINY(&t, D(1, 3), 1, 0, 1);
    genet_tensor *b = TINY(&t, D(7, 3), 0, 1, 1, 0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 1, 0, 1, 1, 1, 1, 1, 1);
    genet_tensor *dot = genet_sum(genet_mul(a, b), 2, false);
    genet_tensor *norms = genet_sqrt(genet_mul(genet_sum(genet_square(a), 2, false), genet_sum(genet_square(b), 2, false)));
    genet_tensor *cosine = genet_div(dot, norms);
    tiny_run(&t, (genet_tensor *[]){ dot, cosine }, 2);
    EXPECT(&t, dot, 0, 1, 0, 1, 0, 1, 2, 2);
    EXPECT(&t, cosine, 1e-7, .5, 0, .70710678, 0, .5, .81649658, .81649658);
    tiny_close(&t);
}

static void noising_chain(void **state)
{
    /* alpha-bar of beta = .1 .2 .3, and the posterior variances */
    (void)state;
    tiny t;
    tiny_open(&t);
    genet_tensor *beta = TINY(&t, D(3), .1, .2, .3), *one = genet_scalar_like(beta, 1);
    genet_tensor *bar = genet_exp(genet_cumsum(genet_log(genet_sub(one, beta)), 0));
    genet_tensor *before = genet_concat((genet_tensor *[]){ genet_reshape(one, D(1)), genet_slice(bar, 0, 0, 2, 1) }, 2, 0);
    genet_tensor *posterior = genet_mul(beta, genet_div(genet_sub(one, before), genet_sub(one, bar)));
    tiny_run(&t, (genet_tensor *[]){ bar, posterior }, 2);
    EXPECT(&t, bar, 1e-6, .9, .72, .504);
    EXPECT(&t, posterior, 1e-6, 0, .07142857, .16935484);
    tiny_close(&t);
}

/* "fascination" by the merges t i, o n, ti on, f a, fa s, n a, i na, c ina: fas cina tion. */
static void pieces_of_fascination(void **state)
{
    (void)state;
    static const char *const pair[][2] = { { "t", "i" }, { "o", "n" }, { "ti", "on" }, { "f", "a" }, { "fa", "s" },
                                           { "n", "a" },
                                           { "i", "na" }, { "c", "ina" } };
    static const char *const want[] = { "fas", "cina", "tion" };
    enum { N = sizeof pair / sizeof *pair };
    genet_err err;
    bpe_merge merge[N];
    token_list ids = {0};
    for (int n = 0; n < N; n++) {       /* ids of what earlier merges made */
        tokenizer *t = genet__tokenizer_from_merges(NULL, 0, merge, n, &err);
        assert_non_null(t);
        merge[n] = (bpe_merge){ genet__tokenizer_find(t, pair[n][0], strlen(pair[n][0])),
                                genet__tokenizer_find(t, pair[n][1], strlen(pair[n][1])) };
        genet__tokenizer_free(t);
    }
    tokenizer *t = genet__tokenizer_from_merges(NULL, 0, merge, N, &err);
    assert_true(t && genet__tokenizer_encode(t, "fascination", 11, &ids, &err));
    assert_int_equal(ids.n, 3);
    for (int i = 0; i < 3; i++) assert_int_equal(ids.at[i], genet__tokenizer_find(t, want[i], strlen(want[i])));
    genet__token_list_release(&ids);
    genet__tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(regression_by_gradient_descent), cmocka_unit_test(recurrence_of_tanh),
        cmocka_unit_test(chain_rule_and_perplexity), cmocka_unit_test(attention_of_three),
        cmocka_unit_test(sinusoidal_positions), cmocka_unit_test(layer_norm_and_softmax),
        cmocka_unit_test(residual_of_a_zero_layer), cmocka_unit_test(cosine_of_bags), cmocka_unit_test(noising_chain),
        cmocka_unit_test(pieces_of_fascination),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
