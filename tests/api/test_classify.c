/* labels: core
 * test_classify.c - classes and vectors of texts inside a C program: a classifier trained by genet_train, opened, asked; what
 * is wrong comes back in words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api/little.h"

static genet_err err;
#define OK(call) do { if (!(call)) fail_msg("%s: %s", #call, err.text); } while (0)

/* FOLDER/model: tells texts with an x from those without. */
static void train(const char *folder, genet_device *d)
{
    char data[300], out[300], text[4000] = "text,label\n";
    static const char *const set[][2] = {
        { "tokenizer", "char" }, { "n-layer", "1" }, { "n-head", "2" }, { "n-embd", "16" }, { "block-size", "16" }, { "batch-size", "8" },
        { "max-steps", "60" }, { "learning-rate", "1e-2" }, { "warmup-steps", "5" }, { "eval-steps", "20" },
    };
    for (int i = 0; i < 80; i++) {
        char line[40] = "";
        for (int k = 0; k < 4 + i % 5; k++) line[k] = (char)(i % 2 && k == i % 4 ? 'x' : 'a' + (i * 3 + k * k) % 5);
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s,%s\n", line, i % 2 ? "with" : "without");
    }
    little_write(little_path(data, folder, "data.csv"), text);
    genet_options *o = genet_options_new("train classify", &err);
    OK(o);
    for (size_t i = 0; i < sizeof set / sizeof *set; i++) OK(genet_options_set(o, set[i][0], set[i][1], &err));
    OK(genet_options_set(o, "data", data, &err) && genet_options_set(o, "out", little_path(out, folder, "model"), &err));
    OK(genet_train(o, d, NULL, NULL, &err));
    genet_options_free(o);
}

static void test_classes_and_vectors(void **state)
{
    (void)state;
    char folder[200], path[300];
    genet_device *d = genet_device_cpu(1, &err);
    genet_class got[3];
    int n = 3, width;
    float *x, *again;
    OK(d);
    little_folder(folder);
    train(folder, d);
    genet_model *m = genet_model_open(little_path(path, folder, "model"), d, &err);
    OK(m);
    genet_session *s = genet_session_new(m, &err);
    OK(s);
    OK(genet_classify(s, "abxcd", NULL, got, &n, &err));
    assert_int_equal(n, 2);
    assert_string_equal(got[0].label, "with");
    assert_int_equal(got[0].index, 0);
    assert_true(got[0].probability >= got[1].probability);
    assert_true(fabs(got[0].probability + got[1].probability - 1) < 1e-9);
    n = 1;
    OK(genet_classify(s, "abcd", NULL, got, &n, &err));
    assert_int_equal(n, 1);
    assert_string_equal(got[0].label, "without");
    static const char *const texts[] = { "abcd", "x", "abcd" };
    OK(genet_embed(s, texts, 3, &x, &width, &err));
    assert_int_equal(width, 16);
    assert_memory_equal(x, x + 32, 16 * sizeof *x);
    assert_memory_not_equal(x, x + 16, 16 * sizeof *x);
    OK(genet_embed(s, texts + 1, 1, &again, &width, &err));
    assert_memory_equal(again, x + 16, 16 * sizeof *x);
    free(x);
    free(again);
    assert_false(genet_classify(s, "Z", NULL, got, &n, &err));         /* not in the vocabulary */
    assert_false(genet_classify(s, NULL, NULL, got, &n, &err));
    assert_false(genet_embed(s, NULL, 1, &x, &width, &err));
    assert_false(genet_generate(s, "a", NULL, NULL, NULL, &err));
    genet_session_free(s);
    genet_model_free(m);
    genet_device_free(d);
    little_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_classes_and_vectors) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
