/* labels: core
 * test_metric.c - texts beside their references inside a C program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "genet/model.h"

static genet_err err;
#define OK(call) do { if (!(call)) fail_msg("%s: %s", #call, err.text); } while (0)
#define REFUSED(call, words) do { \
    err = (genet_err){ GENET_OK, "" }; \
    if (call) fail_msg("%s was not refused", #call); \
    if (err.code == GENET_OK || !strstr(err.text, words)) fail_msg("%s: \"%s\" does not say \"%s\"", #call, err.text, words); \
} while (0)

static const char *const one[] = { "The cat slept on the mat.", "A cat was on the mat." };
static const char *const two[] = { "The dog runs after a red ball.", "A dog is running after the ball." };

/* The scores are sacreBLEU's. */
static void test_bleu(void **state)
{
    (void)state;
    double x = 0;
    genet_options *o;
    genet_metric *m;
    OK(o = genet_options_new("metric", &err));
    OK(genet_options_set(o, "tokenize", "intl", &err) && genet_options_set(o, "smooth-method", "floor", &err));
    REFUSED(genet_options_set(o, "tokenize", "perhaps", &err), "13a");
    OK(m = genet_metric_new("bleu", o, &err));
    genet_options_free(o);              /* the metric has its own */
    OK(genet_metric_add(m, "The cat sat on the mat.", one, 2, &err));
    OK(genet_metric_add(m, "A dog runs after the red ball.", two, 2, &err));
    OK(genet_metric_number(m, "score", &x, &err));
    if (fabs(x - 41.269533073090315) > 1e-9) fail_msg("BLEU %.17g", x);
    char *text = genet_metric_describe(m, &err);
    assert_non_null(text);
    assert_non_null(strstr(text, "\"signature\": \"nrefs:2|case:mixed|eff:no|tok:intl|smooth:floor[0.10]|version:2.6.0\""));
    free(text);
    REFUSED(genet_metric_number(m, "f1", &x, &err), "it has: score");
    genet_metric_free(m);
}

static void test_refused(void **state)
{
    (void)state;
    genet_options *o;
    genet_metric *m;
    double x;
    REFUSED(genet_metric_new("bleurt", NULL, &err), "there are: bleu");
    REFUSED(genet_metric_new(NULL, NULL, &err), "name");
    OK(o = genet_options_new("eval", &err));
    REFUSED(genet_metric_new("chrf", o, &err), "not of \"metric\"");
    genet_options_free(o);
    OK(m = genet_metric_new("rouge", NULL, &err));
    REFUSED(genet_metric_number(m, "rougeL", &x, &err), "nothing");
    REFUSED(genet_metric_add(m, "x", NULL, 1, &err), "reference");
    REFUSED(genet_metric_add(m, "x", one, -1, &err), "-1");
    REFUSED(genet_metric_add(m, NULL, one, 1, &err), "prediction");
    REFUSED(genet_metric_add(m, "x\xff", one, 1, &err), "byte 1");
    OK(genet_metric_add(m, one[0], one, 2, &err));
    OK(genet_metric_number(m, "rougeL", &x, &err));
    assert_true(x == 1);
    genet_metric_free(m);
}

static void test_no_memory(void **state)
{
    (void)state;
    bool done = false;
    for (long i = 0; !done && i < 1000; i++) {
        double x;
        genet__alloc_fail_after(i);
        genet_metric *m = genet_metric_new("squad", NULL, &err);
        done = m && genet_metric_add(m, "the mat", one, 2, &err) && genet_metric_number(m, "f1", &x, &err);
        if (!done) assert_int_equal(err.code, GENET_ERR_MEMORY);
        genet_metric_free(m);
        genet__alloc_fail_after(-1);
    }
    assert_true(done);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bleu), cmocka_unit_test(test_refused), cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
