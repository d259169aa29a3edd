/* labels: core
 * test_json.c - JSON in and out, and tables of fields. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/fields.h"
#include "base/file.h"
#include "base/json.h"

static json_t *parse(const char *text, genet_err *err)
{
    return genet__json_parse(text, strlen(text), "a.json", err);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct { const char *text, *message; } bad[] = {
        { "", "a.json:1:0: " },
        { "{\n  \"a\": 1,\n  \"a\": 2\n}", "a.json:3:5: duplicate object key near '\"a\"'" },
        { "{\n\"a\": tru }", "a.json:2:8: " },
        { "{\"a\": \"\xff\"}", "a.json:1:" },
        { "{} x", "a.json:1:4: " },
        { "{\"a\": 1e999}", "a.json:1:11: real number overflow" },
        { "{\"a\": NaN}", "a.json:1:9: invalid token" }
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        genet_err err = { 0 };
        assert_null(parse(bad[i].text, &err));
        assert_int_equal(err.code, GENET_ERR_FORMAT);
        if (strncmp(err.text, bad[i].message, strlen(bad[i].message))) assert_string_equal(err.text, bad[i].message);
    }
    assert_null(genet__json_parse("[1]", 2, "cut", NULL));
}

static void test_depth(void **state)
{
    (void)state;
    enum { DEEP = 200000 };
    char *text = malloc(2 * DEEP + 1);
    for (int depth = GENET_JSON_MAX_DEPTH; depth <= GENET_JSON_MAX_DEPTH + 1; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        genet_err err = { 0 };
        json_t *j = genet__json_parse(text, (size_t)depth * 2, "deep", &err);
        assert_int_equal(j != NULL, depth <= GENET_JSON_MAX_DEPTH);
        if (!j) assert_string_equal(err.text, "deep:1:513: more than 512 levels of brackets");
        json_decref(j);
    }
    memset(text, '[', DEEP);
    assert_null(genet__json_parse(text, DEEP, "deep", NULL));
    free(text);
    json_t *j = parse("[\"[[[[\\\"[[[\"]", NULL);         /* brackets in strings are letters */
    assert_non_null(j);
    json_decref(j);
}

static void test_read_fields(void **state)
{
    (void)state;
    genet_err err = { 0 };
    json_t *j = parse("{\"i\": 7, \"r\": 2.5, \"w\": 3.0, \"big\": 1000000000000000019884624838656, \"b\": true,"
                      " \"s\": \"text\", \"n\": null}", &err);
    assert_non_null(j);
    int64_t i;
    double x;
    bool b, found;
    const char *s;
    assert_true(genet__json_int(j, "i", "a.json", &i, NULL, &err) && i == 7);
    assert_true(genet__json_int(j, "w", "a.json", &i, NULL, &err) && i == 3);
    assert_true(genet__json_double(j, "i", "a.json", &x, NULL, &err) && x == 7);
    assert_true(genet__json_double(j, "big", "a.json", &x, NULL, &err) && x == 1e30);
    assert_true(genet__json_bool(j, "b", "a.json", &b, NULL, &err) && b);
    assert_true(genet__json_string(j, "s", "a.json", &s, NULL, &err));
    assert_string_equal(s, "text");
    assert_true(genet__json_int(j, "absent", "a.json", &i, &found, &err) && !found);

    assert_false(genet__json_int(j, "absent", "a.json", &i, NULL, &err));
    assert_string_equal(err.text, "a.json: \"absent\" is missing");
    assert_false(genet__json_int(j, "r", "a.json", &i, NULL, &err));
    assert_string_equal(err.text, "a.json: \"r\" must be an integer, not a number");
    assert_false(genet__json_int(j, "big", "a.json", &i, &found, &err));
    assert_false(genet__json_bool(j, "n", "a.json", &b, NULL, &err));
    assert_string_equal(err.text, "a.json: \"n\" must be true or false, not null");
    assert_false(genet__json_string(j, "i", "a.json", &s, &found, &err));
    json_decref(j);
    j = parse("[1]", &err);
    assert_false(genet__json_int(j, "i", "a.json", &i, NULL, &err));
    assert_string_equal(err.text, "a.json: must be an object with \"i\"");
    json_decref(j);
}

static void print_and_compare(const json_t *j, int indent, const char *expected)
{
    str out = { 0 };
    genet__json_print(j, indent, &out);
    assert_string_equal(genet__str(&out), expected);
    genet__str_release(&out);
}

static void test_print(void **state)
{
    (void)state;
    static const char line[] = "{\"b\": [1, 2.5, 1.0, 1e-05, 1e+22], \"a\": \"q\\\"\\\\\\n\\u0001\xc3\xa9\", \"e\": {}, \"f\": [],"
                               " \"t\": true, \"n\": null}";
    json_t *j = parse(line, NULL);
    assert_non_null(j);
    print_and_compare(j, 0, line);
    json_decref(j);
    j = parse("{\"a\": {\"b\": [1, 2]}}", NULL);
    print_and_compare(j, 2, "{\n  \"a\": {\n    \"b\": [\n      1,\n      2\n    ]\n  }\n}");
    json_decref(j);
    static const char *const names[] = { "de_DE.UTF-8", "fr_FR.UTF-8" };
    for (int k = 0; k < 2; k++) {                   /* a host that writes 2,5 */
        if (!setlocale(LC_ALL, names[k])) continue;
        j = parse("[2.5]", NULL);
        assert_true(json_real_value(json_array_get(j, 0)) == 2.5);
        print_and_compare(j, 0, "[2.5]");
        json_decref(j);
        setlocale(LC_ALL, "C");
    }
}

/* --- fields --------------------------------------------------------------- */

typedef struct settings {
    int64_t  n_layer;
    double   learning_rate;
    bool     resume;
    const char *out, *keep;
    int_list hidden;
} settings;

#define AT(member) offsetof(settings, member)
static const field rows[] = {
    { "n_layer",       FIELD_INT,      AT(n_layer),       "4",    1, 1000, NULL, 0, "number of blocks" },
    { "learning_rate", FIELD_DOUBLE,   AT(learning_rate), "3e-4", 0, INFINITY, NULL, 0, "step size" },
    { "resume",        FIELD_BOOL,     AT(resume),        NULL,   0, 0, NULL, FIELD_RENEWABLE, "go on" },
    { "out",           FIELD_STRING,   AT(out),           NULL,   0, 0, NULL, FIELD_REQUIRED, "folder to write" },
    { "keep",          FIELD_CHOICE,   AT(keep),          "best", 0, 0, "best|last", 0, "which save" },
    { "hidden_layer_sizes", FIELD_INT_LIST, AT(hidden),   "64,32", 1, 4096, NULL, 0, "widths" }
};
static const fields table = { "Settings", rows, sizeof rows / sizeof *rows };

static void test_fields_set(void **state)
{
    (void)state;
    arena a = { 0 };
    settings s;
    genet_err err = { 0 };
    memset(&s, 0xff, sizeof s);
    assert_true(genet__fields_defaults(&table, &s, &a, &err));
    assert_true(s.n_layer == 4 && s.learning_rate == 3e-4 && !s.resume && !s.out);
    assert_string_equal(s.keep, "best");
    assert_true(s.hidden.n == 2 && s.hidden.at[0] == 64 && s.hidden.at[1] == 32);

    static const struct { const char *name, *text, *message; } steps[] = {
        { "n-layer", "12", NULL }, { "learning_rate", "1", NULL }, { "resume", NULL, NULL }, { "out", "run", NULL },
        { "keep", "last", NULL }, { "hidden-layer-sizes", "", NULL },
        { "n_layer", "0", "n_layer must be 1 to 1000, not 0" },
        { "n_layer", "4.5", "n_layer must be a whole number, not \"4.5\"" },
        { "n_layer", NULL, "n_layer needs a value" },
        { "learning-rate", "-1", "learning_rate must be at least 0, not -1" },
        { "learning-rate", "nan", "learning_rate must be a number, not \"nan\"" },
        { "keep", "bes", "keep must be one of best|last, not \"bes\"" },
        { "resume", "maybe", "resume must be true or false, not \"maybe\"" },
        { "hidden_layer_sizes", "64,", "hidden_layer_sizes must be whole numbers with commas between, not \"64,\"" },
        { "hidden_layer_sizes", "64,0", "hidden_layer_sizes must be 1 to 4096, not 0" },
        { "n-layers", "3", "there is no option \"n-layers\"; did you mean \"n_layer\"?" },
        { "quite_different", "3", "there is no option \"quite_different\"" }
    };
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        bool ok = genet__fields_set(&table, &s, steps[i].name, steps[i].text, &a, &err);
        assert_int_equal(ok, steps[i].message == NULL);
        if (!ok) assert_string_equal(err.text, steps[i].message);
    }
    assert_true(s.n_layer == 12 && s.learning_rate == 1 && s.resume && s.hidden.n == 0);
    assert_string_equal(s.out, "run");
    assert_string_equal(s.keep, "last");

    json_t *j = genet__fields_to_json(&table, &s);
    print_and_compare(j, 0, "{\"n_layer\": 12, \"learning_rate\": 1.0, \"resume\": true, \"out\": \"run\","
                            " \"keep\": \"last\", \"hidden_layer_sizes\": []}");
    settings back;
    assert_true(genet__fields_defaults(&table, &back, &a, &err));
    assert_true(genet__fields_from_json(&table, &back, j, "a.json", &a, &err));
    for (int i = 0; i < table.n; i++) {
        str x = { 0 }, y = { 0 };
        genet__fields_text(&rows[i], &s, &x);
        genet__fields_text(&rows[i], &back, &y);
        assert_string_equal(genet__str(&x), genet__str(&y));
        genet__str_release(&x);
        genet__str_release(&y);
    }
    json_decref(j);
    genet__arena_release(&a);
}

static void test_fields_from_json(void **state)
{
    (void)state;
    static const struct { const char *text, *message; } cases[] = {
        { "{\"other\": [], \"n_layer\": 2.0, \"out\": null, \"hidden_layer_sizes\": [1, 2, 3]}", NULL },
        { "{\"n_layer\": \"2\"}", "a.json: \"n_layer\" must be an integer, not a string" },
        { "{\"n_layer\": 0}", "a.json: n_layer must be 1 to 1000, not 0" },
        { "{\"keep\": \"x\"}", "a.json: keep must be one of best|last, not \"x\"" },
        { "{\"hidden_layer_sizes\": [1, \"2\"]}", "a.json: hidden_layer_sizes must be an array of integers" },
        { "{\"resume\": 1}", "a.json: \"resume\" must be true or false, not an integer" },
        { "[]", "a.json: must be a JSON object" }
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        arena a = { 0 };
        settings s;
        genet_err err = { 0 };
        assert_true(genet__fields_defaults(&table, &s, &a, &err));
        json_t *j = parse(cases[i].text, &err);
        bool ok = genet__fields_from_json(&table, &s, j, "a.json", &a, &err);
        assert_int_equal(ok, cases[i].message == NULL);
        if (!ok) assert_string_equal(err.text, cases[i].message);
        json_decref(j);
        genet__arena_release(&a);
    }
}

static void test_fields_words(void **state)
{
    (void)state;
    static const field other[] = { { "temperature", FIELD_DOUBLE, 0, "1", 0, 0, NULL, 0, "randomness" } };
    const fields more = { NULL, other, 1 }, *both[2] = { &table, &more };
    assert_string_equal(genet__fields_nearest(both, 2, "temprature"), "temperature");
    assert_string_equal(genet__fields_nearest(both, 2, "lerning-rate"), "learning_rate");
    assert_null(genet__fields_nearest(both, 2, "zzz"));
    assert_ptr_equal(genet__fields_find(&table, "hidden-layer_sizes"), &rows[5]);
    assert_null(genet__fields_find(&table, "n_laye"));
    assert_null(genet__fields_find(&table, "n_layers"));
    str s = { 0 };
    genet__fields_help(&table, &s);
    assert_string_equal(genet__str(&s),
        "Settings:\n"
        "  --n-layer N                         number of blocks (4)\n"
        "  --learning-rate X                   step size (3e-4)\n"
        "  --resume                            go on\n"
        "  --out TEXT                          folder to write (required)\n"
        "  --keep best|last                    which save (best)\n"
        "  --hidden-layer-sizes N,N,...        widths (64,32)\n");
    genet__str_release(&s);
}

/* --- out of memory -------------------------------------------------------- */

static void *json_malloc(size_t n)
{
    return genet__alloc(n);
}

/* Everything above again, jansson included, with the n-th allocation failing. */
static bool whole_round(arena *a, genet_err *err)
{
    settings s;
    str text = { 0 };
    bool ok = genet__fields_defaults(&table, &s, a, err) && genet__fields_set(&table, &s, "out", "x", a, err);
    json_t *j = ok ? genet__fields_to_json(&table, &s) : NULL;
    if (j) genet__json_print(j, 2, &text);
    json_t *back = j && !text.failed ? genet__json_parse(genet__str(&text), text.n, "x", err) : NULL;
    ok = back && genet__fields_from_json(&table, &s, back, "x", a, err) && s.hidden.n == 2;
    json_decref(back);
    json_decref(j);
    genet__str_release(&text);
    return ok;
}

static void test_no_memory(void **state)
{
    (void)state;
    json_set_alloc_funcs(json_malloc, genet__free);
    long n = 0;
    for (bool ok = false; !ok; n++) {
        arena a = { 0 };
        genet_err err = { 0 };
        genet__alloc_fail_after(n);
        ok = whole_round(&a, &err);
        genet__alloc_fail_after(-1);
        /* jansson calls a key it could not store a syntax error */
        if (!ok && err.code) assert_true(err.code == GENET_ERR_MEMORY || err.code == GENET_ERR_FORMAT);
        genet__arena_release(&a);
    }
    json_set_alloc_funcs(malloc, free);
    assert_true(n > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused), cmocka_unit_test(test_depth), cmocka_unit_test(test_read_fields),
        cmocka_unit_test(test_print), cmocka_unit_test(test_fields_set), cmocka_unit_test(test_fields_from_json),
        cmocka_unit_test(test_fields_words), cmocka_unit_test(test_no_memory)
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
