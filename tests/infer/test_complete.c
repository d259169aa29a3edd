/* labels: core
 * test_complete.c - completions and their probabilities equal an enumeration of
 * all token sequences; a text that grows by keystrokes answers as a fresh one; threads
 * change nothing; characters stay whole; failed allocations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "infer/generate.h"

enum { WINDOW = 32, K = 5, MOST_WORDS = 4000 };

static genet_err err;
#define OK(call) do { if (!(call)) fail_msg("%s: %s", #call, err.text); } while (0)

/* A model of a tokenizer's size with random weights, whose answers are not flat. */
typedef struct world {
    genet_device    *device;
    genet_workspace *space;
    tokenizer       *t;
    model           *m;
    decoder         *d;
    arena            arena;
} world;

static void set_int(void *config, const char *name, int64_t value)
{
    *(int64_t *)((char *)config + genet__fields_find(genet__family_gpt2.config, name)->offset) = value;
}

static void scale(world *w, const char *name, float by)
{
    float v[64];
    param *p = genet__params_find(w->m->params, name);
    assert_true(p && p->size_bytes <= sizeof v);
    OK(genet__params_read(w->m->params, p, v, p->size_bytes, &err));
    for (size_t i = 0; i < p->size_bytes / sizeof *v; i++) v[i] *= by;
    OK(genet__params_write(w->m->params, p, v, p->size_bytes, &err));
}

/* padding: tokens of the model that the tokenizer lacks. */
static void open_padded(world *w, tokenizer *t, int threads, uint64_t seed, int padding)
{
    *w = (world){ .t = t };
    if (!t) fail_msg("%s", err.text);
    OK(w->device = genet_device_cpu(threads, &err));
    w->space = genet_workspace_new(w->device);
    void *config = genet__family_config(&genet__family_gpt2, &w->arena, &err);
    set_int(config, "vocab_size", genet__tokenizer_size(t) + padding);
    set_int(config, "n_positions", WINDOW);
    set_int(config, "n_embd", 24);
    set_int(config, "n_layer", 2);
    set_int(config, "n_head", 3);
    set_int(config, "eos_token_id", -1);
    OK(w->m = genet__model_new(&genet__family_gpt2, config, w->device, seed, &err));
    OK(genet__model_declare(w->m, &err) && genet__params_place(w->m->params, &err) &&
       genet__params_fill(w->m->params, &err));
    scale(w, "transformer.ln_f.weight", 8);
    OK(w->d = genet__decoder_new(w->m, w->space, COMPLETE_ROWS, &err));
}

static void open_world(world *w, tokenizer *t, int threads, uint64_t seed) { open_padded(w, t, threads, seed, 0); }

static void close_world(world *w)
{
    genet__decoder_free(w->d);
    genet__model_free(w->m);
    genet__tokenizer_free(w->t);
    genet_workspace_free(w->space);
    genet_device_free(w->device);
    genet__arena_release(&w->arena);
}

static tokenizer *chars(const char *text)
{
    static char_set set;
    memset(&set, 0, sizeof set);
    for (size_t at = 0, n = strlen(text); at < n;) {
        uint32_t c;
        at += (size_t)genet__utf8_decode(text + at, n - at, &c);
        char_set_add(&set, c);
    }
    return genet__tokenizer_from_chars(&set, &err);
}

/* Byte-level BPE over a few letters, and the two bytes of an accented one; "\304\240" is the space of GPT-2's
 * alphabet, "\304\212" its newline. */
static tokenizer *bpe(bool accented)
{
    char text[2000];
    snprintf(text, sizeof text, "%s%s%s",
        "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[],\"normalizer\":null,"
        "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true},"
        "\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,"
        "\"use_regex\":true},\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,"
        "\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":false,\"byte_fallback\":false,"
        "\"vocab\":{\".\":0,\"a\":1,\"b\":2,\"c\":3,\"\304\240\":4,\"\304\212\":5,\"ab\":6,\"\304\240a\":7",
        accented ? ",\"\304\240ab\":8,\"ca\":9,\"\303\203\":10,\"\302\251\":11" : "",
        accented ? "},\"merges\":[\"a b\",\"\304\240 a\",\"\304\240a b\",\"c a\"]}}"
        : "},\"merges\":[\"a b\",\"\304\240 a\"]}}");
    json_t *j = genet__json_parse(text, strlen(text), "tokenizer.json", &err);
    tokenizer *t = j ? genet__tokenizer_from_json(j, "tokenizer.json", &err) : NULL;
    json_decref(j);
    return t;
}

static bool complete(world *w, const char *text, genet_completion *out, int *n)
{
    return genet__complete(w->d, w->t, w->m, text, out, n, &err);
}

/* --- by enumeration -------------------------------------------------------------------- */

typedef struct enumeration {
    world      *w;
    int32_t     ids[WINDOW];
    int         n, n_typed, n_word;
    const char *typed;
    double      spelled;
    genet_completion *word;         /* (MOST_WORDS) */
} enumeration;

/* ASCII, and any other byte as a letter: 0 space, 1 letter, 2 mark. */
static int sort_of(char c)
{
    return c == ' ' || c == '\n' ? 0 : c == '.' ? 2 : 1;
}

/* Where the first run after white space ends, or -1. */
static int run_end(const char *s)
{
    int i = 0;
    while (s[i] && !sort_of(s[i])) i++;
    for (int kind = sort_of(s[i]); s[i]; i++)
        if (sort_of(s[i]) != kind) return i;
    return -1;
}

static void note(enumeration *e, const char *text, int n, double p)
{
    for (int i = 0; i < e->n_word; i++)
        if ((int)strlen(e->word[i].text) == n && !memcmp(e->word[i].text, text, (size_t)n)) {
            e->word[i].probability += p;
            return;
        }
    assert_true(e->n_word < MOST_WORDS);
    genet_completion *c = &e->word[e->n_word++];
    snprintf(c->text, sizeof c->text, "%.*s", n, text);
    c->probability = p;
}

/* All tokens that may follow ids; text: bytes after the context.  What is hardly likely is left out. */
static void explore(enumeration *e, const char *text, double p)
{
    float logits[64];
    int V = genet__tokenizer_size(e->w->t), n = (int)strlen(text);
    OK(genet__decoder_begin(e->w->d, e->ids, e->n, &err));
    memcpy(logits, genet__decoder_logits(e->w->d), (size_t)V * sizeof *logits);
    double sum = genet__log_sum_exp(logits, V);
    for (int32_t id = 0; id < V; id++) {
        char next[300];
        size_t n_piece;
        const char *piece = genet__tokenizer_piece(e->w->t, id, &n_piece);
        snprintf(next, sizeof next, "%s%.*s", text, (int)n_piece, piece);
        int length = n + (int)n_piece, both = length < e->n_typed ? length : e->n_typed;
        double least = e->n_typed ? 5e-6 : 5e-5, q = p * exp((double)logits[id] - sum);
        if (q < least || memcmp(next, e->typed, (size_t)both)) continue;
        if (n < e->n_typed && length >= e->n_typed) e->spelled += q;
        int end = length > e->n_typed ? run_end(next + e->n_typed) : -1;
        if (end > 0) note(e, next + e->n_typed, end, q);
        else if (e->n < WINDOW) {
            e->ids[e->n++] = id;
            explore(e, next, q);
            e->n--;
        }
    }
}

static int falling(const void *a, const void *b)
{
    const genet_completion *x = a, *y = b;
    return x->probability < y->probability ? 1 : x->probability > y->probability ? -1 : strcmp(x->text, y->text);
}

static double probability_of(const enumeration *e, const char *text)
{
    for (int i = 0; i < e->n_word; i++)
        if (!strcmp(e->word[i].text, text)) return e->word[i].probability / e->spelled;
    return 0;
}

/* The first K of a list of that length; context and typed together are the text.  A model that learned nothing
 * spells bytes by many sequences of tokens, and those that cannot enter the list by themselves are not
 * followed: a share of the probability is missed, at most bar, less in a longer list. */
static void expect_enumerated(world *w, const char *context, const char *typed, int length, double bar)
{
    static genet_completion word[MOST_WORDS];
    char text[100];
    enumeration e = { .w = w, .typed = typed, .n_typed = (int)strlen(typed), .word = word };
    token_list ids = {0};
    snprintf(text, sizeof text, "%s%s", context, typed);
    OK(genet__tokenizer_encode(w->t, *context ? context : "\n", *context ? strlen(context) : 1, &ids, &err));
    memcpy(e.ids, ids.at, (size_t)ids.n * sizeof *ids.at);
    e.n = ids.n;
    genet__token_list_release(&ids);
    e.spelled = e.n_typed ? 0 : 1;
    explore(&e, "", 1);
    qsort(word, (size_t)e.n_word, sizeof *word, falling);
    genet_completion got[40];
    int n = length;
    OK(complete(w, text, got, &n));
    assert_true(n >= K && n <= length);
    double sum = 0, best = 0;
    for (int i = 0; i < K; i++) {
        double p = probability_of(&e, got[i].text);
        if (!(got[i].probability > (1 - bar) * p - 2e-4 && got[i].probability < (1 + fmin(bar, 0.06)) * p + 2e-4))
            fail_msg("\"%s\", %d: \"%s\" %.6f, not %.6f", text, i, got[i].text, got[i].probability, p);
        sum += p;
        best += word[i].probability / e.spelled;
    }
    if (!(sum > (1 - bar) * best)) fail_msg("\"%s\": %d likelier ones with %.6f, not %.6f", text, K, best, sum);
}

static void test_characters(void **state)
{
    (void)state;
    static const char *const texts[] = { "a", "ab ", "bab", "b. a", "abbabaab.", "\n", "a\nb" };
    for (uint64_t seed = 1; seed <= 2; seed++) {
        world w;
        open_world(&w, chars("ab .\n"), 1, seed);
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) expect_enumerated(&w, texts[i], "", K, 2e-3);
        expect_enumerated(&w, "", "", K, 2e-3);
        close_world(&w);
    }
}

static void test_bytes(void **state)
{
    (void)state;
    static const struct { const char *context, *typed; } texts[] = {
        { "b", " a" }, { "b", " " }, { "b.", " a" }, { "", "c" }, { "ab\n", "a" }, { "ab\n", "" }, { "c c", " " },
        { "ab", "." },
    };
    for (uint64_t seed = 1; seed <= 3; seed++) {
        world w;
        open_world(&w, bpe(false), 1, seed);
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
            expect_enumerated(&w, texts[i].context, texts[i].typed, 40, 0.25);
        close_world(&w);
    }
}

/* --- keystrokes ---------------------------------------------------------------------------- */

static void expect_same(const genet_completion *a, int n, const genet_completion *b, int k)
{
    assert_int_equal(n, k);
    for (int i = 0; i < n; i++) {
        assert_string_equal(a[i].text, b[i].text);
        assert_true(a[i].probability == b[i].probability);
    }
}

/* One decoder for all keystrokes, forth and back, and a fresh one with three threads for each; past the window too. */
static void test_keystrokes(void **state)
{
    (void)state;
    static const char text[] = "a cab. ca bc\nab ab abc b.a cab ca b ab ba. acb";
    world w, fresh;
    open_world(&w, bpe(true), 1, 5);
    open_world(&fresh, bpe(true), 3, 5);
    int length = (int)strlen(text), answered = 0;
    for (int i = 0; i <= 2 * length; i++) {
        char now[100];
        genet_completion a[K], b[K];
        int n = K, k = K, end = i <= length ? i : 2 * length - i;
        snprintf(now, sizeof now, "%.*s", end, text);
        OK(complete(&w, now, a, &n));
        genet__decoder_free(fresh.d);
        OK(fresh.d = genet__decoder_new(fresh.m, fresh.space, COMPLETE_ROWS, &err));
        OK(complete(&fresh, now, b, &k));
        expect_same(a, n, b, k);
        answered += n;
        double sum = 0;
        for (int r = 0; r < n; r++) {
            assert_true(a[r].text[0] && a[r].probability > 0 && (!r || a[r].probability <= a[r - 1].probability));
            sum += a[r].probability;
        }
        assert_true(sum <= 1.01);
    }
    assert_true(answered > length * K);
    close_world(&fresh);
    close_world(&w);
}

static bool whole_utf8(const char *s)
{
    uint32_t c;
    for (size_t at = 0, n = strlen(s); at < n;) {
        int bytes = genet__utf8_decode(s + at, n - at, &c);
        if (bytes <= 0) return false;
        at += (size_t)bytes;
    }
    return true;
}

/* Tokens of half characters: no completion ends within one, and one that was half typed is completed. */
static void test_characters_stay_whole(void **state)
{
    (void)state;
    world w;
    int with_accents = 0;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        open_world(&w, bpe(true), 1, seed);
        genet_completion got[40];
        static const char *const texts[] = { "ab", "ab ", "\303\251", "a \303\251a", "c." };
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
            int n = 40;
            OK(complete(&w, texts[i], got, &n));
            for (int k = 0; k < n; k++) {
                assert_true(whole_utf8(got[k].text));
                with_accents += strstr(got[k].text, "\303\251") != NULL;
            }
        }
        int n = 40;
        OK(complete(&w, "a \303", got, &n));
        assert_true(n > 0);
        for (int k = 0; k < n; k++) assert_true(got[k].text[0] == '\251' && whole_utf8(got[k].text + 1));
        close_world(&w);
    }
    assert_true(with_accents > 0);
    open_world(&w, chars("ab\303\251 "), 1, 1);
    genet_completion got[K];
    int n = K;
    OK(complete(&w, "a\303\251", got, &n));
    assert_int_equal(n, K);
    for (int k = 0; k < n; k++) assert_true(whole_utf8(got[k].text));
    assert_false(complete(&w, "xyz", got, &n));
    assert_non_null(strstr(err.text, "x"));
    close_world(&w);
    open_world(&w, chars("ab"), 1, 1);
    assert_false(complete(&w, "", got, &n));
    assert_non_null(strstr(err.text, "empty"));
    close_world(&w);
}

/* Tokens that the tokenizer lacks spell nothing, and their probability is nobody's. */
static void test_padded_vocabulary(void **state)
{
    (void)state;
    static const char *const texts[] = { "ab", "ab c", "", "b." };
    world w;
    open_padded(&w, bpe(false), 1, 2, 30);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        genet_completion got[K];
        int n = K;
        double sum = 0;
        OK(complete(&w, texts[i], got, &n));
        assert_true(n > 0);
        for (int k = 0; k < n; k++) sum += got[k].probability;
        assert_true(sum > 0 && sum < 0.9);
    }
    close_world(&w);
}

/* An empty text begins with the model's token for that. */
static void test_start(void **state)
{
    (void)state;
    static const char *const keys[] = { "bos_token_id", "eos_token_id" };
    world w;
    open_world(&w, chars("ab ."), 1, 3);
    for (int i = 0; i < 2; i++) {
        genet_completion got[K], want[K];
        int n = K, k = K;
        set_int(w.m->config, "bos_token_id", 1 << 20);
        set_int(w.m->config, "eos_token_id", 0);
        set_int(w.m->config, keys[i], genet__tokenizer_find(w.t, "b", 1));
        OK(complete(&w, "", got, &n) && complete(&w, "b", want, &k));
        expect_same(got, n, want, k);
    }
    close_world(&w);
}

/* What no token spells has no continuation; that is no error. */
static void test_nothing(void **state)
{
    (void)state;
    world w;
    open_world(&w, bpe(true), 1, 1);
    genet_completion got[K];
    int n = K;
    OK(complete(&w, "ab zzz", got, &n));
    assert_int_equal(n, 0);
    close_world(&w);
}

static void test_failed_allocations(void **state)
{
    (void)state;
    world w;
    open_world(&w, bpe(true), 1, 1);
    genet_completion got[K];
    int failures = 0;
    for (long i = 0;; i++, failures++) {
        int n = K;
        genet__alloc_fail_after(i);
        bool ok = complete(&w, "ab ca", got, &n);
        genet__alloc_fail_after(-1);
        if (ok) break;
        assert_int_equal(err.code, GENET_ERR_MEMORY);
    }
    assert_true(failures >= 2);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_characters), cmocka_unit_test(test_bytes), cmocka_unit_test(test_keystrokes),
        cmocka_unit_test(test_characters_stay_whole), cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_padded_vocabulary), cmocka_unit_test(test_start),
        cmocka_unit_test(test_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
