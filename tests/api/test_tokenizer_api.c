/* labels: core
 * test_tokenizer_api.c - tokenizers from outside, and folders of older files: a small CLIP as transformers builds it from
 * vocab.json and merges.txt, encoded with special tokens, pairs, offsets, limits and padding. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "genet/tokenizer.h"

static char folder[] = "/tmp/genet-test-tokapi-XXXXXX";
static genet_err err;

static void put(const char *name, const char *text)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!genet__file_write_all(path, text, strlen(text), &err)) fail_msg("%s", err.text);
}

static void leave(const char *name)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    remove(path);
}

/* Ids with the tokenizer's own special tokens, as text. */
static void expect(const genet_tokenizer *t, const char *text, const genet_encode_options *o, const char *want)
{
    genet_encoding e;
    char got[400] = "";
    if (!genet_tokenizer_encode(t, text, strlen(text), o, &e, &err)) fail_msg("%s", err.text);
    for (size_t i = 0; i < e.n; i++) {
        size_t n, at = strlen(got);
        const char *token = genet_tokenizer_token(t, e.at[i].id, &n);
        snprintf(got + at, sizeof got - at, "%.*s/%zu-%zu%s ", (int)n, token, e.at[i].begin, e.at[i].end,
                 e.at[i].attention ? "" : "p");
    }
    assert_string_equal(got, want);
    genet_encoding_free(&e);
}

static void test_clip(void **state)
{
    (void)state;
    put("vocab.json", "{\"a\":0,\"b\":1,\"a</w>\":2,\"b</w>\":3,\"ab</w>\":4,\"<|startoftext|>\":5,\"<|endoftext|>\":6,\"\u00c3\":7,"
                      "\"\u00a9</w>\":8,\"\u00c3\u00a9</w>\":9}");
    put("merges.txt", "#version: 0.2\na b</w>\n\u00c3 \u00a9</w>\n");
    put("tokenizer_config.json", "{\"tokenizer_class\":\"CLIPTokenizer\",\"eos_token\":\"<|endoftext|>\"}");
    genet_tokenizer *t = genet_tokenizer_open(folder, &err);
    if (!t) fail_msg("%s", err.text);
    assert_int_equal(genet_tokenizer_size(t), 10);
    assert_int_equal(genet_tokenizer_find(t, "ab</w>", 6), 4);
    assert_int_equal(genet_tokenizer_find(t, "ab", 2), -1);
    assert_null(genet_tokenizer_token(t, 10, NULL));
    expect(t, "AB  e\xcc\x81", &(genet_encode_options){ .plain = true, .pair = NULL }, "ab</w>/0-2 \u00c3\u00a9</w>/4-5 ");
    expect(t, "AB \xc3\x89 ba", NULL,
           "<|startoftext|>/0-0 ab</w>/0-2 \u00c3\u00a9</w>/3-5 b/6-7 a</w>/7-8 <|endoftext|>/0-0 ");
    expect(t, "a b", &(genet_encode_options){ .pair = "ab", .n_pair = 2 },
           "<|startoftext|>/0-0 a</w>/0-1 b</w>/2-3 <|endoftext|>/0-0 <|endoftext|>/0-0 ab</w>/0-2 <|endoftext|>/0-0 ");
    expect(t, "a b a", &(genet_encode_options){ .max_length = 4, .pad_to = 5 },
           "<|startoftext|>/0-0 a</w>/0-1 b</w>/2-3 <|endoftext|>/0-0 a/0-0p ");
    int32_t ids[] = { 5, 4, 9, 6 };
    size_t n;
    char *text = genet_tokenizer_decode(t, ids, 4, true, &n, &err);
    assert_string_equal(text, "ab</w>\u00e9</w>");
    assert_int_equal(n, strlen(text));
    free(text);
    text = genet_tokenizer_decode(t, ids, 0, true, NULL, &err);
    assert_string_equal(text, "");
    free(text);
    ids[0] = 99;
    assert_null(genet_tokenizer_decode(t, ids, 4, true, NULL, &err));
    assert_non_null(strstr(err.text, "99 is outside"));
    genet_tokenizer_free(t);
}

/* The family decides what stands around the same two files. */
static void test_families(void **state)
{
    (void)state;
    put("vocab.json", "{\"<s>\":0,\"</s>\":1,\"a\":2,\"b\":3,\"ab\":4,\"\u0120\":5,\"<mask>\":6,\"<|endoftext|>\":7}");
    put("merges.txt", "a b\n");
    leave("tokenizer_config.json");
    put("config.json", "{\"model_type\":\"roberta\"}");
    genet_tokenizer *t = genet_tokenizer_open(folder, &err);
    if (!t) fail_msg("%s", err.text);
    expect(t, "ab<mask> b", NULL, "<s>/0-0 ab/0-2 <mask>/2-8 \u0120/9-9 b/9-10 </s>/0-0 ");
    genet_tokenizer_free(t);
    put("config.json", "{\"model_type\":\"gpt2\"}");
    t = genet_tokenizer_open(folder, &err);
    if (!t) fail_msg("%s", err.text);
    expect(t, "ab<|endoftext|> b", NULL, "ab/0-2 <|endoftext|>/2-15 \u0120/16-16 b/16-17 ");
    genet_tokenizer_free(t);
    put("config.json", "{\"model_type\":\"clip\"}");
    assert_null(genet_tokenizer_open(folder, &err));
    assert_non_null(strstr(err.text, "lacks \"<|startoftext|>\""));
    put("config.json", "[]");
    assert_null(genet_tokenizer_open(folder, &err));
    assert_non_null(strstr(err.text, "config.json: must be an object"));
}

static void test_refused(void **state)
{
    (void)state;
    genet_encoding e;
    assert_null(genet_tokenizer_open(NULL, &err));
    assert_null(genet_tokenizer_open("/nowhere", &err));
    assert_non_null(strstr(err.text, "/nowhere"));
    assert_false(genet_tokenizer_encode(NULL, "a", 1, NULL, &e, &err));
    assert_int_equal(genet_tokenizer_size(NULL), 0);
    assert_int_equal(genet_tokenizer_find(NULL, "a", 1), -1);
    genet_tokenizer_free(NULL);
    genet_encoding_free(NULL);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clip), cmocka_unit_test(test_families), cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, NULL);
}
