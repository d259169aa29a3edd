/* labels: core
 * test_learn.c - vocabularies learned from counted words: WordPiece's are one of those that the tokenizers library's
 * trainer gives (it breaks ties at random; tests/golden/token-models), Unigram's find the pieces a text was made
 * of; neither depends on the order of words, and both survive want of memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/json.h"
#include "base/rng.h"
#include "golden/golden.h"
#include "text/learn.h"

static const char *const special[] = { "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]" };
enum { N_SPECIAL = 5 };

static void count(word_count *w, const char *word, int64_t n)
{
    int before = w->n;
    assert_true(genet__word_count_add(w, word, strlen(word)));
    if (w->n > before) w->word[before].count = n;
}

static bool has(const learned *l, const char *piece)
{
    bool found = false;
    for (int i = 0; i < l->n; i++)
        found |= l->piece[i].n == strlen(piece) && !memcmp(l->piece[i].at, piece, l->piece[i].n);
    return found;
}

static learned learn(learn_fn *fn, word_count *w, int size)
{
    genet_err err = { 0 };
    learned l = { 0 };
    genet__learn_sort(w);
    if (!fn(w, special, N_SPECIAL, size, NULL, &l, &err)) fail_msg("%s", err.text);
    for (int i = 0; i < N_SPECIAL; i++) assert_string_equal(l.piece[i].at, special[i]);
    return l;
}

static void expect_same(const learned *a, const learned *b)
{
    assert_int_equal(a->n, b->n);
    for (int i = 0; i < a->n; i++)
        assert_true(a->piece[i].n == b->piece[i].n && !memcmp(a->piece[i].at, b->piece[i].at, a->piece[i].n) &&
                    a->piece[i].score == b->piece[i].score);
}

/* Words made of a few stems: the same n whatever order they are counted in. */
static void made_words(word_count *w, int n, bool backwards)
{
    static const char *const stem[] = { "foo", "barbar", "qux", "zzz\xc3\xa9", "h\xe6\x97\xa5" };
    for (int i = 0; i < n; i++) {
        uint64_t k = (uint64_t)(backwards ? n - 1 - i : i);
        char word[100] = "\xe2\x96\x81";
        for (uint32_t part = 0; part < 1 + k % 4; part++) strcat(word, stem[genet__rng_below(5, part, 0, k, 5)]);
        count(w, word, 1 + (int64_t)strlen(word) % 7);
    }
}

static void test_wordpiece_golden(void **state)
{
    (void)state;
    genet_err err = { 0 };
    json_t *j = genet__json_read(golden_path("token-models/wordpiece-train.json"), 1 << 20, &err), *n, *c, *pieces;
    const char *word;
    size_t i, k, p;
    assert_non_null(j);
    word_count w = { 0 };
    json_object_foreach(json_object_get(j, "words"), word, n) count(&w, word, json_integer_value(n));
    json_array_foreach(json_object_get(j, "cases"), i, c) {
        int size = (int)json_integer_value(json_object_get(c, "size"));
        learned l = learn(genet__learn_wordpiece, &w, size);
        bool same = false;
        json_array_foreach(json_object_get(c, "vocabs"), k, pieces) {
            bool all = json_array_size(pieces) == (size_t)l.n;
            for (p = 0; p < json_array_size(pieces); p++) all &= has(&l, json_string_value(json_array_get(pieces, p)));
            same |= all;
        }
        if (!same) fail_msg("size %d: %d pieces that the library does not learn", size, l.n);
        genet__learned_release(&l);
    }
    genet__word_count_release(&w);
    json_decref(j);
}

static void test_order(void **state)
{
    (void)state;
    learn_fn *const fn[] = { genet__learn_unigram, genet__learn_wordpiece };
    for (int i = 0; i < 2; i++) {
        word_count a = { 0 }, b = { 0 };
        made_words(&a, 400, false);
        made_words(&b, 400, true);
        learned x = learn(fn[i], &a, 60), y = learn(fn[i], &b, 60);
        expect_same(&x, &y);
        genet__learned_release(&x);
        genet__learned_release(&y);
        genet__word_count_release(&a);
        genet__word_count_release(&b);
    }
}

/* Stems are what is learned, though all their parts are candidates (one is covered by longer pieces); probabilities are 1
 * in all, but for what characters get that no best segmentation needs. */
static void test_unigram_finds_stems(void **state)
{
    (void)state;
    word_count w = { 0 };
    made_words(&w, 400, false);
    learned l = learn(genet__learn_unigram, &w, 36);
    assert_int_equal(l.n, 36);
    assert_true(has(&l, "foo") && has(&l, "barbar") && has(&l, "qux") && has(&l, "h\xe6\x97\xa5"));
    assert_true(has(&l, "f") && has(&l, "\xe2\x96\x81") && has(&l, "\xc3\xa9") && !has(&l, "[UNK]f"));
    double sum = 0;
    for (int i = N_SPECIAL; i < l.n; i++) {
        assert_true(l.piece[i].score < 0 && (i == N_SPECIAL || l.piece[i].score <= l.piece[i - 1].score));
        sum += exp(l.piece[i].score);
    }
    assert_true(sum > 0.8 && sum < 1.1);
    genet__learned_release(&l);
    genet__word_count_release(&w);
}

/* A word of 50,000 characters: probabilities far below the smallest double. */
static void test_long_word(void **state)
{
    (void)state;
    enum { LONG = 50000 };
    word_count w = { 0 };
    char *word = genet__alloc(LONG + 1);
    for (int i = 0; i < LONG; i++) word[i] = (char)('a' + genet__rng_below(9, 0, 0, (uint64_t)i, 26));
    count(&w, word, 3);
    count(&w, "abc", 2);
    learned l = learn(genet__learn_unigram, &w, 200);
    assert_true(l.n == 200 && has(&l, "a"));
    for (int i = N_SPECIAL; i < l.n; i++) assert_true(isfinite(l.piece[i].score) && l.piece[i].score < 0);
    genet__learned_release(&l);
    genet__word_count_release(&w);
    genet__free(word);
}

static bool stop_late(void *user, const char *stage, double done)
{
    assert_true(done >= 0 && done <= 1 && strlen(stage) > 3);
    return --*(int *)user > 0;
}

static void test_edges(void **state)
{
    (void)state;
    genet_err err = { 0 };
    word_count w = { 0 };
    learned l = learn(genet__learn_unigram, &w, 30), m = learn(genet__learn_wordpiece, &w, 30);
    assert_true(l.n == N_SPECIAL && m.n == N_SPECIAL);
    genet__learned_release(&l);
    genet__learned_release(&m);
    made_words(&w, 50, false);
    genet__learn_sort(&w);
    assert_false(genet__learn_unigram(&w, special, N_SPECIAL, 10, NULL, &l, &err));
    assert_non_null(strstr(err.text, "characters"));
    assert_false(genet__learn_wordpiece(&w, special, N_SPECIAL, 10, NULL, &m, &err));
    assert_non_null(strstr(err.text, "characters"));
    for (int calls = 1; calls < 3; calls++) {
        train_watch watch = { stop_late, &(int){ calls } };
        assert_false(genet__learn_unigram(&w, special, N_SPECIAL, 30, &watch, &l, &err));
        assert_int_equal(err.code, GENET_ERR_STOPPED);
    }
    train_watch watch = { stop_late, &(int){ 1 } };
    assert_false(genet__learn_wordpiece(&w, special, N_SPECIAL, 60, &watch, &m, &err));
    assert_int_equal(err.code, GENET_ERR_STOPPED);
    genet__learned_release(&l);
    genet__learned_release(&m);
    genet__word_count_release(&w);
}

static void test_memory(void **state)
{
    (void)state;
    learn_fn *const fn[] = { genet__learn_unigram, genet__learn_wordpiece };
    word_count w = { 0 };
    made_words(&w, 40, false);
    genet__learn_sort(&w);
    for (int i = 0; i < 2; i++) {
        long n = 0;
        for (bool injected = true; injected; n++) {
            genet_err err = { 0 };
            learned l = { 0 };
            assert_true(n < 2000);
            genet__alloc_fail_after(n);
            bool ok = fn[i](&w, special, N_SPECIAL, 40, NULL, &l, &err);
            injected = genet__alloc_fail_after(-1) > n;
            assert_true(ok ? !injected : err.code == GENET_ERR_MEMORY);
            genet__learned_release(&l);
        }
        assert_true(n > 5);
    }
    genet__word_count_release(&w);
}

/* Texts of a few characters, where all that is expected less than half a time may be everything. */
static void test_tiny(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 2000; i++) {
        word_count w = { 0 };
        for (uint32_t k = 0; k < 1 + i % 3; k++) {
            char word[8] = "";
            for (uint32_t c = 0; c < 2 + i % 5; c++) word[c] = (char)('a' + genet__rng_below(7, k, i, c, 2 + i % 3));
            count(&w, word, 1 + (k == 2));
        }
        learned l = learn(genet__learn_unigram, &w, N_SPECIAL + 4 + (int)(i % 4));
        for (int k = 0; k < l.n; k++) assert_true(isfinite(l.piece[k].score) && l.piece[k].score < 1);
        genet__learned_release(&l);
        genet__word_count_release(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wordpiece_golden), cmocka_unit_test(test_order), cmocka_unit_test(test_unigram_finds_stems),
        cmocka_unit_test(test_long_word), cmocka_unit_test(test_edges), cmocka_unit_test(test_tiny),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
