/* labels: core
 * test_translate.c - texts from sources: greedy and beams of Marian and T5 equal transformers' token for token
 * (tools/golden_seq2seq.py), several sources at once as one at a time; forced tokens, samples, what is refused, failing memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "golden/golden.h"
#include "format/safetensors.h"
#include "infer/generate.h"

enum { V = 41, ROWS = 3, S = 11, MOST = 14 };
static const char *const names[] = { "marian", "marian-apart", "t5", "t5-gated" };
enum { N = 4 };

static genet_device    *device;
static genet_workspace *space;
static tokenizer       *t;
static model           *m;
static safetensors      golden;
static arena            strings;
static genet_err        err;
static token_list       source[ROWS];

#define OK(call) do { if (!(call)) fail_msg("%s: %s", #call, err.text); } while (0)

/* ids 0 .. 40 are the characters from ' ' on: none is special, so all are text. */
static int setup(void **state)
{
    (void)state;
    static char_set set;
    for (uint32_t c = ' '; c < ' ' + V; c++) char_set_add(&set, c);
    t = genet__tokenizer_from_chars(&set, &err);
    device = genet_device_cpu(2, &err);
    space = genet_workspace_new(device);
    return t && device && space ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    genet__tokenizer_free(t);
    genet_workspace_free(space);
    genet_device_free(device);
    genet__arena_release(&strings);
    return 0;
}

static const int32_t *ints(const char *name)
{
    const safetensor *at = genet__safetensors_find(&golden, name);
    if (!at) fail_msg("%s is not there", name);
    return (const int32_t *)(const void *)at->at;
}

static void open_folder(const char *name)
{
    char path[120];
    snprintf(path, sizeof path, "seq2seq/%s", name);
    OK(m = genet__model_open(golden_path(path), device, MODEL_READ_ONLY, &err));
    snprintf(path, sizeof path, "seq2seq/%s/golden.safetensors", name);
    OK(genet__safetensors_open(&golden, golden_path(path), &err));
    for (int i = 0; i < ROWS; i++) {
        int32_t n;
        memcpy(&n, (const char *)ints("lengths") + 4 * i, 4);
        source[i] = (token_list){0};
        for (int k = 0; k < n; k++) {
            assert_true(GROW(source[i].at, source[i].n, source[i].cap));
            memcpy(&source[i].at[source[i].n++], (const char *)ints("source") + 4 * (i * S + k), 4);
        }
    }
}

static void close_folder(void)
{
    for (int i = 0; i < ROWS; i++) genet__token_list_release(&source[i]);
    genet__model_free(m);
    genet__safetensors_close(&golden);
}

static generation_options greedy(void)
{
    generation_options o = {0};
    OK(genet__fields_defaults(&genet__generation_fields, &o, &strings, &err));
    o.temperature = 0;
    o.max_new_tokens = MOST;
    o.no_repeat_ngram_size = 2;
    return o;
}

typedef struct got { int32_t id[16][MOST]; int n[16]; double score[16], logprob[16][MOST]; int texts; const char *finish[16]; } got;

static bool take(void *user, const genet_piece *p)
{
    got *g = user;
    int s = p->sequence;
    for (int i = 0; i < p->n_token; i++) {
        g->logprob[s][g->n[s]] = p->token[i].logprob;
        g->id[s][g->n[s]++] = p->token[i].id;
    }
    if (p->finish) g->score[s] = p->score, g->finish[s] = strcmp(p->finish, "stop") ? "length" : "stop", g->texts++;
    return true;
}

/* n sources from `first` on by a decoder for `sources`. */
static got write_from(int first, int n, int sources, const generation_options *o)
{
    got g = {0};
    decoder *d = genet__decoder_new_reading(m, space, sources, genet__generation_rows(o), S, &err);
    OK(d);
    OK(genet__generate_from(d, t, m, source + first, n, o, take, &g, &err));
    genet__decoder_free(d);
    return g;
}

static void expect_ids(const char *what, int folder, const char *name, int row, const int32_t *id, int n)
{
    for (int k = 0; k < MOST; k++) {
        int32_t want, is = k < n ? id[k] : -1;
        memcpy(&want, (const char *)ints(name) + 4 * (row * MOST + k), 4);
        if (is != want) fail_msg("%s %s: source %d: token %d is %d, not %d", names[folder], what, row, k, is, want);
    }
}

static void test_greedy(void **state)
{
    (void)state;
    for (int i = 0; i < N; i++) {
        open_folder(names[i]);
        generation_options o = greedy();
        got all = write_from(0, ROWS, ROWS, &o);
        assert_int_equal(all.texts, ROWS);
        for (int r = 0; r < ROWS; r++) expect_ids("greedy", i, "greedy", r, all.id[r], all.n[r]);
        close_folder();
    }
}

static void test_beams(void **state)
{
    (void)state;
    for (int i = 0; i < N; i++) {
        open_folder(names[i]);
        generation_options o = greedy();
        o.num_beams = 3;
        got all = write_from(0, ROWS, ROWS, &o);
        const safetensor *scores = genet__safetensors_find(&golden, "beam_scores");
        for (int r = 0; r < ROWS; r++) {
            double want;
            memcpy(&want, (const char *)scores->at + 8 * r, 8);
            expect_ids("beams", i, "beams", r, all.id[r], all.n[r]);
            if (!(fabs(all.score[r] - want) < 1e-4)) fail_msg("%s: score %d is %.9g, not %.9g", names[i], r, all.score[r], want);
        }
        close_folder();
    }
}

/* The same bits whatever stands beside a source, and wherever it stands. */
static void test_batches(void **state)
{
    (void)state;
    for (int i = 0; i < N; i += 2) {
        open_folder(names[i]);
        for (int beams = 1; beams < 4; beams += 2) {
            generation_options o = greedy();
            o.num_beams = beams;
            got all = write_from(0, ROWS, ROWS, &o);
            for (int r = 0; r < ROWS; r++) {
                got one = write_from(r, 1, ROWS, &o);
                assert_int_equal(one.n[0], all.n[r]);
                assert_memory_equal(one.id[0], all.id[r], sizeof all.id[r]);
                assert_memory_equal(one.logprob[0], all.logprob[r], sizeof all.logprob[r]);
                assert_memory_equal(&one.score[0], &all.score[r], sizeof all.score[r]);
            }
        }
        close_folder();
    }
}

static void test_samples(void **state)
{
    (void)state;
    open_folder("marian");
    generation_options o = greedy();
    o.temperature = 1;
    o.num_return_sequences = 2;
    got all = write_from(0, ROWS, ROWS, &o), last = write_from(2, 1, ROWS, &o);
    assert_int_equal(all.texts, 2 * ROWS);
    assert_memory_equal(last.id[0], all.id[4], sizeof all.id[4]);
    assert_memory_equal(last.id[1], all.id[5], sizeof all.id[5]);
    assert_memory_not_equal(all.id[4], all.id[5], sizeof all.id[5]);
    close_folder();
}

static void test_forced(void **state)
{
    (void)state;
    open_folder("t5");
    generation_options o = greedy();
    o.forced_bos_token_id = 7;
    o.forced_eos_token_id = 1;
    o.max_new_tokens = 5;
    o.ignore_eos = true;
    for (int beams = 1; beams < 3; beams++) {
        o.num_beams = beams;
        got all = write_from(0, ROWS, ROWS, &o);
        for (int r = 0; r < ROWS; r++) {
            assert_int_equal(all.n[r], 5);
            assert_int_equal(all.id[r][0], 7);
            assert_int_equal(all.id[r][4], 1);
        }
    }
    o = greedy();
    o.forced_bos_token_id = V;
    decoder *d = genet__decoder_new_reading(m, space, 1, 1, S, &err);
    got g = {0};
    assert_false(genet__generate_from(d, t, m, source, 1, &o, take, &g, &err));
    assert_non_null(strstr(err.text, "forced_bos_token_id 41"));
    genet__decoder_free(d);
    close_folder();
}

/* The context ends a text. */
static void test_full(void **state)
{
    (void)state;
    open_folder("marian");
    generation_options o = greedy();
    o.max_new_tokens = 1000;
    decoder *d = genet__decoder_new_reading(m, space, 1, 1, S, &err);
    OK(d && genet__decoder_read_sources(d, source, 1, &err));
    int32_t start = genet__decoder_start(m, &o), step = 5;
    OK(genet__decoder_begin(d, &start, 1, &err));
    for (int n = 1; n < 24; n++) OK(genet__decoder_step(d, &step, NULL, &err));
    assert_false(genet__decoder_step(d, &step, NULL, &err));
    assert_non_null(strstr(err.text, "24 tokens"));
    genet__decoder_free(d);
    close_folder();
}

static void test_refused(void **state)
{
    (void)state;
    open_folder("marian");
    assert_null(genet__decoder_new(m, space, 1, &err));
    assert_non_null(strstr(err.text, "genet translate"));
    decoder *d = genet__decoder_new_reading(m, space, 1, 1, S, &err);
    OK(d);
    int32_t start = 0, bad = V;
    token_list strange = { .at = &bad, .n = 1 };
    assert_false(genet__decoder_begin(d, &start, 1, &err));
    assert_non_null(strstr(err.text, "no source"));
    assert_false(genet__decoder_read_sources(d, source, 2, &err));
    assert_false(genet__decoder_read_sources(d, &strange, 1, &err));
    genet__decoder_free(d);
    close_folder();
    OK(m = genet__model_open(golden_path("gpt2"), device, MODEL_READ_ONLY, &err));
    assert_null(genet__decoder_new_reading(m, space, 1, 1, S, &err));
    genet__model_free(m);
}

static void test_memory(void **state)
{
    (void)state;
    open_folder("t5");
    generation_options o = greedy();
    o.num_beams = 2;
    bool ok = false;
    for (long n = 0; !ok; n = n * 9 / 8 + 1) {
        got g = {0};
        genet__alloc_fail_after(n);
        genet_workspace *w = genet_workspace_new(device);
        decoder *d = w ? genet__decoder_new_reading(m, w, 2, 2, S, &err) : NULL;
        ok = d && genet__generate_from(d, t, m, source, 2, &o, take, &g, &err);
        bool failed = genet__alloc_fail_after(-1) > n;
        if (w && !ok && !strstr(err.text, "memory")) fail_msg("%s", err.text);
        assert_true(ok || failed);
        genet__decoder_free(d);
        genet_workspace_free(w);
    }
    close_folder();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy), cmocka_unit_test(test_beams), cmocka_unit_test(test_batches), cmocka_unit_test(test_samples),
        cmocka_unit_test(test_forced), cmocka_unit_test(test_full), cmocka_unit_test(test_refused), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
