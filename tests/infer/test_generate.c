/* labels: core
 * test_generate.c - writing equals transformers' token for token; text comes in whole characters, ends
 * before stop strings, and is the same for the same seed; every failure is clean; threads share a model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "golden/golden.h"
#include "infer/generate.h"
#include "text/tokenizer_pipeline.h"

enum { GOLDEN_V = 65, FIRST = '!' };

static genet_device    *device;
static genet_workspace *space;
static model           *golden;         /* the tiny one that transformers has answers for; its window is 16 */
static decoder         *by_rows[9];     /* of golden, kept from test to test */
static tokenizer        letters;        /* id i is the character FIRST + i; tests give other pieces */
static arena            strings;
static genet_err        err;

#define OK(call) do { if (!(call)) fail_msg("%s: %s", #call, err.text); } while (0)

/* --- models and a tokenizer ------------------------------------------------------------- */

static void set_int(void *config, const char *name, int64_t value)
{
    const field *f = genet__fields_find(genet__family_gpt2.config, name);
    *(int64_t *)((char *)config + f->offset) = value;
}

static int64_t int_of(const void *config, const char *name)
{
    return *(const int64_t *)((const char *)config + genet__fields_find(genet__family_gpt2.config, name)->offset);
}

static bool encode(token_run *r, const token_text *text)
{
    for (size_t i = 0; i < text->n; i++) {
        token_text letter = genet__token_text_slice(text, i, i + 1);
        r->bad = text->s + i;
        if (!genet__run_add(r, text->s[i] - FIRST, &letter)) return false;
    }
    return true;
}

static int32_t find(const tokenizer *t, const char *piece, size_t n)
{
    return n == 1 && piece[0] >= FIRST && piece[0] < FIRST + t->n ? piece[0] - FIRST : -1;
}
static const char *no_space(const tokenizer *t, int32_t before, int32_t id) { return (void)t, (void)before, (void)id, ""; }
static const char *one_space(const tokenizer *t, int32_t before, int32_t id) { return (void)t, (void)before, (void)id, " "; }
static const tokenizer_kind letter_kind = { .name = "letters", .encode = encode, .find = find, .between = no_space };
static const tokenizer_kind word_kind = { .name = "words", .encode = encode, .find = find, .between = one_space };

/* Piece i is what pieces[i] says, or a letter. */
static void set_pieces(const str pieces[GOLDEN_V])
{
    static char bytes[8000];
    static uint32_t start[GOLDEN_V + 1];
    uint32_t at = 0;
    for (int i = 0; i < GOLDEN_V; i++) {
        start[i] = at;
        if (pieces && pieces[i].at) memcpy(bytes + at, pieces[i].at, pieces[i].n), at += (uint32_t)pieces[i].n;
        else bytes[at++] = (char)(FIRST + i);
    }
    start[GOLDEN_V] = at;
    letters = (tokenizer){ .kind = &letter_kind, .n = GOLDEN_V, .bytes = bytes, .start = start, .unknown = -1 };
}

static int setup(void **state)
{
    (void)state;
    device = genet_device_cpu(1, &err);
    space = genet_workspace_new(device);
    set_pieces(NULL);
    golden = genet__model_open(golden_path("gpt2"), device, true, &err);
    return golden ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < 9; i++) genet__decoder_free(by_rows[i]);
    genet__model_free(golden);
    genet_workspace_free(space);
    genet_device_free(device);
    genet__arena_release(&strings);
    return 0;
}

/* --- what was written ----------------------------------------------------------------------- */

enum { MOST = 512 };
typedef struct told {
    str     text[8];
    int32_t id[8][MOST];
    double  logprob[8][MOST], score[8], sum[8];
    int     n[8], pieces[8];
    char    finish[8][16];
    int     leave_after;        /* pieces; 0: never */
    int     calls, n_top;
} told;

static bool is_utf8(const char *s, size_t n)
{
    uint32_t code;
    for (size_t at = 0; at < n;) {
        int length = genet__utf8_decode(s + at, n - at, &code);
        if (length <= 0) return false;
        at += (size_t)length;
    }
    return true;
}

static bool note(void *user, const genet_piece *p)
{
    told *t = user;
    int q = p->sequence;
    assert_true(is_utf8(p->text, p->n_bytes) && !p->text[p->n_bytes] && !*t->finish[q]);
    genet__str_add_n(&t->text[q], p->text, p->n_bytes);
    for (int i = 0; i < p->n_token; i++) {
        assert_int_equal(p->token[i].n_top, t->n_top);
        for (int k = 1; k < t->n_top; k++) assert_true(p->token[i].top[k].logprob <= p->token[i].top[k - 1].logprob);
        for (int k = 0; k < t->n_top; k++)
            if (p->token[i].top[k].id == p->token[i].id) assert_true(p->token[i].top[k].logprob == p->token[i].logprob);
        t->sum[q] += p->token[i].logprob;
        t->logprob[q][t->n[q]] = p->token[i].logprob;
        t->id[q][t->n[q]++] = p->token[i].id;
    }
    t->pieces[q]++;
    if (p->finish) snprintf(t->finish[q], sizeof t->finish[q], "%s", p->finish);
    if (p->finish) t->score[q] = p->score;
    return !t->leave_after || ++t->calls < t->leave_after;
}

static void forget(told *t)
{
    for (int q = 0; q < 8; q++) genet__str_release(&t->text[q]);
    *t = (told){0};
}

static generation_options greedy(void)
{
    generation_options o = {0};
    OK(genet__fields_defaults(&genet__generation_fields, &o, &strings, &err));
    o.temperature = 0;
    return o;
}

/* Continue prompt with the golden model; t->n_top must be as asked for. */
static bool try_golden(const char *prompt, const generation_options *o, told *t)
{
    decoder **d = &by_rows[genet__generation_rows(o)];
    if (!*d) *d = genet__decoder_new(golden, space, genet__generation_rows(o), &err);
    return *d && genet__generate(*d, &letters, golden, prompt, o, note, t, &err);
}

static void write_golden(const char *prompt, const generation_options *o, told *t)
{
    forget(t);
    t->n_top = (int)(o->logprobs < GOLDEN_V ? o->logprobs : GOLDEN_V);
    if (!try_golden(prompt, o, t)) fail_msg("%s", err.text);
}

static void test_equals_transformers(void **state)
{
    (void)state;
    json_t *cases = genet__json_read(golden_path("generate/greedy.json"), 1 << 20, &err);
    told t = {0};
    assert_true(json_array_size(cases) >= 40);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *one = json_array_get(cases, i), *prompt = json_object_get(one, "prompt"),
            *ids = json_object_get(one, "ids");
        generation_options o = greedy();
        char words[32] = {0};
        OK(genet__fields_from_json(&genet__generation_fields, &o, json_object_get(one, "options"), "golden", &strings,
                                   &err));
        for (size_t k = 0; k < json_array_size(prompt); k++)
            words[k] = (char)(FIRST + json_integer_value(json_array_get(prompt, k)));
        o.logprobs = (int64_t)(i % 3) * 50;
        write_golden(words, &o, &t);
        assert_int_equal(t.n[0], json_array_size(ids));
        for (int k = 0; k < t.n[0]; k++) {
            assert_int_equal(t.id[0][k], json_integer_value(json_array_get(ids, (size_t)k)));
            double want = json_real_value(json_array_get(json_object_get(one, "logprobs"), (size_t)k));
            assert_true(fabs(t.logprob[0][k] - want) < 1e-4);
        }
        bool ended = o.eos_token_id.n && t.id[0][t.n[0] - 1] == o.eos_token_id.at[0];
        assert_string_equal(t.finish[0], ended ? "stop" : "length");
        assert_int_equal(t.text[0].n, t.n[0] - ended);
        assert_true(fabs(t.sum[0] - t.score[0]) < 1e-9);
        o.ignore_eos = true;
        write_golden(words, &o, &t);
        assert_int_equal(t.n[0], o.max_new_tokens);
    }
    forget(&t);
    json_decref(cases);
}

/* --- text ----------------------------------------------------------------------------------- */

/* The tokens that a greedy run writes, all different; their pieces are then cut from any text. */
enum { DISTINCT = 12 };
static void distinct(generation_options *o, int32_t ids[DISTINCT])
{
    told t = {0};
    *o = greedy();
    o->no_repeat_ngram_size = 1;
    o->max_new_tokens = DISTINCT;
    set_pieces(NULL);
    write_golden("#+9", o, &t);
    assert_int_equal(t.n[0], DISTINCT);
    memcpy(ids, t.id[0], sizeof t.id[0][0] * DISTINCT);
    forget(&t);
}

/* The first three tokens are s[0..a), s[a..b), s[b..n), the others nothing. */
static void cut_pieces(const int32_t ids[DISTINCT], const char *s, size_t n, size_t a, size_t b)
{
    str pieces[GOLDEN_V] = {{0}};
    size_t cut[4] = { 0, a, b, n };
    for (int i = 0; i < DISTINCT; i++)
        pieces[ids[i]] = i < 3 ? (str){ .at = (char *)s + cut[i], .n = cut[i + 1] - cut[i] } : (str){ .at = (char *)"" };
    set_pieces(pieces);
}

/* Whatever the borders of tokens, characters come whole, and what is none becomes U+FFFD, one for
 * each beginning of a character. */
static void test_characters_are_whole(void **state)
{
    (void)state;
#define BAD "\xef\xbf\xbd"
    static const struct { const char *bytes, *want; } cases[] = {
        { "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x99\x82z", "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x99\x82z" },
        { "\xf0\x9f" "A\xc3\xa9", BAD "A\xc3\xa9" }, { "\xf0" "AB\xc3\xa9", BAD "AB\xc3\xa9" },
        { "\xe2\x82" "x\xff\xfe\x80y", BAD "x" BAD BAD BAD "y" }, { "\xed\xa0\x80\xe2\x82\xac", BAD BAD BAD "\xe2\x82\xac" },
        { "\xc0\xaf\xf4\x90\x80\x80\xf5", BAD BAD BAD BAD BAD BAD BAD }, { "end\xf0\x9f\x99", "end" BAD },
        { "\xe2\x82", BAD },
    };
    generation_options o;
    int32_t ids[DISTINCT];
    told t = {0};
    distinct(&o, ids);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = strlen(cases[i].bytes);
        for (size_t a = 0; a <= n; a++)
            for (size_t b = a; b <= n; b++) {
                cut_pieces(ids, cases[i].bytes, n, a, b);
                write_golden("#+9", &o, &t);
                assert_string_equal(genet__str(&t.text[0]), cases[i].want);
                assert_int_equal(t.n[0], DISTINCT);
                assert_string_equal(t.finish[0], "length");
            }
    }
    set_pieces(NULL);
    forget(&t);
}

/* Text ends before the stop string that ends first, and nothing of it is shown, wherever tokens begin; what
 * only looked like one is. */
static void test_stop_strings(void **state)
{
    (void)state;
    static const struct { const char *text, *stop, *want, *finish; } cases[] = {
        { "one two three", "two", "one ", "stop" }, { "one two three", "tx\nthreee", "one two three", "length" },
        { "aaab", "aab", "a", "stop" }, { "abcabd", "abd", "abc", "stop" }, { "abcd", "bc\nabcd", "a", "stop" },
        { "xabcd", "cd\nbcd\nabcd", "x", "stop" }, { "xabcd", "bcd\nabcd\ncd", "x", "stop" },
        { "xabcd", "abcd\nbc", "xa", "stop" }, { "xabcd", "d\nab\nabc", "x", "stop" },
        { "abcd", "abcd\nbcd\ncd", "", "stop" }, { "x\ny\\z", "\\ny", "x", "stop" }, { "x\ty\\nz", "y\\\\n", "x\t", "stop" },
        { "caf\xc3\xa9!", "\xa9", "caf" BAD, "stop" }, { "same", "same", "", "stop" },
        { "tail thre", "three", "tail thre", "length" },
    };
    generation_options o;
    int32_t ids[DISTINCT];
    told t = {0};
    distinct(&o, ids);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = strlen(cases[i].text);
        o.stop = cases[i].stop;
        for (size_t a = 0; a <= n; a++)
            for (size_t b = a; b <= n; b++) {
                cut_pieces(ids, cases[i].text, n, a, b);
                write_golden("#+9", &o, &t);
                assert_string_equal(genet__str(&t.text[0]), cases[i].want);
                assert_string_equal(t.finish[0], cases[i].finish);
                assert_true(fabs(t.sum[0] - t.score[0]) < 1e-9);
            }
    }
    set_pieces(NULL);
    forget(&t);
}

/* Words have what stands between them; special tokens are no text, nor is what the tokenizer lacks: nothing stands between
 * them and words.  An end of text by its name alone ends nothing. */
static void test_words_and_special_tokens(void **state)
{
    (void)state;
    generation_options o;
    int32_t ids[DISTINCT];
    told t = {0};
    distinct(&o, ids);
    char want[64] = {0};
    added_token special = { .content = "<|endoftext|>", .n_bytes = 13, .id = ids[1], .special = true };
    letters.kind = &word_kind;
    letters.added = &special;
    letters.n_added = 1;
    for (int i = 0; i < 4; i++)
        if (i != 1) snprintf(want + strlen(want), sizeof want - strlen(want), " %c", FIRST + ids[i]);
    o.max_new_tokens = 4;
    write_golden("#+9", &o, &t);
    assert_string_equal(genet__str(&t.text[0]), want);
    assert_int_equal(t.n[0], 4);
    assert_string_equal(t.finish[0], "length");
    set_pieces(NULL);
    letters.kind = &word_kind;
    letters.n = 30;
    memset(want, 0, sizeof want);
    o.max_new_tokens = DISTINCT;
    int padded = 0;
    for (int i = 0; i < DISTINCT; i++)
        if (ids[i] < letters.n) snprintf(want + strlen(want), sizeof want - strlen(want), " %c", FIRST + ids[i]);
        else padded++;
    assert_in_range(padded, 1, DISTINCT - 2);
    write_golden("#+9", &o, &t);
    assert_string_equal(genet__str(&t.text[0]), want);
    assert_int_equal(t.n[0], DISTINCT);
    set_pieces(NULL);
    forget(&t);
}

/* Which tokens end a text: the user's, else those of generation_config.json where there is one, else config.json's. */
static void test_who_ends(void **state)
{
    (void)state;
    generation_options o;
    int32_t ids[DISTINCT];
    told t = {0};
    distinct(&o, ids);
    set_int(golden->config, "eos_token_id", ids[3]);
    write_golden("#+9", &o, &t);
    assert_int_equal(t.n[0], 4);
    golden->ends = (int_list){ .n = 3, .at = { 1 << 20, ids[5], ids[2] } };
    write_golden("#+9", &o, &t);
    assert_int_equal(t.n[0], 3);
    o.eos_of_file = true;
    write_golden("#+9", &o, &t);
    assert_int_equal(t.n[0], DISTINCT);
    o.eos_token_id = (int_list){ .n = 3, .at = { GOLDEN_V, -7, ids[6] } };
    write_golden("#+9", &o, &t);
    assert_int_equal(t.n[0], 7);
    o.eos_of_file = false;
    o.eos_token_id = (int_list){ .n = 2, .at = { ids[1], ids[7] } };
    write_golden("#+9", &o, &t);
    assert_int_equal(t.n[0], 2);
    assert_string_equal(t.finish[0], "stop");
    o.eos_token_id.at[1] = GOLDEN_V;
    assert_false(try_golden("#+9", &o, &t));
    assert_non_null(strstr(err.text, "eos_token_id 65 is not among the model's 65"));
    golden->ends.n = 0;
    set_int(golden->config, "eos_token_id", -1);
    forget(&t);
}

/* Where bans leave nothing, that is said. */
static void test_nothing_left(void **state)
{
    (void)state;
    for (int warm = 0; warm < 2; warm++) {
        generation_options o = greedy();
        told t = {0};
        o.temperature = warm;
        o.no_repeat_ngram_size = 1;
        o.max_new_tokens = GOLDEN_V - 3;
        write_golden("#+9", &o, &t);
        assert_int_equal(t.n[0], GOLDEN_V - 3);
        o.max_new_tokens++;
        forget(&t);
        assert_false(try_golden("#+9", &o, &t));
        assert_int_equal(err.code, GENET_ERR_USAGE);
        assert_non_null(strstr(err.text, "no_repeat_ngram_size 1 forbids every token"));
        forget(&t);
    }
}

/* --- several sequences, seeds, limits ---------------------------------------------------------- */

static void test_seeds(void **state)
{
    (void)state;
    generation_options o = greedy();
    told one = {0}, again = {0}, other = {0}, many = {0};
    o.temperature = 1;
    o.max_new_tokens = 60;                      /* the window of 16 slides */
    write_golden("#+9", &o, &one);
    write_golden("#+9", &o, &again);
    assert_string_equal(genet__str(&one.text[0]), genet__str(&again.text[0]));
    o.num_return_sequences = 4;
    write_golden("#+9", &o, &many);
    for (int q = 0; q < 4; q++) {
        assert_int_equal(many.n[q], 60);
        assert_string_equal(many.finish[q], "length");
        assert_true(fabs(many.sum[q] - many.score[q]) < 1e-9);
        if (q) assert_string_not_equal(genet__str(&many.text[q]), genet__str(&many.text[0]));
    }
    o.num_return_sequences = 1;
    o.seed = 5;
    write_golden("#+9", &o, &other);
    assert_string_not_equal(genet__str(&one.text[0]), genet__str(&other.text[0]));
    forget(&one), forget(&again), forget(&other), forget(&many);
}

/* The first of several sequences is the one that would be written alone, up to where the window slides. */
static void test_first_of_several(void **state)
{
    (void)state;
    generation_options o = greedy();
    told one = {0}, many = {0};
    o.temperature = 1;
    o.max_new_tokens = 13;
    write_golden("#+9", &o, &one);
    o.num_return_sequences = 3;
    write_golden("#+9", &o, &many);
    assert_int_equal(many.n[0], 13);
    for (int i = 0; i < 13; i++) {
        assert_int_equal(many.id[0][i], one.id[0][i]);
        assert_true(fabs(many.logprob[0][i] - one.logprob[0][i]) < 1e-5);
    }
    forget(&one), forget(&many);
}

static void test_limits(void **state)
{
    (void)state;
    generation_options o = greedy();
    told t = {0};
    o.max_new_tokens = 0;
    o.num_return_sequences = 2;
    write_golden("#+9", &o, &t);
    assert_true(t.n[0] == 0 && t.pieces[0] == 1 && !strcmp(t.finish[1], "length"));
    o = greedy();
    o.max_length = 8;
    write_golden("#+9", &o, &t);
    assert_int_equal(t.n[0], 5);
    forget(&t);
    assert_false(try_golden("########", &o, &t));
    assert_non_null(strstr(err.text, "max_length"));
    assert_false(try_golden("", &o, &t));
    assert_non_null(strstr(err.text, "prompt is empty"));
    o.eos_token_id.n = 0;
    decoder *d = genet__decoder_new(golden, space, 2, &err);
    assert_false(genet__generate(d, &letters, golden, "#", &o, note, &t, &err));
    genet__decoder_free(d);
    forget(&t);
}

/* false ends all sequences, and nothing more comes. */
static void test_caller_leaves(void **state)
{
    (void)state;
    for (int after_calls = 1; after_calls < 12; after_calls++) {
        generation_options o = greedy();
        told t = { .leave_after = after_calls };
        o.temperature = 1;
        o.num_return_sequences = 3;
        o.max_new_tokens = 30;
        OK(try_golden("#+9", &o, &t));
        assert_int_equal(t.calls, after_calls);
        for (int q = 0; q < 3; q++) assert_int_equal(*t.finish[q], 0);
        forget(&t);
    }
    generation_options none = greedy();
    told t = { .leave_after = 2 };
    none.max_new_tokens = 0;
    none.num_return_sequences = 3;
    OK(try_golden("#+9", &none, &t));
    assert_int_equal(t.calls, 2);
    forget(&t);
}

/* An empty prompt begins as a text begins after another, when there is a token for that. */
static void test_empty_prompt(void **state)
{
    (void)state;
    generation_options o = greedy();
    told t = {0};
    o.max_new_tokens = 5;
    set_int(golden->config, "eos_token_id", 2);
    o.ignore_eos = true;
    write_golden("", &o, &t);
    assert_int_equal(t.n[0], 5);
    told same = {0};
    write_golden("#", &o, &same);       /* '#' is id 2 */
    assert_memory_equal(t.id[0], same.id[0], sizeof t.id[0]);
    o.eos_of_file = true;               /* the file's first in place of config.json's */
    o.eos_token_id = (int_list){ .n = 2, .at = { GOLDEN_V, 9 } };
    write_golden("", &o, &t);
    write_golden("*", &o, &same);
    assert_memory_equal(t.id[0], same.id[0], sizeof t.id[0]);
    int64_t bos = int_of(golden->config, "bos_token_id");
    set_int(golden->config, "bos_token_id", 3);
    write_golden("", &o, &t);
    write_golden("$", &o, &same);
    assert_memory_equal(t.id[0], same.id[0], sizeof t.id[0]);
    set_int(golden->config, "bos_token_id", GOLDEN_V);
    o.eos_token_id.n = 1;
    forget(&t);
    assert_false(try_golden("", &o, &t));
    assert_non_null(strstr(err.text, "prompt is empty"));
    set_int(golden->config, "bos_token_id", bos);
    set_int(golden->config, "eos_token_id", -1);
    forget(&t), forget(&same);
}

/* --- failures and threads ------------------------------------------------------------------------- */

/* With every allocation failing in turn: an error, nothing lost, and no harm done. */
static void test_no_memory(void **state)
{
    (void)state;
    generation_options o = greedy();
    o.temperature = 1;
    o.num_return_sequences = 2;
    o.max_new_tokens = 20;
    o.logprobs = 2;
    o.stop = "abc\nx\\ny";
    long made = 0;
    told whole_run = {0};
    write_golden("#+9", &o, &whole_run);
    for (long n = 0; n == 0 || n <= made; n++) {
        told t = { .n_top = 2 };
        genet__alloc_fail_after(n - 1);         /* the first time, none */
        genet_workspace *w = genet_workspace_new(device);
        decoder *d = w ? genet__decoder_new(golden, w, 2, &err) : NULL;
        bool ok = d && genet__generate(d, &letters, golden, "#+9", &o, note, &t, &err);
        genet__decoder_free(d);
        genet_workspace_free(w);
        long count = genet__alloc_fail_after(-1);
        if (!n) made = count;
        if (ok) assert_memory_equal(t.id, whole_run.id, sizeof t.id);       /* the noted text may be what failed */
        else if (w) assert_int_equal(err.code, GENET_ERR_MEMORY);
        assert_true(ok || n);
        forget(&t);
    }
    forget(&whole_run);
    assert_true(made > 50);
}

typedef struct job { const model *model; genet_device *device; told told; genet_err err; bool ok; } job;

static void *write_alone(void *user)
{
    job *j = user;
    generation_options o = {0};
    arena a = {0};
    genet_workspace *w = genet_workspace_new(j->device);
    decoder *d = w ? genet__decoder_new(j->model, w, 1, &j->err) : NULL;
    j->ok = d && genet__fields_defaults(&genet__generation_fields, &o, &a, &j->err) &&
            genet__generate(d, &letters, j->model, "#+9", &o, note, &j->told, &j->err);
    genet__decoder_free(d);
    genet_workspace_free(w);
    genet__arena_release(&a);
    return NULL;
}

/* One model and one device with a pool of its own, a decoder for each thread. */
static void test_threads(void **state)
{
    (void)state;
    enum { THREADS = 3 };
    static job jobs[THREADS];
    pthread_t thread[THREADS];
    told alone = {0};
    generation_options o = greedy();
    o.temperature = 0.8;
    write_golden("#+9", &o, &alone);
    genet_device *pool = genet_device_cpu(2, &err);
    model *shared = genet__model_open(golden_path("gpt2"), pool, true, &err);
    assert_non_null(shared);
    for (int i = 0; i < THREADS; i++) jobs[i] = (job){ .model = shared, .device = pool };
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&thread[i], NULL, write_alone, &jobs[i]), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
    for (int i = 0; i < THREADS; i++) {
        if (!jobs[i].ok) fail_msg("%s", jobs[i].err.text);
        assert_string_equal(genet__str(&jobs[i].told.text[0]), genet__str(&alone.text[0]));
        forget(&jobs[i].told);
    }
    genet__model_free(shared);
    genet_device_free(pool);
    forget(&alone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equals_transformers), cmocka_unit_test(test_characters_are_whole),
        cmocka_unit_test(test_stop_strings), cmocka_unit_test(test_words_and_special_tokens), cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_who_ends), cmocka_unit_test(test_nothing_left),
        cmocka_unit_test(test_first_of_several), cmocka_unit_test(test_limits), cmocka_unit_test(test_caller_leaves),
        cmocka_unit_test(test_empty_prompt), cmocka_unit_test(test_no_memory), cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
