/* labels: core
 * test_sentencepiece_file.c - a .model is found in a folder without a tokenizer.json, and the class that
 * tokenizer_config.json beside it names adds special tokens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/file.h"
#include "golden/golden.h"
#include "text/ids.h"
#include "text/tokenizer_encoding.h"

static char folder[] = "/tmp/genet-test-spm-XXXXXX";

static void put(const char *name, const char *text)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    genet_err err = { 0 };
    if (!genet__file_write_all(path, text, strlen(text), &err)) fail_msg("%s", err.text);
}

static void empty(void)
{
    genet__file_remove_tree(folder, NULL);
    assert_true(genet__file_make_dirs(folder, NULL));
    assert_false(genet__tokenizer_exists(folder));
}

/* All tokens of a text, special ones too. */
static void expect_all(const tokenizer *t, const char *text, int n, const int32_t *want)
{
    genet_err err = { 0 };
    encoding e = { 0 };
    encode_options o = genet__encode_defaults(t);
    assert_true(genet__tokenizer_encode_text(t, text, strlen(text), &o, &e, &err));
    assert_int_equal(e.n, n);
    for (int i = 0; i < n; i++) assert_int_equal(e.at[i].id, want[i]);
    genet__encoding_release(&e);
}
#define ALL(t, text, ...) expect_all(t, text, (int)(sizeof (int32_t[]){ __VA_ARGS__ } / sizeof(int32_t)), \
                                     (int32_t[]){ __VA_ARGS__ })

static void copy_model(const char *name, const char *to)
{
    char from[100], path[200];
    genet_err err = { 0 };
    snprintf(from, sizeof from, "sentencepiece/%s.model", name);
    snprintf(path, sizeof path, "%s/%s", folder, to);
    if (!genet__file_copy(golden_path(from), path, &err)) fail_msg("%s", err.text);
}

static void test_sentencepiece(void **state)
{
    (void)state;
    empty();
    copy_model("bpe", "tokenizer.model");
    assert_true(genet__tokenizer_exists(folder));
    tokenizer *t = load(folder);
    token_list plain = encode(t, "quiet coast", 11);
    int32_t around[20] = { 1 };
    assert_in_range(plain.n, 1, 18);
    memcpy(around + 1, plain.at, (size_t)plain.n * sizeof *around);
    around[plain.n + 1] = 2;
    expect_all(t, "quiet coast", plain.n, plain.at);
    genet__tokenizer_free(t);
    put("tokenizer_config.json", "{\"tokenizer_class\": \"LlamaTokenizer\"}");
    t = load(folder);
    expect_all(t, "quiet coast", plain.n + 1, around);
    genet__tokenizer_free(t);
    put("tokenizer_config.json", "{\"tokenizer_class\": \"LlamaTokenizer\", \"add_bos_token\": false, "
                                 "\"add_eos_token\": true}");
    t = load(folder);
    expect_all(t, "quiet coast", plain.n + 1, around + 1);
    genet__tokenizer_free(t);
    genet__token_list_release(&plain);
    put("tokenizer_config.json", "{");
    genet_err err = { 0 };
    assert_null(genet__tokenizer_load(folder, &err));
    assert_non_null(strstr(err.text, "tokenizer_config.json"));
}

static void test_sentinels(void **state)
{
    (void)state;
    empty();
    copy_model("unigram", "spiece.model");
    put("tokenizer_config.json", "{\"tokenizer_class\": \"T5Tokenizer\", \"extra_ids\": 3}");
    tokenizer *t = load(folder);
    int n = genet__tokenizer_size(t);
    assert_int_equal(genet__tokenizer_find(t, "<extra_id_0>", 12), n - 1);
    assert_int_equal(genet__tokenizer_find(t, "<extra_id_2>", 12), n - 3);
    ALL(t, "<extra_id_1>", n - 2, 2);                           /* and </s> */
    genet__tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sentencepiece), cmocka_unit_test(test_sentinels),
    };
    if (!mkdtemp(folder)) return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    genet__file_remove_tree(folder, NULL);
    return failed;
}
