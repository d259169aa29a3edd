/* labels: core
 * test_train.c - the loop on a toy: schedules, evaluation and patience, steps
 * that are not finite, failing disks and memory, resume, settings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/file.h"
#include "train/toy.h"
#include "train/save.h"
#include "train/settings.h"

static char folder[200];

static int setup(void **state)
{
    (void)state;
    toy_folder(folder, "train");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    toy_remove(folder);
    return 0;
}

static bool exists(const char *name)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return genet__file_exists(path);
}

/* --- schedules ---------------------------------------------------------------------- */

/* nanoGPT's get_lr with its own numbers. */
static void test_schedule(void **state)
{
    (void)state;
    train_options o = { .learning_rate = 1e-3, .min_lr = 1e-4, .warmup_steps = 100, .lr_schedule = "cosine" };
    assert_true(fabs(genet__schedule(&o, 2000, 0) - 1e-3 / 101) < 1e-12);
    assert_true(fabs(genet__schedule(&o, 2000, 99) - 1e-3 * 100 / 101) < 1e-12);
    assert_true(fabs(genet__schedule(&o, 2000, 100) - 1e-3) < 1e-12);
    assert_true(fabs(genet__schedule(&o, 2000, 1050) - 5.5e-4) < 1e-12);
    assert_true(fabs(genet__schedule(&o, 2000, 2000) - 1e-4) < 1e-12);
    o.lr_schedule = "linear";
    assert_true(fabs(genet__schedule(&o, 2000, 575) - (1e-4 + 0.75 * 9e-4)) < 1e-12);
    o.lr_schedule = "constant";
    assert_true(fabs(genet__schedule(&o, 2000, 1999) - 1e-3) < 1e-12);
    o.warmup_steps = 3000;      /* longer than the run */
    o.lr_schedule = "cosine";
    assert_true(genet__schedule(&o, 2000, 1999) < 1e-3);
}

/* --- a run ----------------------------------------------------------------------------- */

static void test_run(void **state)
{
    (void)state;
    toy t;
    assert_true(toy_open(&t, folder));
    if (!toy_train(&t)) fail_msg("%s", t.err.text);
    assert_int_equal(t.last.step, 6);
    assert_int_equal(t.last.best_step, 6);          /* it only gets better */
    assert_int_equal(t.n_score, 3);
    assert_true(exists("training/step-6") && exists("training/step-5") && !exists("training/step-4"));
    assert_true(toy_file_sum(folder, "model.safetensors") == toy_file_sum(folder, "training/step-6/model.safetensors"));
    assert_int_equal(t.n_warning, 0);
    toy_close(&t);
}

/* The best stays beside the limit, and on top. */
static void test_best_is_kept(void **state)
{
    (void)state;
    toy t;
    assert_true(toy_open(&t, folder));
    t.options.max_steps = 12;
    memcpy(t.scores, (double[]){ 3, 1, 2, 4, 5, 6 }, 6 * sizeof(double));
    t.n_scores = 6;
    assert_true(toy_train(&t));
    assert_int_equal(t.last.best_step, 4);
    assert_true(exists("training/step-4") && exists("training/step-11") && exists("training/step-12"));
    assert_true(!exists("training/step-10") && !exists("training/step-3"));
    assert_true(toy_file_sum(folder, "model.safetensors") == toy_file_sum(folder, "training/step-4/model.safetensors"));
    t.options.keep = "last";
    t.options.resume = true;
    assert_true(toy_train(&t));
    assert_true(toy_file_sum(folder, "model.safetensors") == toy_file_sum(folder, "training/step-12/model.safetensors"));
    toy_close(&t);
}

static void test_patience(void **state)
{
    (void)state;
    toy t;
    assert_true(toy_open(&t, folder));
    t.options.max_steps = 100;
    t.options.early_stopping_patience = 3;
    memcpy(t.scores, (double[]){ 3, 2, 2, 2.5, 2.1 }, 5 * sizeof(double));
    t.n_scores = 5;
    assert_true(toy_train(&t));
    assert_int_equal(t.last.step, 10);
    assert_int_equal(t.last.best_step, 4);
    assert_true(exists("training/step-10"));
    toy_close(&t);
    assert_true(toy_open(&t, folder));      /* more patience goes on */
    t.options.max_steps = 12;
    t.options.resume = true;
    t.options.early_stopping_patience = 5;
    assert_true(toy_train(&t));
    assert_int_equal(t.last.step, 12);
    t.job.evaluate = NULL;
    assert_false(toy_train(&t));
    assert_int_equal(t.err.code, GENET_ERR_USAGE);
    t.options.eval_steps = 0;
    assert_false(genet__train_check(&t.options, &t.err));
    toy_close(&t);
}

static void test_epochs(void **state)
{
    (void)state;
    toy t;
    assert_true(toy_open(&t, folder));
    t.options.epochs = 3;
    assert_true(toy_train(&t));
    assert_int_equal(t.last.step, 9);
    toy_close(&t);
}

/* --- what goes wrong ------------------------------------------------------------------- */

static void test_not_finite(void **state)
{
    (void)state;
    toy t;
    assert_true(toy_open(&t, folder));
    t.options.max_steps = 50;
    t.options.save_steps = 3;
    t.options.eval_steps = 0;
    t.poison_from = 5;
    assert_false(toy_train(&t));
    assert_non_null(strstr(t.err.text, "5 steps in a row, up to step 9"));
    assert_non_null(strstr(t.err.text, "training/step-3"));
    assert_true(exists("training/step-3") && !exists("training/step-6"));       /* bad at 6: not saved */
    toy_close(&t);
}

/* Fewer than five bad steps, or a score that is none, at the end: no success,
 * and the good save stays. */
static void test_ends_badly(void **state)
{
    (void)state;
    toy t;
    assert_true(toy_open(&t, folder));
    t.poison_from = 5;
    t.options.save_total_limit = 1;
    assert_false(toy_train(&t));
    assert_non_null(strstr(t.err.text, "2 steps in a row, up to step 6"));
    assert_true(exists("training/step-4") && !exists("training/step-5") && !exists("training/step-6"));
    assert_true(toy_file_sum(folder, "model.safetensors") == toy_file_sum(folder, "training/step-4/model.safetensors"));
    toy_close(&t);
    toy_remove(folder);
    assert_true(toy_open(&t, folder));
    memcpy(t.scores, (double[]){ 3, 2, -INFINITY }, 3 * sizeof(double));
    t.n_scores = 3;
    assert_false(toy_train(&t));
    assert_non_null(strstr(t.err.text, "validation loss was not finite"));
    assert_true(exists("training/step-5") && !exists("training/step-6"));
    assert_int_equal(t.last.best_step, 4);
    toy_close(&t);
}

/* What a metrics file says, but for speed and time. */
static void lines(char out[4000])
{
    char path[400];
    size_t n = 0;
    snprintf(path, sizeof path, "%s/training/metrics.jsonl", folder);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    for (char line[500]; fgets(line, sizeof line, f);)
        n += (size_t)snprintf(out + n, 4000 - n, "%.*s\n", (int)(strstr(line, "\"rows_per_s\"") - line), line);
    fclose(f);
}

/* Asked to stop in any step, also one with an evaluation: the resumed run is
 * the uninterrupted one, line by line. */
static void test_stop(void **state)
{
    (void)state;
    char want[4000], got[4000];
    for (int at = 0; at < 6; at++) {
        toy t;
        toy_remove(folder);
        assert_true(toy_open(&t, folder));
        t.options.log_steps = 3;
        t.stop_at = at;
        assert_int_equal(toy_train(&t), !at);
        if (at) assert_int_equal(t.err.code, GENET_ERR_STOPPED);
        toy_close(&t);
        if (!at) lines(want);
        else {
            assert_true(toy_open(&t, folder));
            t.options.log_steps = 3;
            t.options.resume = true;
            assert_true(toy_train(&t));
            assert_int_equal(t.last.best_step, 6);
            lines(got);
            assert_string_equal(got, want);
            toy_close(&t);
        }
    }
}

/* A model on top and no save that is whole: starting over would lose it. */
static void test_lost_saves(void **state)
{
    (void)state;
    char path[400];
    toy t;
    assert_true(toy_open(&t, folder) && toy_train(&t));
    toy_close(&t);
    uint64_t sum = toy_file_sum(folder, "model.safetensors");
    for (int step = 5; step <= 6; step++) {
        snprintf(path, sizeof path, "%s/training/step-%d/state.json", folder, step);
        assert_true(genet__file_write_all(path, "{}", 2, NULL));
    }
    assert_true(toy_open(&t, folder));
    t.options.resume = true;
    assert_false(toy_train(&t));
    assert_non_null(strstr(t.err.text, "damaged or gone"));
    assert_true(toy_file_sum(folder, "model.safetensors") == sum && exists("training/step-6"));
    toy_close(&t);
}

/* Foreign files are named and stay; what a failed start made goes. */
static void test_foreign_files(void **state)
{
    (void)state;
    char path[400];
    genet_err err;
    assert_true(genet__file_make_dirs(folder, &err));
    assert_true(genet__save_refuse(folder, &err));
    snprintf(path, sizeof path, "%s/README.md", folder);
    assert_true(genet__file_write_all(path, "mine", 4, &err));
    assert_false(genet__save_refuse(folder, &err));
    assert_non_null(strstr(err.text, "README.md is there already"));
    toy t;
    toy_remove(folder);
    assert_true(toy_open(&t, folder));
    t.poison_from = 1;
    t.options.max_steps = 50;
    assert_false(toy_train(&t));
    assert_true(exists("training/settings.json"));
    snprintf(path, sizeof path, "%s/notes.txt", folder);
    assert_true(genet__file_write_all(path, "mine", 4, &err));
    genet__save_undo(folder, true, true);
    assert_true(!exists("training") && exists("notes.txt"));
    toy_close(&t);
}

static void test_zero_gradient_is_named(void **state)
{
    (void)state;
    for (int accumulation = 1; accumulation <= 2; accumulation++) {
        toy t;
        toy_remove(folder);
        assert_true(toy_open(&t, folder));
        t.idle_weight = true;
        t.options.gradient_accumulation_steps = accumulation;
        assert_true(toy_train(&t));
        assert_int_equal(t.n_warning, 1);
        assert_non_null(strstr(t.warning, "gradient of idle is zero everywhere"));
        toy_close(&t);
    }
}

/* Train to the end in a fresh folder: what an interrupted run must come to. */
static void final_sums(uint64_t out[2])
{
    toy t;
    toy_remove(folder);
    assert_true(toy_open(&t, folder) && toy_train(&t));
    toy_close(&t);
    out[0] = toy_file_sum(folder, "training/step-6/model.safetensors");
    out[1] = toy_file_sum(folder, "training/step-6/optimizer.safetensors");
    toy_remove(folder);
}

static void resume_and_compare(const uint64_t sums[2])
{
    toy t;
    assert_true(toy_open(&t, folder));
    t.options.resume = true;
    if (!toy_train(&t)) fail_msg("%s", t.err.text);
    toy_close(&t);
    assert_true(toy_file_sum(folder, "training/step-6/model.safetensors") == sums[0]);
    assert_true(toy_file_sum(folder, "training/step-6/optimizer.safetensors") == sums[1]);
    assert_true(toy_file_sum(folder, "model.safetensors") == sums[0]);
}

/* The n-th write, sync or rename fails: words, and everything saved before
 * is whole. */
static void test_full_disk(void **state)
{
    (void)state;
    uint64_t sums[2];
    final_sums(sums);
    bool ok = false;
    for (int n = 0; !ok; n++) {
        toy t;
        toy_remove(folder);
        assert_true(toy_open(&t, folder));
        genet__file_fail_after(n, ENOSPC);
        ok = toy_train(&t);
        genet__file_fail_after(-1, 0);
        if (!ok) assert_non_null(strstr(t.err.text, "disk is full"));
        toy_close(&t);
        if (!ok) resume_and_compare(sums);
    }
}

/* The n-th allocation fails: an error, never a crash, and resume goes on. */
static void test_no_memory(void **state)
{
    (void)state;
    uint64_t sums[2];
    final_sums(sums);
    bool ok = false;
    for (int n = 0; !ok; n += 1 + n / 40) {
        toy t;
        toy_remove(folder);
        assert_true(toy_open(&t, folder));
        genet__alloc_fail_after(n);
        ok = toy_train(&t);
        genet__alloc_fail_after(-1);
        if (!ok && t.err.code != GENET_ERR_MEMORY) fail_msg("allocation %d: %s", n, t.err.text);
        toy_close(&t);
        if (!ok && n % 8 == 0) resume_and_compare(sums);
    }
}

/* --- metrics ------------------------------------------------------------------------------ */

static void test_metrics_are_cut(void **state)
{
    (void)state;
    char path[400];
    metrics m;
    genet_err err;
    snprintf(path, sizeof path, "%s/training", folder);
    assert_true(genet__file_make_dirs(path, &err));
    snprintf(path, sizeof path, "%s/training/metrics.jsonl", folder);
    const char text[] = "{\"step\": 1, \"loss\": 3}\n{\"step\": 4, \"loss\": 2}\n{\"step\": 5, \"loss\": 2}\n{\"step\": 6, \"lo";
    assert_true(genet__file_write_all(path, text, strlen(text), &err));
    assert_true(genet__metrics_open(&m, folder, 5, &err));
    genet__metrics_close(&m);
    assert_true(toy_file_sum(folder, "training/metrics.jsonl") >> 32 == 69);     /* the torn line is gone */
    assert_true(genet__metrics_open(&m, folder, 4, &err));
    genet__metrics_close(&m);
    assert_true(toy_file_sum(folder, "training/metrics.jsonl") >> 32 == 46);
}

/* --- settings ------------------------------------------------------------------------------ */

static void test_settings(void **state)
{
    (void)state;
    arena a = {0};
    genet_err err;
    train_options first, second;
    options o = { .arena = &a }, p = { .arena = &a };
    assert_true(genet__options_add(&o, &genet__train_fields, &first, &err));
    assert_true(genet__options_set(&o, "learning-rate", "0.25", &err));
    json_t *saved = genet__options_to_json(&o);
    assert_true(genet__options_add(&p, &genet__train_fields, &second, &err));
    assert_true(genet__options_set(&p, "max_steps", "77", &err));
    assert_true(genet__options_set(&p, "seed", "1337", &err));          /* the same: fine */
    assert_true(genet__options_resume(&p, saved, "here", &err));
    assert_true(second.learning_rate == 0.25 && second.max_steps == 77);
    assert_true(genet__options_was_given(&p, "max_steps") && !genet__options_was_given(&p, "learning_rate"));
    assert_true(genet__options_set(&p, "beta1", "0.5", &err));
    assert_false(genet__options_resume(&p, saved, "here", &err));
    assert_non_null(strstr(err.text, "beta1 = 0.9, and 0.5"));
    assert_false(genet__options_set(&p, "max_step", "1", &err));
    assert_non_null(strstr(err.text, "did you mean max_steps?"));
    json_decref(saved);
    genet__arena_release(&a);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_schedule), TEST(test_run), TEST(test_best_is_kept), TEST(test_patience), TEST(test_epochs),
        TEST(test_not_finite), TEST(test_ends_badly), TEST(test_stop), TEST(test_lost_saves),
        TEST(test_foreign_files), TEST(test_zero_gradient_is_named), TEST(test_full_disk), TEST(test_no_memory),
        TEST(test_metrics_are_cut), TEST(test_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
