/* labels: core
 * test_lm_mask.c - hiding words: how many are chosen and how they are shown, what is never hidden, the same draws
 * again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "task/lm.h"

static genet_err err;
#define OK(call) do { if (!(call)) fail_msg("%s: %s", #call, err.text); } while (0)

static const char *const file =
    "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, \"added_tokens\": ["
    "{\"id\": 0, \"content\": \"[CLS]\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, \"special\": true},"
    "{\"id\": 1, \"content\": \"[SEP]\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, \"special\": true},"
    "{\"id\": 2, \"content\": \"[MASK]\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, \"special\": true}],"
    "\"normalizer\": null, \"pre_tokenizer\": {\"type\": \"WhitespaceSplit\"}, \"post_processor\": null, \"decoder\": null,"
    "\"model\": {\"type\": \"WordLevel\", \"vocab\": {\"[CLS]\": 0, \"[SEP]\": 1, \"[MASK]\": 2, \"a\": 3, \"b\": 4, \"c\": 5, \"d\": 6, \"[UNK]\": 7},"
    " \"unk_token\": \"[UNK]\"}}";

static tokenizer *make_tokenizer(const char *text)
{
    json_t *j = genet__json_parse(text, strlen(text), "tokenizer.json", &err);
    tokenizer *t = genet__tokenizer_from_json(j, "tokenizer.json", &err);
    json_decref(j);
    OK(t);
    return t;
}

enum { N = 20000 };

static void test_what_is_hidden(void **state)
{
    (void)state;
    tokenizer *t = make_tokenizer(file);
    lm_mask m;
    OK(genet__lm_mask_open(&m, t, 8, 0.15, 7, &err));
    assert_int_equal(m.around, 2);
    static int32_t ids[N], x[N + 2], y[N + 2], x2[N + 2], y2[N + 2];
    for (int i = 0; i < N; i++) ids[i] = i % 10 ? 3 + i % 4 : 1;
    genet__lm_mask_row(&m, t, ids, N, 1, 5, 100, x, y);
    int chosen = 0, masked = 0, kept = 0;
    assert_int_equal(x[0], 0);
    assert_int_equal(x[N + 1], 1);
    assert_int_equal(y[0], -100);
    assert_int_equal(y[N + 1], -100);
    for (int i = 0; i < N; i++) {
        bool hidden = y[i + 1] != -100;
        assert_true(hidden ? y[i + 1] == ids[i] : x[i + 1] == ids[i]);
        assert_true(!hidden || ids[i] != 1);
        chosen += hidden;
        masked += hidden && x[i + 1] == 2;
        kept += hidden && x[i + 1] == ids[i];
    }
    assert_in_range(chosen, 18000 * 14 / 100, 18000 * 16 / 100);
    assert_in_range(masked, chosen * 78 / 100, chosen * 83 / 100);       /* 80 %, and one of eight of the random ones */
    assert_in_range(kept, chosen * 9 / 100, chosen * 14 / 100);
    /* a part of the text draws what the whole did; another step draws anew */
    genet__lm_mask_row(&m, t, ids + 50, 100, 1, 5, 150, x2, y2);
    assert_memory_equal(y2 + 1, y + 51, 100 * sizeof *y);
    assert_memory_equal(x2 + 1, x + 51, 100 * sizeof *x);
    genet__lm_mask_row(&m, t, ids, N, 1, 6, 100, x2, y2);
    assert_memory_not_equal(y2, y, sizeof y);
    genet__tokenizer_free(t);
}

static void test_a_mask_is_needed(void **state)
{
    (void)state;
    lm_mask m;
    char_set set = {0};
    char_set_add(&set, 'a');
    tokenizer *t = genet__tokenizer_from_chars(&set, &err);
    assert_non_null(t);
    assert_false(genet__lm_mask_open(&m, t, 1, 0.15, 7, &err));
    assert_non_null(strstr(err.text, "[MASK]"));
    genet__tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_what_is_hidden), cmocka_unit_test(test_a_mask_is_needed) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
