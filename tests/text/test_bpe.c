/* labels: core
 * test_bpe.c - byte-level BPE: ids as the tokenizers library gives them (tools/golden_bpe.py), any bytes back
 * as they were, merges by their definition, cuts that change nothing, many threads, long words, patterns, hostile
 * files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/alloc.h"
#include "base/file.h"
#include "format/npy.h"
#include "golden/golden.h"
#include "ids.h"
#include "text/pattern.h"
#include "text/tokenizer_train.h"

static char folder[] = "/tmp/genet-test-bpe-XXXXXX";

static void expect_back(const tokenizer *t, const token_list *ids, const char *text, size_t n)
{
    genet_err err = { 0 };
    str back = { 0 };
    assert_true(genet__tokenizer_decode(t, ids->at, ids->n, &back, &err));
    assert_int_equal(back.n, n);
    if (n) assert_memory_equal(back.at, text, n);
    genet__str_release(&back);
}

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

/* --- the library's ids ------------------------------------------------------------ */

static void expect_golden(const char *name, const char *text_name, bool round_trip)
{
    genet_err err = { 0 };
    char path[128], hash[2][HASH_HEX];
    size_t n;
    npy want;
    char *text = genet__file_read(golden_path(text_name), 1 << 20, &n, &err);
    if (!text) fail_msg("%s", err.text);
    snprintf(path, sizeof path, "%s/ids.npy", name);
    if (!genet__npy_open(&want, golden_path(path), &err)) fail_msg("%s", err.text);
    tokenizer *t[2] = { load(golden_path(name)), NULL };
    if (!genet__tokenizer_save(t[0], folder, &err)) fail_msg("%s", err.text);
    t[1] = load(folder);
    for (int k = 0; k < 2; k++) {
        token_list ids = encode(t[k], text, n);
        assert_int_equal(ids.n, want.numel);
        for (int i = 0; i < ids.n; i++)
            if (ids.at[i] != genet__npy_int(&want, i)) fail_msg("%s: id %d is %d", name, i, ids.at[i]);
        if (round_trip) expect_back(t[k], &ids, text, n);
        genet__tokenizer_hash(t[k], hash[k]);
        assert_string_equal(genet__tokenizer_kind(t[k]), "bpe");
        genet__token_list_release(&ids);
    }
    assert_string_equal(hash[0], hash[1]);
    genet__tokenizer_free(t[0]);
    genet__tokenizer_free(t[1]);
    genet__npy_close(&want);
    genet__free(text);
}

static void test_golden(void **state)
{
    (void)state;
    expect_golden("bpe", "bpe/text.txt", true);
    expect_golden("bpe-split", "bpe/text.txt", true);
    expect_golden("bpe-added", "bpe-added/text.txt", false);
}

/* GPT-2's own files, where GENET_DATA has them. */
static const struct { const char *text; int n, id[20]; } known[] = {
    { "Generating AI is fascinating", 5, { 8645, 803, 9552, 318, 13899 } },
    { "fascination", 3, { 69, 3372, 1883 } },
    { "Le chat noir dort sur le tapis.", 11, { 3123, 8537, 645, 343, 288, 419, 969, 443, 9814, 271, 13 } },
    { "The cat sat on the mat.", 7, { 464, 3797, 3332, 319, 262, 2603, 13 } },
    { "a<|endoftext|>", 2, { 64, 50256 } },
};

static void test_gpt2(void **state)
{
    (void)state;
    const char *data = getenv("GENET_DATA");
    char path[1024];
    snprintf(path, sizeof path, "%s/tokenizers/gpt2", data ? data : "/nowhere");
    if (!genet__file_exists_in(path, "encoder.json")) {
        print_message("SKIPPED: GENET_DATA has no tokenizers/gpt2\n");
        skip();
    }
    tokenizer *t = load(path);
    assert_int_equal(genet__tokenizer_size(t), 50257);
    assert_int_equal(genet__tokenizer_end(t), 50256);
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        token_list ids = encode(t, known[k].text, strlen(known[k].text));
        assert_int_equal(ids.n, known[k].n);
        for (int i = 0; i < ids.n; i++) assert_int_equal(ids.at[i], known[k].id[i]);
        expect_back(t, &ids, known[k].text, strlen(known[k].text));
        genet__token_list_release(&ids);
    }
    genet__tokenizer_free(t);
}

/* --- bytes ------------------------------------------------------------------------- */

static void test_any_bytes(void **state)
{
    (void)state;
    static const char *const piece[] = { "\xff", "\xc3", "\xe2\x80", "\xed\xa0\x80", "\xc0\x80", "\xf0\x9f\x98", "the",
                                         " ", "\n", "\xc3\xa9" };
    tokenizer *t = load(golden_path("bpe"));
    uint32_t seed = 7;
    for (int round = 0; round < 400; round++) {
        char text[600];
        size_t n = 0;
        while (n < 500) {
            const char *s = piece[next_random(&seed) % 10];
            if (next_random(&seed) % 2) text[n++] = (char)next_random(&seed);
            else for (; *s; s++) text[n++] = *s;
        }
        token_list ids = encode(t, text, n);
        expect_back(t, &ids, text, n);
        genet__token_list_release(&ids);
    }
    genet__tokenizer_free(t);
}

/* At every place that is offered for a cut, whatever of the text is known, the parts give the whole's ids. */
static void expect_cuts(const tokenizer *t, const char *text, size_t n, int least)
{
    token_list whole = encode(t, text, n);
    int cuts = 0;
    size_t last = 0;
    for (size_t m = 1; m <= n; m++) {
        size_t i = genet__tokenizer_cut(t, text, m);
        assert_true(i <= m);
        if (i == 0 || i == last) continue;
        last = i;
        cuts++;
        token_list a = encode(t, text, i), b = encode(t, text + i, n - i);
        if (a.n + b.n != whole.n) fail_msg("cut at %zu of %zu: %d and %d ids, not %d", i, m, a.n, b.n, whole.n);
        assert_memory_equal(a.at, whole.at, (size_t)a.n * sizeof *a.at);
        if (b.n) assert_memory_equal(b.at, whole.at + a.n, (size_t)b.n * sizeof *b.at);
        genet__token_list_release(&a);
        genet__token_list_release(&b);
    }
    if (cuts < least) fail_msg("only %d cuts", cuts);
    genet__token_list_release(&whole);
}

static void test_cut(void **state)
{
    (void)state;
    genet_err err = { 0 };
    size_t n;
    tokenizer *t = load(golden_path("bpe")), *added = load(golden_path("bpe-added")),
        *split = load(golden_path("bpe-split"));
    char *text = genet__file_read(golden_path("bpe/text.txt"), 1 << 20, &n, &err);
    for (size_t i = 0; i + 1500 < n; i += 1500) expect_cuts(t, text + i, 1500, 10);
    assert_int_equal(genet__tokenizer_cut(split, text, n), 0);
    genet__free(text);
    text = genet__file_read(golden_path("bpe-added/text.txt"), 1 << 20, &n, &err);
    for (size_t i = 0; i + 1500 < n; i += 1500) {
        while (((unsigned char)text[i] & 0xc0) == 0x80) i++;
        expect_cuts(added, text + i, 1500, 5);
    }
    genet__free(text);
    assert_int_equal(genet__tokenizer_cut(t, "one two", 7), 3);
    assert_int_equal(genet__tokenizer_cut(t, "one", 3), 0);
    assert_int_equal(genet__tokenizer_cut(added, "one two", 7), 3);
    assert_int_equal(genet__tokenizer_cut(added, "one two words", 13), 3);      /* "two words" is one token */
    genet__tokenizer_free(t);
    genet__tokenizer_free(added);
    genet__tokenizer_free(split);
}

/* --- added tokens ------------------------------------------------------------------- */

static void test_added(void **state)
{
    (void)state;
    tokenizer *t = load(golden_path("bpe-added")), *plain = load(golden_path("bpe"));
    assert_int_equal(genet__tokenizer_end(plain), 0);
    assert_int_equal(genet__tokenizer_unknown(plain), -1);
    assert_true(genet__tokenizer_is_special(plain, 0));
    assert_false(genet__tokenizer_is_special(plain, 1));
    int32_t mask = genet__tokenizer_find(t, "<mask>", 6), word = genet__tokenizer_find(t, "word", 4);
    assert_true(mask > 0 && word > 0 && genet__tokenizer_is_special(t, mask) && !genet__tokenizer_is_special(t, word));
    token_list ids = encode(t, "   <mask>", 9);
    assert_int_equal(ids.n, 1);
    assert_int_equal(ids.at[0], mask);
    genet__token_list_release(&ids);
    ids = encode(t, "words", 5);
    assert_true(ids.n > 1);
    for (int i = 0; i < ids.n; i++) assert_int_not_equal(ids.at[i], word);
    genet__token_list_release(&ids);
    genet__tokenizer_free(t);
    genet__tokenizer_free(plain);
}

/* --- merges from a trainer ----------------------------------------------------------- */

static void test_from_merges(void **state)
{
    (void)state;
    genet_err err = { 0 };
    const char *special[] = { "<|endoftext|>" };
    int32_t a = 1 + 'a' - '!', b = a + 1, c = a + 2;
    bpe_merge merge[] = { { b, c }, { a, 257 }, { a, b }, { 259, c } };         /* bc, abc, ab; abc again */
    tokenizer *t = genet__tokenizer_from_merges(special, 1, merge, 4, &err);
    if (!t) fail_msg("%s", err.text);
    assert_int_equal(genet__tokenizer_size(t), 260);
    assert_int_equal(genet__tokenizer_find(t, "abc", 3), 258);
    token_list ids = encode(t, "abcab<|endoftext|>", 18);
    assert_int_equal(ids.n, 3);
    assert_int_equal(ids.at[0], 258);
    assert_int_equal(ids.at[1], 259);
    assert_int_equal(ids.at[2], 0);
    genet__token_list_release(&ids);
    genet__tokenizer_free(t);
    merge[0].left = 257;
    assert_null(genet__tokenizer_from_merges(special, 1, merge, 4, &err));
    assert_non_null(strstr(err.text, "merge 0"));
}

/* The definition: of all neighbours that a merge joins, the lowest rank, of these the leftmost, until there are none.
 * Of two merges of one pair the later counts. */
static int merge_naively(const bpe_merge *merge, const int32_t *joined, int n_merge, int32_t *id, int n)
{
    for (;;) {
        int best = -1, rank = n_merge;
        for (int i = 0; i + 1 < n; i++) {
            int k = n_merge - 1;
            while (k >= 0 && (merge[k].left != id[i] || merge[k].right != id[i + 1])) k--;
            if (k >= 0 && k < rank) rank = k, best = i;
        }
        if (best < 0) return n;
        id[best] = joined[rank];
        memmove(id + best + 1, id + best + 2, (size_t)(--n - best - 1) * sizeof *id);
    }
}

static void expect_naive(const tokenizer *t, const bpe_merge *merge, const int32_t *joined, int n_merge, const char *text,
                         int n)
{
    int32_t want[400];
    for (int i = 0; i < n; i++) want[i] = text[i] - '!';
    int left = merge_naively(merge, joined, n_merge, want, n);
    token_list ids = encode(t, text, (size_t)n);
    if (ids.n != left || memcmp(ids.at, want, (size_t)left * sizeof *want))
        fail_msg("\"%.*s\": %d ids, %d by the definition, or others", n, text, ids.n, left);
    genet__token_list_release(&ids);
}

enum { MERGES = 24, LETTERS = 3 };

/* Random merges of a, b, c and of what they make; pieces that are made twice have one id. */
static void random_merges(uint32_t *seed, bpe_merge *merge, int32_t *joined)
{
    char piece[MERGES + LETTERS][32] = { "a", "b", "c" };
    int n = LETTERS;
    for (int i = 0; i < MERGES; i++) {
        int a, b, made = 0;
        do a = (int)(next_random(seed) % (uint32_t)n), b = (int)(next_random(seed) % (uint32_t)n);
        while (strlen(piece[a]) + strlen(piece[b]) > 12);
        memcpy(piece[n], piece[a], sizeof piece[n]);
        memcpy(piece[n] + strlen(piece[a]), piece[b], strlen(piece[b]) + 1);
        while (strcmp(piece[made], piece[n])) made++;
        int32_t id[] = { a, b, made };
        for (int k = 0; k < 3; k++) id[k] += id[k] < LETTERS ? 'a' - '!' : 256 - LETTERS;
        merge[i] = (bpe_merge){ id[0], id[1] };
        joined[i] = id[2];
        n += made == n;
    }
}

/* Words of one pre-token, of 1 to 400 letters: below and above the length where the way of merging changes. */
static void test_merges_by_definition(void **state)
{
    (void)state;
    uint32_t seed = 11;
    for (int round = 0; round < 60; round++) {
        genet_err err = { 0 };
        int32_t joined[MERGES];
        bpe_merge merge[MERGES];
        char text[400];
        random_merges(&seed, merge, joined);
        tokenizer *t = genet__tokenizer_from_merges(NULL, 0, merge, MERGES, &err);
        if (!t) fail_msg("%s", err.text);
        for (int k = 0; k < 80; k++) {
            int n = k < 70 ? k + 1 : 71 + (int)next_random(&seed) % 330;
            for (int i = 0; i < n; i++) text[i] = (char)('a' + (int)next_random(&seed) % (round % LETTERS + 1));
            expect_naive(t, merge, joined, MERGES, text, n);
        }
        genet__tokenizer_free(t);
    }
}

static void test_equal_ranks(void **state)
{
    (void)state;
    genet_err err = { 0 };
    const int32_t a = 'a' - '!';
    tokenizer *t = genet__tokenizer_from_merges(NULL, 0, &(bpe_merge){ a, a }, 1, &err);
    if (!t) fail_msg("%s", err.text);
    IDS(t, "aaa", 256, a);
    IDS(t, "aaaaa", 256, 256, a);
    IDS(t, "baaab", a + 1, 256, a, a + 1);
    char text[400];
    memset(text, 'a', sizeof text);
    for (int n = 63; n < 400; n += 2) {
        token_list ids = encode(t, text, (size_t)n);
        assert_int_equal(ids.n, n / 2 + 1);
        for (int i = 0; i < n / 2; i++) assert_int_equal(ids.at[i], 256);
        assert_int_equal(ids.at[n / 2], a);
        genet__token_list_release(&ids);
    }
    genet__tokenizer_free(t);
}

/* --- threads and time ---------------------------------------------------------------- */

typedef struct job { const tokenizer *t; const char *text; size_t n; const token_list *want; bool same; } job;

static void *encode_often(void *user)
{
    job *j = user;
    j->same = true;
    for (int i = 0; i < 20; i++) {
        genet_err err = { 0 };
        token_list ids = { 0 };
        bool ok = genet__tokenizer_encode(j->t, j->text, j->n, &ids, &err);
        j->same &= ok && ids.n == j->want->n && !memcmp(ids.at, j->want->at, (size_t)ids.n * sizeof *ids.at);
        genet__token_list_release(&ids);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    enum { N = 8 };
    genet_err err = { 0 };
    size_t n;
    tokenizer *t = load(golden_path("bpe-added"));
    char *text = genet__file_read(golden_path("bpe-added/text.txt"), 1 << 20, &n, &err);
    token_list want = encode(t, text, n);
    pthread_t thread[N];
    job jobs[N];
    for (int i = 0; i < N; i++) {
        jobs[i] = (job){ t, text, n, &want, false };
        assert_int_equal(pthread_create(&thread[i], NULL, encode_often, &jobs[i]), 0);
    }
    for (int i = 0; i < N; i++) {
        pthread_join(thread[i], NULL);
        assert_true(jobs[i].same);
    }
    genet__token_list_release(&want);
    genet__free(text);
    genet__tokenizer_free(t);
}

/* 1 MB of one character: looking for the best merge again and again would take minutes. */
static void test_long_words(void **state)
{
    (void)state;
    genet_err err = { 0 };
    int32_t a = 'a' - '!';
    bpe_merge merge[8] = { { a, a } };
    for (int i = 1; i < 8; i++) merge[i] = (bpe_merge){ 255 + i, 255 + i };
    tokenizer *t = genet__tokenizer_from_merges(NULL, 0, merge, 8, &err);
    if (!t) fail_msg("%s", err.text);
    const size_t n = 1 << 20;
    static const char fill[] = { 'a', ' ', '\n', '!' };
    char *text = malloc(n);
    clock_t start = clock();
    for (int k = 0; k < 4; k++) {
        memset(text, fill[k], n);
        token_list ids = encode(t, text, n);
        assert_int_equal(ids.n, k ? n : n / 256);
        genet__token_list_release(&ids);
    }
    assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 20);
    /* short and long words are merged by different code: to the same */
    for (size_t m = 50; m < 90; m++) {
        memset(text, 'a', m);
        token_list ids = encode(t, text, m);
        size_t want = m / 256 + (size_t)__builtin_popcountll(m % 256);
        assert_int_equal(ids.n, want);
        genet__token_list_release(&ids);
    }
    free(text);
    genet__tokenizer_free(t);
}

/* --- patterns ------------------------------------------------------------------------- */

typedef struct pieces { char text[256]; } pieces;

static bool note(void *user, const char *text, size_t n, bool match)
{
    pieces *p = user;
    (void)match;
    size_t at = strlen(p->text);
    if (at + n + 2 < sizeof p->text) snprintf(p->text + at, sizeof p->text - at, "%.*s|", (int)n, text);
    return true;
}

static void expect_pieces(const char *regex, const char *text, const char *want)
{
    genet_err err = { 0 };
    pieces got = { "" };
    pattern *p = regex ? genet__pattern_new(regex, &err) : genet__pattern_gpt2(&err);
    if (!p) fail_msg("%s", err.text);
    void *scratch = NULL;
    assert_true(genet__pattern_split(p, text, strlen(text), note, &got, &scratch, NULL));
    genet__pattern_scratch_release(scratch);
    assert_string_equal(got.text, want);
    genet__pattern_free(p);
}

static void test_patterns(void **state)
{
    (void)state;
    expect_pieces(NULL, "It's  don't 12a!?  \n x", "It|'s| | don|'t| 12|a|!?|  \n| x|");
    /* U+31350 is a letter, U+180E no space */
    expect_pieces(NULL, "a\xf0\xb1\x8d\x90" "b\xe1\xa0\x8e", "a\xf0\xb1\x8d\x90" "b|\xe1\xa0\x8e|");
    expect_pieces(NULL, "ab\xff\xfe" "c d", "ab|\xff\xfe|c| d|");
    expect_pieces("\\p{N}", "a12b", "a|1|2|b|");
    expect_pieces("[^\\s\\p{L}]+", "ab12 c", "ab|12| c|");
    expect_pieces("[\\s-]+", "a - b", "a| - |b|");
    expect_pieces("[\\s-x]+", "a -\tx.b", "a| -\tx|.b|");      /* behind a class a dash is itself, */
    expect_pieces("[\\p{N}-+]+", "a1-+,b", "a|1-+|,b|");
    expect_pieces("[\\}-~]+", "a}~-b", "a|}~|-b|");             /* behind a character it makes a range */
    expect_pieces("[\\*-/]+", "a*+,-./0", "a|*+,-./|0|");
    expect_pieces("\\w+", "ab_1\xc2\xb2-c", "ab_1\xc2\xb2|-|c|");     /* a superscript is a word character, */
    expect_pieces("[\\w]+", "ab_1\xc2\xb2-c", "ab_1|\xc2\xb2-|c|");    /* but not in a class */
    expect_pieces("\\d", "a1\xd9\xa1", "a|1|\xd9\xa1|");
    expect_pieces("\\p{Lu}+|\\P{Lu}", "aBCd", "a|BC|d|");
    expect_pieces("\\s+$", "a \nb  ", "a| |\nb|  |");               /* the ends of all lines */
    expect_pieces("^a", "aa\na", "a|a\n|a|");
    static const char *const refused[] = { "\\h", "\\bx", "[[:alpha:]]", "[a&&b]", "(*UTF)a",
                                           "(?R)", "(?<x>a)", "a{2}+", "a{,2}", "[\\P{L}]", "\\p{Lx}", "\\1", "a*",
                                           "(a", "\\", "\\x{41}", "[]a]", ".\\K" };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        genet_err err = { 0 };
        pattern *p = genet__pattern_new(refused[i], &err);
        if (p) fail_msg("\"%s\" is taken", refused[i]);
        assert_true(err.text[0]);
    }
}

/* --- hostile files ---------------------------------------------------------------------- */

#define LEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}"
#define FILE_OF(rest, model) "{\"decoder\":{\"type\":\"ByteLevel\"}," rest "\"model\":{\"type\":\"BPE\"," model "}}"
#define PRE "\"pre_tokenizer\":" LEVEL ","
#define VOCAB "\"vocab\":{\"a\":0,\"b\":1,\"ab\":2}"
#define NONE "\"merges\":[]"
#define GOOD VOCAB ",\"merges\":[\"a b\"]"

static const struct { const char *json, *words; } broken[] = {
    { "{\"model\":{\"type\":\"BPE\"}}", "model.vocab is missing or empty" },
    { FILE_OF("\"pre_tokenizer\":{\"type\":\"Whitspace\"},", GOOD), "pre_tokenizer.type \"Whitspace\" is not known" },
    { FILE_OF("\"pre_tokenizer\":{\"type\":\"ByteLevel\"},", GOOD), "pre_tokenizer.add_prefix_space is missing" },
    { FILE_OF("\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":1},", GOOD),
      "pre_tokenizer.add_prefix_space must be true or false" },
    { FILE_OF("\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"pattern\":1},", GOOD),
      "pre_tokenizer.pattern is not known" },
    { FILE_OF("\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[" LEVEL ",{\"type\":\"Digits\"}]},", GOOD),
      "pre_tokenizer.pretokenizers[1].individual_digits is missing" },
    { FILE_OF("\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":3},", GOOD), "pretokenizers must be an array" },
    { FILE_OF(PRE "\"normalizer\":{\"type\":\"NFX\"},", GOOD), "normalizer.type \"NFX\" is not known" },
    { FILE_OF(PRE "\"normalizer\":{},", GOOD), "normalizer: the type is missing" },
    { FILE_OF(PRE "\"normaliser\":{},", GOOD), "normaliser is not known" },
    { FILE_OF(PRE "\"version\":\"2.0\",", GOOD), "version \"2.0\" is not known" },
    { FILE_OF(PRE "\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"\\\\h\"},\"content\":\"\"},", GOOD),
      "normalizer.pattern: \"\\h\" in a regular expression" },
    { FILE_OF(PRE "\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAA\"},", GOOD),
      "normalizer.precompiled_charsmap: is no table" },
    { FILE_OF(PRE "\"post_processor\":{\"type\":\"BertProcessing\"},", GOOD), "post_processor.sep is missing" },
    { FILE_OF(PRE "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\","
              "\"type_id\":0}}],\"pair\":[],\"special_tokens\":{}},", GOOD), "special_tokens lacks \"<s>\"" },
    { FILE_OF(PRE "\"truncation\":{\"max_length\":5,\"strategy\":\"All\",\"stride\":0},", GOOD), "truncation.strategy" },
    { FILE_OF(PRE "\"padding\":{\"strategy\":\"BatchLongest\"},", GOOD), "padding.direction" },
    { FILE_OF(PRE, "\"dropout\":0.1," GOOD), "model.dropout must be null or 0" },
    { FILE_OF(PRE, "\"byte_fallback\":1," GOOD), "model.byte_fallback must be true or false" },
    { FILE_OF(PRE, "\"unk_token\":3," GOOD), "model.unk_token must be a string" },
    { FILE_OF(PRE, "\"alpha\":0," GOOD), "model.alpha is not known" },
    { FILE_OF(PRE, NONE), "model.vocab is missing or empty" },
    { FILE_OF(PRE, "\"vocab\":[]," NONE), "model.vocab is missing or empty" },
    { FILE_OF(PRE, VOCAB), "model.merges must be an array" },
    { FILE_OF(PRE, "\"vocab\":{\"a\":\"0\"}," NONE), "the id of \"a\" is not an integer" },
    { FILE_OF(PRE, "\"vocab\":{\"a\":0,\"b\":0}," NONE), "\"a\" and \"b\" both have id 0" },
    { FILE_OF(PRE, "\"vocab\":{\"a\":-1}," NONE), "the id -1 of" },
    { FILE_OF(PRE, "\"vocab\":{\"a\":99999999999}," NONE), "the id 99999999999 of" },
    { FILE_OF(PRE, VOCAB ",\"merges\":[\"a c\"]"), "model.merges[0]: model.vocab has no piece \"c\"" },
    { FILE_OF(PRE, VOCAB ",\"merges\":[\"a b\",\"b a\"]"), "model.merges[1]: model.vocab lacks what it makes" },
    { FILE_OF(PRE, VOCAB ",\"merges\":[\"ab ab\"]"), "lacks what it makes" },
    { FILE_OF(PRE, VOCAB ",\"merges\":[\"ab\"]"), "must be two pieces, not \"ab\"" },
    { FILE_OF(PRE, VOCAB ",\"merges\":[\"a b ab\"]"), "must be two pieces" },
    { FILE_OF(PRE, VOCAB ",\"merges\":[[\"a\"]]"), "must be two pieces" },
    { FILE_OF(PRE, VOCAB ",\"merges\":[[\"a\",1]]"), "must be two pieces" },
    { FILE_OF(PRE, VOCAB ",\"merges\":[\" a\"]"), "has no piece \"\"" },
    { FILE_OF(PRE, VOCAB ",\"merges\":[7]"), "must be two pieces" },
    { FILE_OF(PRE "\"added_tokens\":[{\"id\":9,\"content\":\"x\"}],", GOOD), "\"x\" has id 9, where the 3 pieces of" },
    { FILE_OF(PRE "\"added_tokens\":[{\"id\":1,\"content\":\"a\"}],", GOOD), "\"a\" has id 1, where" },
    { FILE_OF(PRE "\"added_tokens\":[{\"id\":1,\"content\":\"x\"}],", GOOD), "make it 3" },
    { FILE_OF(PRE "\"added_tokens\":[{\"id\":3,\"content\":\"x\",\"lang\":1}],", GOOD), "added_tokens[0].lang is not known" },
    { FILE_OF(PRE "\"added_tokens\":[{\"id\":3,\"content\":\"x\"},{\"id\":4,\"content\":\"x\"}],", GOOD),
      "stands there twice" },
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
        if (!strstr(err.text, broken[i].words) || !strstr(err.text, "tokenizer.json: "))
            fail_msg("%s: \"%s\" lacks \"%s\"", broken[i].json, err.text, broken[i].words);
    }
    tokenizer *t = parse(FILE_OF(PRE, GOOD), &err);
    if (!t) fail_msg("%s", err.text);
    token_list ids = { 0 };
    assert_true(genet__tokenizer_encode(t, "abba", 4, &ids, &err) && ids.n == 3 && ids.at[0] == 2);
    assert_false(genet__tokenizer_encode(t, "ab c", 4, &ids, &err));        /* no token for a space */
    assert_non_null(strstr(err.text, "byte 2 of the text: the tokenizer has no token for the byte 0x20"));
    assert_int_equal(ids.n, 3);
    genet__token_list_release(&ids);
    genet__tokenizer_free(t);
}

static void fail_each_allocation(const char *name)
{
    genet_err err = { 0 };
    for (long n = 0;; n++) {
        assert_true(n < 5000);
        token_list ids = { 0 };
        char text[200];
        memset(text, 'a', sizeof text);
        genet__alloc_fail_after(n);
        tokenizer *t = genet__tokenizer_load(golden_path(name), &err);
        bool ok = t && genet__tokenizer_encode(t, text, sizeof text, &ids, &err) && genet__tokenizer_save(t, folder, &err);
        genet__alloc_fail_after(-1);
        if (!ok) assert_int_equal(err.code, GENET_ERR_MEMORY);
        genet__token_list_release(&ids);
        genet__tokenizer_free(t);
        if (ok) break;
    }
}

static void test_failing_memory(void **state)
{
    (void)state;
    fail_each_allocation("bpe");
    fail_each_allocation("bpe-split");
    fail_each_allocation("bpe-added");
    genet_err err = { 0 };
    const char *special[] = { "<|endoftext|>" };
    const bpe_merge merge[] = { { 1, 2 } };
    tokenizer *t = NULL;
    for (long n = 0; !t; n++) {
        assert_true(n < 500);
        genet__alloc_fail_after(n);
        t = genet__tokenizer_from_merges(special, 1, merge, 1, &err);
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
        cmocka_unit_test(test_golden),     cmocka_unit_test(test_gpt2),    cmocka_unit_test(test_any_bytes),
        cmocka_unit_test(test_cut),        cmocka_unit_test(test_added),   cmocka_unit_test(test_from_merges),
        cmocka_unit_test(test_threads),    cmocka_unit_test(test_long_words), cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_broken),     cmocka_unit_test(test_failing_memory),
        cmocka_unit_test(test_merges_by_definition), cmocka_unit_test(test_equal_ranks),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
