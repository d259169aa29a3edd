/* labels: core
 * test_beam.c - beam search equals transformers' token for token over the
 * cases of tests/golden/beam; what it refuses; the text, tokens and scores that
 * it passes on; failed allocations. */
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
#include "infer/generate.h"

enum { V = 65, WINDOW = 16, MOST = 8 };

static genet_device    *device;
static genet_workspace *space;
static model           *m;
static tokenizer       *t;
static json_t          *golden;
static arena            strings;
static genet_err        err;

#define OK(call) do { if (!(call)) fail_msg("%s: %s", #call, err.text); } while (0)

/* ids 0 .. 64 are the characters from ' ' on. */
static tokenizer *letters(void)
{
    static char_set set;
    for (uint32_t c = ' '; c < ' ' + V; c++) char_set_add(&set, c);
    return genet__tokenizer_from_chars(&set, &err);
}

static bool scale(const char *name, float by)
{
    float v[256];
    param *w = genet__params_find(m->params, name);
    if (!w || w->size_bytes > sizeof v || !genet__params_read(m->params, w, v, w->size_bytes, &err)) return false;
    for (size_t i = 0; i < w->size_bytes / sizeof *v; i++) v[i] *= by;
    return genet__params_write(m->params, w, v, w->size_bytes, &err);
}

static int setup(void **state)
{
    (void)state;
    device = genet_device_cpu(1, &err);
    space = genet_workspace_new(device);
    m = genet__model_open(golden_path("gpt2"), device, true, &err);
    t = letters();
    golden = genet__json_read(golden_path("beam/beam.json"), 1 << 20, &err);
    if (!m || !t || !golden) return -1;
    float by = (float)json_number_value(json_object_get(golden, "scale"));
    return scale("transformer.ln_f.weight", by) && scale("transformer.ln_f.bias", by) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    json_decref(golden);
    genet__tokenizer_free(t);
    genet__model_free(m);
    genet_workspace_free(space);
    genet_device_free(device);
    genet__arena_release(&strings);
    return 0;
}

static generation_options defaults(void)
{
    generation_options o = {0};
    OK(genet__fields_defaults(&genet__generation_fields, &o, &strings, &err));
    o.temperature = 0;
    return o;
}

/* --- what comes --------------------------------------------------------------------- */

typedef struct got {
    int     n, stop_after;
    struct { int32_t id[WINDOW]; int n; double score, sum; char text[4 * WINDOW], finish[8]; int n_top; } at[MOST];
} got;

static bool take(void *user, const genet_piece *p)
{
    got *g = user;
    assert_int_equal(p->sequence, g->n);
    assert_true(p->n_token <= WINDOW && p->n_bytes < sizeof g->at->text);
    assert_int_equal(strlen(p->text), p->n_bytes);
    for (int i = 0; i < p->n_token; i++) {
        g->at[g->n].id[i] = p->token[i].id;
        g->at[g->n].sum += p->token[i].logprob;
        g->at[g->n].n_top = p->token[i].n_top;
        bool found = !p->token[i].n_top;
        for (int k = 0; k < p->token[i].n_top; k++) {
            const genet_choice *c = &p->token[i].top[k];
            assert_true(!k || c->logprob <= c[-1].logprob);
            if (c->id == p->token[i].id) found = c->logprob == p->token[i].logprob;
        }
        assert_true(found || p->token[i].n_top < V);
    }
    g->at[g->n].n = p->n_token;
    g->at[g->n].score = p->score;
    snprintf(g->at[g->n].text, sizeof g->at->text, "%s", p->text);
    snprintf(g->at[g->n].finish, sizeof g->at->finish, "%s", p->finish);
    return ++g->n != g->stop_after;
}

static bool search(const int32_t *prompt, int n, const generation_options *o, got *g)
{
    decoder *d = genet__decoder_new(m, space, o->num_beams, &err);
    bool ok = d && genet__beam_search(d, t, m, prompt, n, 1, o, take, g, &err);
    genet__decoder_free(d);
    return ok;
}

/* --- tests ---------------------------------------------------------------------------- */

static int ids_of(const json_t *list, int32_t *out)
{
    for (size_t i = 0; i < json_array_size(list); i++) out[i] = (int32_t)json_integer_value(json_array_get(list, i));
    return (int)json_array_size(list);
}

static void test_equals_transformers(void **state)
{
    (void)state;
    const json_t *cases = json_object_get(golden, "cases");
    assert_true(json_array_size(cases) > 50);
    for (size_t c = 0; c < json_array_size(cases); c++) {
        const json_t *one = json_array_get(cases, c), *want = json_object_get(one, "sequences");
        generation_options o = defaults();
        OK(genet__fields_from_json(&genet__generation_fields, &o, json_object_get(one, "options"), "case", &strings, &err));
        int32_t prompt[WINDOW], ids[WINDOW], eos[MOST];
        int n = ids_of(json_object_get(one, "prompt"), prompt);
        o.eos_token_id.n = ids_of(json_object_get(one, "eos_token_id"), eos);
        for (int i = 0; i < o.eos_token_id.n; i++) o.eos_token_id.at[i] = eos[i];
        got g = {0};
        OK(search(prompt, n, &o, &g));
        assert_int_equal(g.n, json_array_size(want));
        for (int s = 0; s < g.n; s++) {
            const json_t *sequence = json_array_get(want, (size_t)s);
            double score = json_number_value(json_object_get(sequence, "score"));
            int n_ids = ids_of(json_object_get(sequence, "ids"), ids);
            if (g.at[s].n != n_ids || memcmp(g.at[s].id, ids, (size_t)n_ids * sizeof *ids))
                fail_msg("case %zu, sequence %d: other tokens", c, s);
            if (!(fabs(g.at[s].score - score) <= 1e-4)) fail_msg("case %zu: score %.7g, not %.7g", c, g.at[s].score, score);
        }
    }
}

/* Without penalties a score is the sum of log-probabilities over length^length_penalty. */
static void test_what_comes(void **state)
{
    (void)state;
    generation_options o = defaults();
    got g = {0};
    o.num_beams = o.num_return_sequences = 3;
    o.max_new_tokens = 6;
    o.length_penalty = 0.5;
    o.logprobs = V;
    o.eos_token_id = (int_list){ .n = 1, .at = { 28 } };
    OK(search((int32_t[]){ 1, 2, 3 }, 3, &o, &g));
    assert_int_equal(g.n, 3);
    int stopped = 0;
    for (int s = 0; s < 3; s++) {
        assert_int_equal(g.at[s].n_top, V);
        assert_true(!s || g.at[s].score <= g.at[s - 1].score);
        assert_true(fabs(g.at[s].sum / sqrt(g.at[s].n) - g.at[s].score) < 1e-5);
        bool stop = g.at[s].id[g.at[s].n - 1] == 28;
        stopped += stop;
        assert_string_equal(g.at[s].finish, stop ? "stop" : "length");
        assert_int_equal(strlen(g.at[s].text), g.at[s].n - stop);       /* the end token is no text */
        for (int i = 0; i < g.at[s].n - stop; i++) assert_int_equal(g.at[s].text[i], ' ' + g.at[s].id[i]);
    }
    assert_true(stopped > 0);
    got first = { .stop_after = 1 };
    OK(search((int32_t[]){ 1, 2, 3 }, 3, &o, &first));
    assert_int_equal(first.n, 1);
    o.ignore_eos = true;
    got all = {0};
    OK(search((int32_t[]){ 1, 2, 3 }, 3, &o, &all));
    for (int s = 0; s < 3; s++) assert_int_equal(all.at[s].n, 6);
    o.max_new_tokens = 0;
    got none = {0};
    OK(search((int32_t[]){ 1, 2, 3 }, 3, &o, &none));
    assert_int_equal(none.n, 3);
    assert_int_equal(none.at[0].n, 0);
}

/* Tokens that the tokenizer lacks are no text, and their beams go on. */
static void test_padded_vocabulary(void **state)
{
    (void)state;
    static char_set set;
    for (uint32_t c = ' '; c < ' ' + V / 2; c++) char_set_add(&set, c);
    tokenizer *whole = t;
    OK(t = genet__tokenizer_from_chars(&set, &err));
    generation_options o = defaults();
    got g = {0};
    int padded = 0;
    o.num_beams = o.num_return_sequences = 5;
    o.max_new_tokens = 6;
    o.ignore_eos = true;
    OK(search((int32_t[]){ 1, 2, V - 1 }, 3, &o, &g));
    for (int s = 0; s < g.n; s++) {
        int shown = 0;
        for (int i = 0; i < g.at[s].n; i++)
            if (g.at[s].id[i] < V / 2) assert_int_equal(g.at[s].text[shown++], ' ' + g.at[s].id[i]);
            else padded++;
        assert_int_equal(strlen(g.at[s].text), shown);
    }
    assert_in_range(padded, 1, 29);
    genet__tokenizer_free(t);
    t = whole;
}

static void test_refused(void **state)
{
    (void)state;
    generation_options o = defaults();
    got g = {0};
    o.num_beams = 3;
    o.max_new_tokens = 15;
    assert_false(search((int32_t[]){ 1, 2, 3 }, 3, &o, &g));
    assert_non_null(strstr(err.text, "2 more than the model's context of 16"));
    o.max_new_tokens = 13;
    OK(search((int32_t[]){ 1, 2, 3 }, 3, &o, &g));
    o.stop = "x";
    assert_false(search((int32_t[]){ 1, 2, 3 }, 3, &o, &g));
    assert_non_null(strstr(err.text, "stop strings"));
    o.stop = NULL;
    assert_false(search((int32_t[]){ V }, 1, &o, &g));
}

/* More beams than tokens, and bans that leave hardly any. */
static void test_narrow(void **state)
{
    (void)state;
    generation_options o = defaults();
    o.num_beams = 200;
    o.num_return_sequences = 2;
    o.max_new_tokens = 3;
    got g = {0};
    OK(search((int32_t[]){ 9 }, 1, &o, &g));
    assert_int_equal(g.n, 2);
    o.num_beams = 2;
    o.no_repeat_ngram_size = 1;
    o.max_new_tokens = 12;
    got distinct = {0};
    OK(search((int32_t[]){ 9 }, 1, &o, &distinct));
    for (int i = 0; i < 12; i++)
        for (int k = 0; k < i; k++) assert_int_not_equal(distinct.at[0].id[i], distinct.at[0].id[k]);
}

static void test_failed_allocations(void **state)
{
    (void)state;
    generation_options o = defaults();
    o.num_beams = 3;
    o.max_new_tokens = 5;
    o.logprobs = 4;
    decoder *d = genet__decoder_new(m, space, 3, &err);
    assert_non_null(d);
    int failures = 0;
    for (long n = 0;; n++) {
        got g = {0};
        genet__alloc_fail_after(n);
        bool ok = genet__beam_search(d, t, m, (int32_t[]){ 1, 2 }, 2, 1, &o, take, &g, &err);
        genet__alloc_fail_after(-1);
        if (ok) break;
        assert_int_equal(err.code, GENET_ERR_MEMORY);
        failures++;
    }
    assert_true(failures >= 2);
    genet__decoder_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equals_transformers), cmocka_unit_test(test_what_comes), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_padded_vocabulary),
        cmocka_unit_test(test_narrow), cmocka_unit_test(test_failed_allocations),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
