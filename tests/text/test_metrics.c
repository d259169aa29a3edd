/* labels: core
 * test_metrics.c - BLEU, chrF, ROUGE, SQuAD's numbers, GSM8K's and those of classes, against what sacreBLEU 2.6.0,
 * rouge_score 0.1.2, scikit-learn 1.9 and the scripts of SQuAD said of tests/golden/metrics/items.jsonl; and files of
 * predictions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>
#include "base/alloc.h"
#include "format/jsonl.h"
#include "golden/golden.h"
#include "text/scored.h"
#include "text/squad.h"
#include "text/metric.h"

static metric_options defaults(arena *a)
{
    genet_err err = {0};
    metric_options o;
    if (!genet__fields_defaults(&genet__metric_fields, &o, a, &err)) fail_msg("%s", err.text);
    return o;
}

static scored read_items(const char *predictions, const char *references)
{
    genet_err err = {0};
    scored s;
    if (!genet__scored_read(&s, predictions, &references, references ? 1 : 0, &err)) fail_msg("%s", err.text);
    return s;
}

static void add_items(metric *m, const scored *s, int from, int to)
{
    genet_err err = {0};
    for (int i = from; i < to; i++)
        if (!genet__metric_add(m, s->at[i].prediction, s->at[i].reference, s->at[i].n_reference, &err))
            fail_msg("item %d: %s", i, err.text);
}

static json_t *result_of(const metric *m)
{
    genet_err err = {0};
    json_t *j = genet__metric_result(m, &err);
    if (!j) fail_msg("%s", err.text);
    return j;
}

/* --- the references' numbers ------------------------------------------------------------- */

static void compare(const json_t *got, const json_t *wanted, const char *what)
{
    if (json_is_string(wanted)) assert_string_equal(json_string_value(got), json_string_value(wanted));
    else if (json_is_array(wanted))
        for (size_t i = 0; i < json_array_size(wanted); i++) compare(json_array_get(got, i), json_array_get(wanted, i), what);
    else if (!json_is_number(got) || fabs(json_number_value(got) - json_number_value(wanted)) > 1e-9)
        fail_msg("%s: %.12g, not %.12g", what, json_number_value(got), json_number_value(wanted));
}

/* One line of scores.jsonl: what the metric with these options says of all items, of each, and in words. */
static void compare_case(const json_t *c, const scored *s)
{
    genet_err err = {0};
    arena a = {0};
    metric_options o = defaults(&a);
    const char *name = json_string_value(json_object_get(c, "metric")), *key;
    json_t *value, *options = json_object_get(c, "options"), *each = json_object_get(c, "each");
    if (!genet__fields_from_json(&genet__metric_fields, &o, options, "options", &a, &err)) fail_msg("%s", err.text);
    metric *m = genet__metric_new(name, &o, &err);
    if (!m) fail_msg("%s", err.text);
    add_items(m, s, 0, s->n);
    json_t *got = result_of(m);
    json_object_foreach(json_object_get(c, "result"), key, value) compare(json_object_get(got, key), value, key);
    json_decref(got);
    if (json_object_get(c, "print")) {
        str text = {0};
        assert_true(genet__metric_print(m, &text, &err));
        assert_string_equal(genet__str(&text), json_string_value(json_object_get(c, "print")));
        genet__str_release(&text);
    }
    for (int i = 0; i < s->n; i++) {
        assert_true(genet__metric_clear(m, &err));
        add_items(m, s, i, i + 1);
        got = result_of(m);
        compare(json_object_get(got, m->kind->first), json_array_get(each, (size_t)i), name);
        json_decref(got);
    }
    genet__metric_free(m);
    genet__arena_release(&a);
}

static void test_reference(void **state)
{
    (void)state;
    genet_err err = {0};
    scored s = read_items(golden_path("metrics/items.jsonl"), NULL);
    jsonl r;
    json_t *c;
    int n = 0;
    assert_int_equal(s.n, 16);
    assert_true(genet__jsonl_open(&r, golden_path("metrics/scores.jsonl"), 0, &err));
    for (; (c = genet__jsonl_next(&r, &err)); n++, json_decref(c)) compare_case(c, &s);
    assert_true(!r.failed && n == 30);
    genet__jsonl_close(&r);
    genet__scored_release(&s);
}

/* --- one at a time --------------------------------------------------------------------------- */

typedef struct item { const char *prediction, *reference; } item;

/* The result's number `key` of these items. */
static double number(const char *name, const item *items, int n, const char *key)
{
    genet_err err = {0};
    arena a = {0};
    metric_options o = defaults(&a);
    metric *m = genet__metric_new(name, &o, &err);
    if (!m) fail_msg("%s", err.text);
    for (int i = 0; i < n; i++) assert_true(genet__metric_add(m, items[i].prediction, &items[i].reference, 1, &err));
    json_t *j = result_of(m);
    assert_true(json_is_number(json_object_get(j, key)));
    double x = json_number_value(json_object_get(j, key));
    json_decref(j);
    genet__metric_free(m);
    genet__arena_release(&a);
    return x;
}

/* Papineni et al. 2002, section 2: "the the the ..." has a clipped precision of 2/7; a text that is its reference has 100. */
static void test_known(void **state)
{
    (void)state;
    genet_err err = {0};
    arena a = {0};
    metric_options o = defaults(&a);
    o.max_ngram_order = 1;
    o.lowercase = true;
    metric *m = genet__metric_new("bleu", &o, &err);
    assert_non_null(m);
    const char *both[] = { "The cat is on the mat.", "There is a cat on the mat." };
    assert_true(genet__metric_add(m, "the the the the the the the", both, 2, &err));
    json_t *j = result_of(m);
    assert_true(fabs(json_number_value(json_array_get(json_object_get(j, "precisions"), 0)) - 200.0 / 7) < 1e-12);
    json_decref(j);
    genet__metric_free(m);
    genet__arena_release(&a);
    const item same = { "a text that is its reference", "a text that is its reference" };
    assert_true(fabs(number("bleu", &same, 1, "score") - 100) < 1e-12);
    assert_true(fabs(number("chrf", &same, 1, "score") - 100) < 1e-12);
    assert_true(number("rouge", &same, 1, "rougeL") == 1 && number("squad", &same, 1, "exact_match") == 100);
    /* Lin 2004, section 3: "police killed the gunman" and "police kill the gunman": ROUGE-L 3/4; with the words in another
     * order 2/4 */
    const item police[] = { { "police kill the gunman", "police killed the gunman" }, { "the gunman kill police", "police killed the gunman" } };
    assert_true(number("rouge", police, 1, "rougeL") == 0.75 && number("rouge", police + 1, 1, "rougeL") == 0.5);
}

static void test_numbers(void **state)
{
    (void)state;
    const struct { item i; double strict, flexible; } cases[] = {
        { { "5 and 3 make 8.\n#### 8", "3 + 5 = 8\n#### 8" }, 1, 1 },
        { { "#### 1,200", "so\n#### 1200" }, 1, 1 },
        { { "The answer is $18.", "#### 18" }, 0, 1 },
        { { "#### 7 or #### 8", "#### 7" }, 1, 0 },
        { { "#### -3", "#### 3" }, 0, 0 },
        { { "#### 18.", "18" }, 1, 1 },
        { { "#### ", "5" }, 0, 0 },
        { { "no number", "#### 2" }, 0, 0 },
        { { "it is -5", "#### -5" }, 0, 1 },
        { { "####  9", "9" }, 0, 1 },
        { { "", "" }, 0, 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double strict = number("gsm8k", &cases[i].i, 1, "exact_match"), flexible = number("gsm8k", &cases[i].i, 1, "flexible_extract");
        if (strict != cases[i].strict || flexible != cases[i].flexible) fail_msg("case %zu: %g %g", i, strict, flexible);
    }
}

/* By scikit-learn: y = a b b c c c, p = a a b c c x. */
static void test_classes(void **state)
{
    (void)state;
    const item items[] = { { "a", "a" }, { "a", "b" }, { "b", "b" }, { "c", "c" }, { "c", "c" }, { "x", "c" } };
    const struct { const char *key; double value; } wanted[] = {
        { "accuracy", 4.0 / 6 }, { "micro_f1", 4.0 / 6 }, { "macro_precision", 0.625 }, { "macro_recall", 0.5416666666666666 },
        { "macro_f1", 0.5333333333333333 }, { "weighted_precision", 0.9166666666666666 },
        { "weighted_recall", 0.6666666666666666 }, { "weighted_f1", 0.7333333333333333 },
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        double x = number("f1", items, 6, wanted[i].key);
        if (fabs(x - wanted[i].value) > 1e-12) fail_msg("%s: %.16g", wanted[i].key, x);
    }
    assert_true(number("accuracy", items, 6, "accuracy") == 4.0 / 6);
}

static void test_refused(void **state)
{
    (void)state;
    genet_err err = {0};
    arena a = {0};
    metric_options o = defaults(&a);
    const char *two[] = { "x", "y" };
    assert_null(genet__metric_new("blue", &o, &err));
    assert_non_null(strstr(err.text, "bleu, chrf, chrf++, rouge"));
    metric *m = genet__metric_new("bleu", &o, &err);
    assert_null(genet__metric_result(m, &err));
    assert_non_null(strstr(err.text, "nothing"));
    assert_false(genet__metric_add(m, "x", two, 0, &err));
    assert_false(genet__metric_add(m, "caf\xe9", two, 1, &err));
    assert_non_null(strstr(err.text, "byte 3"));
    genet__metric_free(m);
    m = genet__metric_new("f1", &o, &err);
    assert_false(genet__metric_add(m, "x", two, 2, &err));
    genet__metric_free(m);
    genet__arena_release(&a);
}

/* --- no memory ------------------------------------------------------------------------------- */

static bool all_metrics(const scored *s, genet_err *err)
{
    int n;
    const metric_kind *const *kinds = genet__metric_kinds(&n);
    arena a = {0};
    metric_options o;
    bool ok = genet__fields_defaults(&genet__metric_fields, &o, &a, err);
    o.rouge_stemmer = true;
    for (int k = 0; ok && k < n; k++) {
        json_t *j = NULL;
        metric *m = genet__metric_new(kinds[k]->name, &o, err);
        ok = m;
        for (int i = 0; ok && i < 8; i++) ok = genet__metric_add(m, s->at[i].prediction, s->at[i].reference, 1, err);
        ok = ok && (j = genet__metric_result(m, err));
        json_decref(j);
        genet__metric_free(m);
    }
    genet__arena_release(&a);
    return ok;
}

static void test_no_memory(void **state)
{
    (void)state;
    genet_err err = {0};
    const char *items = golden_path("metrics/items.jsonl");
    scored s = read_items(items, NULL);
    genet__alloc_fail_after(-1);
    assert_true(all_metrics(&s, &err));
    long n = genet__alloc_fail_after(-1), step = n / 400 + 1;
    for (long i = 0; i < n; i += step) {
        genet__alloc_fail_after(i);
        bool ok = all_metrics(&s, &err);
        genet__alloc_fail_after(-1);
        if (!ok) assert_int_equal(err.code, GENET_ERR_MEMORY);
    }
    genet__scored_release(&s);
    for (long i = 0; i < 200; i++) {
        genet__alloc_fail_after(i);
        bool ok = genet__scored_read(&s, items, NULL, 0, &err);
        genet__alloc_fail_after(-1);
        if (ok) genet__scored_release(&s);
        else assert_int_equal(err.code, GENET_ERR_MEMORY);
    }
}

/* --- SQuAD ----------------------------------------------------------------------------------- */

#define QA(more) "{\"data\": [{\"title\": \"T\", \"paragraphs\": [{\"context\": \"Été à Paris\", \"qas\": [" more "]}]}]}"

static void test_squad(void **state)
{
    (void)state;
    genet_err err = {0};
    squad s;
    const char *text = QA("{\"id\": \"1\", \"question\": \"Where?\", \"answers\": [{\"text\": \"Paris\", \"answer_start\": 6}, "
                          "{\"text\": \"Paris\", \"answer_start\": 5}, {\"text\": \"à\", \"answer_start\": 99}, {\"text\": \"là\"}]}, "
                          "{\"id\": \"2\", \"question\": \"Who?\", \"answers\": [], \"is_impossible\": true}");
    if (!genet__squad_parse(&s, text, strlen(text), "set", &err)) fail_msg("%s", err.text);
    assert_int_equal(s.n, 2);
    assert_string_equal(s.at[0].title, "T");
    assert_int_equal(s.at[0].n_answer, 4);
    assert_int_equal(s.at[0].answer[0].start, 9);       /* É, é and à are two bytes each */
    assert_string_equal(s.at[0].context + s.at[0].answer[0].start, "Paris");
    for (int i = 1; i < 4; i++) assert_int_equal(s.at[0].answer[i].start, -1);
    assert_true(s.at[1].impossible && !s.at[1].n_answer && !s.at[0].impossible);
    genet__squad_release(&s);
}

static void test_squad_refused(void **state)
{
    (void)state;
    static const struct { const char *text, *words; } cases[] = {
        { "[]", "set: must be an object with \"data\"" },
        { "{\"data\": {}}", "\"data\" must be an array" },
        { "{\"data\": [5]}", "set: data[0]: must be an object" },
        { "{\"data\": [{\"paragraphs\": [{\"qas\": []}]}]}", "set: data[0].paragraphs[0]: \"context\" is missing" },
        { QA("{\"question\": \"?\"}"), "data[0].paragraphs[0].qas[0]: \"id\" is missing" },
        { QA("{\"id\": 5, \"question\": \"?\"}"), "\"id\" must be a string" },
        { QA("{\"id\": \"1\", \"question\": \"?\", \"answers\": 3}"), "\"answers\" must be an array" },
        { QA("{\"id\": \"1\", \"question\": \"?\", \"answers\": [{\"answer_start\": 3}]}"), "qas[0].answers[0]: \"text\" is missing" },
        { QA("{\"id\": \"1\", \"question\": \"?\", \"answers\": [{\"text\": \"x\", \"answer_start\": \"3\"}]}"), "\"answer_start\" must be" },
        { QA("{\"id\": \"1\", \"question\": \"?\"}, {\"id\": \"1\", \"question\": \"?\"}"), "qas[1]: another question has the id \"1\"" },
        { QA("{\"id\": \"1\", \"question\": \"?\", \"is_impossible\": true, \"answers\": [{\"text\": \"x\"}]}"), "is_impossible" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        genet_err err = {0};
        squad s;
        assert_false(genet__squad_parse(&s, cases[i].text, strlen(cases[i].text), "set", &err));
        if (!strstr(err.text, cases[i].words)) fail_msg("case %zu: %s", i, err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference), cmocka_unit_test(test_known), cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_classes), cmocka_unit_test(test_refused), cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_squad), cmocka_unit_test(test_squad_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
