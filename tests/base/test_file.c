/* labels: core
 * test_file.c - files: whole or not at all, whatever fails and whenever the
 * process dies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/file.h"
#include "base/str.h"
#include "kill_at.h"

static char folder[] = "/tmp/genet-test-file-XXXXXX";

/* A path in the test's folder; each call ends the life of the one 8 calls ago. */
static const char *in(const char *name)
{
    static char path[8][200];
    static int turn;
    turn = (turn + 1) % 8;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return genet__file_remove_tree(folder, NULL) && !genet__file_exists(folder) ? 0 : -1;
}

static void expect(const char *path, const char *text)
{
    size_t n = 0;
    genet_err err = { 0 };
    char *got = genet__file_read(path, 1 << 20, &n, &err);
    assert_string_equal(err.text, "");
    assert_string_equal(got, text);
    assert_int_equal(n, strlen(text));
    genet__free(got);
}

static void put(const char *path, const char *text)
{
    genet_err err = { 0 };
    assert_true(genet__file_write_all(path, text, strlen(text), &err));
}

static void test_read(void **state)
{
    (void)state;
    genet_err err = { 0 };
    mapped m;
    put(in("a"), "hello");
    put(in("empty"), "");
    expect(in("a"), "hello");
    expect(in("empty"), "");
    assert_true(genet__file_map(&m, in("a"), &err));
    assert_int_equal(m.size_bytes, 5);
    assert_memory_equal(m.at, "hello", 5);
    genet__file_unmap(&m);
    assert_true(genet__file_map(&m, in("empty"), &err));
    assert_int_equal(m.size_bytes, 0);
    genet__file_unmap(&m);

    assert_null(genet__file_read(in("a"), 4, NULL, &err));
    assert_int_equal(err.code, GENET_ERR_FORMAT);
    assert_null(genet__file_read(in("absent"), 4, NULL, &err));
    char expected[300];
    snprintf(expected, sizeof expected, "cannot read %s: No such file or directory", in("absent"));
    assert_string_equal(err.text, expected);
    assert_false(genet__file_map(&m, folder, &err));
    assert_non_null(strstr(err.text, "Is a directory"));
    assert_int_equal(mkfifo(in("fifo"), 0600), 0);
    assert_false(genet__file_map(&m, in("fifo"), &err));        /* without waiting for a writer */
    assert_non_null(strstr(err.text, "not a regular file"));
}

static void test_crc(void **state)
{
    (void)state;
    uint32_t crc;
    int64_t size;
    assert_int_equal(genet__crc32(0, "123456789", 9), 0xcbf43926);      /* the check value of CRC-32 */
    put(in("check"), "123456789");
    assert_true(genet__file_crc32(in("check"), &crc, &size, NULL));
    assert_int_equal(crc, 0xcbf43926);
    assert_int_equal(size, 9);
    assert_false(genet__file_crc32(in("absent"), &crc, &size, NULL));
}

static void test_folders(void **state)
{
    (void)state;
    genet_err err = { 0 };
    assert_true(genet__file_make_dirs(in("d/e/f//g/"), &err));
    assert_true(genet__file_make_dirs(in("d/e"), &err));
    assert_true(genet__file_is_dir(in("d/e/f/g")));
    put(in("d/b"), "1");
    put(in("d/B"), "2");
    put(in("d/a10"), "3");
    put(in("d/a9"), "4");
    assert_int_equal(symlink("/", in("d/link")), 0);
    char **names = genet__file_list(in("d"), &err);
    static const char *const expected[] = { "B", "a10", "a9", "b", "e", "link", NULL };
    for (int i = 0; expected[i]; i++) assert_string_equal(names[i], expected[i]);
    assert_null(names[6]);
    genet__file_list_free(names);
    assert_null(genet__file_list(in("d/b"), &err));
    assert_false(genet__file_make_dirs(in("d/b/c"), &err));
    assert_non_null(strstr(err.text, "Not a directory"));
    assert_true(genet__file_rename(in("d"), in("moved"), &err));
    assert_false(genet__file_exists(in("d")));
    assert_true(genet__file_remove_tree(in("moved"), &err));
    assert_false(genet__file_exists(in("moved")));
    assert_true(genet__file_is_dir("/usr"));                    /* the link was not followed */
    assert_true(genet__file_remove_tree(in("moved"), &err));    /* absent is fine */
    assert_true(genet__file_exists("/") && !genet__file_exists(in("moved/x")));
}

static void test_writer(void **state)
{
    (void)state;
    genet_err err = { 0 };
    writer w;
    static char block[100000];
    uint32_t crc, expected = 0;
    int64_t size, total = 0;
    assert_true(genet__writer_open(&w, in("w"), &err));
    for (size_t n = 0; n < sizeof block; n = n * 3 + 1) {       /* below, at and over the buffer */
        memset(block, (int)n, n);
        assert_true(genet__writer_add(&w, block, n, &err));
        expected = genet__crc32(expected, block, n);
        total += (int64_t)n;
    }
    assert_int_equal(w.crc, expected);
    assert_int_equal(w.written, total);
    assert_false(genet__file_exists(in("w")));                  /* nothing before the commit */
    assert_true(genet__writer_commit(&w, &err));
    assert_true(genet__file_crc32(in("w"), &crc, &size, &err));
    assert_int_equal(crc, expected);
    assert_int_equal(size, total);

    assert_true(genet__writer_open(&w, in("w"), &err));
    assert_true(genet__writer_add(&w, "x", 1, &err));
    genet__writer_abandon(&w);
    genet__writer_abandon(&w);
    assert_false(genet__file_exists(in("w.tmp")));
    assert_true(genet__file_copy(in("w"), in("copy"), &err));
    assert_true(genet__file_crc32(in("copy"), &crc, &size, &err));
    assert_int_equal(crc, expected);
    assert_false(genet__file_copy(in("absent"), in("copy"), &err));
    assert_false(genet__writer_open(&w, in("no/such/folder"), &err));
    assert_int_equal(err.code, GENET_ERR_IO);
}

/* --- failures ------------------------------------------------------------- */

static bool save_new(void *arg)
{
    genet_err *err = arg;
    writer w;
    if (!genet__writer_open(&w, in("state"), err)) return false;
    for (int i = 0; i < 3; i++) genet__writer_add(&w, "new", 3, NULL);
    return genet__writer_commit(&w, err);
}

static bool copy_new(void *arg)
{
    return genet__file_copy(in("source"), in("state"), arg);
}

/* The n-th write, sync or rename fails, then the n-th allocation: the old
 * file is whole, no leftover lies about, and the message says why. */
static void fail_everywhere(bool (*save)(void *), const char *wanted)
{
    for (int kind = 0; kind < 2; kind++) {
        bool done = false;
        for (long n = 0; !done; n++) {
            genet_err err = { 0 };
            put(in("state"), "old");
            if (kind == 0) genet__file_fail_after(n, ENOSPC);
            else genet__alloc_fail_after(n);
            done = save(&err);
            genet__file_fail_after(-1, 0);
            genet__alloc_fail_after(-1);
            assert_false(genet__file_exists(in("state.tmp")));
            if (!done) assert_true(err.code == (kind ? GENET_ERR_MEMORY : GENET_ERR_IO));
            if (!done && kind == 0) assert_non_null(strstr(err.text, "the disk is full"));
            bool renamed = !done && n == 3 && kind == 0;        /* only the folder's sync failed */
            expect(in("state"), done || renamed ? wanted : "old");
            assert_true(n < 50);
        }
    }
}

static void test_failing_calls(void **state)
{
    (void)state;
    fail_everywhere(save_new, "newnewnew");
    put(in("source"), "newnewnew");
    fail_everywhere(copy_new, "newnewnew");
}

/* A size limit makes write stop short, as a full disk does. */
static void test_short_write(void **state)
{
    (void)state;
    static char large[300000];
    genet_err err = { 0 };
    struct rlimit old, small;
    put(in("state"), "old");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){ 100001, old.rlim_max };
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    bool ok = genet__file_write_all(in("state"), large, sizeof large, &err);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, handler);
    assert_false(ok);
    assert_non_null(strstr(err.text, "File too large"));
    expect(in("state"), "old");
    assert_false(genet__file_exists(in("state.tmp")));
}

/* Killed at each system call of a save, a reader finds the old or the new. */
static void test_killed(void **state)
{
    (void)state;
    bool (*const saves[2])(void *) = { save_new, copy_new };
    put(in("source"), "newnewnew");
    for (int k = 0; k < 2; k++) {
        kill_at_end end = KILLED;
        int n = 1, old = 0;
        for (; end == KILLED; n++) {
            genet_err err = { 0 };
            put(in("state"), "old");
            end = kill_at(n, saves[k], &err);
            if (end == CANNOT_TRACE) skip();
            assert_int_not_equal(end, FAILED);
            char *got = genet__file_read(in("state"), 100, NULL, &err);
            assert_non_null(got);
            if (strcmp(got, "old")) assert_string_equal(got, "newnewnew");
            else old++;
            genet__free(got);
        }
        assert_true(old >= 4 && n - old >= 2);      /* both were seen */
    }
}

/* A link is followed; what is no file is written as it is, and stays what it is. */
static void test_links_and_pipes(void **state)
{
    (void)state;
    struct stat is;
    put(in("real"), "old");
    assert_int_equal(symlink("real", in("link")), 0);
    put(in("link"), "new");
    expect(in("real"), "new");
    assert_true(lstat(in("link"), &is) == 0 && S_ISLNK(is.st_mode));
    assert_int_equal(mkfifo(in("pipe"), 0600), 0);
    int end = open(in("pipe"), O_RDONLY | O_NONBLOCK);
    char got[8] = { 0 };
    put(in("pipe"), "text");
    assert_true(read(end, got, sizeof got - 1) == 4 && !strcmp(got, "text"));
    assert_true(lstat(in("pipe"), &is) == 0 && S_ISFIFO(is.st_mode) && !genet__file_exists(in("pipe.tmp")));
    close(end);
    put("/dev/null", "nothing");
    assert_true(lstat("/dev/null", &is) == 0 && S_ISCHR(is.st_mode));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read), cmocka_unit_test(test_crc), cmocka_unit_test(test_folders),
        cmocka_unit_test(test_writer), cmocka_unit_test(test_failing_calls), cmocka_unit_test(test_short_write),
        cmocka_unit_test(test_killed), cmocka_unit_test(test_links_and_pipes)
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
