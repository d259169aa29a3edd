/* labels: core
 * test_threads.c - one model, many threads: each writes, completes and scores in
 * sessions of its own, on one device, and all get bit for bit what one thread
 * alone gets.  Sessions come and go while others work, and others train. */
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

enum { THREADS = 4, ROUNDS = 2, JOBS = 4, TEXT = 4096 };

static genet_device *device;
static genet_model  *model;
static char          folder[200];
static genet_err     err;

/* What one job answers. */
typedef struct answer {
    char        text[TEXT];
    size_t      n;
    double      score[4];
    genet_score evaluated;
    genet_completion completion[4];
    int         n_completion;
    bool        ok;
    genet_err   err;
} answer;

static bool keep(void *user, const genet_piece *p)
{
    answer *a = user;
    if (a->n + p->n_bytes >= TEXT) return false;
    memcpy(a->text + a->n, p->text, p->n_bytes);
    a->n += p->n_bytes;
    if (p->finish && p->sequence < 4) a->score[p->sequence] = p->score;
    return true;
}

static bool set(genet_options *o, const char *name, const char *value, genet_err *e) { return genet_options_set(o, name, value, e); }

/* Job k: another prompt, other options, another number of sequences. */
static bool generate(genet_session *s, int k, answer *a)
{
    static const char *const prompt[JOBS] = { "the sun ", "the cat sits under the tree in the town, the ", "o", "down" };
    static const char *const temperature[JOBS] = { "0", "0.8", "1", "1.5" }, *const seed[JOBS] = { "1", "2", "3", "4" };
    genet_options *o = genet_options_new("generate", &a->err);
    bool ok = o && set(o, "temperature", temperature[k], &a->err) && set(o, "seed", seed[k], &a->err) &&
              set(o, "max_new_tokens", "12", &a->err) && set(o, "num-return-sequences", k == 2 ? "3" : "1", &a->err) &&
              genet_generate(s, prompt[k], o, keep, a, &a->err);
    genet_options_free(o);
    return ok;
}

static void work(genet_session *s, int k, answer *a)
{
    static const char *const scored = "the moon goes up and the dog runs over the hill, the sun goes down to the tree.\n";
    a->ok = generate(s, k, a) && genet_evaluate(s, scored + k, strlen(scored + k), NULL, &a->evaluated, &a->err);
    if (k > 1) return;
    a->n_completion = 4;
    a->ok = a->ok && genet_complete(s, k ? "the do" : "the m", a->completion, &a->n_completion, &a->err);
}

/* All jobs, in an order of its own; a new session for each round, or one for each job. */
typedef struct crew { int number; answer answer[ROUNDS][JOBS]; } crew;

static void *run(void *arg)
{
    crew *c = arg;
    for (int round = 0; round < ROUNDS; round++) {
        genet_session *s = NULL;
        for (int i = 0; i < JOBS; i++) {
            int k = (i + c->number) % JOBS;
            answer *a = &c->answer[round][k];
            if (round == 1) genet_session_free(s), s = NULL;
            if (!s) s = genet_session_new(model, &a->err);
            if (s) work(s, k, a);
        }
        genet_session_free(s);
    }
    return NULL;
}

static int setup(void **state)
{
    (void)state;
    char path[300];
    little_folder(folder);
    device = genet_device_cpu(2, &err);
    genet_options *o = device ? little_options(folder, "model", "10", &err) : NULL;
    bool ok = o && genet_train(o, device, NULL, NULL, &err);
    genet_options_free(o);
    model = ok ? genet_model_open(little_path(path, folder, "model"), device, &err) : NULL;
    if (!model) print_error("%s\n", err.text);
    return model ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    genet_model_free(model);
    genet_device_free(device);
    little_remove(folder);
    return 0;
}

static void same(const answer *a, const answer *b)
{
    if (!b->ok) fail_msg("%s", b->err.text);
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->text, b->text, a->n);
    assert_memory_equal(a->score, b->score, sizeof a->score);
    assert_memory_equal(&a->evaluated, &b->evaluated, sizeof a->evaluated);
    assert_int_equal(a->n_completion, b->n_completion);
    for (int i = 0; i < a->n_completion; i++) {
        assert_string_equal(a->completion[i].text, b->completion[i].text);
        assert_memory_equal(&a->completion[i].probability, &b->completion[i].probability, sizeof(double));
    }
}

static void agree(void)
{
    crew *alone = calloc(1, sizeof *alone), *crews = calloc(THREADS, sizeof *crews);
    pthread_t thread[THREADS];
    assert_true(alone && crews);
    run(alone);
    for (int k = 0; k < JOBS; k++) {
        if (!alone->answer[0][k].ok) fail_msg("%s", alone->answer[0][k].err.text);
        assert_true(alone->answer[0][k].n > 0 && alone->answer[0][k].evaluated.tokens > 0);
        assert_true(k > 1 || alone->answer[0][k].n_completion > 0);
    }
    for (int i = 0; i < THREADS; i++) {
        crews[i].number = i;
        assert_int_equal(pthread_create(&thread[i], NULL, run, &crews[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
    for (int i = 0; i < THREADS; i++)
        for (int round = 0; round < ROUNDS; round++)
            for (int k = 0; k < JOBS; k++) same(&alone->answer[0][k], &crews[i].answer[round][k]);
    free(alone);
    free(crews);
}

static void test_threads_agree(void **state)
{
    (void)state;
    agree();
}

/* The same where the host cannot touch a device's memory, whose addresses are handed out to all threads. */
static void test_guarded(void **state)
{
    (void)state;
    char path[300];
    genet_model *usual = model;
    genet_device *guard = genet_device_guard(1, &err);
    assert_non_null(guard);
    model = genet_model_open(little_path(path, folder, "model"), guard, &err);
    assert_non_null(model);
    agree();
    genet_model_free(model);
    genet_device_free(guard);
    model = usual;
}

/* Text to ids and back, and descriptions, beside each other. */
static void *tokenize(void *arg)
{
    bool *ok = arg;
    char *text = little_text();
    *ok = text;
    for (int i = 0; *ok && i < 5; i++) {
        int32_t *ids;
        size_t n, n_bytes;
        if (!(*ok = genet_tokenize(model, text, strlen(text), &ids, &n, NULL))) break;
        char *back = genet_detokenize(model, ids, n, &n_bytes, NULL), *told = genet_model_describe(model, NULL);
        *ok = back && n_bytes == strlen(text) && !memcmp(back, text, n_bytes) && told;
        free(ids);
        free(back);
        free(told);
    }
    free(text);
    return NULL;
}

static void test_tokens_beside(void **state)
{
    (void)state;
    pthread_t thread[THREADS];
    bool ok[THREADS];
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&thread[i], NULL, tokenize, &ok[i]), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
    for (int i = 0; i < THREADS; i++) assert_true(ok[i]);
}

/* --- training while others write -------------------------------------------------------- */

static void *train(void *name)
{
    genet_err *e = calloc(1, sizeof *e);        /* the thread's answer: NULL when all is well */
    genet_options *o = little_options(folder, name, "12", e);
    bool ok = o && genet_train(o, device, NULL, NULL, e);
    genet_options_free(o);
    if (ok) free(e);
    return ok ? NULL : e;
}

static size_t weights(const char *name, char *bytes, size_t room)
{
    char in[300], path[300];
    FILE *f = fopen(little_path(path, little_path(in, folder, name), "model.safetensors"), "rb");
    assert_non_null(f);
    size_t n = fread(bytes, 1, room, f);
    fclose(f);
    return n;
}

static void test_training_beside(void **state)
{
    (void)state;
    enum { ROOM = 1 << 20 };
    char *a = calloc(2, ROOM), *b = a + ROOM;
    crew *c = calloc(1, sizeof *c);
    pthread_t thread;
    assert_true(a && c);
    assert_null(train("alone"));
    assert_int_equal(pthread_create(&thread, NULL, train, "beside"), 0);
    run(c);
    void *failed;
    pthread_join(thread, &failed);
    if (failed) fail_msg("%s", ((genet_err *)failed)->text);
    size_t n = weights("alone", a, ROOM);
    assert_true(n > 1000 && n == weights("beside", b, ROOM));
    assert_memory_equal(a, b, n);
    for (int k = 0; k < JOBS; k++) assert_true(c->answer[0][k].ok);
    free(a);
    free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_agree), cmocka_unit_test(test_guarded), cmocka_unit_test(test_tokens_beside),
        cmocka_unit_test(test_training_beside),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
