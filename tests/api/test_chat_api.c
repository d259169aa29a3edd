/* labels: core
 * test_chat_api.c - a conversation inside a C program: turns, choices, messages in and out, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api/little.h"
#include "base/alloc.h"

static genet_device  *device;
static genet_model   *model;
static genet_session *session;
static char           folder[200], trained[300], path[300];
static genet_err      err;

#define OK(call) do { if (!(call)) fail_msg("%s: %s", #call, err.text); } while (0)
#define REFUSED(call, words) do { \
    err = (genet_err){ GENET_OK, "" }; \
    if (call) fail_msg("%s was not refused", #call); \
    if (!strstr(err.text, words)) fail_msg("%s: \"%s\" does not say \"%s\"", #call, err.text, words); \
} while (0)

static const char template[] = "{% for m in messages %}{{ m.content }}\n{% endfor %}";

static int setup(void **state)
{
    (void)state;
    little_folder(folder);
    little_path(trained, folder, "model");
    device = genet_device_cpu(1, &err);
    genet_options *o = device ? little_options(folder, "model", "20", &err) : NULL;
    bool ok = o && genet_train(o, device, NULL, NULL, &err);
    genet_options_free(o);
    model = ok ? genet_model_open(trained, device, &err) : NULL;
    session = model ? genet_session_new(model, &err) : NULL;
    if (!session) print_error("%s\n", err.text);
    return session ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    genet_session_free(session);
    genet_model_free(model);
    genet_device_free(device);
    little_remove(folder);
    return 0;
}

typedef struct told { char text[200]; genet_chat *back; int n; } told;

static bool tell(void *user, const genet_piece *p)
{
    told *t = user;
    strncat(t->text, p->text, sizeof t->text - strlen(t->text) - 1);
    if (t->back) assert_false(genet_chat_answer(t->back, NULL, NULL, NULL, &err));      /* its session is busy */
    t->n++;
    return true;
}

static void test_turns(void **state)
{
    told heard = { .text = "" };
    (void)state;
    genet_options *o = genet_options_new("generate", &err);
    OK(o && genet_options_set(o, "max-new-tokens", "4", &err) && genet_options_set(o, "ignore-eos", "true", &err));
    REFUSED(genet_chat_new(session, NULL, &err), "has no chat template");
    OK(little_write(little_path(path, trained, "chat_template.jinja"), template));
    genet_chat *c = genet_chat_new(session, NULL, &err);
    OK(c && genet_chat_add(c, "user", "the", &err));
    heard.back = c;
    OK(genet_chat_answer(c, o, tell, &heard, &err));
    assert_true(heard.n > 0 && strlen(heard.text) > 0);
    char *all = genet_chat_messages(c, &err);
    assert_non_null(all);
    assert_non_null(strstr(all, "{\"role\": \"user\", \"content\": \"the\"}, {\"role\": \"assistant\", \"content\": \""));
    OK(genet_chat_set_messages(c, all, &err));
    free(all);
    const char *const text[] = { "a", "the" };
    double logprob[2];
    OK(genet_chat_weigh(c, text, 2, logprob, &err));
    assert_true(logprob[0] < 0 && logprob[1] < logprob[0] + 100);
    assert_int_equal(genet_chat_dropped(c), 0);
    REFUSED(genet_chat_set_messages(c, "[{}]", &err), "message 1");
    REFUSED(genet_chat_add(NULL, "user", "x", &err), "chat is NULL");
    genet_options *other = genet_options_new("eval", &err);
    REFUSED(genet_chat_answer(c, other, NULL, NULL, &err), "these are options of \"eval\"");
    genet_options_free(other);
    genet_chat_free(c);
    genet_options_free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_turns) };
    return cmocka_run_group_tests(tests, setup, teardown);
}
