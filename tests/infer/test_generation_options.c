/* labels: core
 * test_generation_options.c - what generation_config.json says over the defaults and the user over it; files that lie are
 * named with field and reason; what does not go together is refused. */
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
#include "infer/generate.h"

static arena     strings;
static genet_err err;

#define OK(call) do { if (!(call)) fail_msg("%s: %s", #call, err.text); } while (0)

static bool named(const void *user, const char *name)
{
    for (const char *const *g = user; *g; g++)
        if (!strcmp(*g, name)) return true;
    return false;
}

/* The defaults, what the user set, and a file that says this. */
static bool defaults(generation_options *o, const char *json, const char *const *given)
{
    char folder[] = "/tmp/genet-generate-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/generation_config.json", folder);
    assert_true(genet__file_write_all(path, json, strlen(json), &err));
    bool ok = genet__generation_defaults(o, folder, given ? named : NULL, given, &strings, &err);
    assert_true(genet__file_remove_tree(folder, &err));
    return ok;
}

static generation_options fresh(void)
{
    generation_options o = {0};
    OK(genet__fields_defaults(&genet__generation_fields, &o, &strings, &err));
    return o;
}

static void test_file_defaults(void **state)
{
    (void)state;
    generation_options o = fresh();
    OK(genet__generation_defaults(&o, "/nowhere", NULL, NULL, &strings, &err));
    assert_true(o.temperature == 0.8 && o.max_new_tokens == 200);
    OK(defaults(&o, "{\"_from_model_config\": true, \"do_sample\": true, \"temperature\": 0.5, \"top_k\": 50, \"top_p\": null,"
                "\"eos_token_id\": [50256, 198], \"early_stopping\": true, \"stop_strings\": [\"a\\nb\", \"c\\\\\"]}",
                NULL));
    assert_true(o.temperature == 0.5 && o.top_k == 50 && o.top_p == 1 && o.eos_token_id.n == 2 &&
                o.eos_token_id.at[1] == 198);
    assert_string_equal(o.early_stopping, "true");
    assert_string_equal(o.stop, "a\\nb\nc\\\\");
    o = fresh();
    OK(defaults(&o, "{\"do_sample\": false, \"eos_token_id\": 7, \"early_stopping\": \"never\", \"max_length\": 90}", NULL));
    assert_true(o.temperature == 0 && o.eos_token_id.n == 1 && o.eos_token_id.at[0] == 7);
    assert_true(o.max_length == 90 && o.max_new_tokens == 90);
    o = fresh();
    o.temperature = 0.3;
    o.max_new_tokens = 10;
    static const char *const given[] = { "temperature", "max_new_tokens", NULL };
    OK(defaults(&o, "{\"do_sample\": false, \"temperature\": 2, \"max_length\": 90, \"max_new_tokens\": 4, \"top_k\": 3}", given));
    assert_true(o.temperature == 0.3 && o.max_new_tokens == 10 && o.max_length == 0 && o.top_k == 3);
    o = fresh();
    o.num_beams = 3;
    OK(defaults(&o, "{\"do_sample\": true, \"temperature\": 2}", (const char *const[]){ "num_beams", NULL }));
    assert_true(o.temperature == 0 && o.num_beams == 3);
    OK(genet__generation_check(&o, &err));
}

static void test_hostile_file(void **state)
{
    (void)state;
    static const struct { const char *json, *words; } cases[] = {
        { "[1]", "must be a JSON object" }, { "{\"top_k\": \"many\"}", "top_k" },
        { "{\"top_p\": 7}", "top_p must be 0 to 1" },
        { "{\"do_sample\": 1}", "do_sample" }, { "{\"eos_token_id\": \"x\"}", "eos_token_id" },
        { "{\"eos_token_id\": [1, \"x\"]}", "eos_token_id" }, { "{\"eos_token_id\": -5}", "eos_token_id" },
        { "{\"early_stopping\": 3}", "early_stopping" }, { "{\"early_stopping\": \"soon\"}", "early_stopping" },
        { "{\"stop_strings\": [3]}", "stop_strings" }, { "{\"temperature\": -1}", "temperature" },
        { "{\"max_length\": -1}", "max_length" }, { "{\"num_beams\": 1e99}", "num_beams" },
        { "{", "generation_config.json" }, { "{\"typical_p\": 0}", "typical_p must be above 0" },
        { "{\"repetition_penalty\": 0.0}", "repetition_penalty must be above 0" },
        { "{\"num_beams\": 2, \"num_return_sequences\": 3}", "num_return_sequences 3 is more than num_beams 2" },
        { "{\"num_beams\": 4, \"do_sample\": true}", "num_beams 4 with do_sample true" },
        { "{\"eos_token_id\": [1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3]}", "eos_token_id" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        generation_options o = fresh();
        assert_false(defaults(&o, cases[i].json, NULL));
        if (!strstr(err.text, cases[i].words) || !strstr(err.text, "generation_config.json"))
            fail_msg("%s: %s", cases[i].json, err.text);
        assert_int_equal(err.code, GENET_ERR_FORMAT);
    }
}

/* What the user has a part in is the user's: the file is not blamed, or the user's word goes before it. */
static void test_user_and_file(void **state)
{
    (void)state;
    static const char beams[] = "{\"num_beams\": 4, \"do_sample\": true, \"num_return_sequences\": 3}";
    generation_options o = fresh();
    o.num_beams = 2;
    OK(defaults(&o, beams, (const char *const[]){ "num_beams", NULL }));
    assert_false(genet__generation_check(&o, &err));
    assert_int_equal(err.code, GENET_ERR_USAGE);
    o = fresh();
    o.temperature = 0;
    OK(defaults(&o, beams, (const char *const[]){ "temperature", NULL }) && genet__generation_check(&o, &err));
    assert_int_equal(o.num_beams, 4);
    o = fresh();
    o.temperature = 0.5;
    OK(defaults(&o, beams, (const char *const[]){ "temperature", NULL }));
    assert_false(genet__generation_check(&o, &err));
    o = fresh();
    OK(defaults(&o, "{\"num_beams\": 4, \"temperature\": 0.7}", NULL) && genet__generation_check(&o, &err));
    assert_true(o.num_beams == 4 && o.temperature == 0);
    o = fresh();
    o.typical_p = 0.5;
    OK(defaults(&o, "{\"typical_p\": 0}", (const char *const[]){ "typical_p", NULL }) && genet__generation_check(&o, &err));
}

/* A file that is there speaks of end tokens alone, also when it names none. */
static void test_who_names_end_tokens(void **state)
{
    (void)state;
    generation_options o = fresh();
    OK(genet__generation_defaults(&o, "/nowhere", NULL, NULL, &strings, &err));
    assert_true(!o.eos_of_file && !o.eos_token_id.n);
    OK(defaults(&o, "{}", NULL));
    assert_true(o.eos_of_file && !o.eos_token_id.n);
    OK(defaults(&o, "{\"eos_token_id\": null}", NULL));
    assert_true(o.eos_of_file && !o.eos_token_id.n);
    OK(defaults(&o, "{\"eos_token_id\": [0,1,2,3,4,5,6,7,8,9]}", NULL));
    assert_true(o.eos_of_file && o.eos_token_id.n == 10);
    o = fresh();
    o.eos_token_id = (int_list){ .n = 1, .at = { 4 } };
    OK(defaults(&o, "{\"eos_token_id\": 5}", (const char *const[]){ "eos_token_id", NULL }));
    assert_true(!o.eos_of_file && o.eos_token_id.n == 1 && o.eos_token_id.at[0] == 4);
}

/* No memory for the file: an error, and what the user set stays. */
static void test_file_without_memory(void **state)
{
    (void)state;
    char folder[] = "/tmp/genet-generate-XXXXXX", path[64];
    static const char json[] = "{\"top_k\": 5, \"eos_token_id\": 3, \"stop_strings\": [\"a\"], \"do_sample\": false}";
    bool ok = false;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/generation_config.json", folder);
    assert_true(genet__file_write_all(path, json, strlen(json), &err));
    for (long n = 0; !ok && n < 1000; n++) {
        generation_options o = fresh();
        arena a = {0};
        genet__alloc_fail_after(n);
        ok = genet__generation_defaults(&o, folder, NULL, NULL, &a, &err);
        genet__alloc_fail_after(-1);
        if (!ok) assert_int_equal(err.code, GENET_ERR_MEMORY);
        else assert_true(o.top_k == 5 && o.temperature == 0 && o.eos_token_id.at[0] == 3 && !strcmp(o.stop, "a") && n);
        genet__arena_release(&a);
    }
    assert_true(ok && genet__file_remove_tree(folder, &err));
}

static void test_options_together(void **state)
{
    (void)state;
    generation_options o = fresh();
    OK(genet__generation_check(&o, &err));
    o.num_beams = 2;
    assert_false(genet__generation_check(&o, &err));
    assert_non_null(strstr(err.text, "num_beams 2 with temperature 0.8"));
    o.temperature = 0;
    OK(genet__generation_check(&o, &err));
    o.num_return_sequences = 3;
    assert_false(genet__generation_check(&o, &err));
    assert_int_equal(genet__generation_rows(&o), 3);
    o = fresh();
    o.repetition_penalty = 0;
    assert_false(genet__generation_check(&o, &err));
    o = fresh();
    o.typical_p = 0;
    assert_false(genet__generation_check(&o, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file_defaults), cmocka_unit_test(test_hostile_file),
        cmocka_unit_test(test_file_without_memory),
        cmocka_unit_test(test_user_and_file), cmocka_unit_test(test_who_names_end_tokens),
        cmocka_unit_test(test_options_together),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    genet__arena_release(&strings);
    return failed;
}
