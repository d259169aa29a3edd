/* labels: core
 * test_learned.c - tokenizers learned from text, WordPiece and Unigram, are whole: written as tokenizer.json and read
 * again they give the same ids, decode to the text (Unigram) or its lower case (WordPiece), put their special tokens around
 * it, and do not depend on how the text is read; learning can fail or be stopped anywhere. */
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
#include "text/tokenizer_train.h"

static char folder[] = "/tmp/genet-test-learned-XXXXXX";

static text_source *open_text(void)
{
    genet_err err = { 0 };
    text_source *s = genet__source_open((const char *[]){ golden_path("bpe-train/text.txt") }, 1, folder, &err);
    if (!s) fail_msg("%s", err.text);
    return s;
}

static tokenizer *learn(const char *spec, size_t chunk)
{
    genet_err err = { 0 };
    text_source *s = open_text();
    if (chunk) genet__source_set_chunk(s, chunk);
    tokenizer *t = genet__tokenizer_make(spec, s, NULL, INT64_MAX, NULL, &err);
    if (!t) fail_msg("%s", err.text);
    genet__source_close(s);
    return t;
}

static void expect_same(const tokenizer *a, const tokenizer *b)
{
    char x[HASH_HEX], y[HASH_HEX];
    genet__tokenizer_hash(a, x);
    genet__tokenizer_hash(b, y);
    assert_string_equal(x, y);
}

static const char *const spec[] = { "wordpiece:400", "unigram:300" };

static void test_chunks(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        tokenizer *whole = learn(spec[i], 0), *parts = learn(spec[i], 64);
        expect_same(whole, parts);
        genet__tokenizer_free(parts);
        genet__tokenizer_free(whole);
    }
}

static void test_saved(void **state)
{
    (void)state;
    genet_err err = { 0 };
    for (int i = 0; i < 2; i++) {
        tokenizer *t = learn(spec[i], 0);
        assert_int_equal(genet__tokenizer_size(t), i ? 300 : 400);
        if (!genet__tokenizer_save(t, folder, &err)) fail_msg("%s", err.text);
        tokenizer *again = load(folder);
        expect_same(t, again);
        assert_true(genet__tokenizer_is_special(again, 0) && genet__tokenizer_unknown(again) == (i ? 2 : 1));
        genet__tokenizer_free(again);
        genet__tokenizer_free(t);
    }
}

static void expect_decoded(const tokenizer *t, const char *text, const char *want)
{
    genet_err err = { 0 };
    token_list ids = encode(t, text, strlen(text));
    str back = { 0 };
    assert_true(genet__tokenizer_decode(t, ids.at, ids.n, &back, &err));
    assert_string_equal(genet__str(&back), want);
    genet__str_release(&back);
    genet__token_list_release(&ids);
}

static void test_decoded(void **state)
{
    (void)state;
    static const char text[] = "On the 3rd of March, the keeper wrote:\n\n  \"It's a  quiet\tcoast.\"\n";
    tokenizer *words = learn(spec[0], 0), *pieces = learn(spec[1], 0);
    expect_decoded(pieces, text, text);
    expect_decoded(words, "The KEEPER of the lighthouse", "the keeper of the lighthouse");
    genet__tokenizer_free(words);
    genet__tokenizer_free(pieces);
}

/* [CLS] a [SEP] and a </s>. */
static void test_special(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        genet_err err = { 0 };
        encoding e = { 0 };
        tokenizer *t = learn(spec[i], 0);
        encode_options o = genet__encode_defaults(t);
        assert_true(genet__tokenizer_encode_text(t, "the tide", 8, &o, &e, &err));
        assert_true(e.n >= 3 && e.at[e.n - 1].id == (i ? 1 : 3) && e.at[e.n - 1].special);
        if (!i) assert_true(e.at[0].id == 2 && e.at[0].special);
        genet__encoding_release(&e);
        genet__tokenizer_free(t);
    }
}

static bool stop(void *user, const char *stage, double done)
{
    assert_true(done >= 0 && done <= 1 && *stage);
    return --*(int *)user > 0;
}

static void test_stopped(void **state)
{
    (void)state;
    text_source *s = open_text();
    for (int i = 0; i < 2; i++)
        for (int calls = 1; calls < 4; calls++) {
            genet_err err = { 0 };
            train_watch watch = { stop, &(int){ calls } };
            assert_null(genet__tokenizer_make(spec[i], s, NULL, INT64_MAX, &watch, &err));
            assert_int_equal(err.code, GENET_ERR_STOPPED);
        }
    genet_err err = { 0 };
    assert_null(genet__tokenizer_make("unigram:20", s, NULL, INT64_MAX, NULL, &err));
    assert_non_null(strstr(err.text, "characters"));
    assert_null(genet__tokenizer_make("wordpiece:5", s, NULL, INT64_MAX, NULL, &err));
    assert_non_null(strstr(err.text, "wordpiece:8000"));
    genet__source_close(s);
}

static void test_memory(void **state)
{
    (void)state;
    text_source *s = open_text();
    for (int i = 0; i < 2; i++) {
        long failed = 0, step = 1;
        for (long n = 0;; n += step) {
            genet_err err = { 0 };
            genet__alloc_fail_after(n);
            tokenizer *t = genet__tokenizer_make(i ? "unigram:230" : "wordpiece:320", s, NULL, INT64_MAX, NULL, &err);
            bool injected = genet__alloc_fail_after(-1) > n;
            if (!t && err.code != GENET_ERR_MEMORY) fail_msg("after %ld: %s", n, err.text);
            failed += !t;
            genet__tokenizer_free(t);
            if (!injected) break;
            step = 1 + n / 40;
        }
        assert_true(failed > 40);
    }
    genet__source_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunks), cmocka_unit_test(test_saved), cmocka_unit_test(test_decoded),
        cmocka_unit_test(test_special), cmocka_unit_test(test_stopped), cmocka_unit_test(test_memory),
    };
    if (!mkdtemp(folder)) return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    genet__file_remove_tree(folder, NULL);
    return failed;
}
