/* labels: core
 * test_pool.c - threads: everyone works, barriers hold, memory is seen, the
 * arithmetic's modes are plain inside and the caller's outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fenv.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif
#include "base/alloc.h"
#include "base/file.h"
#include "base/pool.h"

enum { MOST = 13, ROUNDS = 60 };

typedef struct job { pool *p; int n; long slot[MOST]; long sum[MOST]; } job;

/* Each round: write one's own slot, meet, read all of them, meet. */
static void rounds(void *arg, int thread)
{
    job *j = arg;
    for (long r = 0; r < ROUNDS; r++) {
        j->slot[thread] = r + thread;
        genet__pool_barrier(j->p, thread);
        long sum = 0;
        for (int i = 0; i < j->n; i++) sum += j->slot[i];
        if (sum != r * j->n + j->n * (j->n - 1) / 2) j->sum[thread] = -1000000;
        j->sum[thread]++;
        genet__pool_barrier(j->p, thread);
    }
}

static void test_barrier(void **state)
{
    (void)state;
    static const int counts[] = { 1, 2, 3, 4, MOST };         /* more threads than cores too */
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        genet_err err = { 0 };
        job j = { .p = genet__pool_new(counts[c], &err), .n = counts[c] };
        assert_non_null(j.p);
        assert_int_equal(genet__pool_threads(j.p), counts[c]);
        for (int run = 0; run < 5; run++) {
            genet__pool_run(j.p, rounds, &j);
            for (int i = 0; i < j.n; i++) assert_int_equal(j.sum[i], ROUNDS * (run + 1));
        }
        genet__pool_free(j.p);
    }
}

static void count_one(void *arg, int thread)
{
    ((long *)arg)[thread]++;
}

/* Runs close together meet spinning threads, distant ones parked threads. */
static void test_park(void **state)
{
    (void)state;
    long count[3] = { 0 };
    pool *p = genet__pool_new(3, NULL);
    for (int i = 0; i < 300; i++) {
        genet__pool_run(p, count_one, count);
        if (i % 10 == 0) nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
    }
    for (int i = 0; i < 3; i++) assert_int_equal(count[i], 300);
    genet__pool_free(p);
    genet__pool_free(NULL);
    p = genet__pool_new(4, NULL);           /* never used */
    genet__pool_free(p);
}

typedef struct caller { pool *p; long count[2]; } caller;

static void add_shared(void *arg, int thread)
{
    caller *c = arg;
    c->count[thread] += 1;
}

static void *call_often(void *arg)
{
    caller *c = arg;
    for (int i = 0; i < 500; i++) genet__pool_run(c->p, add_shared, c);
    return NULL;
}

static void test_two_callers(void **state)
{
    (void)state;
    caller c = { .p = genet__pool_new(2, NULL) };
    pthread_t other;
    assert_int_equal(pthread_create(&other, NULL, call_often, &c), 0);
    call_often(&c);
    pthread_join(other, NULL);
    assert_int_equal(c.count[0], 1000);
    assert_int_equal(c.count[1], 1000);
    genet__pool_free(c.p);
}

static void look_at_modes(void *arg, int thread)
{
    bool *plain = arg;
    volatile float tiny = 0x1p-126f, half = 0.5f;
    plain[thread] = fegetround() == FE_TONEAREST && tiny * half == 0x1p-127f;
    fesetround(FE_DOWNWARD);                /* what a task leaves behind is gone at the next run */
}

static void test_modes(void **state)
{
    (void)state;
    pool *p = genet__pool_new(2, NULL);
    fesetround(FE_UPWARD);
#if defined(__SSE__)
    _mm_setcsr(_mm_getcsr() | 0x8040);      /* flush denormals, both ways */
    unsigned before = _mm_getcsr() & ~0x3fu;
#endif
    for (int run = 0; run < 2; run++) {
        bool plain[2] = { false, false };
        genet__pool_run(p, look_at_modes, plain);
        assert_true(plain[0] && plain[1]);
        assert_int_equal(fegetround(), FE_UPWARD);
#if defined(__SSE__)
        assert_int_equal(_mm_getcsr() & ~0x3fu, before);
#endif
    }
    fesetenv(FE_DFL_ENV);
    genet__pool_free(p);
}

#ifdef __linux__
static void look_where(void *arg, int thread)
{
    sched_getaffinity(0, sizeof(cpu_set_t), (cpu_set_t *)arg + thread);
}

/* A pinned worker may run on one processor, another on another where there is one; the caller as before. */
static void test_pin(void **state)
{
    (void)state;
    cpu_set_t before, at[3];
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    for (int pinned = 0; pinned < 2; pinned++) {
        setenv("GENET_PIN", pinned ? "1" : "0", 1);
        pool *p = genet__pool_new(3, NULL);
        genet__pool_run(p, look_where, at);
        genet__pool_free(p);
        unsetenv("GENET_PIN");
        assert_true(CPU_EQUAL(&at[0], &before));
        for (int i = 1; i < 3; i++) assert_int_equal(CPU_COUNT(&at[i]), pinned ? 1 : CPU_COUNT(&before));
        if (pinned && CPU_COUNT(&before) > 1) assert_false(CPU_EQUAL(&at[1], &at[2]));
    }
}
#endif

static void test_cpus(void **state)
{
    (void)state;
    int all = genet__pool_usable_cpus();
    assert_true(all >= 1);
    pool *p = genet__pool_new(0, NULL);
    assert_int_equal(genet__pool_threads(p), all);
    genet__pool_free(p);
#ifdef __linux__
    cpu_set_t old, one;
    assert_int_equal(sched_getaffinity(0, sizeof old, &old), 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &old)) CPU_SET(i, &one);
    if (sched_setaffinity(0, sizeof one, &one) == 0) assert_int_equal(genet__pool_usable_cpus(), 1);
    sched_setaffinity(0, sizeof old, &old);
#endif
}

/* A made-up /proc and /sys: files are "path" and "text" in turn. */
static int fake_cpus(const char *const *files)
{
    char root[] = "/tmp/genet-test-cgroup-XXXXXX", path[300];
    assert_non_null(mkdtemp(root));
    for (; *files; files += 2) {
        snprintf(path, sizeof path, "%s/%s", root, files[0]);
        *strrchr(path, '/') = 0;
        assert_true(genet__file_make_dirs(path, NULL));
        snprintf(path, sizeof path, "%s/%s", root, files[0]);
        assert_true(genet__file_write_all(path, files[1], strlen(files[1]), NULL));
    }
    int cpus = genet__pool_cgroup_cpus(root);
    assert_true(genet__file_remove_tree(root, NULL));
    return cpus;
}

static void test_quota(void **state)
{
    (void)state;
    assert_int_equal(fake_cpus((const char *[]){ NULL }), INT_MAX);
    assert_int_equal(fake_cpus((const char *[]){
        "proc/self/cgroup", "0::/\n", "sys/fs/cgroup/cpu.max", "150000 100000\n", NULL }), 2);
    assert_int_equal(fake_cpus((const char *[]){
        "proc/self/cgroup", "0::/\n", "sys/fs/cgroup/cpu.max", "max 100000\n", NULL }), INT_MAX);
    assert_int_equal(fake_cpus((const char *[]){        /* the parent's quota binds too */
        "proc/self/cgroup", "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max", "800000 100000\n",
        "sys/fs/cgroup/a/cpu.max", "300000 100000\n", NULL }), 3);
    assert_int_equal(fake_cpus((const char *[]){        /* version 1, the group's own folder not visible */
        "proc/self/cgroup", "5:memory:/docker/x\n4:cpuacct,cpu:/docker/x\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n", NULL }), 1);
    assert_int_equal(fake_cpus((const char *[]){
        "proc/self/cgroup", "4:cpu:/\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n", NULL }), INT_MAX);
    assert_int_equal(fake_cpus((const char *[]){ "proc/self/cgroup", "nonsense\n0::\n:\n::/../..\n", NULL }), INT_MAX);
}

static void test_refused(void **state)
{
    (void)state;
    genet_err err = { 0 };
    assert_null(genet__pool_new(-1, &err));
    assert_int_equal(err.code, GENET_ERR_USAGE);
    assert_null(genet__pool_new(1 << 20, &err));
    for (int n = 0;; n++) {
        genet__alloc_fail_after(n);
        pool *p = genet__pool_new(2, &err);
        genet__alloc_fail_after(-1);
        if (p) {
            genet__pool_free(p);
            break;
        }
        assert_true(n < 50);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_barrier), cmocka_unit_test(test_park), cmocka_unit_test(test_two_callers),
        cmocka_unit_test(test_modes), cmocka_unit_test(test_cpus), cmocka_unit_test(test_quota),
        cmocka_unit_test(test_refused),
#ifdef __linux__
        cmocka_unit_test(test_pin),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
