/* labels: core
 * test_adapters.c - several adapters on one base inside a C program: each writes as it does alone, on threads beside each other,
 * and the base as before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api/little.h"

enum { N = 2, ROUNDS = 4, TEXT = 200 };
static genet_device *device;
static genet_model  *base;
static char          folder[200], trained[300], adapter[N][300];
static genet_err     err;

#define OK(call) do { if (!(call)) fail_msg("%s: %s", #call, err.text); } while (0)

static bool keep(void *user, const genet_piece *p)
{
    strncat(user, p->text, TEXT - strlen(user) - 1);
    return true;
}

/* What m writes after "the "; "": it failed. */
static void write_with(const genet_model *m, char out[TEXT])
{
    genet_err why;
    genet_session *s = genet_session_new(m, &why);
    genet_options *o = genet_options_new("generate", &why);
    *out = 0;
    if (!s || !o || !genet_options_set(o, "temperature", "0", &why) || !genet_options_set(o, "max_new_tokens", "24", &why) ||
        !genet_generate(s, "the ", o, keep, out, &why)) *out = 0;
    genet_options_free(o);
    genet_session_free(s);
}

/* An adapter of the base that learns another line. */
static bool train_adapter(int i)
{
    static const char *const line[N] = { "the the the the the\n", "the moon moon moon\n" }, *const name[N] = { "a", "b" };
    char data[300];
    FILE *f = fopen(little_path(data, folder, "text.txt"), "w");
    for (int k = 0; f && k < 60; k++) fputs(line[i], f);
    if (!f || fclose(f)) return false;
    genet_options *o = genet_options_new("train gpt2", &err);
    const char *const option[][2] = {
        { "out", little_path(adapter[i], folder, name[i]) }, { "data", data }, { "from", trained }, { "lora_rank", "4" },
        { "lora_modules", "all-linear" }, { "max_steps", "60" }, { "batch_size", "4" }, { "learning_rate", "3e-2" }, { "warmup_steps", "2" },
    };
    bool ok = o;
    for (size_t k = 0; ok && k < sizeof option / sizeof *option; k++) ok = genet_options_set(o, option[k][0], option[k][1], &err);
    ok = ok && genet_train(o, device, NULL, NULL, &err);
    genet_options_free(o);
    return ok;
}

static int setup(void **state)
{
    (void)state;
    little_folder(folder);
    little_path(trained, folder, "model");
    device = genet_device_cpu(1, &err);
    genet_options *o = device ? little_options(folder, "model", "20", &err) : NULL;
    bool ok = o && genet_train(o, device, NULL, NULL, &err);
    genet_options_free(o);
    for (int i = 0; ok && i < N; i++) ok = train_adapter(i);
    base = ok ? genet_model_open(trained, device, &err) : NULL;
    if (!base) print_error("%s\n", err.text);
    return base ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    genet_model_free(base);
    genet_device_free(device);
    little_remove(folder);
    return 0;
}

typedef struct crew { int number; bool ok; char text[ROUNDS][TEXT]; } crew;

/* Adapters come and go while the others write. */
static void *run(void *arg)
{
    crew *c = arg;
    genet_err why;
    c->ok = true;
    for (int round = 0; round < ROUNDS; round++) {
        genet_model *m = genet_model_adapt(base, adapter[c->number], &why);
        if (m) write_with(m, c->text[round]);
        c->ok = c->ok && m;
        genet_model_free(m);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    char before[TEXT], after[TEXT], alone[N][TEXT];
    pthread_t id[N];
    crew crews[N] = { { .number = 0 }, { .number = 1 } };
    write_with(base, before);
    for (int i = 0; i < N; i++) {
        genet_model *m = genet_model_open(adapter[i], device, &err);       /* with a base of its own */
        OK(m);
        write_with(m, alone[i]);
        genet_model_free(m);
        assert_true(strlen(alone[i]) > 10 && strcmp(alone[i], before));
    }
    assert_string_not_equal(alone[0], alone[1]);
    for (int i = 0; i < N; i++) assert_int_equal(pthread_create(&id[i], NULL, run, &crews[i]), 0);
    for (int i = 0; i < N; i++) {
        pthread_join(id[i], NULL);
        assert_true(crews[i].ok);
        for (int round = 0; round < ROUNDS; round++) assert_string_equal(crews[i].text[round], alone[i]);
    }
    write_with(base, after);
    assert_string_equal(before, after);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    genet_model *m = genet_model_adapt(base, adapter[0], &err);
    OK(m);
    assert_null(genet_model_adapt(m, adapter[1], &err));
    assert_non_null(strstr(err.text, "adapted already"));
    genet_model_free(m);
    assert_null(genet_model_adapt(base, trained, &err));
    assert_non_null(strstr(err.text, "adapter_config.json"));
    assert_null(genet_model_adapt(NULL, trained, &err));
    assert_null(genet_model_adapt(base, NULL, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_threads), cmocka_unit_test(test_what_is_refused) };
    return cmocka_run_group_tests(tests, setup, teardown);
}
