/* labels: core
 * test_pairs.c - pairs of texts from columns and JSON lines, what is refused with file and line, and what is held out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/file.h"
#include "text/pairs.h"

static genet_err err;
static char path[64];
static const pair_options plain = { .source_column = 1, .target_column = 2, .source_field = "source", .target_field = "target" };

#define OK(call) do { if (!(call)) fail_msg("%s: %s", #call, err.text); } while (0)

static int setup(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/tmp/genet-pairs.XXXXXX");
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

static bool read_text(pairs *p, const char *text, size_t n, const pair_options *o)
{
    const char *paths[] = { path };
    *p = (pairs){0};
    OK(genet__file_write_all(path, text, n, &err));
    return genet__pairs_read(p, paths, 1, o, &err);
}

static void expect_pair(const pairs *p, int i, const char *source, const char *target)
{
    assert_true(i < p->n);
    assert_string_equal(p->at[i].source, source);
    assert_string_equal(p->at[i].target, target);
}

static void refused(const char *text, size_t n, const pair_options *o, const char *words)
{
    pairs p;
    assert_false(read_text(&p, text, n, o));
    if (!strstr(err.text, words)) fail_msg("\"%s\" does not say \"%s\"", err.text, words);
    genet__pairs_release(&p);
}

static void test_columns(void **state)
{
    (void)state;
    static const char text[] = "\xef\xbb\xbf" "Hi.\tSalut.\tby x\r\n\nRun!\tCours !\n\tleer\nlast\tdernier";
    pairs p;
    OK(read_text(&p, text, sizeof text - 1, &plain));
    assert_int_equal(p.n, 3);
    assert_int_equal(p.n_empty, 1);
    expect_pair(&p, 0, "Hi.", "Salut.");
    expect_pair(&p, 1, "Run!", "Cours !");
    expect_pair(&p, 2, "last", "dernier");
    genet__pairs_release(&p);
    pair_options back = plain;
    back.source_column = 2, back.target_column = 1, back.prefix = "to English: ";
    OK(read_text(&p, "a\tb\n", 4, &back));
    expect_pair(&p, 0, "to English: b", "a");
    genet__pairs_release(&p);
    refused("a\tb\nalone\n", 10, &plain, "line 2 has 1 columns");
    refused("a\tb\0c\n", 6, &plain, "is zero");
    refused("a\t\xff\n", 4, &plain, "UTF-8");
    refused("\n", 1, &plain, "no pair");
    refused("", 0, &plain, path);
}

static void test_objects(void **state)
{
    (void)state;
    static const char text[] = "{\"source\": \"un\\ttab\", \"target\": \"one\"}\n{\"target\": \"two\", \"source\": \"deux\"}\n";
    static const char by_language[] = "{\"id\": 1, \"translation\": {\"fr\": \"un\", \"en\": \"one\"}}\n";
    pairs p;
    pair_options languages = plain;
    OK(read_text(&p, text, sizeof text - 1, &plain));
    expect_pair(&p, 0, "un\ttab", "one");
    expect_pair(&p, 1, "deux", "two");
    genet__pairs_release(&p);
    languages.source_lang = "fr", languages.target_lang = "en";
    OK(read_text(&p, by_language, sizeof by_language - 1, &languages));
    expect_pair(&p, 0, "un", "one");
    genet__pairs_release(&p);
    refused(by_language, sizeof by_language - 1, &plain, "--source-lang");
    refused("{\"source\": 1, \"target\": \"x\"}", 28, &plain, "line 1");
    refused("{\"source\": \"x\"}", 15, &plain, "target");
    refused("{\"translation\": [1]}", 20, &languages, "must be an object");
    refused("{\"source\": \"x\"\n", 15, &plain, "line 1, column");
}

static int held(const pairs *p, const char *text, bool target)
{
    int n = 0;
    for (int64_t i = 0; i < p->n; i++) n += p->at[i].held_out && !strcmp(target ? p->at[i].target : p->at[i].source, text);
    return n;
}

/* 400 targets with two sources each, of which neighbours share one. */
static void test_split(void **state)
{
    (void)state;
    str text = {0};
    pairs p, again;
    for (int i = 0; i < 400; i++) genet__str_printf(&text, "s%d\tt%d\ns%d\tt%d\n", i, i, i + 1, i);
    OK(read_text(&p, text.at, text.n, &plain));
    OK(genet__pairs_split(&p, 0.1, true, 7, &err));
    assert_true(p.n_held_out > 40 && p.n_held_out < 130 && p.n_held_out % 2 == 0);
    assert_int_equal(p.n + p.n_left_out, 800);
    for (int64_t i = 0; i < p.n; i++) {
        assert_int_equal(held(&p, p.at[i].target, true), p.at[i].held_out ? 2 : 0);
        if (!p.at[i].held_out) assert_int_equal(held(&p, p.at[i].source, false), 0);
    }
    OK(read_text(&again, text.at, text.n / 2, &plain));        /* the first half: the same are held out */
    OK(genet__pairs_split(&again, 0.1, true, 7, &err));
    for (int64_t i = 0; i < again.n; i++)
        if (again.at[i].held_out) assert_true(held(&p, again.at[i].target, true) > 0);
    genet__pairs_release(&p);
    genet__pairs_release(&again);
    genet__str_release(&text);
}

static void test_memory(void **state)
{
    (void)state;
    static const char text[] = "a\tb\nc\td\n";
    const char *paths[] = { path };
    bool ok = false;
    OK(genet__file_write_all(path, text, sizeof text - 1, &err));
    for (long n = 0; !ok; n++) {
        pairs p = {0};
        genet__alloc_fail_after(n);
        ok = genet__pairs_read(&p, paths, 1, &plain, &err) && genet__pairs_split(&p, 0.5, false, 1, &err);
        genet__alloc_fail_after(-1);
        if (!ok) assert_int_equal(err.code, GENET_ERR_MEMORY);
        genet__pairs_release(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_columns), cmocka_unit_test(test_objects), cmocka_unit_test(test_split), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
