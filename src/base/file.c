/* file.c - files and folders: reading, folders, renaming, copying.
 *
 * Writing, syncing and renaming go through the few functions at the top, which
 * repeat what a signal interrupts, and which tests can make fail.  The atomic
 * writer built on them lives in writer.c. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "base/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/str.h"

/* --- the calls that tests can make fail ---------------------------------- */

static atomic_long calls_left = -1;         /* until one fails; negative: never */
static atomic_long calls_made;
static atomic_int  calls_errno;

long genet__file_fail_after(long n, int errno_value)
{
    atomic_store(&calls_errno, errno_value);
    atomic_store(&calls_left, n);
    return atomic_exchange(&calls_made, 0);
}

/* true, with errno set, when this call is the one to fail. */
static bool must_fail(void)
{
    atomic_fetch_add(&calls_made, 1);
    long n = atomic_load(&calls_left);
    while (n >= 0)
        if (atomic_compare_exchange_weak(&calls_left, &n, n - 1)) {
            if (n == 0) errno = atomic_load(&calls_errno);
            return n == 0;
        }
    return false;
}

bool genet__file_write(int fd, const void *bytes, size_t n)
{
    if (must_fail()) return false;
    const char *at = bytes;
    while (n > 0) {
        ssize_t done = write(fd, at, n < 1u << 30 ? n : 1u << 30);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return false;
        at += done;
        n -= (size_t)done;
    }
    return true;
}

bool genet__file_sync(int fd)
{
    if (must_fail()) return false;
    int rc;
    do rc = fsync(fd); while (rc != 0 && errno == EINTR);
    return rc == 0 || errno == EINVAL || errno == EROFS;    /* pipes and some file systems cannot sync */
}

static bool rename_call(const char *from, const char *to)
{
    return !must_fail() && rename(from, to) == 0;
}

static int open_call(const char *path, int flags)
{
    int fd;
    do fd = open(path, flags | O_CLOEXEC); while (fd < 0 && errno == EINTR);
    return fd;
}

/* A folder opens, and fails at the first read; here it is told at once. */
static bool regular(int fd, struct stat *st, const char *path, genet_err *err)
{
    if (fstat(fd, st) != 0) return genet__err_errno(err, "read", path);
    if (S_ISREG(st->st_mode)) return true;
    if (!S_ISDIR(st->st_mode)) return genet__err_set(err, GENET_ERR_IO, "cannot read %s: not a regular file", path);
    errno = EISDIR;
    return genet__err_errno(err, "read", path);
}

int genet__file_open(const char *path, genet_err *err)
{
    struct stat st;
    int fd = open_call(path, O_RDONLY | O_NONBLOCK);
    if (fd < 0) genet__err_errno(err, "read", path);
    else if (!regular(fd, &st, path, err)) close(fd), fd = -1;
    return fd;
}

static ssize_t read_call(int fd, void *to, size_t n)
{
    ssize_t got;
    do got = read(fd, to, n < 1u << 30 ? n : 1u << 30); while (got < 0 && errno == EINTR);
    return got;
}

/* --- reading -------------------------------------------------------------- */

enum { LARGE = 4 << 20 };

/* Fails with errno, so that the caller's message names the path. */
static bool map_open(mapped *m, int fd, genet_err *err, const char *path)
{
    struct stat st;
    TRY(regular(fd, &st, path, err));
    *m = (mapped){ (const unsigned char *)"", 0 };
    if (st.st_size == 0) return true;           /* mmap refuses length 0 */
    void *at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (at == MAP_FAILED) return genet__err_errno(err, "map", path);
#ifdef MADV_HUGEPAGE
    if (st.st_size >= LARGE) madvise(at, (size_t)st.st_size, MADV_HUGEPAGE);    /* read from disk in large pieces, found in large pages */
#endif
    *m = (mapped){ at, (size_t)st.st_size };
    return true;
}

bool genet__file_map(mapped *m, const char *path, genet_err *err)
{
    *m = (mapped){ 0 };
    int fd = genet__file_open(path, err);
    if (fd < 0) return false;
    bool ok = map_open(m, fd, err, path);
    close(fd);
    return ok;
}

bool genet__file_map_memory(mapped *m, size_t size_bytes, genet_err *err)
{
    void *at = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *m = (mapped){ 0 };
    if (at == MAP_FAILED) return genet__err_memory(err);
    *m = (mapped){ .at = at, .size_bytes = size_bytes };
    return true;
}

void genet__file_unmap(mapped *m)
{
    if (m->size_bytes) munmap((void *)m->at, m->size_bytes);
    *m = (mapped){ 0 };
}

static bool read_all(int fd, str *text, size_t max_bytes, const char *path, genet_err *err)
{
    char chunk[16384];
    for (;;) {
        ssize_t got = read_call(fd, chunk, sizeof chunk);
        if (got < 0) return genet__err_errno(err, "read", path);
        if (got == 0) break;
        if ((size_t)got > max_bytes - text->n)
            return genet__err_set(err, GENET_ERR_FORMAT, "%s is larger than the %zu bytes allowed here", path, max_bytes);
        genet__str_add_n(text, chunk, (size_t)got);
        if (text->failed) break;
    }
    genet__str_add_n(text, "", 0);              /* even an empty file gets its zero */
    return text->failed ? genet__err_memory(err) : true;
}

char *genet__file_read(const char *path, size_t max_bytes, size_t *size_bytes, genet_err *err)
{
    int fd = genet__file_open(path, err);
    if (fd < 0) return NULL;
    str text = { 0 };
    bool ok = read_all(fd, &text, max_bytes, path, err);
    close(fd);
    if (!ok) genet__str_release(&text);
    else if (size_bytes) *size_bytes = text.n;
    return text.at;
}

bool genet__file_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

bool genet__file_exists_in(const char *folder, const char *name)
{
    char path[4096];                /* no heap: a failed allocation must not read as "absent" */
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    return n > 0 && n < (int)sizeof path && genet__file_exists(path);
}

bool genet__file_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

uint32_t genet__crc32(uint32_t crc, const void *bytes, size_t n)
{
    return (uint32_t)crc32_z(crc, bytes, n);
}

bool genet__file_crc32(const char *path, uint32_t *crc, int64_t *size_bytes, genet_err *err)
{
    enum { CHUNK = 1 << 16 };
    int fd = genet__file_open(path, err);
    if (fd < 0) return false;
    char *chunk = genet__alloc(CHUNK);
    ssize_t got = 0;
    int64_t size = 0;
    *crc = 0;
    while (chunk && (got = read_call(fd, chunk, CHUNK)) > 0) {
        *crc = genet__crc32(*crc, chunk, (size_t)got);
        size += got;
    }
    bool ok = chunk && got == 0;
    if (!chunk) genet__err_memory(err);
    else if (!ok) genet__err_errno(err, "read", path);
    if (size_bytes) *size_bytes = size;
    genet__free(chunk);
    close(fd);
    return ok;
}

/* --- folders -------------------------------------------------------------- */

bool genet__file_make_dirs(const char *path, genet_err *err)
{
    char *part = genet__strdup(path);
    if (!part) return genet__err_memory(err);
    bool ok = true;
    size_t n = strlen(part);
    for (size_t i = 1; ok && i <= n; i++) {
        if (part[i] != '/' && part[i] != 0) continue;
        part[i] = 0;
        int code = mkdir(part, 0777) == 0 ? 0 : errno;
        if (code && !genet__file_is_dir(part)) {
            errno = code == EEXIST ? ENOTDIR : code;    /* a file where a folder should be */
            ok = genet__err_errno(err, "make the folder", path);
        }
        if (i < n) part[i] = '/';
    }
    genet__free(part);
    return ok;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Append the folder's names and the NULL at the end. */
static bool list_names(DIR *dir, char ***names, int *n, int *cap)
{
    for (struct dirent *e; (errno = 0, e = readdir(dir));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        char *copy = genet__strdup(e->d_name);
        if (!copy || !genet__grow(names, cap, *n + 2, sizeof **names)) {
            genet__free(copy);
            errno = ENOMEM;
            return false;
        }
        (*names)[(*n)++] = copy;
    }
    if (errno) return false;
    if (genet__grow(names, cap, *n + 1, sizeof **names)) return true;
    errno = ENOMEM;
    return false;
}

char **genet__file_list(const char *path, genet_err *err)
{
    char **names = NULL;
    int n = 0, cap = 0;
    DIR *dir = opendir(path);
    bool ok = dir && list_names(dir, &names, &n, &cap);
    if (!ok) genet__err_errno(err, "list the folder", path);
    if (dir) closedir(dir);
    if (ok) {
        names[n] = NULL;
        qsort(names, (size_t)n, sizeof *names, by_name);
        return names;
    }
    for (int i = 0; i < n; i++) genet__free(names[i]);
    genet__free(names);
    return NULL;
}

void genet__file_list_free(char **names)
{
    for (char **p = names; p && *p; p++) genet__free(*p);
    genet__free(names);
}

/* Links are removed, never followed. */
bool genet__file_remove_tree(const char *path, genet_err *err)
{
    struct stat st;
    if (lstat(path, &st) != 0) return errno == ENOENT || errno == ENOTDIR ? true : genet__err_errno(err, "remove", path);
    if (!S_ISDIR(st.st_mode))
        return unlink(path) == 0 || errno == ENOENT ? true : genet__err_errno(err, "remove", path);
    char **names = genet__file_list(path, err);
    if (!names) return false;
    bool ok = true;
    for (char **p = names; ok && *p; p++) {
        char *child = genet__path_join(path, *p);
        ok = child ? genet__file_remove_tree(child, err) : genet__err_memory(err);
        genet__free(child);
    }
    genet__file_list_free(names);
    if (ok && rmdir(path) != 0 && errno != ENOENT) return genet__err_errno(err, "remove", path);
    return ok;
}

bool genet__file_sync_dir(const char *path, genet_err *err)
{
    int fd = open_call(path, O_RDONLY | O_DIRECTORY);
    if (fd < 0) return genet__err_errno(err, "open the folder", path);
    bool ok = genet__file_sync(fd);
    if (!ok) genet__err_errno(err, "write the folder", path);
    close(fd);
    return ok;
}

/* The folder that holds path: "a" for "a/b" and "a/b/", "." for "b". */
static char *parent_of(const char *path)
{
    char *copy = genet__strdup(path);
    if (!copy) return NULL;
    size_t n = strlen(copy);
    while (n > 1 && copy[n - 1] == '/') n--;
    while (n > 0 && copy[n - 1] != '/') n--;
    while (n > 1 && copy[n - 1] == '/') n--;
    copy[n] = 0;
    if (n > 0) return copy;
    genet__free(copy);
    return genet__strdup(".");
}

bool genet__file_rename(const char *from, const char *to, genet_err *err)
{
    char *parent = parent_of(to);       /* before the rename: afterwards there is no way back */
    if (!parent) return genet__err_memory(err);
    bool ok = rename_call(from, to) ? genet__file_sync_dir(parent, err) : genet__err_errno(err, "rename to", to);
    genet__free(parent);
    return ok;
}
