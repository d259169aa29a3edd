/* labels: core
 * test_translate_api.c - texts from sources inside a C program: a tiny T5 is given a tokenizer of characters, and translates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "genet/model.h"
#include "golden/golden.h"
#include "text/tokenizer.h"

static char folder[64] = "/tmp/genet-translate.XXXXXX";
static genet_device *device;
static genet_model  *model;
static genet_err     err;

#define OK(call) do { if (!(call)) fail_msg("%s: %s", #call, err.text); } while (0)

static void copy(const char *name)
{
    char from[200], to[200];
    snprintf(from, sizeof from, "seq2seq/t5/%s", name);
    snprintf(to, sizeof to, "%s/%s", folder, name);
    OK(genet__file_copy(golden_path(from), to, &err));
}

/* ids 0 .. 40 are the characters from ' ' on. */
static int setup(void **state)
{
    (void)state;
    static char_set set;
    if (!mkdtemp(folder)) return -1;
    copy("config.json");
    copy("model.safetensors");
    for (uint32_t c = ' '; c < ' ' + 41; c++) char_set_add(&set, c);
    tokenizer *t = genet__tokenizer_from_chars(&set, &err);
    bool ok = t && genet__tokenizer_save(t, folder, &err);
    genet__tokenizer_free(t);
    device = genet_device_cpu(1, &err);
    return ok && (model = genet_model_open(folder, device, &err)) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    genet_model_free(model);
    genet_device_free(device);
    return genet__file_remove_tree(folder, &err) ? 0 : -1;
}

typedef struct got { char text[8][200]; int texts; } got;

static bool take(void *user, const genet_piece *p)
{
    got *g = user;
    size_t n = strlen(g->text[p->sequence]);
    snprintf(g->text[p->sequence] + n, sizeof g->text[0] - n, "%s", p->text);
    g->texts += p->finish != NULL;
    return true;
}

static void test_translate(void **state)
{
    (void)state;
    const char *const source[] = { "2+2", "(1,2,3)", "#" };
    got all = {{{0}}, 0}, again = {{{0}}, 0}, beams = {{{0}}, 0};
    genet_session *s = genet_session_new(model, &err);
    genet_options *o = genet_options_new("generate", &err);
    OK(s && o && genet_options_set(o, "max-new-tokens", "8", &err));
    OK(genet_translate(s, source, 3, o, take, &all, &err));
    assert_int_equal(all.texts, 3);
    const char *const turned[] = { source[2], source[1], source[0] };
    OK(genet_translate(s, turned, 3, o, take, &again, &err));
    for (int i = 0; i < 3; i++) assert_string_equal(again.text[i], all.text[2 - i]);
    OK(genet_options_set(o, "num-beams", "2", &err) && genet_options_set(o, "num-return-sequences", "2", &err));
    OK(genet_translate(s, source, 2, o, take, &beams, &err));
    assert_int_equal(beams.texts, 4);
    genet_options_free(o);
    genet_session_free(s);
}

static void test_refused(void **state)
{
    (void)state;
    const char *const source[] = { "", "2" };
    got g = {{{0}}, 0};
    genet_session *s = genet_session_new(model, &err);
    assert_false(genet_generate(s, "2", NULL, take, &g, &err));
    assert_non_null(strstr(err.text, "genet translate"));
    assert_false(genet_translate(s, source, 0, NULL, take, &g, &err));
    assert_false(genet_translate(s, (const char *const[]){ "a" }, 1, NULL, take, &g, &err));      /* no character of it is known */
    assert_false(genet_translate(s, NULL, 1, NULL, take, &g, &err));
    OK(genet_translate(s, source, 2, NULL, take, &g, &err));     /* of nothing the end token is read */
    genet_session_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_translate), cmocka_unit_test(test_refused) };
    return cmocka_run_group_tests(tests, setup, teardown);
}
