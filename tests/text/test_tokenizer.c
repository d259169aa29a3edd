/* labels: core
 * test_tokenizer.c - the character tokenizer: ids as the tokenizers library
 * gives them, errors that name the character, and tokenizer.json read strictly. */
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
#include "format/npy.h"
#include "golden/golden.h"
#include "text/tokenizer.h"

static char folder[] = "/tmp/genet-test-tokenizer-XXXXXX";

static tokenizer *tokenizer_of(const char *text)
{
    char_set *set = calloc(1, sizeof *set);
    uint32_t c;
    genet_err err = { 0 };
    for (size_t n = strlen(text); n > 0;) {
        int length = genet__utf8_decode(text, n, &c);
        assert_true(length > 0);
        char_set_add(set, c);
        text += length;
        n -= (size_t)length;
    }
    tokenizer *t = genet__tokenizer_from_chars(set, &err);
    if (!t) fail_msg("%s", err.text);
    free(set);
    return t;
}

static char *golden_text(size_t *n)
{
    genet_err err = { 0 };
    char *text = genet__file_read(golden_path("char/text.txt"), 1 << 20, n, &err);
    if (!text) fail_msg("%s", err.text);
    return text;
}

/* text gives exactly these ids, and they give the text. */
static void expect_ids(const tokenizer *t, const char *text, size_t n, const npy *want)
{
    genet_err err = { 0 };
    token_list ids = { 0 };
    str back = { 0 };
    if (!genet__tokenizer_encode(t, text, n, &ids, &err)) fail_msg("%s", err.text);
    assert_int_equal(ids.n, want->numel);
    for (int i = 0; i < ids.n; i++) assert_int_equal(ids.at[i], genet__npy_int(want, i));
    assert_true(genet__tokenizer_decode(t, ids.at, ids.n, &back, &err));
    assert_int_equal(back.n, n);
    assert_memory_equal(back.at, text, n);
    genet__token_list_release(&ids);
    genet__str_release(&back);
}

/* Theirs, ours from the same text, and ours saved and loaded are one tokenizer. */
static void test_golden(void **state)
{
    (void)state;
    genet_err err = { 0 };
    size_t n;
    char *text = golden_text(&n), hash[3][HASH_HEX];
    npy want;
    assert_true(genet__npy_open(&want, golden_path("char/ids.npy"), &err));
    tokenizer *theirs = genet__tokenizer_load(golden_path("char"), &err);
    if (!theirs) fail_msg("%s", err.text);
    tokenizer *ours = tokenizer_of(text);
    assert_true(genet__tokenizer_save(ours, folder, &err));
    tokenizer *again = genet__tokenizer_load(folder, &err);
    if (!again) fail_msg("%s", err.text);
    tokenizer *all[3] = { theirs, ours, again };
    for (int i = 0; i < 3; i++) {
        expect_ids(all[i], text, n, &want);
        genet__tokenizer_hash(all[i], hash[i]);
        assert_string_equal(hash[i], hash[0]);
        assert_string_equal(genet__tokenizer_kind(all[i]), "char");
        genet__tokenizer_free(all[i]);
    }
    genet__npy_close(&want);
    genet__free(text);
}

static void test_pieces(void **state)
{
    (void)state;
    tokenizer *t = tokenizer_of("ba\n\xc3\xa9\xf0\x9f\x98\x80");
    size_t n;
    assert_int_equal(genet__tokenizer_size(t), 5);
    assert_int_equal(genet__tokenizer_find(t, "\n", 1), 0);         /* in the order of code points */
    assert_int_equal(genet__tokenizer_find(t, "a", 1), 1);
    assert_int_equal(genet__tokenizer_find(t, "b", 1), 2);
    assert_int_equal(genet__tokenizer_find(t, "\xc3\xa9", 2), 3);
    assert_int_equal(genet__tokenizer_find(t, "\xf0\x9f\x98\x80", 4), 4);
    assert_int_equal(genet__tokenizer_find(t, "c", 1), -1);
    assert_int_equal(genet__tokenizer_find(t, "ab", 2), -1);
    assert_int_equal(genet__tokenizer_find(t, "", 0), -1);
    assert_memory_equal(genet__tokenizer_piece(t, 3, &n), "\xc3\xa9", 2);
    assert_int_equal(n, 2);
    assert_null(genet__tokenizer_piece(t, -1, &n));
    assert_null(genet__tokenizer_piece(t, 5, &n));
    genet_err err = { 0 };
    str out = { 0 };
    int32_t ids[] = { 1, 5 };
    assert_false(genet__tokenizer_decode(t, ids, 2, &out, &err));
    assert_non_null(strstr(err.text, "token id 5 is outside the vocabulary of 5"));
    genet__str_release(&out);
    genet__tokenizer_free(t);
}

static void expect_unknown(const tokenizer *t, const char *text, size_t n, const char *words)
{
    genet_err err = { 0 };
    token_list ids = { 0 };
    assert_false(genet__tokenizer_encode(t, text, n, &ids, &err));
    if (!strstr(err.text, words)) fail_msg("\"%s\" lacks \"%s\"", err.text, words);
    assert_int_equal(ids.n, 0);
    genet__token_list_release(&ids);
}

static void test_unknown(void **state)
{
    (void)state;
    tokenizer *t = tokenizer_of("ab ");
    expect_unknown(t, "ab aX", 5, "byte 4 of the text: the character 'X' (U+0058) is not among the 3 characters");
    expect_unknown(t, "a\xd0\x96", 3, "byte 1 of the text: the character '\xd0\x96' (U+0416)");
    expect_unknown(t, "a\n", 2, "'\\n' (U+000A)");
    expect_unknown(t, "\x1b[2J", 4, "the character U+001B is");
    expect_unknown(t, "\xf0\x9f\x98\x80", 4, "(U+1F600)");
    expect_unknown(t, "a\0b", 3, "U+0000");
    expect_unknown(t, "ab\xff", 3, "byte 2 of the text: 0xFF is not UTF-8");
    expect_unknown(t, "ab\xc3", 3, "byte 2 of the text: 0xC3 is not UTF-8");
    expect_unknown(t, "\xed\xa0\x80", 3, "not UTF-8");              /* a surrogate */
    expect_unknown(t, "\xc0\x80", 2, "not UTF-8");                  /* overlong */
    genet_err err = { 0 };
    token_list ids = { 0 };
    assert_true(genet__tokenizer_encode(t, "", 0, &ids, &err));     /* nothing is fine, and appends nothing */
    assert_true(genet__tokenizer_encode(t, "ab", 2, &ids, &err) && genet__tokenizer_encode(t, "a", 1, &ids, &err));
    assert_int_equal(ids.n, 3);
    genet__token_list_release(&ids);
    genet__tokenizer_free(t);
}

/* --- tokenizer.json ------------------------------------------------------------- */

#define MODEL(vocab) "\"model\":{\"type\":\"WordLevel\",\"vocab\":" vocab ",\"unk_token\":\"<unk>\"}"
#define SPLIT \
    "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[\\\\s\\\\S]\"}," \
    "\"behavior\":\"Isolated\",\"invert\":false},"
#define FUSE "\"decoder\":{\"type\":\"Fuse\"},"
#define GOOD MODEL("{\"a\":0,\"b\":1}")

static const struct { const char *json, *words; } broken[] = {
    { "[]", "\"model\" with a \"type\" is missing" },
    { "{}", "\"model\" with a \"type\" is missing" },
    { "{\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"u\"}}",
      "model.vocab" },
    { "{" SPLIT FUSE "\"model\":{\"type\":\"WordLevel\"}}", "model.vocab is missing or empty" },
    { "{" SPLIT FUSE MODEL("{}") "}", "model.vocab is missing or empty" },
    { "{" SPLIT FUSE MODEL("[\"a\"]") "}", "model.vocab is missing or empty" },
    { "{" SPLIT FUSE MODEL("{\"a\":0,\"b\":0}") "}", "'a' (U+0061) and 'b' (U+0062) both have id 0" },
    { "{" SPLIT FUSE MODEL("{\"a\":0,\"b\":2}") "}", "the id 2 of 'b' (U+0062) is outside 0..1, the ids of 2 pieces "
                                                     "without holes" },
    { "{" SPLIT FUSE MODEL("{\"a\":-1}") "}", "the id -1 of" },
    { "{" SPLIT FUSE MODEL("{\"a\":\"0\"}") "}", "the id of 'a' (U+0061) is not an integer" },
    { "{" SPLIT FUSE MODEL("{\"a\":0.0}") "}", "is not an integer" },
    { "{" SPLIT FUSE "\"post_processor\":{\"type\":\"X\"}," GOOD "}", "post_processor.type \"X\" is not known" },
    { "{" SPLIT FUSE "\"truncation\":{\"max_length\":5}," GOOD "}", "truncation.strategy" },
    { "{" SPLIT FUSE "\"added_tokens\":[{\"id\":2}]," GOOD "}", "\"content\" is missing" },
    { "{" SPLIT FUSE "\"added_tokens\":[{\"content\":\"x\"}]," GOOD "}", "\"id\" is missing" },
    { "{" SPLIT FUSE "\"added_tokens\":[{\"id\":2,\"content\":\"\"}]," GOOD "}", "a token of added_tokens is empty" },
    { "{" SPLIT FUSE "\"added_tokens\":[{\"id\":-2,\"content\":\"x\"}]," GOOD "}", "the id -2 of \"x\" is out of range" },
    { "{" SPLIT FUSE "\"added_tokens\":[3]," GOOD "}", "must be an object" },
    { "{" SPLIT FUSE "\"added_tokens\":{}," GOOD "}", "\"added_tokens\" must be an array" },
    { "{" SPLIT FUSE "\"added_tokens\":[{\"id\":2,\"content\":\"x\",\"special\":1}]," GOOD "}",
      "\"special\" must be true or false" },
    { "{" SPLIT FUSE "\"added_tokens\":[{\"id\":2,\"content\":\"x\"},{\"id\":2,\"content\":\"y\"}]," GOOD "}",
      "both have id 2" },
};

static void test_broken(void **state)
{
    (void)state;
    genet_err err = { 0 };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        json_t *j = genet__json_parse(broken[i].json, strlen(broken[i].json), "tokenizer.json", &err);
        if (!j) fail_msg("%s: %s", broken[i].json, err.text);
        assert_null(genet__tokenizer_from_json(j, "tokenizer.json", &err));
        if (!strstr(err.text, broken[i].words) || !strstr(err.text, "tokenizer.json: "))
            fail_msg("\"%s\" lacks \"%s\"", err.text, broken[i].words);
        json_decref(j);
    }
    json_t *good = genet__json_parse("{" SPLIT FUSE GOOD "}", strlen("{" SPLIT FUSE GOOD "}"), "tokenizer.json", &err);
    tokenizer *t = genet__tokenizer_from_json(good, "tokenizer.json", &err);
    assert_non_null(t);
    genet__tokenizer_free(t);
    json_decref(good);
    assert_null(genet__tokenizer_load("/nowhere", &err));
    assert_non_null(strstr(err.text, "/nowhere/tokenizer.json"));
    char_set *set = calloc(1, sizeof *set);
    assert_null(genet__tokenizer_from_chars(set, &err));
    assert_non_null(strstr(err.text, "empty"));
    char_set_add(set, 0);
    assert_null(genet__tokenizer_from_chars(set, &err));
    free(set);
}

/* More ids than 16 bits hold; every plane of Unicode. */
static void test_large(void **state)
{
    (void)state;
    genet_err err = { 0 };
    char_set *set = calloc(1, sizeof *set);
    int n = 0;
    for (uint32_t c = 1; c < 0x110000; c += 13)
        if (c < 0xd800 || c > 0xdfff) char_set_add(set, c), n++;
    tokenizer *t = genet__tokenizer_from_chars(set, &err);
    assert_non_null(t);
    assert_int_equal(genet__tokenizer_size(t), n);
    for (int32_t i = 0; i < n; i += 97) {
        size_t length;
        const char *piece = genet__tokenizer_piece(t, i, &length);
        assert_int_equal(genet__tokenizer_find(t, piece, length), i);
    }
    genet__tokenizer_free(t);
    free(set);
}

static void test_failing_memory(void **state)
{
    (void)state;
    genet_err err = { 0 };
    tokenizer *t = NULL;
    for (long n = 0; !t; n++) {
        assert_true(n < 500);
        token_list ids = { 0 };
        genet__alloc_fail_after(n);
        t = genet__tokenizer_load(golden_path("char"), &err);
        bool ok = t && genet__tokenizer_encode(t, "First", 5, &ids, &err) && genet__tokenizer_save(t, folder, &err);
        genet__alloc_fail_after(-1);
        if (!ok) assert_int_equal(err.code, GENET_ERR_MEMORY);
        genet__token_list_release(&ids);
        if (ok) break;
        genet__tokenizer_free(t);
        t = NULL;
    }
    genet__tokenizer_free(t);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return genet__file_remove_tree(folder, NULL) ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden), cmocka_unit_test(test_pieces), cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_broken), cmocka_unit_test(test_large),  cmocka_unit_test(test_failing_memory),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
