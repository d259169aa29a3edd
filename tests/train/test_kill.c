/* labels: long
 * test_kill.c - a run killed just before any of its system calls, in saves
 * and between them, goes on with --resume and ends bit for bit as an
 * uninterrupted one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "kill_at.h"
#include "train/toy.h"
#include "train/save.h"

static char folder[200];

/* A short run with two saves, one of which drops the other. */
static bool train(void *resume)
{
    toy t;
    bool ok = toy_open(&t, folder);
    t.options.max_steps = 3;
    t.options.eval_steps = 1;
    t.options.save_total_limit = 1;
    t.options.resume = *(bool *)resume;
    ok = ok && toy_train(&t);
    if (!ok) fprintf(stderr, "%s\n", t.err.text);
    toy_close(&t);
    return ok;
}

/* Killed before anything was written, there is no run to resume yet. */
static bool go_on(void)
{
    bool resume = genet__save_exists(folder);
    return train(&resume);
}

typedef struct sums { uint64_t weights, optimiser, top; } sums;

static sums result(void)
{
    return (sums){ toy_file_sum(folder, "training/step-3/model.safetensors"),
                   toy_file_sum(folder, "training/step-3/optimizer.safetensors"), toy_file_sum(folder, "model.safetensors") };
}

static bool has_leftovers(void)
{
    char path[300];
    genet_err err;
    bool found = false;
    snprintf(path, sizeof path, "%s/training", folder);
    char **names = genet__file_list(path, &err);
    for (int i = 0; names && names[i]; i++) found |= strstr(names[i], ".tmp") != NULL;
    genet__file_list_free(names);
    return found;
}

static void test_every_system_call(void **state)
{
    (void)state;
    bool fresh = false;
    toy_folder(folder, "kill");
    assert_true(train(&fresh));
    sums want = result();
    assert_true(want.weights && want.optimiser && want.top);
    kill_at_end end = KILLED;
    for (int n = 1; end == KILLED; n++) {
        toy_remove(folder);
        end = kill_at(n, train, &fresh);
        if (end == CANNOT_TRACE) skip();
        assert_true(end == KILLED || end == FINISHED);
        if (!go_on()) fail_msg("killed before system call %d: the run does not go on", n);
        sums got = result();
        if (memcmp(&got, &want, sizeof got)) fail_msg("killed before system call %d: another result", n);
        if (has_leftovers()) fail_msg("killed before system call %d: leftovers", n);
    }
    toy_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_every_system_call) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
