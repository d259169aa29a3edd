/* labels: core
 * test_added.c - added tokens that strip white space, that are letters of the byte alphabet, that are added_tokens.json's;
 * folders of vocab.json and merges.txt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/alloc.h"
#include "base/file.h"
#include "ids.h"

static char folder[] = "/tmp/genet-test-added-XXXXXX";

/* --- added tokens ------------------------------------------------------------------- */

/* What the tokenizers library answers (0.23.3); id 0 is the letter a, 1 b, then come the added tokens in order. */
static tokenizer *with_added(const char *tokens)
{
    genet_err err = { 0 };
    char json[2000];
    snprintf(json, sizeof json, "{\"decoder\":{\"type\":\"ByteLevel\"},\"pre_tokenizer\":{\"type\":\"ByteLevel\","
             "\"add_prefix_space\":false},\"added_tokens\":[%s],\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,"
             "\"\u0120\":2,\"\u0109\":3,\"\u00e9\":4},\"merges\":[]}}", tokens);
    json_t *j = genet__json_parse(json, strlen(json), "tokenizer.json", &err);
    tokenizer *t = j ? genet__tokenizer_from_json(j, "tokenizer.json", &err) : NULL;
    json_decref(j);
    if (!t) fail_msg("%s: %s", json, err.text);
    return t;
}

/* The white space that the token before has taken: a token that strips to the left finds nothing left of itself. */
static void test_swallowed(void **state)
{
    (void)state;
    for (int normalized = 0; normalized < 2; normalized++) {
        char tokens[600];
        const char *also = normalized ? "" : ",\"normalized\":false";
        snprintf(tokens, sizeof tokens, "{\"id\":5,\"content\":\"<a>\",\"rstrip\":true%s},{\"id\":6,\"content\":\"  \","
                 "\"lstrip\":true%s},{\"id\":7,\"content\":\"\\t\",\"lstrip\":true,\"rstrip\":true%s},{\"id\":8,"
                 "\"content\":\"\\n\",\"rstrip\":true%s}", also, also, also, also);
        tokenizer *t = with_added(tokens);
        IDS(t, "<a>  b", 5, 1);
        IDS(t, "a \t \t b", 0, 7, 1);
        IDS(t, "<a> \t b", 5, 1);
        IDS(t, "<a> \n b", 5, 8, 1);
        IDS(t, "<a>\n\n\nb", 5, 8, 8, 8, 1);
        IDS(t, "<a>  <a>  b", 5, 5, 1);
        IDS(t, "<a>   b", 5, 1);        /* the library panics */
        genet__tokenizer_free(t);
    }
}

/* Content that is a letter of the byte alphabet, for another byte: found in the text by itself, decoded to the byte. */
static void test_letter_as_content(void **state)
{
    (void)state;
    genet_err err = { 0 };
    tokenizer *t = with_added("{\"id\":4,\"content\":\"\u00e9\"},{\"id\":2,\"content\":\"\u0120\"}");
    for (int k = 0; k < 2; k++) {
        IDS(t, "a\xc3\xa9" "b", 0, 4, 1);
        IDS(t, "a\xe9" "b", 0, 4, 1);
        IDS(t, "\xc4\xa0 a", 2, 2, 0);
        str back = { 0 };
        assert_true(genet__tokenizer_decode(t, (int32_t[]){ 4, 2 }, 2, &back, &err));
        assert_string_equal(back.at, "\xe9 ");
        genet__str_release(&back);
        if (!genet__tokenizer_save(t, folder, &err)) fail_msg("%s", err.text);
        genet__tokenizer_free(t);
        t = load(folder);
    }
    genet__tokenizer_free(t);
}

/* White space that is a token itself, however it strips: each byte is looked at a few times, not once for each
 * match. */
static void test_long_space(void **state)
{
    (void)state;
    const size_t n = 1 << 18;
    char *text = malloc(n), tokens[300];
    memset(text, '\t', n);
    clock_t start = clock();
    for (int flags = 0; flags < 16; flags++) {
        bool left = flags & 1, right = flags & 2, single = flags & 4;
        snprintf(tokens, sizeof tokens, "{\"id\":5,\"content\":\"\\t\\t\\t\",\"lstrip\":%s,\"rstrip\":%s,"
                 "\"single_word\":%s,\"normalized\":%s}", left ? "true" : "false", right ? "true" : "false",
                 single ? "true" : "false", flags & 8 ? "true" : "false");
        tokenizer *t = with_added(tokens);
        assert_int_equal(genet__tokenizer_cut(t, text, n), 0);
        token_list ids = encode(t, text, n);
        assert_int_equal(ids.n, left && right ? 1 : right ? n / 3 : n / 3 + n % 3);
        assert_int_equal(ids.at[0], 5);
        genet__token_list_release(&ids);
        genet__tokenizer_free(t);
    }
    assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 20);
    free(text);
}

/* --- folders of two files ------------------------------------------------------------------ */

static const char *in_folder(const char *name)
{
    static char path[2][200];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/pair/%s", folder, name);
    return path[turn];
}

/* A folder of vocab.json, merges.txt and, unless NULL, added_tokens.json. */
static tokenizer *load_pair(const char *merges, const char *added, genet_err *err)
{
    static const char vocabulary[] = "{\"a\":0,\"b\":1,\"ab\":2,\"<|endoftext|>\":3}";
    assert_true(genet__file_make_dirs(in_folder(""), err));
    assert_true(genet__file_write_all(in_folder("vocab.json"), vocabulary, strlen(vocabulary), err));
    assert_true(genet__file_write_all(in_folder("merges.txt"), merges, strlen(merges), err));
    remove(in_folder("added_tokens.json"));
    if (added) assert_true(genet__file_write_all(in_folder("added_tokens.json"), added, strlen(added), err));
    err->text[0] = 0;
    return genet__tokenizer_load(in_folder(""), err);
}

static void test_pairs(void **state)
{
    (void)state;
    static const char version[] = "#version: 0.2\r\na b\r\n";
    static const struct { const char *merges, *added, *words; } bad[] = {
        { "a b\n\xff b\n", NULL, "merges.txt: byte 4: is not UTF-8 text" },
        { version, "[]", "added_tokens.json: must be an object" },
        { version, "{\"<x>\":\"4\"}", "added_tokens.json: the id of \"<x>\" is not an integer" },
        { version, "{\"<x>\":9}", "\"<x>\" has id 9, where the 4 pieces" },
        { version, "{\"<x>\":3}", "both have id 3" },
        { version, "{\"<x>\":", "added_tokens.json" },
    };
    genet_err err = { 0 };
    tokenizer *t = load_pair(version, NULL, &err);
    if (!t) fail_msg("%s", err.text);
    IDS(t, "abb<|endoftext|>", 2, 1, 3);
    genet__tokenizer_free(t);
    t = load_pair(version, "{\"<pad>\":5,\"<x>\":4,\"<|endoftext|>\":3}", &err);
    if (!t) fail_msg("%s", err.text);
    IDS(t, "a<x>b<pad>ab<|endoftext|>", 0, 4, 1, 5, 2, 3);
    assert_true(genet__tokenizer_is_special(t, 4) && genet__tokenizer_size(t) == 6);
    genet__tokenizer_free(t);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_null(load_pair(bad[i].merges, bad[i].added, &err));
        if (!strstr(err.text, bad[i].words)) fail_msg("\"%s\" lacks \"%s\"", err.text, bad[i].words);
    }
}

static long json_left = -1;         /* allocations that the JSON library still gets; negative: all */

static void *json_alloc(size_t n)
{
    if (json_left == 0) return NULL;
    json_left -= json_left > 0;
    return malloc(n);
}

/* Without memory for JSON nothing is said of the text of the files. */
static void test_pairs_without_memory(void **state)
{
    (void)state;
    genet_err err = { 0 };
    genet__tokenizer_free(load_pair("a b\n", "{\"<x>\":4}", &err));
    json_set_alloc_funcs(json_alloc, free);
    tokenizer *t = NULL;
    long n = 0;
    for (; !t; n++) {
        assert_true(n < 500);
        err = (genet_err){ 0 };
        json_left = n;
        t = genet__tokenizer_load(in_folder(""), &err);
        json_left = -1;
        if (!t && (!err.text[0] || strstr(err.text, "UTF-8"))) fail_msg("allocation %ld: \"%s\"", n, err.text);
    }
    json_set_alloc_funcs(malloc, free);
    assert_true(n > 20);
    genet__tokenizer_free(t);
    for (n = 0, t = NULL; !t; n++) {
        assert_true(n < 500);
        genet__alloc_fail_after(n);
        t = genet__tokenizer_load(in_folder(""), &err);
        genet__alloc_fail_after(-1);
        if (!t) assert_int_equal(err.code, GENET_ERR_MEMORY);
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
        cmocka_unit_test(test_swallowed), cmocka_unit_test(test_letter_as_content), cmocka_unit_test(test_long_space),
        cmocka_unit_test(test_pairs),     cmocka_unit_test(test_pairs_without_memory),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
