/* labels: core
 * test_bpe_train.c - learned merges are those of Hugging Face's BpeTrainer
 * (tests/golden/bpe-train), whatever pieces the text comes in; and learning can fail or be stopped anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include "base/alloc.h"
#include "base/file.h"
#include "golden/golden.h"
#include "text/tokenizer_train.h"
#include "text/word_count.h"

static char folder[] = "/tmp/genet-test-bpe-train-XXXXXX";

/* The path of a file in the folder; valid until the fourth call after it. */
static const char *in(const char *name)
{
    static char path[4][200];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static void put(const char *name, const char *text, size_t n)
{
    FILE *f = fopen(in(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    fclose(f);
}

static text_source *open_paths(const char *a, const char *b)
{
    genet_err err = { 0 };
    const char *paths[] = { a, b };
    text_source *s = genet__source_open(paths, b ? 2 : 1, folder, &err);
    if (!s) fail_msg("%s", err.text);
    return s;
}

/* Closes s. */
static tokenizer *learn(text_source *s, int64_t n_chars, int vocab_size)
{
    genet_err err = { 0 };
    tokenizer *t = genet__bpe_train(s, n_chars, vocab_size, NULL, &err);
    if (!t) fail_msg("%s", err.text);
    genet__source_close(s);
    return t;
}

static tokenizer *learn_text(const char *text, size_t n, int vocab_size)
{
    put("text", text, n);
    return learn(open_paths(in("text"), NULL), INT64_MAX, vocab_size);
}

/* model.merges of t's tokenizer.json.  Frees t. */
static json_t *merges_of(tokenizer *t)
{
    genet_err err = { 0 };
    if (!genet__tokenizer_save(t, folder, &err)) fail_msg("%s", err.text);
    genet__tokenizer_free(t);
    json_t *j = genet__json_read(in("tokenizer.json"), 64 << 20, &err);
    if (!j) fail_msg("%s", err.text);
    json_t *merges = json_incref(json_object_get(json_object_get(j, "model"), "merges"));
    json_decref(j);
    assert_true(json_is_array(merges));
    return merges;
}

/* ["a", "b"], or "a b": tokenizer.json may say either. */
static void spell(const json_t *merge, char out[2048])
{
    const char *whole = json_string_value(merge);
    if (!whole) {
        const char *left = json_string_value(json_array_get(merge, 0));
        const char *right = json_string_value(json_array_get(merge, 1));
        assert_true(left && right);
        snprintf(out, 2048, "%s %s", left, right);
    } else {
        snprintf(out, 2048, "%s", whole);
    }
}

/* Takes t over; want: [["a", "b"], ...]. */
static void expect_merges(tokenizer *t, const json_t *want)
{
    int size = genet__tokenizer_size(t);
    json_t *got = merges_of(t);
    for (size_t i = 0; i < json_array_size(want) && i < json_array_size(got); i++) {
        char a[2048], b[2048];
        spell(json_array_get(got, i), a);
        spell(json_array_get(want, i), b);
        assert_string_equal(a, b);
    }
    assert_int_equal(json_array_size(got), json_array_size(want));
    assert_int_equal(size, 257 + json_array_size(want));
    json_decref(got);
}

static char *golden_text(size_t *n)
{
    genet_err err = { 0 };
    char *text = genet__file_read(golden_path("bpe-train/text.txt"), 1 << 20, n, &err);
    if (!text) fail_msg("%s", err.text);
    return text;
}

static void test_golden(void **state)
{
    (void)state;
    genet_err err = { 0 };
    json_t *j = genet__json_read(golden_path("bpe-train/cases.json"), 1 << 20, &err), *c;
    if (!j) fail_msg("%s", err.text);
    size_t i, n, n_file;
    char *file = golden_text(&n_file);
    assert_true(json_array_size(json_object_get(j, "cases")) > 15);
    json_array_foreach(json_object_get(j, "cases"), i, c) {
        const char *text = json_string_value(json_object_get(c, "text"));
        n = text ? strlen(text) : n_file;
        int vocab_size = (int)json_integer_value(json_object_get(c, "vocab_size"));
        expect_merges(learn_text(text ? text : file, n, vocab_size), json_object_get(c, "merges"));
    }
    genet__free(file);
    json_decref(j);
}

/* --- the text's way here ------------------------------------------------------ */

static void expect_same(tokenizer *a, tokenizer *b)
{
    char hex[2][HASH_HEX];
    genet__tokenizer_hash(a, hex[0]);
    genet__tokenizer_hash(b, hex[1]);
    assert_int_equal(genet__tokenizer_size(a), genet__tokenizer_size(b));
    assert_string_equal(hex[0], hex[1]);
    genet__tokenizer_free(a);
    genet__tokenizer_free(b);
}

/* Two files, one of them packed, cut within a word; and a packed one. */
static void test_files(void **state)
{
    (void)state;
    size_t n, half = 777;
    char *text = golden_text(&n);
    put("one", text, half);
    gzFile gz = gzopen(in("two"), "wb");
    assert_int_equal(gzwrite(gz, text + half, (unsigned)(n - half)), n - half);
    assert_int_equal(gzclose(gz), Z_OK);
    tokenizer *two = learn(open_paths(in("one"), in("two")), INT64_MAX, 500);
    expect_same(learn_text(text, n, 500), two);
    expect_same(learn_text(text, n, 500), learn_text(text, n, 500));
    genet__free(text);
}

/* Many chunks, which end anywhere: as if the counts of one copy were multiplied. */
static void test_long(void **state)
{
    (void)state;
    enum { COPIES = 400 };
    size_t n;
    char *text = golden_text(&n);
    char *many = malloc((n + 1) * COPIES);
    for (int i = 0; i < COPIES; i++) {
        memcpy(many + (size_t)i * (n + 1), text, n);
        many[(size_t)i * (n + 1) + n] = '\n';
    }
    tokenizer *whole = learn_text(many, (n + 1) * COPIES, 500);
    tokenizer *two = learn_text(many, (n + 1) * 2, 500);
    expect_same(whole, two);
    free(many);
    genet__free(text);
}

/* What stands behind the training part changes nothing; characters are counted, not bytes. */
static void test_part(void **state)
{
    (void)state;
    const char text[] = "éé éé ab ab ab", more[] = "éé éé ab ab abcabcabcabcabc zz zz zz zz zz";
    tokenizer *t = learn_text(text, sizeof text - 1, 300);
    put("more", more, sizeof more - 1);
    expect_same(t, learn(open_paths(in("more"), NULL), 14, 300));
    tokenizer *none = learn(open_paths(in("more"), NULL), 0, 300);
    assert_int_equal(genet__tokenizer_size(none), 257);
    genet__tokenizer_free(none);
}

/* A million bytes without a place to cut: time must not be the square of that. */
static void test_long_words(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    char *text = malloc(N);
    memset(text, 'a', N);
    tokenizer *t = learn_text(text, N, 400);
    assert_int_equal(genet__tokenizer_size(t), 257 + 20);           /* 2, 4, ... 2^20 letters */
    genet__tokenizer_free(t);
    uint32_t x = 1;
    for (int i = 0; i < N; i++) text[i] = (char)('a' + ((x = x * 1664525 + 1013904223) >> 24) % 26);
    t = learn_text(text, N, 3000);
    assert_int_equal(genet__tokenizer_size(t), 3000);
    genet__tokenizer_free(t);
    free(text);
}

static void test_ids(void **state)
{
    (void)state;
    tokenizer *t = learn_text("ab ab", 5, 1000);
    assert_string_equal(genet__tokenizer_kind(t), "bpe");
    assert_int_equal(genet__tokenizer_size(t), 259);                /* "ab", " ab" */
    assert_int_equal(genet__tokenizer_find(t, "<|endoftext|>", 13), 0);
    assert_int_equal(genet__tokenizer_find(t, "!", 1), 1);          /* U+0021, the alphabet's first */
    assert_int_equal(genet__tokenizer_find(t, "\xff", 1), 188);     /* U+00FF, the last that is its own character */
    assert_int_equal(genet__tokenizer_find(t, "\0", 1), 189);       /* U+0100 */
    assert_int_equal(genet__tokenizer_find(t, "\xad", 1), 256);
    assert_int_equal(genet__tokenizer_find(t, "ab", 2), 257);
    assert_int_equal(genet__tokenizer_find(t, " ab", 3), 258);
    genet__tokenizer_free(t);
}

/* --- what can go wrong ---------------------------------------------------------- */

static void test_sizes(void **state)
{
    (void)state;
    put("text", "ab", 2);
    static const int bad[] = { -1, 0, 1, 256, (1 << 24) + 1 };
    for (int i = 0; i < 5; i++) {
        genet_err err = { 0 };
        text_source *s = open_paths(in("text"), NULL);
        assert_null(genet__bpe_train(s, INT64_MAX, bad[i], NULL, &err));
        assert_int_equal(err.code, GENET_ERR_USAGE);
        assert_non_null(strstr(err.text, "at least 257"));
        genet__source_close(s);
    }
    tokenizer *t = learn_text("ab", 2, 1 << 24);
    assert_int_equal(genet__tokenizer_size(t), 258);
    genet__tokenizer_free(t);
    put("text", "ab \xff cd", 7);
    genet_err err = { 0 };
    text_source *s = open_paths(in("text"), NULL);
    assert_null(genet__bpe_train(s, INT64_MAX, 300, NULL, &err));
    assert_non_null(strstr(err.text, "byte 3 (0xFF) is not UTF-8"));
    genet__source_close(s);
}

typedef struct seen { int calls, stop_at; double last; char stage[40]; int stages; } seen;

static bool see(void *user, const char *stage, double done)
{
    seen *s = user;
    if (strcmp(stage, s->stage)) s->stages++, s->last = 0;
    snprintf(s->stage, sizeof s->stage, "%s", stage);
    assert_true(done >= s->last && done <= 1);
    s->last = done;
    return s->calls++ != s->stop_at;
}

static void test_watch(void **state)
{
    (void)state;
    size_t n;
    char *text = golden_text(&n);
    put("text", text, n);
    genet__free(text);
    text_source *s = open_paths(in("text"), NULL);
    seen all = { .stop_at = -1 };
    genet_err err = { 0 };
    tokenizer *t = genet__bpe_train(s, (int64_t)n, 500, &(train_watch){ see, &all }, &err);
    assert_non_null(t);
    genet__tokenizer_free(t);
    assert_int_equal(all.stages, 2);
    assert_true(all.calls > 4);
    for (int i = 0; i < all.calls; i++) {
        seen one = { .stop_at = i };
        err = (genet_err){ 0 };
        assert_null(genet__bpe_train(s, (int64_t)n, 500, &(train_watch){ see, &one }, &err));
        assert_int_equal(err.code, GENET_ERR_STOPPED);
        assert_int_equal(one.calls, i + 1);
    }
    genet__source_close(s);
}

/* Every allocation fails once.  Some may: the regular expression then runs without its machine code. */
static void test_memory(void **state)
{
    (void)state;
    put("text", "the cat, the hat, the bat; that cat, that hat, that bat\n", 56);
    text_source *s = open_paths(in("text"), NULL);
    long n = 0, survived = 0;
    for (bool injected = true; injected; n++) {
        genet_err err = { 0 };
        assert_true(n < 1000);
        genet__alloc_fail_after(n);
        tokenizer *t = genet__bpe_train(s, INT64_MAX, 300, NULL, &err);
        injected = genet__alloc_fail_after(-1) > n;
        survived += t && injected;
        if (t) expect_same(t, learn(open_paths(in("text"), NULL), INT64_MAX, 300));
        else assert_int_equal(err.code, GENET_ERR_MEMORY);
    }
    assert_true(n - survived > 40);
    genet__source_close(s);
}

/* --- counting words ---------------------------------------------------------------- */

/* Word i: i in binary, with lengths from 0; many lengths, and bytes of zero. */
static size_t some_word(int i, char out[40])
{
    size_t n = 0;
    for (; i; i >>= 1) out[n++] = (char)(i & 1);
    return n;
}

static void test_word_count(void **state)
{
    (void)state;
    enum { N = 20000 };
    word_count w = { 0 };
    char word[40];
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < N >> round; i++) assert_true(genet__word_count_add(&w, word, some_word(i, word)));
    assert_int_equal(w.n, N);
    for (int i = 0; i < N; i++) {
        assert_int_equal(w.word[i].n, some_word(i, word));
        assert_memory_equal(w.word[i].at, word, w.word[i].n);
        assert_int_equal(w.word[i].count, i < N >> 2 ? 3 : i < N >> 1 ? 2 : 1);
    }
    genet__word_count_release(&w);
    bool ok = false;
    for (long n = 0; !ok; n++) {                        /* what failed can be tried again */
        genet__alloc_fail_after(n);
        ok = true;
        for (int i = 0; ok && i < 2000; i++) ok = genet__word_count_add(&w, word, some_word(i, word));
        genet__alloc_fail_after(-1);
        assert_true(ok || w.n < 2000);
        if (!ok) genet__word_count_release(&w);
    }
    assert_int_equal(w.n, 2000);
    genet__word_count_release(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden), cmocka_unit_test(test_files), cmocka_unit_test(test_long),
        cmocka_unit_test(test_part), cmocka_unit_test(test_long_words), cmocka_unit_test(test_ids),
        cmocka_unit_test(test_sizes), cmocka_unit_test(test_watch), cmocka_unit_test(test_memory),
        cmocka_unit_test(test_word_count),
    };
    if (!mkdtemp(folder)) return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    genet__file_remove_tree(folder, NULL);
    return failed;
}
