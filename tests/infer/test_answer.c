/* labels: core
 * test_answer.c - answers that stand in a text: the best spans of one window are those that a plain search over all spans
 * finds; windows, orders and "none". The model is tiny and random (tests/golden/bert/bert-span). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "golden/golden.h"
#include "infer/answer.h"

#define OK(call) do { if (!(call)) fail_msg("%s: %s", #call, err.text); } while (0)
static genet_err err;
enum { MOST = 16, BEST = 5 };

typedef struct fixture {
    genet_device    *device;
    genet_workspace *space;
    model           *m;
    tokenizer       *t;
    texts           *texts;
} fixture;

static void open_fixture(fixture *f)
{
    char_set *letters = calloc(1, sizeof *letters);
    for (uint32_t c = 'a'; c <= 'z'; c++) char_set_add(letters, c);
    *f = (fixture){0};
    OK(f->device = genet_device_cpu(1, &err));
    f->space = genet_workspace_new(f->device);
    OK(f->m = genet__model_open(golden_path("bert/bert-span"), f->device, MODEL_READ_ONLY, &err));
    OK(f->t = genet__tokenizer_from_chars(letters, &err));
    OK(f->texts = genet__texts_new(f->m, NULL, f->space, POOL_NONE, GENET_F32, &err));
    free(letters);
}

static void close_fixture(fixture *f)
{
    genet__texts_free(f->texts);
    genet__tokenizer_free(f->t);
    genet__model_free(f->m);
    genet_workspace_free(f->space);
    genet_device_free(f->device);
}

static bool keep(void *user, int64_t i, const float *y, int64_t n, genet_err *why)
{
    (void)i, (void)why;
    memcpy(user, y, (size_t)n * 2 * sizeof *y);
    return true;
}

/* The probability of a span from `at` to `to` among n logits, every other one, from `from` on. */
static double part(const float *y, int64_t from, int64_t n, int64_t at)
{
    double sum = 0;
    for (int64_t i = from; i < n; i++) sum += exp((double)y[2 * i]);
    return exp((double)y[2 * at]) / sum;
}

static void test_one_window(void **state)
{
    (void)state;
    static const char question[] = "who", context[] = "anselmwasit";
    fixture f;
    float y[2 * MOST];
    token_list ids = {0};
    span_answer got[BEST];
    int64_t n, q = (int64_t)strlen(question), all = q + (int64_t)strlen(context);
    answer_options o = { .n_best = BEST, .max_answer_length = 4, .max_question_length = 64, .max_length = 384, .doc_stride = 128 };
    open_fixture(&f);
    OK(genet__tokenizer_encode(f.t, "whoanselmwasit", (size_t)all, &ids, &err));
    text_row row = { ids.at, ids.n, (int)q };
    OK(genet__texts_run(f.texts, &row, 1, keep, y, &err));
    OK(genet__answer(f.texts, f.m, f.t, question, context, &o, got, &n, &err));
    assert_int_equal(n, BEST);
    double before = 2;
    for (int k = 0; k < BEST; k++) {        /* the next best of all spans that are not better than the one before */
        double best = 0;
        int64_t begin = 0, end = 0;
        for (int64_t i = q; i < all; i++)
            for (int64_t j = i; j < all && j < i + 4; j++) {
                double p = part(y, q, all, i) * part(y + 1, q, all, j);
                if (p > best && p < before) best = p, begin = i - q, end = j - q + 1;
            }
        assert_int_equal(got[k].begin, begin);
        assert_int_equal(got[k].end, end);
        assert_true(fabs(got[k].score - best) < 1e-6);
        before = best * (1 - 1e-12);
    }
    genet__token_list_release(&ids);
    close_fixture(&f);
}

/* Whatever the windows are, answers stand in the context, are not too long, and come in order, each once. */
static void test_windows(void **state)
{
    (void)state;
    char context[200];
    fixture f;
    span_answer got[BEST], first[BEST];
    int64_t n, n_first;
    open_fixture(&f);
    for (int i = 0; i < 199; i++) context[i] = (char)('a' + i * i * 7 % 26);
    context[199] = 0;
    for (int stride = 0; stride < 9; stride += 4) {
        answer_options o = { .n_best = BEST, .max_answer_length = 3, .max_question_length = 2, .max_length = 12, .doc_stride = stride };
        OK(genet__answer(f.texts, f.m, f.t, "whoever", context, &o, got, &n, &err));
        assert_int_equal(n, BEST);
        for (int i = 0; i < BEST; i++) {
            assert_in_range(got[i].end, got[i].begin + 1, got[i].begin + 3);
            assert_in_range(got[i].end, 1, 199);
            assert_true(!i || got[i].score <= got[i - 1].score);
            for (int k = 0; k < i; k++) assert_false(got[i].begin == got[k].begin && got[i].end == got[k].end);
        }
        o.n_best = 1;
        OK(genet__answer(f.texts, f.m, f.t, "whoever", context, &o, first, &n_first, &err));
        assert_int_equal(n_first, 1);
        assert_memory_equal(first, got, sizeof *first);
    }
    close_fixture(&f);
}

static void test_edges(void **state)
{
    (void)state;
    fixture f;
    span_answer got[BEST];
    int64_t n;
    answer_options o = { .n_best = 2, .max_answer_length = 3, .max_question_length = 64, .max_length = 16, .doc_stride = 4, .no_answer = true };
    open_fixture(&f);
    OK(genet__answer(f.texts, f.m, f.t, "who", "", &o, got, &n, &err));            /* nothing to find */
    assert_int_equal(n, 1);
    assert_int_equal(got[0].end, 0);
    OK(genet__answer(f.texts, f.m, f.t, "", "abc", &o, got, &n, &err));
    assert_int_equal(n, 2);
    assert_false(genet__answer(f.texts, f.m, f.t, "abcdefghijklmno", "abc", &o, got, &n, &err));
    assert_non_null(strstr(err.text, "no room"));
    assert_false(genet__answer(f.texts, f.m, f.t, "a", "A", &o, got, &n, &err));    /* not in the vocabulary */
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_one_window), cmocka_unit_test(test_windows), cmocka_unit_test(test_edges) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
