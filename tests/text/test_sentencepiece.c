/* labels: core
 * test_sentencepiece.c - .model files give the ids and the text of the sentencepiece package (tests/golden/sentencepiece),
 * and what is damaged, or asks for what is not done, is refused with its place or name. */
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
#include "text/sentencepiece.h"

static const char *const names[] = { "unigram", "bpe", "unigram-bytes" };

static unsigned char *model_file(const char *name, size_t *n)
{
    char path[100];
    genet_err err = { 0 };
    snprintf(path, sizeof path, "sentencepiece/%s.model", name);
    char *bytes = genet__file_read(golden_path(path), 1 << 20, n, &err);
    if (!bytes) fail_msg("%s", err.text);
    return (unsigned char *)bytes;
}

static json_t *convert(const unsigned char *bytes, size_t n, genet_err *err)
{
    return genet__sentencepiece_json(bytes, n, "FILE", err);
}

/* Cases: [text, ids] or [text, ids, decoded]. */
static void test_golden(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        size_t n, k;
        genet_err err = { 0 };
        unsigned char *bytes = model_file(names[i], &n);
        json_t *j = convert(bytes, n, &err), *c;
        tokenizer *t = j ? genet__tokenizer_from_json(j, "FILE", &err) : NULL;
        if (!t) fail_msg("%s", err.text);
        char path[100];
        snprintf(path, sizeof path, "sentencepiece/%s.json", names[i]);
        json_t *cases = genet__json_read(golden_path(path), 1 << 20, &err);
        assert_true(json_array_size(cases) > 8);
        json_array_foreach(cases, k, c) {
            const char *text = json_string_value(json_array_get(c, 0)), *decoded = json_string_value(json_array_get(c, 2));
            int32_t want[100];
            int n_ids = (int)json_array_size(json_array_get(c, 1));
            for (int x = 0; x < n_ids; x++)
                want[x] = (int32_t)json_integer_value(json_array_get(json_array_get(c, 1), (size_t)x));
            expect_ids(t, text, n_ids, want);
            str back = { 0 };
            assert_true(genet__tokenizer_decode(t, want, n_ids, &back, &err));
            if (decoded) assert_string_equal(genet__str(&back), decoded);
            genet__str_release(&back);
        }
        json_decref(cases);
        json_decref(j);
        genet__tokenizer_free(t);
        genet__free(bytes);
    }
}

/* --- files made here ----------------------------------------------------------------------------------------------- */

typedef struct made { unsigned char at[400]; size_t n; } made;

static void put(made *m, const char *bytes, size_t n)
{
    memcpy(m->at + m->n, bytes, n);
    m->n += n;
}

/* ModelProto.pieces: text, score 0 and a type. */
static void put_piece(made *m, const char *text, char type)
{
    size_t n = strlen(text);
    put(m, (char[]){ 0x0a, (char)(n + 9), 0x0a, (char)n }, 4);
    put(m, text, n);
    put(m, (char[]){ 0x15, 0, 0, 0, 0, 0x18, type }, 7);
}

static void expect_refused(const made *m, const char *says)
{
    genet_err err = { 0 };
    json_t *j = convert(m->at, m->n, &err);
    if (j) fail_msg("accepted, but should say \"%s\"", says);
    if (!strstr(err.text, "FILE") || !strstr(err.text, says)) fail_msg("says \"%s\", not \"%s\"", err.text, says);
}

#define REFUSED(says, ...) do { \
    made m_ = { 0 }; \
    put_piece(&m_, "<unk>", 2); \
    put_piece(&m_, "a", 1); \
    put(&m_, (char[]){ __VA_ARGS__ }, sizeof (char[]){ __VA_ARGS__ }); \
    expect_refused(&m_, says); \
} while (0)

static void test_refused(void **state)
{
    (void)state;
    made ok = { 0 };
    put_piece(&ok, "<unk>", 2);
    put_piece(&ok, "a", 1);
    put(&ok, (char[]){ 0x7a, 3, 1, 2, 3, 0x78, (char)0xff, 1 }, 8);     /* fields nobody knows */
    json_t *j = convert(ok.at, ok.n, NULL);
    assert_non_null(j);
    json_decref(j);
    expect_refused(&(made){ .n = 0 }, "no pieces");
    REFUSED("byte 30: a number is cut off", 0x08, (char)0x80);
    REFUSED("64 bits", 0x08, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 1);
    REFUSED("cut off", 0x15, 0, 0);
    REFUSED("longer than", 0x12, 5, 1);
    REFUSED("longer than", 0x12, -1, -1, -1, -1, -1, -1, -1, -1, -1, 1);
    REFUSED("number 0", 0x00, 0);
    REFUSED("not known", 0x13);
    REFUSED("another kind", 0x08, 1);                                   /* pieces as a number */
    REFUSED("another kind", 0x0a, 2, 0x08, 1);                          /* and the text of one */
    REFUSED("empty", 0x0a, 0);
    REFUSED("zero byte", 0x0a, 4, 0x0a, 2, 'a', 0);
    REFUSED("not UTF-8", 0x0a, 3, 0x0a, 1, -1);
    REFUSED("no number", 0x0a, 8, 0x0a, 1, 'b', 0x15, 0, 0, (char)0x80, 0x7f);      /* infinite */
    REFUSED("twice", 0x0a, 3, 0x0a, 1, 'a');
    REFUSED("model_type", 0x12, 2, 0x18, 3);
    REFUSED("unk_id", 0x12, 3, (char)0xc0, 2, 1);
    REFUSED("unk_id", 0x12, 3, (char)0xc0, 2, 9);
    REFUSED("treat_whitespace_as_suffix", 0x12, 3, (char)0xc0, 1, 1);
    REFUSED("escape_whitespaces", 0x1a, 2, 0x28, 0);
}

/* Every beginning of a file, and every file with a byte changed, is refused in words or read. */
static void test_damaged(void **state)
{
    (void)state;
    size_t n;
    unsigned char *bytes = model_file("unigram", &n);
    for (size_t i = 0; i < n; i += 1 + i / 200) {
        genet_err err = { 0 };
        unsigned char *part = genet__alloc(i ? i : 1);
        memcpy(part, bytes, i);
        json_t *j = convert(part, i, &err);
        assert_true(j || err.text[0]);
        json_decref(j);
        genet__free(part);
        bytes[i] ^= (unsigned char)(1 + i % 255);
        j = convert(bytes, n, &err);
        assert_true(j || err.text[0]);
        json_decref(j);
        bytes[i] ^= (unsigned char)(1 + i % 255);
    }
    genet__free(bytes);
}

static void test_memory(void **state)
{
    (void)state;
    made m = { 0 };
    put_piece(&m, "<unk>", 2);
    put_piece(&m, "<s>", 3);
    put_piece(&m, "a", 1);
    put_piece(&m, "aa", 1);
    put(&m, (char[]){ 0x12, 2, 0x18, 2, 0x1a, 6, 0x12, 4, 1, 2, 3, 4 }, 12);
    long n = 0;
    for (bool injected = true; injected; n++) {
        genet_err err = { 0 };
        genet__alloc_fail_after(n);
        json_t *j = convert(m.at, m.n, &err);
        injected = genet__alloc_fail_after(-1) > n;
        assert_true(j || err.code == GENET_ERR_MEMORY);
        if (!injected) {
            const json_t *normalizers = json_object_get(json_object_get(j, "normalizer"), "normalizers");
            const json_t *charsmap = json_object_get(json_array_get(normalizers, 0), "precompiled_charsmap");
            assert_string_equal(json_string_value(charsmap), "AQIDBA==");
            assert_int_equal(json_array_size(json_object_get(j, "added_tokens")), 1);
        }
        json_decref(j);
    }
    assert_true(n > 5);
    genet__free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden), cmocka_unit_test(test_refused), cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
