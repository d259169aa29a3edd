/* writer.c - a file appears whole or not at all: bytes go to PATH.tmp, which
 * is synced and then renamed over PATH, and the folder is synced too.  At
 * every moment a reader, or a machine that lost power, sees the old file or
 * the new one.  Links are followed; a device or a pipe is written as it is.  A
 * failure is kept and repeated by later calls, so that a caller may look only
 * at commit. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"

enum { BUFFER_BYTES = 1 << 16 };
#define REFLINK_CALL _IOW(0x94, 9, int)         /* Linux FICLONE */

static bool fail(writer *w, genet_err *err)
{
    if (!w->failed) genet__err_errno(&w->err, "write", w->path);
    w->failed = true;
    if (err) *err = w->err;
    return false;
}

/* Is there something at path that no file can take the place of? */
static bool is_special(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && !S_ISREG(s.st_mode) && !S_ISDIR(s.st_mode);
}

/* What a link leads to, in room (PATH_MAX); path itself when it is none, or leads nowhere yet. */
static const char *behind_link(const char *path, char *room)
{
    struct stat s;
    return lstat(path, &s) == 0 && S_ISLNK(s.st_mode) && realpath(path, room) ? room : path;
}

bool genet__writer_open(writer *w, const char *path, genet_err *err)
{
    char room[PATH_MAX];
    path = behind_link(path, room);
    bool special = is_special(path);
    *w = (writer){ .fd = -1, .path = genet__strdup(path), .buffer = genet__alloc(BUFFER_BYTES) };
    size_t n = strlen(path);
    w->tmp = genet__alloc(n + sizeof ".tmp");
    if (!w->path || !w->tmp || !w->buffer) {
        genet__writer_abandon(w);
        return genet__err_memory(err);
    }
    memcpy(w->tmp, path, special ? 0 : n);
    if (!special) memcpy(w->tmp + n, ".tmp", sizeof ".tmp");
    do w->fd = special ? open(path, O_WRONLY | O_CLOEXEC)
                       : open(w->tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    while (w->fd < 0 && errno == EINTR);
    if (w->fd >= 0) return true;
    genet__err_errno(err, "write", path);
    genet__writer_abandon(w);
    return false;
}

static bool flush(writer *w)
{
    size_t n = w->buffered;
    w->buffered = 0;
    return n == 0 || genet__file_write(w->fd, w->buffer, n);
}

bool genet__writer_add(writer *w, const void *bytes, size_t n, genet_err *err)
{
    if (w->failed) return fail(w, err);
    w->crc = genet__crc32(w->crc, bytes, n);
    w->written += (int64_t)n;
    if (n > BUFFER_BYTES - w->buffered && !flush(w)) return fail(w, err);
    if (n >= BUFFER_BYTES) return genet__file_write(w->fd, bytes, n) ? true : fail(w, err);
    if (n) memcpy(w->buffer + w->buffered, bytes, n);
    w->buffered += n;
    return true;
}

/* close reports late errors of some network file systems; the descriptor is
 * gone in any case. */
static bool close_synced(writer *w)
{
    bool ok = flush(w) && (!*w->tmp || genet__file_sync(w->fd));
    int fd = w->fd, code = errno;
    w->fd = -1;
    bool closed = close(fd) == 0 || errno == EINTR;
    if (!ok) errno = code;
    return ok && closed;
}

static void release(writer *w)
{
    if (w->fd >= 0) close(w->fd);
    genet__free(w->path);
    genet__free(w->tmp);
    genet__free(w->buffer);
    *w = (writer){ .fd = -1 };
}

bool genet__writer_commit(writer *w, genet_err *err)
{
    if (w->failed || !close_synced(w)) {
        fail(w, err);
        genet__writer_abandon(w);
        return false;
    }
    if (*w->tmp && !genet__file_rename(w->tmp, w->path, err)) {
        genet__writer_abandon(w);
        return false;
    }
    release(w);
    return true;
}

void genet__writer_abandon(writer *w)
{
    if (w->tmp && w->tmp[0]) unlink(w->tmp);
    release(w);
}

bool genet__file_write_all(const char *path, const void *bytes, size_t n, genet_err *err)
{
    writer w;
    TRY(genet__writer_open(&w, path, err));
    genet__writer_add(&w, bytes, n, NULL);      /* commit repeats the failure */
    return genet__writer_commit(&w, err);
}

/* Share the blocks where the file system can. */
static bool reflink(int to, int from)
{
#ifdef __linux__
    return ioctl(to, REFLINK_CALL, from) == 0;
#else
    (void)to, (void)from;
    return false;
#endif
}

static bool copy_bytes(writer *w, int fd, const char *from, genet_err *err)
{
    unsigned char *chunk = genet__alloc(BUFFER_BYTES);
    if (!chunk) return genet__err_memory(err);
    bool ok = true;
    for (ssize_t got = 1; ok && got != 0;) {
        got = read(fd, chunk, BUFFER_BYTES);
        if (got < 0 && errno == EINTR) continue;
        ok = got < 0 ? genet__err_errno(err, "read", from) : genet__writer_add(w, chunk, (size_t)got, err);
    }
    genet__free(chunk);
    return ok;
}

bool genet__file_copy(const char *from, const char *to, genet_err *err)
{
    int fd = genet__file_open(from, err);
    if (fd < 0) return false;
    writer w;
    bool ok = genet__writer_open(&w, to, err);
    if (ok) {
        ok = reflink(w.fd, fd) || copy_bytes(&w, fd, from, err);
        if (ok) ok = genet__writer_commit(&w, err);
        else genet__writer_abandon(&w);
    }
    close(fd);
    return ok;
}
