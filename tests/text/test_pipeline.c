/* labels: core
 * test_pipeline.c - every part of tokenizer.json's pipelines as the tokenizers library (0.23.3) runs it: ids, type ids,
 * masks, words, offsets and decoded text of small tokenizers made of all kinds of parts, before and after they are written;
 * truncation with its windows; memory that runs out. */
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
#include "text/tokenizer_encoding.h"
#include "text/unicode.h"

static char folder[] = "/tmp/genet-test-pipeline-XXXXXX";

static json_t *cases;           /* [{"tokenizer": ..., "cases": [...]}], of golden/pipeline's folders; offsets are bytes */

/* --- the library's answers ------------------------------------------------------------ */

typedef int64_t token_value(const encoded_token *x, int k);

static int64_t id_of(const encoded_token *x, int k) { (void)k; return x->id; }
static int64_t type_of(const encoded_token *x, int k) { (void)k; return x->type_id; }
static int64_t special_of(const encoded_token *x, int k) { (void)k; return x->special; }
static int64_t attention_of(const encoded_token *x, int k) { (void)k; return x->attention; }
static int64_t word_of(const encoded_token *x, int k) { (void)k; return x->word; }
static int64_t place_of(const encoded_token *x, int k) { return k ? x->end : x->begin; }

static const struct { const char *field; token_value *value; int width; } columns[] = {
    { "ids", id_of, 1 }, { "type_ids", type_of, 1 }, { "special_mask", special_of, 1 }, { "attention", attention_of, 1 },
    { "words", word_of, 1 }, { "offsets", place_of, 2 },
};

static void expect_columns(const encoding *e, const json_t *want, const char *name)
{
    for (size_t c = 0; c < sizeof columns / sizeof *columns; c++) {
        const json_t *list = json_object_get(want, columns[c].field);
        if (!list) continue;
        if ((size_t)e->n != json_array_size(list)) fail_msg("%s: %d tokens, not %zu", name, e->n, json_array_size(list));
        for (int i = 0; i < e->n; i++)
            for (int k = 0; k < columns[c].width; k++) {
                const json_t *j = json_array_get(list, (size_t)i);
                json_int_t expected = json_integer_value(columns[c].width == 2 ? json_array_get(j, (size_t)k) : j);
                int64_t got = columns[c].value(&e->at[i], k);
                if (got != expected)
                    fail_msg("%s: %s[%d] is %lld, not %lld", name, columns[c].field, i, (long long)got, (long long)expected);
            }
    }
}

/* The library's text is UTF-8: what is none has become a mark. */
static void expect_decoded(const tokenizer *t, const encoding *e, const json_t *want, bool special, const char *name)
{
    genet_err err = { 0 };
    const char *text = json_string_value(json_object_get(want, special ? "decoded" : "decoded_skip"));
    int32_t *id = calloc((size_t)e->n + 1, sizeof *id);
    str bytes = { 0 }, clean = { 0 };
    for (int i = 0; i < e->n; i++) id[i] = e->at[i].id;
    if (!genet__tokenizer_decode_text(t, id, e->n, special, &bytes, &err)) fail_msg("%s: %s", name, err.text);
    genet__utf8_add(&clean, genet__str(&bytes), bytes.n);
    if (text && strcmp(genet__str(&clean), text)) fail_msg("%s: decoded \"%s\", not \"%s\"", name, genet__str(&clean), text);
    genet__str_release(&bytes);
    genet__str_release(&clean);
    free(id);
}

static void expect_case(const tokenizer *t, const json_t *want, const char *name)
{
    genet_err err = { 0 };
    const json_t *text = json_object_get(want, "text"), *pair = json_object_get(want, "pair");
    encode_options o = genet__encode_defaults(t);
    encoding e;
    o.special = json_is_true(json_object_get(want, "special"));
    o.pair = json_string_value(pair);
    o.n_pair = json_string_length(pair);
    if (!genet__tokenizer_encode_text(t, json_string_value(text), json_string_length(text), &o, &e, &err))
        fail_msg("%s: %s", name, err.text);
    expect_columns(&e, want, name);
    expect_decoded(t, &e, want, true, name);
    expect_decoded(t, &e, want, false, name);
    genet__encoding_release(&e);
}

/* Ids without all else are the same, however the text is cut. */
static void expect_plain(const tokenizer *t, const char *text, const char *name)
{
    genet_err err = { 0 };
    encode_options o = { 0 };
    encoding e;
    size_t n = strlen(text);
    token_list ids = { 0 };
    if (!genet__tokenizer_encode_text(t, text, n, &o, &e, &err)) return;      /* no token for something in it */
    for (size_t known = 0; known <= n; known++) {
        size_t cut = genet__tokenizer_cut(t, text, known);
        assert_true(cut <= known);
        ids.n = 0;
        if (!genet__tokenizer_encode(t, text, cut, &ids, &err) || !genet__tokenizer_encode(t, text + cut, n - cut, &ids, &err))
            fail_msg("%s: %s", name, err.text);
        token_list whole = { 0 };
        assert_true(genet__tokenizer_encode(t, text, n, &whole, &err));
        if (ids.n != whole.n || (whole.n && memcmp(ids.at, whole.at, (size_t)ids.n * sizeof *ids.at))) fail_msg("%s: cut at %zu", name, cut);
        genet__token_list_release(&whole);
    }
    genet__token_list_release(&ids);
    genet__encoding_release(&e);
}

static tokenizer *load_case(size_t i)
{
    genet_err err = { 0 };
    tokenizer *t = genet__tokenizer_from_json(json_object_get(json_array_get(cases, i), "tokenizer"), "tokenizer.json", &err);
    if (!t) fail_msg("%zu: %s", i, err.text);
    return t;
}

static void test_golden(void **state)
{
    (void)state;
    assert_true(json_array_size(cases) > 10);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        genet_err err = { 0 };
        char hash[2][HASH_HEX], name[100];
        tokenizer *t[2] = { load_case(i), NULL };
        if (!genet__tokenizer_save(t[0], folder, &err) || !(t[1] = genet__tokenizer_load(folder, &err))) fail_msg("%s", err.text);
        const json_t *list = json_object_get(json_array_get(cases, i), "cases");
        for (int k = 0; k < 2; k++) {
            for (size_t c = 0; c < json_array_size(list); c++) {
                snprintf(name, sizeof name, "tokenizer %zu%s, case %zu", i, k ? " written and read" : "", c);
                expect_case(t[k], json_array_get(list, c), name);
                if (k == 0) expect_plain(t[k], json_string_value(json_object_get(json_array_get(list, c), "text")), name);
            }
            genet__tokenizer_hash(t[k], hash[k]);
        }
        assert_string_equal(hash[0], hash[1]);
        genet__tokenizer_free(t[0]);
        genet__tokenizer_free(t[1]);
    }
}

/* Bytes that are no UTF-8 are characters that nobody knows: nothing breaks, and offsets stay in the text. */
static void test_any_bytes(void **state)
{
    (void)state;
    static const char *const bytes[] = { "\xff", "a\xc3", "\xe2\x80 b", "e\xcc\x81\xf0\x9f", "<s>\x80<s>", " \xed\xa0\x80 1\xc0\xaf" };
    for (size_t i = 0; i < json_array_size(cases); i++) {
        tokenizer *t = load_case(i);
        for (size_t k = 0; k < sizeof bytes / sizeof *bytes; k++) {
            encode_options o = genet__encode_defaults(t);
            encoding e;
            size_t n = strlen(bytes[k]);
            char *exact = malloc(n);            /* so that a sanitizer sees what is read behind it */
            memcpy(exact, bytes[k], n);
            if (genet__tokenizer_encode_text(t, exact, n, &o, &e, NULL))
                for (int x = 0; x < e.n; x++) assert_true(e.at[x].begin <= e.at[x].end && e.at[x].end <= n);
            genet__encoding_release(&e);
            free(exact);
        }
        genet__tokenizer_free(t);
    }
}

/* --- truncation ------------------------------------------------------------------------- */

static void expect_window(const encoding *e, const char *want)
{
    str ids = { 0 };
    for (int i = 0; i < e->n; i++) genet__str_printf(&ids, "%d ", e->at[i].id);
    assert_string_equal(genet__str(&ids), want);
    genet__str_release(&ids);
}

/* Words are their numbers; 0 begins, 9 ends a text. */
static void test_windows(void **state)
{
    (void)state;
    static const char json[] =
        "{\"pre_tokenizer\":{\"type\":\"Whitespace\"},\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"0\",0],"
        "\"sep\":[\"9\",9]},\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"0\",\"vocab\":{\"0\":0,\"1\":1,\"2\":2,\"3\":3,"
        "\"4\":4,\"5\":5,\"6\":6,\"7\":7,\"8\":8,\"9\":9}}}";
    genet_err err = { 0 };
    json_t *j = genet__json_parse(json, strlen(json), "windows", &err);
    tokenizer *t = genet__tokenizer_from_json(j, "windows", &err);
    if (!t) fail_msg("%s", err.text);
    encode_options o = { .special = true, .overflow = true, .truncate = { .on = true, .max_length = 5, .stride = 1 } };
    encoding e;
    assert_true(genet__tokenizer_encode_text(t, "1 2 3 4 5 6", 11, &o, &e, &err));
    expect_window(&e, "0 1 2 3 9 ");
    assert_int_equal(e.n_overflow, 2);
    expect_window(&e.overflow[0], "0 3 4 5 9 ");
    expect_window(&e.overflow[1], "0 5 6 9 ");
    assert_int_equal(e.overflow[1].at[1].begin, 8);
    genet__encoding_release(&e);
    o.truncate.left = true;
    assert_true(genet__tokenizer_encode_text(t, "1 2 3 4 5 6", 11, &o, &e, &err));
    expect_window(&e, "0 4 5 6 9 ");
    expect_window(&e.overflow[0], "0 2 3 4 9 ");
    expect_window(&e.overflow[1], "0 1 2 9 ");
    genet__encoding_release(&e);
    o = (encode_options){ .special = true, .overflow = true, .pair = "7 8", .n_pair = 3,
                          .truncate = { .on = true, .max_length = 7, .strategy = TRUNCATE_ONLY_FIRST } };
    assert_true(genet__tokenizer_encode_text(t, "1 2 3 4", 7, &o, &e, &err));
    expect_window(&e, "0 1 2 9 7 8 9 ");
    assert_int_equal(e.n_overflow, 1);
    expect_window(&e.overflow[0], "0 3 4 9 7 8 9 ");
    genet__encoding_release(&e);
    o.truncate.max_length = 2;
    assert_false(genet__tokenizer_encode_text(t, "1 2 3 4", 7, &o, &e, &err));
    assert_non_null(strstr(err.text, "no room for the 3 special ones"));
    o.truncate.max_length = 4;
    assert_false(genet__tokenizer_encode_text(t, "1", 1, &o, &e, &err));
    assert_non_null(strstr(err.text, "too few"));
    o.truncate = (truncation){ .on = true, .max_length = 5, .stride = 3 };
    o.pair = NULL;
    assert_false(genet__tokenizer_encode_text(t, "1 2 3 4", 7, &o, &e, &err));
    assert_non_null(strstr(err.text, "stride"));
    genet__tokenizer_free(t);
    json_decref(j);
}

/* --- characters --------------------------------------------------------------------------- */

static void test_characters(void **state)
{
    (void)state;
    uint32_t out[DECOMPOSED_MAX], lower[2];
    assert_int_equal(genet__compose('e', 0x301), 0xe9);
    assert_int_equal(genet__compose(0x1100, 0x1161), 0xac00);
    assert_int_equal(genet__compose(0xac00, 0x11a8), 0xac01);
    assert_int_equal(genet__compose(0xac00, 0x11a7), 0);            /* the base of trailing consonants is none */
    assert_int_equal(genet__compose(0xac01, 0x11a8), 0);
    assert_int_equal(genet__decompose(0xac01, false, out), 3);
    assert_int_equal(genet__decompose(0xfb03, true, out), 3);
    assert_int_equal(genet__decompose(0xfb03, false, out), 1);
    assert_int_equal(genet__to_lower(0x130, lower), 2);
    assert_true(genet__is_punctuation('$') && genet__is_punctuation('_') && !genet__is_punctuation('a'));
    assert_false(genet__is_punctuation(0x2e43));                    /* came with Unicode 9 */
    assert_true(genet__is_control(0xad) && genet__is_control(0x200b) && !genet__is_control('\n'));
    assert_true(genet__is_word(0x24b6) && genet__is_word(0x200d) && !genet__is_word(0xb2));
    assert_true(genet__is_numeric(0xbd) && genet__is_numeric(0x2167));
}

/* --- no memory ----------------------------------------------------------------------------- */

/* Whichever allocation fails: an error that says so, and nothing lost. */
static void test_beginnings(void **state)
{
    (void)state;
    static const char file[] =
        "{\"version\": \"1.0\", \"added_tokens\": [], \"normalizer\": null, \"pre_tokenizer\": null, \"decoder\": null, "
        "\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": 0}}, "
        "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, {\"SpecialToken\": {\"id\": \"</s>\", \"type_id\": 0}}], "
        "\"pair\": [{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"B\", \"type_id\": 0}}], \"special_tokens\": {"
        "\"<s>\": {\"id\": \"<s>\", \"ids\": [1], \"tokens\": [\"<s>\"]}, \"</s>\": {\"id\": \"</s>\", \"ids\": [2], \"tokens\": [\"</s>\"]}}}, "
        "\"model\": {\"type\": \"WordLevel\", \"vocab\": {\"<unk>\": 0, \"<s>\": 1, \"</s>\": 2, \"a\": 3}, \"unk_token\": \"<unk>\"}}";
    genet_err err;
    json_t *j = genet__json_parse(file, sizeof file - 1, "tokenizer.json", &err);
    tokenizer *t = genet__tokenizer_from_json(j, "tokenizer.json", &err);
    if (!t) fail_msg("%s", err.text);
    for (int32_t id = -1; id < 4; id++) {
        bool yes;
        assert_true(genet__tokenizer_begins_with(t, id, &yes, &err));
        assert_int_equal(yes, id == 1);
    }
    genet__tokenizer_free(t);
    json_decref(j);
}

static void test_failing_memory(void **state)
{
    (void)state;
    static const char text[] = "e\u0301 Tok <s>  ab1\ufb01. \uac01";
    for (size_t i = 0; i < json_array_size(cases); i += 4) {
        const json_t *j = json_object_get(json_array_get(cases, i), "tokenizer");
        bool done = false;
        for (long n = 0; !done; n += n < 40 ? 1 : 7) {
            genet_err err = { 0 };
            assert_true(n < 20000);
            genet__alloc_fail_after(n);
            tokenizer *t = genet__tokenizer_from_json(j, "memory", &err);
            encode_options o = { .special = true, .pair = "b", .n_pair = 1 };
            encoding e = { 0 };
            bool ok = t && genet__tokenizer_encode_text(t, text, sizeof text - 1, &o, &e, &err);
            done = genet__alloc_fail_after(-1) < n;
            if (!ok && !done && err.code != GENET_ERR_MEMORY && err.code != GENET_ERR_USAGE) fail_msg("%zu: %s", i, err.text);
            genet__encoding_release(&e);
            genet__tokenizer_free(t);
        }
    }
}

static int open_cases(void **state)
{
    (void)state;
    cases = json_array();
    for (int i = 0; i < 100; i++) {
        char name[2][64];
        snprintf(name[0], sizeof name[0], "pipeline/%02d/tokenizer.json", i);
        snprintf(name[1], sizeof name[1], "pipeline/%02d/cases.json", i);
        if (!genet__file_exists(golden_path(name[0]))) break;
        json_t *t = genet__json_read(golden_path(name[0]), 1 << 20, NULL), *c = genet__json_read(golden_path(name[1]), 1 << 20, NULL);
        json_array_append_new(cases, json_pack("{s:o, s:o}", "tokenizer", t, "cases", c));
    }
    return mkdtemp(folder) ? 0 : -1;
}

static int close_cases(void **state)
{
    (void)state;
    json_decref(cases);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),     cmocka_unit_test(test_any_bytes), cmocka_unit_test(test_windows),
        cmocka_unit_test(test_characters), cmocka_unit_test(test_beginnings), cmocka_unit_test(test_failing_memory),
    };
    return cmocka_run_group_tests(tests, open_cases, close_cases);
}
