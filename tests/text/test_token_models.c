/* labels: core
 * test_token_models.c - WordPiece and Unigram give the ids and places of the tokenizers library (tests/golden/token-models:
 * random small vocabularies with ties, unknown characters, long words), refuse what is wrong by name, and survive want of
 * memory; the trie under them knows its keys and no others. */
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
#include "base/rng.h"
#include "golden/golden.h"
#include "text/tokenizer_model.h"
#include "text/trie.h"

static const token_model *row_of(const json_t *model)
{
    const char *type = json_string_value(json_object_get(model, "type"));
    return !strcmp(type, "Unigram") ? &genet__model_unigram : &genet__model_wordpiece;
}

/* One [word, ids, [[begin, end]..]]; ids null: it must fail. */
static void check_case(const token_model *row, const void *m, const json_t *c)
{
    genet_err err = { 0 };
    const json_t *word = json_array_get(c, 0), *ids = json_array_get(c, 1), *spans = json_array_get(c, 2);
    token_list list = { 0 };
    token_sink out = { .ids = &list, .spans = true };
    bool ok = json_string_length(word) == 0 ||
              row->encode(m, json_string_value(word), json_string_length(word), &out, &err);
    if (ok == json_is_null(ids)) fail_msg("\"%s\": %s", json_string_value(word), ok ? "no error" : err.text);
    if (ok) assert_int_equal(list.n, json_array_size(ids));
    for (int i = 0; ok && i < list.n; i++) {
        const json_t *span = json_array_get(spans, (size_t)i);
        if (list.at[i] != json_integer_value(json_array_get(ids, (size_t)i)) ||
            out.span[i].begin != json_integer_value(json_array_get(span, 0)) ||
            out.span[i].end != json_integer_value(json_array_get(span, 1)))
            fail_msg("\"%s\": token %d is %d at %u..%u", json_string_value(word), i, list.at[i], out.span[i].begin,
                     out.span[i].end);
    }
    genet__token_list_release(&list);
    genet__free(out.span);
}

/* Pieces, ids and the way through JSON. */
static void check_vocabulary(const token_model *row, const void *m, const json_t *model)
{
    genet_err err = { 0 };
    for (int i = 0; i < row->size(m); i++) {
        size_t n, n_same;
        const char *piece = row->piece(m, i, &n), *same = piece ? row->piece(m, row->find(m, piece, n), &n_same) : NULL;
        if (piece) assert_true(same && n == n_same && !memcmp(piece, same, n));
    }
    assert_null(row->piece(m, row->size(m), &(size_t){ 0 }));
    assert_int_equal(row->find(m, "no such piece", 13), -1);
    json_t *j = row->to_json(m);
    assert_non_null(j);
    if (row == &genet__model_unigram)
        assert_true(json_equal(json_object_get(j, "vocab"), json_object_get(model, "vocab")));
    void *again = row->load(j, "again", &err);
    assert_non_null(again);
    row->free(again);
    json_decref(j);
}

static void test_golden(void **state)
{
    (void)state;
    size_t n_bytes, n_cases = 0;
    genet_err err = { 0 };
    char *text = genet__file_read(golden_path("token-models/models.jsonl"), 1 << 24, &n_bytes, &err);
    assert_non_null(text);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        json_t *j = genet__json_parse(line, strlen(line), "models.jsonl", &err), *c;
        const json_t *model = json_object_get(j, "model");
        const token_model *row = row_of(model);
        void *m = row->load(model, "models.jsonl", &err);
        if (!m) fail_msg("%s", err.text);
        size_t i;
        json_array_foreach(json_object_get(j, "cases"), i, c) check_case(row, m, c), n_cases++;
        check_vocabulary(row, m, model);
        row->free(m);
        json_decref(j);
    }
    genet__free(text);
    assert_true(n_cases > 500);
}

static void *load_text(const char *text, genet_err *err)
{
    json_t *j = genet__json_parse(text, strlen(text), "test", err);
    assert_non_null(j);
    void *m = row_of(j)->load(j, "FILE", err);
    json_decref(j);
    return m;
}

static void test_refused(void **state)
{
    (void)state;
    static const struct { const char *json, *says; } bad[] = {
        { "{'type':'Unigram'}", "model.vocab" },
        { "{'type':'Unigram','vocab':{}}", "model.vocab" },
        { "{'type':'Unigram','vocab':[['a',1],['b']]}", "model.vocab[1]" },
        { "{'type':'Unigram','vocab':[['a','b']]}", "model.vocab[0]" },
        { "{'type':'Unigram','vocab':[['a',1]],'unk_id':1}", "model.unk_id" },
        { "{'type':'Unigram','vocab':[['a',1]],'unk_id':-1}", "model.unk_id" },
        { "{'type':'Unigram','vocab':[['a',1]],'unk_id':0.5}", "model.unk_id" },
        { "{'type':'Unigram','vocab':[['a',1]],'byte_fallback':3}", "byte_fallback" },
        { "{'type':'Unigram','vocab':[['a',1]],'alpha':0.1}", "model.alpha" },
        { "{'type':'WordPiece','unk_token':'u','max_input_chars_per_word':9,'vocab':{'a':0}}", "continuing_subword_prefix" },
        { "{'type':'WordPiece','continuing_subword_prefix':'','max_input_chars_per_word':9,'vocab':{'a':0}}", "unk_token" },
        { "{'type':'WordPiece','continuing_subword_prefix':'','unk_token':'u','vocab':{'a':0}}", "max_input_chars" },
        { "{'type':'WordPiece','continuing_subword_prefix':'','unk_token':'u','max_input_chars_per_word':-1,"
          "'vocab':{'a':0}}", "max_input_chars" },
        { "{'type':'WordPiece','continuing_subword_prefix':'','unk_token':'u','max_input_chars_per_word':9,"
          "'vocab':{'a':0,'b':0}}", "model.vocab" },
        { "{'type':'WordPiece','continuing_subword_prefix':'','unk_token':'u','max_input_chars_per_word':9,"
          "'vocab':{'a':0},'dropout':0}", "model.dropout" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[300];
        genet_err err = { 0 };
        snprintf(text, sizeof text, "%s", bad[i].json);
        for (char *c = text; *c; c++) *c = *c == '\'' ? '"' : *c;
        if (load_text(text, &err)) fail_msg("accepted: %s", text);
        if (!strstr(err.text, "FILE") || !strstr(err.text, bad[i].says)) fail_msg("%s: %s", text, err.text);
    }
}

/* What is no UTF-8 is unknown, and nothing is read beyond it; long words take the heap. */
static void test_odd_bytes(void **state)
{
    (void)state;
    genet_err err = { 0 };
    void *m = load_text("{\"type\":\"Unigram\",\"vocab\":[[\"?\",0],[\"a\",-1],[\"aa\",-1.5],[\"\\u00e9\",-2]],"
                        "\"unk_id\":0}", &err);
    token_list ids = { 0 };
    token_sink out = { .ids = &ids };
    assert_true(genet__model_unigram.encode(m, "a\xc3", 2, &out, &err));
    assert_int_equal(ids.n, 2);
    assert_int_equal(ids.at[1], 0);
    ids.n = 0;
    size_t n = 200001;
    char *s = genet__alloc(n);
    memset(s, 'a', n);
    assert_true(genet__model_unigram.encode(m, s, n, &out, &err));
    assert_int_equal(ids.n, 100001);
    genet__free(s);
    genet__token_list_release(&ids);
    genet__model_unigram.free(m);
}

static void test_memory(void **state)
{
    (void)state;
    static const char *const text[] = {
        "{\"type\":\"Unigram\",\"vocab\":[[\"?\",0],[\"a\",-1],[\"abc\",-1.5]],\"unk_id\":0}",
        "{\"type\":\"WordPiece\",\"continuing_subword_prefix\":\"##\",\"unk_token\":\"u\",\"max_input_chars_per_word\":9,"
        "\"vocab\":{\"a\":0,\"##b\":3}}",
    };
    for (int i = 0; i < 2; i++) {
        long n = 0;
        for (bool injected = true; injected; n++) {
            genet_err err = { 0 };
            json_t *j = genet__json_parse(text[i], strlen(text[i]), "test", &err);
            genet__alloc_fail_after(n);
            void *m = row_of(j)->load(j, "FILE", &err);
            injected = genet__alloc_fail_after(-1) > n;
            if (!m) assert_int_equal(err.code, GENET_ERR_MEMORY);
            else row_of(j)->free(m);
            json_decref(j);
        }
        assert_true(n > 5);
    }
}

/* --- the trie ----------------------------------------------------------------------------------------------------- */

enum { N_KEYS = 20000 };

static void test_trie(void **state)
{
    (void)state;
    static char bytes[N_KEYS][8];
    static trie_key key[N_KEYS], sorted[N_KEYS];
    genet_err err = { 0 };
    trie t = { 0 };
    for (int i = 0; i < N_KEYS; i++) {
        size_t n = (size_t)genet__rng_below(1, 0, 0, (uint64_t)i, 8);
        for (size_t k = 0; k < n; k++) bytes[i][k] = (char)genet__rng_below(2, (uint32_t)i, 0, k, i % 3 ? 6 : 256);
        sorted[i] = key[i] = (trie_key){ bytes[i], n, i };
    }
    assert_true(genet__trie_make(&t, sorted, N_KEYS, &err));
    for (int i = 0; i < N_KEYS; i++) {              /* of equal keys the last */
        int32_t value = genet__trie_find(&t, key[i].at, key[i].n);
        assert_true(value >= i && key[value].n == key[i].n && !memcmp(key[value].at, key[i].at, key[i].n));
    }
    for (int i = 0; i < N_KEYS; i++) {              /* and nothing that is no key */
        char s[8];
        for (size_t k = 0; k < 8; k++) s[k] = (char)genet__rng_below(3, (uint32_t)i, 0, k, 256);
        for (size_t n = 1; n < 9; n++) {
            int32_t value = genet__trie_find(&t, s, n);
            assert_true(value < 0 || (key[value].n == n && !memcmp(key[value].at, s, n)));
        }
    }
    genet__trie_release(&t);
    assert_true(genet__trie_make(&t, key, 0, &err));
    assert_int_equal(genet__trie_find(&t, "", 0), -1);
    assert_int_equal(genet__trie_find(&t, "a", 1), -1);
    genet__trie_release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden), cmocka_unit_test(test_refused), cmocka_unit_test(test_odd_bytes),
        cmocka_unit_test(test_memory), cmocka_unit_test(test_trie),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
