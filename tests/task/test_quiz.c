/* labels: core
 * test_quiz.c - what may follow a text, against transformers (tests/golden/score/pairs.json: " c" after a context as
 * lm-evaluation-harness cuts it, 7 before what is empty); questions with choices, their file of results, and failing
 * memory. */
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
#include "base/file.h"
#include "base/json.h"
#include "golden/golden.h"
#include "task/quiz.h"
#include "text/tokenizer_train.h"
#include "train/toy.h"

static genet_device    *device;
static genet_workspace *space;
static model           *m;
static tokenizer       *t;
static char             folder[200], data[300], results[300];
static genet_err        err;

#define OK(call) do { if (!(call)) fail_msg("%s: %s", #call, err.text); } while (0)
#define FAILS(call, words) do { assert_false(call); \
    if (!strstr(err.text, words)) fail_msg("\"%s\" does not say \"%s\"", err.text, words); } while (0)

static void set_first(int64_t id)
{
    const field *f = genet__fields_find(m->family->config, "bos_token_id");
    *(int64_t *)((char *)m->config + f->offset) = id;
}

/* The tiny model of tests/golden/gpt2; its characters are those of the text. */
static int setup(void **state)
{
    size_t n = 0;
    uint32_t code = 0;
    (void)state;
    char *text = genet__file_read(golden_path("score/text.txt"), 1 << 20, &n, &err);
    char_set *set = calloc(1, sizeof *set);
    if (!text || !set) return -1;
    for (size_t i = 0; i < n; i += (size_t)genet__utf8_decode(text + i, n - i, &code), char_set_add(set, code)) {}
    t = genet__tokenizer_from_chars(set, &err);
    free(set);
    genet__free(text);
    device = genet_device_cpu(1, &err);
    space = genet_workspace_new(device);
    m = genet__model_open(golden_path("gpt2"), device, MODEL_READ_ONLY, &err);
    toy_folder(folder, "quiz");
    snprintf(data, sizeof data, "%s/data.jsonl", folder);
    snprintf(results, sizeof results, "%s/results.jsonl", folder);
    if (!t || !m || !genet__file_make_dirs(folder, &err)) return -1;
    set_first(7);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    toy_remove(folder);
    genet__tokenizer_free(t);
    genet__model_free(m);
    genet_workspace_free(space);
    genet_device_free(device);
    return 0;
}

/* --- pairs ------------------------------------------------------------------------------- */

static void test_pairs(void **state)
{
    (void)state;
    json_t *golden = genet__json_read(golden_path("score/pairs.json"), 1 << 20, &err);
    lm_scorer *s = genet__lm_scorer_new(m, t, space, &err);
    lm_pair pair[16];
    int n = (int)json_array_size(golden);
    assert_true(s && n == 9);
    for (int i = 0; i < n; i++) {
        const json_t *o = json_array_get(golden, (size_t)i);
        pair[i] = (lm_pair){ .context = json_string_value(json_object_get(o, "context")),
                             .continuation = json_string_value(json_object_get(o, "continuation")) };
    }
    OK(genet__lm_score_pairs(s, pair, n, &err));
    for (int i = 0; i < n; i++) {
        const json_t *o = json_array_get(golden, (size_t)i);
        double wanted = json_number_value(json_object_get(o, "log_probability"));
        if (!(fabs(pair[i].log_probability - wanted) <= 2e-6 * fabs(wanted)))
            fail_msg("pair %d: %.9g, not %.9g", i, pair[i].log_probability, wanted);
        assert_int_equal(pair[i].tokens, json_integer_value(json_object_get(o, "tokens")));
    }
    lm_pair alone = pair[3];
    alone.log_probability = 0;
    OK(genet__lm_score_pairs(s, &alone, 1, &err));
    assert_true(fabs(alone.log_probability - pair[3].log_probability) < 1e-5);
    genet__lm_scorer_free(s);
    json_decref(golden);
}

static void test_pairs_refused(void **state)
{
    (void)state;
    static const struct { lm_pair pair; const char *words; } cases[] = {
        { { .context = "a", .continuation = "" }, "no tokens of its own" },
        { { .context = "a", .continuation = " called twice, and" }, "the model sees 16" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lm_pair p = cases[i].pair;
        lm_scorer *s = genet__lm_scorer_new(m, t, space, &err);
        FAILS(genet__lm_score_pairs(s, &p, 1, &err), cases[i].words);
        genet__lm_scorer_free(s);
    }
    set_first(-1);
    lm_pair empty = { .context = "", .continuation = "x" };
    lm_scorer *s = genet__lm_scorer_new(m, t, space, &err);
    FAILS(genet__lm_score_pairs(s, &empty, 1, &err), "empty context");
    genet__lm_scorer_free(s);
    set_first(7);
}

/* --- questions --------------------------------------------------------------------------- */

static void write_file(const char *path, const char *text) { OK(genet__file_write_all(path, text, strlen(text), &err)); }

static quiz quiz_of(const quiz_options *o)
{
    return (quiz){ .folder = golden_path("gpt2"), .model = m, .tokenizer = t, .workspace = space, .data = data, .o = o };
}

static const char questions[] =
    "{\"query\": \"Will it\", \"choices\": [\"rain\", \"two words\"], \"answer\": 0}\n"
    "{\"query\": \"By\", \"choices\": [\"noon\", \"noon\"], \"answer\": 1}\n"
    "{\"query\": \"the\", \"choices\": [\"wind\"], \"answer\": \"wind\"}\n";

/* Of equal choices the first is taken; a single one is right. */
static void test_choices(void **state)
{
    (void)state;
    quiz_options o = { .results = results };
    quiz q = quiz_of(&o);
    quiz_choices all, again;
    write_file(data, questions);
    OK(genet__quiz_choices(&q, &all, &err));
    assert_int_equal(all.n, 3);
    assert_int_equal(all.resumed, 0);
    lm_pair pair[] = { { .context = "Will it", .continuation = " rain" }, { .context = "Will it", .continuation = " two words" } };
    lm_scorer *s = genet__lm_scorer_new(m, t, space, &err);
    OK(s && genet__lm_score_pairs(s, pair, 2, &err));
    genet__lm_scorer_free(s);
    double a = pair[0].log_probability, b = pair[1].log_probability;
    assert_true(all.accuracy == (1 + (a >= b)) / 3.0 && all.by_character == (1 + (a / 4 >= b / 9)) / 3.0);
    assert_true(all.by_byte == all.by_character);
    OK(genet__quiz_choices(&q, &again, &err));
    assert_int_equal(again.resumed, 3);
    assert_true(again.accuracy == all.accuracy && again.by_byte == all.by_byte);
}

static void test_results_refused(void **state)
{
    (void)state;
    quiz_options o = { .results = results };
    quiz q = quiz_of(&o);
    quiz_choices c;
    write_file(data, questions);
    write_file(results, "{\"key\": \"00000000\"}\n");
    FAILS(genet__quiz_choices(&q, &c, &err), "line 1 answers another question");
    write_file(results, "[1]\n");
    FAILS(genet__quiz_choices(&q, &c, &err), "line 1 answers another question");
    write_file(results, "no json\n");
    FAILS(genet__quiz_choices(&q, &c, &err), "line 1, column");
    o.results = folder;
    FAILS(genet__quiz_choices(&q, &c, &err), folder);
    o.results = NULL;
    write_file(data, "[]\n");
    FAILS(genet__quiz_choices(&q, &c, &err), "none of \"query\"");
    write_file(data, "{\"query\": \"a\", \"choices\": [], \"answer\": 0}\n");
    FAILS(genet__quiz_choices(&q, &c, &err), "choices");
    write_file(data, "{\"query\": \"a\", \"choices\": [\"b\", 3], \"answer\": 0}\n");
    FAILS(genet__quiz_choices(&q, &c, &err), "choices[1]");
    genet__file_remove_tree(results, &err);
}

/* Whatever fails, nothing leaks, and what is in the file of results is whole lines that the next run takes. */
static void test_out_of_memory(void **state)
{
    (void)state;
    quiz_options o = { .results = results };
    quiz q = quiz_of(&o);
    quiz_choices all, c;
    write_file(data, questions);
    OK(genet__quiz_choices(&q, &all, &err));
    bool ok = false;
    int failed = 0;
    for (long i = 0; !ok; i += 1 + i / 8, failed += !ok) {
        if (i % 3) genet__file_remove_tree(results, &err);
        quiz with = q;
        with.workspace = genet_workspace_new(device);
        genet__alloc_fail_after(i);
        ok = genet__quiz_choices(&with, &c, &err);
        genet__alloc_fail_after(-1);
        if (!ok) assert_int_equal(err.code, GENET_ERR_MEMORY);
        else assert_true(c.n == 3 && c.accuracy == all.accuracy);
        genet_workspace_free(with.workspace);
    }
    assert_true(failed > 20);
    OK(genet__quiz_choices(&q, &c, &err));
    assert_true(c.n == 3 && c.by_character == all.by_character);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs), cmocka_unit_test(test_pairs_refused), cmocka_unit_test(test_choices),
        cmocka_unit_test(test_results_refused), cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
