/* labels: long
 * test_faults.c - a model's whole life (learn a tokenizer, train, save, resume, open, generate)
 * with every n-th allocation failing, and every n-th write, sync and rename: it ends in words,
 * leaves nothing half-written, and the same commands go on to the same bits afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/file.h"
#include "genet/model.h"

enum { LAST_STEP = 4 };

/* --- every allocation: also those of jansson, PCRE2, zlib and the C library ------------------- */

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static long left_before_failure = -1, made;

/* Nobody else's threads allocate in this test. */
static bool fails(void) { return made++, left_before_failure >= 0 && left_before_failure-- == 0; }

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
#define SHOWN __attribute__((visibility("default")))      /* to the shared libraries */
SHOWN void *malloc(size_t n) { return fails() ? (errno = ENOMEM, NULL) : __libc_malloc(n); }
SHOWN void *calloc(size_t n, size_t size) { return fails() ? (errno = ENOMEM, NULL) : __libc_calloc(n, size); }
SHOWN void *realloc(void *p, size_t n) { return fails() ? (errno = ENOMEM, NULL) : __libc_realloc(p, n); }

static long fail_after(long n)
{
    long before = made;
    made = 0;
    left_before_failure = n;
    return before;
}
#else
static long fail_after(long n) { return genet__alloc_fail_after(n); }
#endif

/* --- a life ---------------------------------------------------------------------------------- */

static char folder[200], data[250];
static genet_err err;

static bool set(genet_options *o, const char *name, const char *value) { return genet_options_set(o, name, value, &err); }

/* Up to step `steps`; a run that is there goes on. */
static bool train(genet_device *d, const char *steps)
{
    char out[300];
    genet_options *o = genet_options_new("train gpt2", &err);
    snprintf(out, sizeof out, "%s/run", folder);
    bool ok = o && set(o, "out", out) && set(o, "data", data) && set(o, "max_steps", steps) && set(o, "save_steps", "2") &&
              set(o, "eval_steps", "2");
    if (ok && genet__file_exists_in(out, "training/settings.json")) ok = set(o, "resume", "true");
    else
        ok = ok && set(o, "tokenizer", "bpe:270") && set(o, "n_layer", "1") && set(o, "n_head", "1") && set(o, "n_embd", "8") &&
             set(o, "block_size", "8") && set(o, "batch_size", "2") && set(o, "dropout", "0.1") && set(o, "tensorboard", "true");
    ok = ok && genet_train(o, d, NULL, NULL, &err);
    genet_options_free(o);
    return ok;
}

static bool add_piece(void *text, const genet_piece *p)
{
    size_t n = strlen(text);
    snprintf((char *)text + n, 1000 - n, "%s", p->text);
    return true;
}

static bool write_text(genet_device *d, char text[1000])
{
    char out[300];
    snprintf(out, sizeof out, "%s/run", folder);
    *text = 0;
    genet_model *m = genet_model_open(out, d, &err);
    genet_session *s = m ? genet_session_new(m, &err) : NULL;
    genet_options *o = s ? genet_options_new("generate", &err) : NULL;
    bool ok = o && set(o, "max_new_tokens", "6") && genet_generate(s, "The ", o, add_piece, text, &err);
    genet_options_free(o);
    genet_session_free(s);
    genet_model_free(m);
    return ok;
}

static bool life(char text[1000])
{
    genet_device *d = genet_device_cpu(1, &err);
    bool ok = d && train(d, "2") && train(d, "4") && write_text(d, text);
    genet_device_free(d);
    return ok;
}

typedef struct result { uint32_t weights, optimiser; char text[1000]; } result;

static result finish(void)
{
    result r = {0};
    char path[400];
    int64_t size;
    err = (genet_err){0};
    if (!life(r.text)) fail_msg("it does not go on: %s", err.text);
    snprintf(path, sizeof path, "%s/run/training/step-%d/model.safetensors", folder, LAST_STEP);
    assert_true(genet__file_crc32(path, &r.weights, &size, &err));
    snprintf(path, sizeof path, "%s/run/training/step-%d/optimizer.safetensors", folder, LAST_STEP);
    assert_true(genet__file_crc32(path, &r.optimiser, &size, &err));
    return r;
}

static void clean(void)
{
    char path[400];
    snprintf(path, sizeof path, "%s/run", folder);
    assert_true(genet__file_remove_tree(path, &err));
}

static int set_up(void **state)
{
    (void)state;
    const char *base = access("/dev/shm", W_OK) ? getenv("TMPDIR") : "/dev/shm";        /* thousands of syncs */
    snprintf(folder, sizeof folder, "%s/genet-faults-%ld", base && *base ? base : "/tmp", (long)getpid());
    snprintf(data, sizeof data, "%s/text.txt", folder);
    if (!genet__file_make_dirs(folder, &err)) return -1;
    char text[3000];
    for (int i = 0; i < 2999; i++) text[i] = "The cat sat on the mat, and that was that.\n"[i * (1 + i / 997) % 43];
    return genet__file_write_all(data, text, 2999, &err) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return genet__file_remove_tree(folder, &err) ? 0 : -1;
}

static void check_same(const result *want, const char *what, long n)
{
    result got = finish();
    if (got.weights != want->weights || got.optimiser != want->optimiser || strcmp(got.text, want->text))
        fail_msg("%s %ld failed: the run that goes on ends elsewhere", what, n);
}

/* Each one of the first, then as many as time allows, spread over the rest. */
static void test_allocations(void **state)
{
    (void)state;
    char text[1000];
    clean();
    result want = finish();
    clean();
    fail_after(-1);
    if (!life(text)) fail_msg("%s", err.text);
    long total = fail_after(-1), step = total / 1500 + 1;
    print_message("%ld allocations, every %ld. fails\n", total, step);
    for (long n = 0; n < total; n += n < 100 ? 1 : step) {
        clean();
        err = (genet_err){0};
        fail_after(n);
        bool ok = life(text);
        fail_after(-1);
        /* jansson's lexer takes a failed allocation for other JSON than stands there */
        bool told = err.code == GENET_ERR_MEMORY ? strstr(err.text, "memory") != NULL : err.code == GENET_ERR_FORMAT && *err.text;
        if (!ok && !told) fail_msg("allocation %ld of %ld: %s", n, total, err.text);
        if (ok || n % 7 == 0) check_same(&want, "allocation", n);
    }
}

static void test_writes(void **state)
{
    (void)state;
    char text[1000];
    clean();
    result want = finish();
    static const int errors[] = { ENOSPC, EIO };
    for (int i = 0; i < 2; i++) {
        bool ok = false;
        long n = 0;
        for (; !ok; n++) {
            clean();
            err = (genet_err){0};
            genet__file_fail_after(n, errors[i]);
            ok = life(text);
            long calls = genet__file_fail_after(-1, 0);
            if (!ok && err.code != GENET_ERR_IO) fail_msg("write %ld: %s", n, err.text);
            if (ok && calls > n) fail_msg("write %ld failed, and nobody noticed", n);
            check_same(&want, "write", n);
        }
        print_message("%ld writes, syncs and renames, each failed once with \"%s\"\n", n - 1, strerror(errors[i]));
        assert_true(n > 50);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_allocations), cmocka_unit_test(test_writes) };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
