/* labels: core
 * test_word.c - the word tokenizer: ids, decoded text and tokenizer.json as the tokenizers library
 * gives them, learning by frequency, and files that ask for more refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/file.h"
#include "golden/golden.h"
#include "text/space.h"
#include "text/tokenizer_train.h"

static char folder[] = "/tmp/genet-test-word-XXXXXX";

static const char *in(const char *name)
{
    static char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void put(const char *name, const char *text)
{
    genet_err err = { 0 };
    if (!genet__file_write_all(in(name), text, strlen(text), &err)) fail_msg("%s", err.text);
}

static text_source *open_text(const char *path)
{
    genet_err err = { 0 };
    text_source *s = genet__source_open(&path, 1, folder, &err);
    if (!s) fail_msg("%s", err.text);
    return s;
}

/* Learned from the first n_chars characters of the file, read in pieces of `chunk` bytes. */
static tokenizer *learn(const char *path, int64_t n_chars, int vocab_size, size_t chunk)
{
    genet_err err = { 0 };
    text_source *s = open_text(path);
    genet__source_set_chunk(s, chunk);
    tokenizer *t = genet__word_train(s, n_chars, vocab_size, NULL, &err);
    if (!t) fail_msg("%s", err.text);
    genet__source_close(s);
    return t;
}

static void expect_words(const genet_err *err, const char *words)
{
    if (!strstr(err->text, words)) fail_msg("\"%s\" lacks \"%s\"", err->text, words);
}

static void expect_ids(const tokenizer *t, const char *text, const int32_t *want, int n)
{
    genet_err err = { 0 };
    token_list ids = { 0 };
    if (!genet__tokenizer_encode(t, text, strlen(text), &ids, &err)) fail_msg("%s", err.text);
    assert_int_equal(ids.n, n);
    for (int i = 0; i < n; i++) assert_int_equal(ids.at[i], want[i]);
    genet__token_list_release(&ids);
}

/* --- what the tokenizers library answers ------------------------------------------- */

/* want: {"ids": [...], "decoded": "..."}. */
static void expect_golden(const tokenizer *t, const char *text, size_t n, const json_t *want)
{
    genet_err err = { 0 };
    token_list ids = { 0 };
    str back = { 0 };
    const json_t *list = json_object_get(want, "ids");
    if (!genet__tokenizer_encode(t, text, n, &ids, &err)) fail_msg("%s", err.text);
    assert_int_equal(ids.n, json_array_size(list));
    for (int i = 0; i < ids.n; i++) assert_int_equal(ids.at[i], json_integer_value(json_array_get(list, (size_t)i)));
    if (!genet__tokenizer_decode(t, ids.at, ids.n, &back, &err)) fail_msg("%s", err.text);
    assert_string_equal(genet__str(&back), json_string_value(json_object_get(want, "decoded")));
    genet__token_list_release(&ids);
    genet__str_release(&back);
}

static void test_golden(void **state)
{
    (void)state;
    genet_err err = { 0 };
    size_t n;
    char *text = genet__file_read(golden_path("word/other.txt"), 1 << 20, &n, &err), hash[2][HASH_HEX];
    json_t *report = genet__json_read(golden_path("word/word.json"), 1 << 20, &err);
    assert_true(text && report);
    static const char *const name[] = { "tokenizer", "plain" };
    for (int i = 0; i < 2; i++) {
        char path[100];
        snprintf(path, sizeof path, "word/%s.json", name[i]);
        tokenizer *t = genet__tokenizer_load(golden_path(path), &err);
        if (!t) fail_msg("%s", err.text);
        assert_string_equal(genet__tokenizer_kind(t), "word");
        assert_int_equal(genet__tokenizer_unknown(t), 0);
        expect_golden(t, text, n, json_object_get(report, name[i]));
        assert_true(genet__tokenizer_save(t, folder, &err));
        tokenizer *again = genet__tokenizer_load(folder, &err);
        if (!again) fail_msg("%s", err.text);
        expect_golden(again, text, n, json_object_get(report, name[i]));
        genet__tokenizer_hash(t, hash[0]);
        genet__tokenizer_hash(again, hash[1]);
        assert_string_equal(hash[0], hash[1]);
        genet__tokenizer_free(t);
        genet__tokenizer_free(again);
    }
    json_decref(report);
    genet__free(text);
}

/* What we learn and save is the file that the library writes for the same vocabulary, counted in Python. */
static void test_learned_golden(void **state)
{
    (void)state;
    genet_err err = { 0 };
    json_t *want = genet__json_read(golden_path("word/tokenizer.json"), 1 << 20, &err);
    static const size_t chunk[] = { 4, 7, 64, 1 << 18 };
    for (int i = 0; i < 4; i++) {
        tokenizer *t = learn(golden_path("word/text.txt"), INT64_MAX, 40, chunk[i]);
        assert_true(genet__tokenizer_save(t, folder, &err));
        json_t *ours = genet__json_read(in("tokenizer.json"), 1 << 20, &err);
        assert_true(want && json_equal(ours, want));
        json_decref(ours);
        genet__tokenizer_free(t);
    }
    json_decref(want);
}

/* --- learning ------------------------------------------------------------------------ */

static void test_learning(void **state)
{
    (void)state;
    put("text", "b a c a\nb a <unk> <unk> <unk> d e\n z z z z z z");
    static const char *const want[] = { "<unk>", "a", "\n", "b", "c" };         /* 3, 2, 2, 1: "c" before "d" and "e" */
    tokenizer *t = learn(in("text"), 34, 5, 1 << 18);                           /* up to "e\n": z is not seen */
    assert_int_equal(genet__tokenizer_size(t), 5);
    assert_int_equal(genet__word_least_count(t), 1);
    for (int i = 0; i < 5; i++) {
        size_t n;
        const char *piece = genet__tokenizer_piece(t, i, &n);
        assert_int_equal(n, strlen(want[i]));
        assert_memory_equal(piece, want[i], n);
        assert_int_equal(genet__tokenizer_find(t, want[i], n), i);
    }
    assert_int_equal(genet__tokenizer_find(t, "z", 1), -1);
    expect_ids(t, "a z\n\n<unk>  B b", (int32_t[]){ 1, 0, 2, 2, 0, 0, 3 }, 7);
    genet__tokenizer_free(t);
    t = learn(in("text"), 34, 4, 1 << 18);
    assert_int_equal(genet__word_least_count(t), 2);                             /* the lower frequency cut */
    genet__tokenizer_free(t);
    t = learn(in("text"), INT64_MAX, 1000, 5);                                   /* fewer words than asked for */
    assert_int_equal(genet__tokenizer_size(t), 8);
    assert_int_equal(genet__tokenizer_find(t, "z", 1), 1);
    genet__tokenizer_free(t);
    put("text", "Generating AI is fascinating");
    t = learn(in("text"), INT64_MAX, 100, 4);
    /* by bytes: AI Generating fascinating is */
    expect_ids(t, "Generating AI is fascinating", (int32_t[]){ 2, 1, 4, 3 }, 4);
    expect_ids(t, "generating ai", (int32_t[]){ 0, 0 }, 2);                          /* case is kept */
    genet__tokenizer_free(t);
    put("text", " ");
    t = learn(in("text"), INT64_MAX, 100, 4);
    assert_int_equal(genet__tokenizer_size(t), 1);
    genet__tokenizer_free(t);
}

static bool stop_at_once(void *user, const char *stage, double done)
{
    assert_true(done >= 0 && done <= 1);
    assert_string_equal(stage, "counting words");
    ++*(int *)user;
    return false;
}

static void test_stopping(void **state)
{
    (void)state;
    genet_err err = { 0 };
    int told = 0;
    put("text", "some words");
    text_source *s = open_text(in("text"));
    assert_null(genet__word_train(s, 10, 10, &(train_watch){ stop_at_once, &told }, &err));
    assert_int_equal(told, 1);
    assert_int_equal(err.code, GENET_ERR_STOPPED);
    genet__source_close(s);
}

/* --- cutting and joining ----------------------------------------------------------------- */

/* The ids of the two parts, joined, are those of the whole, and the first is as long as can be. */
static void test_cut(void **state)
{
    (void)state;
    static const struct { const char *text; size_t cut; } row[] = {
        { "", 0 }, { "word", 0 }, { "a b", 2 }, { "a ", 2 }, { "a\n", 2 }, { "a\nb", 2 }, { "a\xe2\x80\xa8" "b", 4 },
        { "a\xe2\x80\xa8", 4 }, { "a\xe2\x80", 0 }, { "a b\xc2", 2 }, { "a\xc2\xa0\xc3\xa9", 3 }, { " \xe3\x80\x80x", 4 },
        { "x\xe2\x80\x8bz", 0 },
    };
    tokenizer *t = learn(golden_path("word/text.txt"), INT64_MAX, 40, 1 << 18);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        assert_int_equal(genet__tokenizer_cut(t, row[i].text, strlen(row[i].text)), row[i].cut);
    assert_string_equal(genet__tokenizer_between(t, 2, 3), " ");
    int32_t line = genet__tokenizer_find(t, "\n", 1);
    assert_true(line > 0);
    assert_string_equal(genet__tokenizer_between(t, line, 3), "");
    assert_string_equal(genet__tokenizer_between(t, 3, line), "");
    assert_string_equal(genet__tokenizer_between(t, line, line), "");
    genet__tokenizer_free(t);
}

/* Bytes that are no text are unknown words, never read beyond their end. */
static void test_any_bytes(void **state)
{
    (void)state;
    genet_err err = { 0 };
    tokenizer *t = learn(golden_path("word/text.txt"), INT64_MAX, 40, 1 << 18);
    static const char *const broken[] = { "\xe2", "\xe2\x80", "a\xff\xfe", "\xc2", "\xe1\x9a", "\xe3\x80", "\xf0\x9f\x98" };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        size_t n = strlen(broken[i]);
        char *exact = malloc(n);
        memcpy(exact, broken[i], n);
        token_list ids = { 0 };
        assert_true(genet__tokenizer_encode(t, exact, n, &ids, &err));
        assert_true(ids.n == 1 && ids.at[0] == 0);
        assert_int_equal(genet__tokenizer_cut(t, exact, n), 0);
        genet__token_list_release(&ids);
        free(exact);
    }
    genet__tokenizer_free(t);
}

/* All 25, and none but them. */
static void test_white_space(void **state)
{
    (void)state;
    int n = 0;
    for (uint32_t c = 1; c < 0x110000; c++) {
        char bytes[4];
        if (c >= 0xd800 && c < 0xe000) continue;
        size_t length = (size_t)genet__utf8_encode(c, bytes);
        bool want = (c >= 9 && c <= 13) || c == 32 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
            (c >= 0x2000 && c <= 0x200a) ||
                    c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
        if (genet__space_at(bytes, length) != (want ? length : 0)) fail_msg("U+%04X", c);
        n += want;
    }
    assert_int_equal(n, 25);
    assert_int_equal(genet__space_at("", 0), 0);
}

/* --- tokenizer.json ------------------------------------------------------------------- */

#define MODEL(vocab) "\"model\":{\"type\":\"WordLevel\",\"vocab\":" vocab ",\"unk_token\":\"<unk>\"}"
#define SPLIT "\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"},"
#define GOOD MODEL("{\"a\":0,\"bc\":1}")

static const struct { const char *json, *words; } broken[] = {
    { "{" SPLIT "\"model\":{\"type\":\"WordLevel\"}}", "model.vocab is missing or empty" },
    { "{" SPLIT MODEL("{}") "}", "model.vocab is missing or empty" },
    { "{" SPLIT MODEL("[\"a\"]") "}", "model.vocab is missing or empty" },
    { "{" SPLIT MODEL("{\"a\":0,\"bc\":0}") "}", "both have id 0" },
    { "{" SPLIT MODEL("{\"a\":0,\"bc\":2}") "}", "the id 2 of \"bc\" is outside 0..1, the ids of 2 pieces without holes" },
    { "{" SPLIT MODEL("{\"a\":-1}") "}", "the id -1 of" },
    { "{" SPLIT MODEL("{\"a\":99999999999999}") "}", "the id 99999999999999 of" },
    { "{" SPLIT MODEL("{\"ab\":\"0\"}") "}", "the id of \"ab\" is not an integer" },
    { "{" SPLIT MODEL("{\"ab\":0.0}") "}", "is not an integer" },
    { "{\"pre_tokenizer\":5," GOOD "}", "pre_tokenizer: the type is missing" },
    { "{" SPLIT "\"normalizer\":{\"type\":\"Lowercase\",\"all\":1}," GOOD "}", "normalizer.all is not known" },
    { "{" SPLIT "\"post_processor\":{\"type\":\"X\"}," GOOD "}", "post_processor.type \"X\" is not known" },
    { "{" SPLIT "\"truncation\":{\"max_length\":5}," GOOD "}", "truncation.strategy" },
    { "{" SPLIT "\"padding\":{}," GOOD "}", "padding.strategy" },
    { "{" SPLIT "\"decoder\":5," GOOD "}", "decoder: the type is missing" },
    { "{" SPLIT "\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":0},\"unk_token\":5}}",
      "model.unk_token must be a string" },
    { "{" SPLIT "\"added_tokens\":[{\"id\":1,\"content\":\"a\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
      "\"normalized\":false,\"special\":true}]," GOOD "}",
      "added_tokens: \"a\" has id 1, and 0 in model.vocab" },
    { "{" SPLIT "\"added_tokens\":[{\"id\":5,\"content\":\"x\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
      "\"normalized\":false,\"special\":true}]," GOOD "}",
      "added_tokens: \"x\" has id 5, where the 2 pieces of model.vocab make it 2" },
};

static tokenizer *parse(const char *json, genet_err *err)
{
    json_t *j = genet__json_parse(json, strlen(json), "tokenizer.json", err);
    if (!j) fail_msg("%s: %s", json, err->text);
    tokenizer *t = genet__tokenizer_from_json(j, "tokenizer.json", err);
    json_decref(j);
    return t;
}

static void test_broken(void **state)
{
    (void)state;
    genet_err err = { 0 };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        assert_null(parse(broken[i].json, &err));
        expect_words(&err, broken[i].words);
        expect_words(&err, "tokenizer.json: ");
    }
    tokenizer *t = parse("{" SPLIT GOOD "}", &err);             /* without its unknown token */
    assert_non_null(t);
    assert_int_equal(genet__tokenizer_unknown(t), -1);
    token_list ids = { 0 };
    assert_true(genet__tokenizer_encode(t, "a bc a", 6, &ids, &err));
    assert_false(genet__tokenizer_encode(t, "a b", 3, &ids, &err));
    expect_words(&err, "byte 2 of the text: the word \"b\" is not among the 2 that the model knows");
    assert_int_equal(ids.n, 3);
    genet__token_list_release(&ids);
    genet__tokenizer_free(t);
}

/* --- failing -------------------------------------------------------------------------- */

static void test_failing_memory(void **state)
{
    (void)state;
    genet_err err = { 0 };
    bool ok = false;
    for (long n = 0; !ok; n++) {
        assert_true(n < 2000);
        token_list ids = { 0 };
        tokenizer *t = NULL, *again = NULL;
        text_source *s = open_text(golden_path("word/text.txt"));
        genet__source_set_chunk(s, 100);
        genet__alloc_fail_after(n);
        ok = (t = genet__word_train(s, INT64_MAX, 40, NULL, &err)) &&
            genet__tokenizer_encode(t, "the words", 9, &ids, &err) &&
             genet__tokenizer_save(t, folder, &err) && (again = genet__tokenizer_load(folder, &err));
        genet__alloc_fail_after(-1);
        if (!ok) assert_int_equal(err.code, GENET_ERR_MEMORY);
        genet__token_list_release(&ids);
        genet__tokenizer_free(t);
        genet__tokenizer_free(again);
        genet__source_close(s);
    }
}

/* --- by what --tokenizer says ------------------------------------------------------------ */

static void expect_refused(const char *spec, const char *words)
{
    genet_err err = { 0 };
    text_source *s = open_text(in("text"));
    text_scan *scan = calloc(1, sizeof *scan);
    assert_true(genet__source_scan(s, scan, &err));
    assert_null(genet__tokenizer_make(spec, s, scan, 10, NULL, &err));
    expect_words(&err, words);
    free(scan);
    genet__source_close(s);
}

static void test_make(void **state)
{
    (void)state;
    genet_err err = { 0 };
    put("text", "some words of text, and some more words");
    static const char *const bad[] = { "word", "word:", "word:8k", "word:-5", "word:1", "word: 9",
                                       "word:99999999999999999999", "word:16777217", "word:+9", "word:1e3" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_true(genet__tokenizer_is_learned(bad[i]));
        expect_refused(bad[i], "write word:VOCAB with a whole number of tokens from 2 to 16777216, as in word:8000");
    }
    expect_refused("bpe:256", "write bpe:VOCAB with a whole number of tokens from 257 to");
    expect_refused("/nowhere/words",
                   "--tokenizer /nowhere/words: there is no such folder or file; a new tokenizer is char, bpe:VOCAB");
    assert_false(genet__tokenizer_is_learned("words"));
    assert_false(genet__tokenizer_is_learned("./word"));
    assert_true(genet__tokenizer_is_learned("char"));
    text_source *s = open_text(in("text"));
    text_scan *scan = calloc(1, sizeof *scan);
    assert_true(genet__source_scan(s, scan, &err));
    const char *const good[] = { "char", "word:5", golden_path("word/plain.json") };
    static const int size[] = { 14, 5, 7 };
    for (int i = 0; i < 3; i++) {
        tokenizer *t = genet__tokenizer_make(good[i], s, scan, scan->n_chars, NULL, &err);
        if (!t) fail_msg("%s", err.text);
        assert_int_equal(genet__tokenizer_size(t), size[i]);
        genet__tokenizer_free(t);
    }
    free(scan);
    genet__source_close(s);
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
        cmocka_unit_test(test_golden),         cmocka_unit_test(test_learned_golden), cmocka_unit_test(test_learning),
        cmocka_unit_test(test_stopping),       cmocka_unit_test(test_cut),            cmocka_unit_test(test_any_bytes),
        cmocka_unit_test(test_white_space),    cmocka_unit_test(test_broken),         cmocka_unit_test(test_failing_memory),
        cmocka_unit_test(test_make),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
