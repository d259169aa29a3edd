/* labels: long
 * test_resident.c - a thousand steps of a small GPT, evaluations and saves
 * included: after step 2 the resident set does not grow, and steps allocate nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/alloc.h"
#include "task/task.h"
#include "train/toy.h"

enum { STEPS = 1000, EVERY = 50 };

typedef struct watcher { long pages_at_2, pages_most; long allocations; int64_t quiet_steps; } watcher;

static long resident_pages(void)
{
    long size, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%ld %ld", &size, &resident) != 2) resident = 0;
    if (f) fclose(f);
    return resident;
}

static void watch(void *user, const train_event *e)
{
    watcher *w = user;
    if (e->kind != TRAIN_STEP) return;
    long pages = resident_pages();
    if (e->step == 2) w->pages_at_2 = pages;
    if (e->step > 2 && pages > w->pages_most) w->pages_most = pages;
    /* allocations since the event before: none in a step without log line, evaluation or save */
    long made = genet__alloc_fail_after(-1);
    if (e->step % EVERY > 1) {
        w->allocations += made;
        w->quiet_steps++;
    }
}

static void test_thousand_steps(void **state)
{
    (void)state;
    char folder[200], text[300];
    genet_err err;
    setup s;
    watcher w = {0};
    train_event last;
    const char *source = getenv("GENET_SOURCE");
    toy_folder(folder, "resident");
    snprintf(text, sizeof text, "%s/include/genet/genet.h", source ? source : ".");
    const char *const set[][2] = {
        { "data", text }, { "out", folder }, { "n_layer", "2" }, { "n_head", "2" }, { "n_embd", "32" }, { "block_size", "32" },
        { "batch_size", "4" }, { "max_steps", "1000" }, { "eval_steps", "50" }, { "save_steps", "50" }, { "log_steps", "50" },
    };
    assert_true(genet__setup_init(&s, "gpt2", NULL, &err));
    for (size_t i = 0; i < sizeof set / sizeof *set; i++)
        if (!genet__options_set(&s.options, set[i][0], set[i][1], &err)) fail_msg("%s", err.text);
    assert_true(genet__setup_settle(&s, &err) && genet__setup_check(&s, &err));
    s.device = genet_device_cpu(2, &err);
    s.workspace = genet_workspace_new(s.device);
    s.watch = watch;
    s.watcher = &w;
    if (!s.task->train(&s, &last, &err)) fail_msg("%s", err.text);
    assert_int_equal(last.step, STEPS);
    print_message("resident pages: %ld after step 2, %ld at most; %ld allocations in %lld steps\n", w.pages_at_2, w.pages_most,
                  w.allocations, (long long)w.quiet_steps);
    assert_int_equal(w.allocations, 0);
    assert_true(w.pages_most - w.pages_at_2 <= 64);         /* a quarter MiB: stacks and buffers of files */
    genet_workspace_free(s.workspace);
    genet_device_free(s.device);
    genet__setup_release(&s);
    toy_remove(folder);
}

int main(void)
{
    /* as the program does: large buffers of files go back to the system */
    mallopt(M_MMAP_THRESHOLD, 128 << 10);
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_thousand_steps) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
