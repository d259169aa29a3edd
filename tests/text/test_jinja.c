/* labels: core
 * test_jinja.c - templates render as transformers 5.23 renders them (answers made with it, of our own templates), what is
 * outside is an error with its line, hostile templates end, and failed allocations are errors. */
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
#include "format/jsonl.h"
#include "golden/golden.h"
#include "text/jinja.h"

enum { NOW = 1721952000 };              /* 26 July 2024, as in the answers */
static const jinja_limits then = { .now = NOW };

/* The text, in *out, or false: err. */
static bool render_with(const char *text, size_t n, const json_t *variables, const jinja_limits *limits, str *out, genet_err *err)
{
    jinja *t = genet__jinja_parse(text, n, "chat", err);
    bool ok = t && genet__jinja_render(t, variables, limits, out, err);
    genet__jinja_free(t);
    return ok;
}

/* As the golden line says. */
static void expect(const char *text, size_t n, const json_t *variables, const json_t *line)
{
    genet_err err = { 0 };
    str out = { 0 };
    bool ok = render_with(text, n, variables, &then, &out, &err);
    const json_t *want = json_object_get(line, "text");
    if (ok != (want != NULL)) fail_msg("%.*s: %s", (int)n, text, ok ? genet__str(&out) : err.text);
    if (!ok) assert_true(!strncmp(err.text, "chat: line ", 11));
    if (ok && (out.n != json_string_length(want) || memcmp(genet__str(&out), json_string_value(want), out.n)))
        fail_msg("%.*s: \"%s\", not \"%s\"", (int)n, text, genet__str(&out), json_string_value(want));
    genet__str_release(&out);
}

static void test_cases(void **state)
{
    genet_err err = { 0 };
    jsonl r;
    json_t *line, *context = NULL;
    int n = 0;
    (void)state;
    if (!genet__jsonl_open(&r, golden_path("jinja/cases.jsonl"), 0, &err)) fail_msg("%s", err.text);
    for (; (line = genet__jsonl_next(&r, &err)); n++) {
        json_t *now = json_object_get(line, "context"), *text = json_object_get(line, "template");
        if (now) {
            json_decref(context);
            context = json_incref(now);
        } else {
            expect(json_string_value(text), json_string_length(text), context, line);
        }
        json_decref(line);
    }
    if (r.failed) fail_msg("%s", err.text);
    assert_true(n > 500);
    json_decref(context);
    genet__jsonl_close(&r);
}

static void test_chats(void **state)
{
    genet_err err = { 0 };
    jsonl r;
    json_t *line;
    int n = 0;
    (void)state;
    if (!genet__jsonl_open(&r, golden_path("jinja/chats.jsonl"), 0, &err)) fail_msg("%s", err.text);
    for (; (line = genet__jsonl_next(&r, &err)); n++) {
        char name[100];
        size_t size = 0;
        snprintf(name, sizeof name, "jinja/%s", json_string_value(json_object_get(line, "file")));
        char *text = genet__file_read(golden_path(name), 1 << 20, &size, &err);
        if (!text) fail_msg("%s", err.text);
        expect(text, size, json_object_get(line, "context"), line);
        genet__free(text);
        json_decref(line);
    }
    assert_true(n >= 90);
    genet__jsonl_close(&r);
}

/* Refused with words that hold these. */
static void refuse(const char *text, const char *words)
{
    genet_err err = { 0 };
    str out = { 0 };
    json_t *none = json_object();
    const jinja_limits small = { .max_steps = 1000000, .max_bytes = 8 << 20 };
    if (render_with(text, strlen(text), none, &small, &out, &err)) fail_msg("%s gives \"%s\"", text, genet__str(&out));
    if (!strstr(err.text, words)) fail_msg("%s: %s, not %s", text, err.text, words);
    json_decref(none);
    genet__str_release(&out);
}

static void test_refused(void **state)
{
    (void)state;
    refuse("a\nb {{ x|nosuch }}", "chat: line 2: the filter \"nosuch\" is not supported here");
    refuse("{% include 'x' %}", "chat: line 1: the tag {% include %} is not supported here");
    refuse("\n\n{{ 1 is nosuch }}", "line 3: the test \"nosuch\"");
    refuse("{{ 'a'.zfill(3) }}", "str.zfill is not supported here");
    refuse("{{ raise_exception('no ' ~ 5) }}", "the template says: no 5");
    refuse("{{ x.y }}", "'x' is undefined");
    refuse("{{ [].append(1) }}", "may not use \"append\" of a list");
    refuse("{{ ''.__class__.x }}", "may not use \"__class__\"");
    refuse("{% for x in [1] recursive %}{% endfor %}", "recursive");
    refuse("{% macro f() %}{{ varargs }}{% endmacro %}", "varargs");
    refuse("{{ \xff }}", "not UTF-8");
    refuse("{% if x %}", "{% elif else endif %} is missing");
    refuse("{{ 99999999999999999999 }}", "64 bits");
}

/* Text made of n times a piece. */
static void refuse_long(const char *front, const char *piece, int n, const char *back, const char *words)
{
    str text = { 0 };
    genet__str_add(&text, front);
    for (int i = 0; i < n; i++) genet__str_add(&text, piece);
    genet__str_add(&text, back);
    refuse(genet__str(&text), words);
    genet__str_release(&text);
}

static void test_hostile(void **state)
{
    (void)state;
    refuse("{% set r = range(9999) %}{% for a in range(1000) %}{{ 0.5 in r }}{% endfor %}", "steps");
    refuse("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "nested too deeply");
    refuse("{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(40) %}{% set ns.s = ns.s + ns.s %}{% endfor %}", "memory");
    refuse("{{ 'a' * 1000000000000 }}", "too long");
    refuse("{{ range(1000000) | list }}", "range");
    refuse("{% set ns = namespace(x=[]) %}{% for i in range(1000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}", "deeply");
    refuse("{% set ns = namespace(x=[1]) %}{% for i in range(40) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x == ns.x + [] }}"
           "{{ ns.x | tojson }}", "chat: line 1");
    refuse_long("{{ ", "(", 5000, " }}", "inside each other");
    refuse_long("{{ ", "not ", 5000, "x }}", "nested too deeply");
    refuse_long("{{ ", "-", 5000, "1 }}", "nested too deeply");
    refuse_long("{{ 1", " + 1", 5000, " }}", "nested too deeply");
    refuse_long("", "{% if 1 %}", 5000, "", "nested too deeply");
    refuse_long("{{ x", "|list", 5000, " }}", "nested too deeply");
}

static void test_reads(void **state)
{
    genet_err err = { 0 };
    static const char text[] = "{% for m in messages %}{{ m.tools }}{% endfor %}";
    jinja *t = genet__jinja_parse(text, strlen(text), "chat", &err);
    (void)state;
    assert_non_null(t);
    assert_true(genet__jinja_reads(t, "messages"));
    assert_false(genet__jinja_reads(t, "tools"));
    genet__jinja_free(t);
}

/* Every allocation fails once; the others succeed. */
static void test_memory(void **state)
{
    static const char text[] = "{% macro f(x=[1]) %}{{ x|join(',') }}{% endmacro %}{% for m in messages %}{{ m.role|upper }}"
                               "{{ f() ~ m|tojson(indent=2) ~ m.items()|list }}{% endfor %}{{ 'a' * 3000 }}";
    genet_err err = { 0 };
    json_t *variables = genet__json_parse("{\"messages\": [{\"role\": \"user\"}]}", 32, "test", &err);
    bool ok = false;
    (void)state;
    assert_non_null(variables);
    for (long n = 0; !ok && n < 200; n++) {
        str out = { 0 };
        genet_err why = { 0 };
        genet__alloc_fail_after(n);
        ok = render_with(text, strlen(text), variables, NULL, &out, &why);
        genet__alloc_fail_after(-1);
        if (!ok) assert_int_equal(why.code, GENET_ERR_MEMORY);
        else assert_true(out.n > 3000);
        genet__str_release(&out);
    }
    assert_true(ok);
    json_decref(variables);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases), cmocka_unit_test(test_chats), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_hostile), cmocka_unit_test(test_reads), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
