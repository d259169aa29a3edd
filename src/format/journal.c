/* journal.c - appending results line by line.  A line is one write, its newline the last byte: whatever has no newline was
 * cut, and goes. */
#include "format/journal.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "format/jsonl.h"

enum { FILE_MAX_BYTES = 1 << 30 };

/* Bytes up to the last newline. */
static size_t whole_lines(const char *text, size_t n)
{
    const char *last = n ? memrchr(text, '\n', n) : NULL;
    return last ? (size_t)(last - text) + 1 : 0;
}

static bool tell(journal *j, const char *text, size_t n, journal_line_fn *had, void *user, genet_err *err)
{
    jsonl r;
    json_t *value;
    bool ok = true;
    genet__jsonl_parse(&r, text, n, j->path, 0);
    while (ok && (value = genet__jsonl_next(&r, err))) {
        ok = had(user, j->n++, value, err);
        json_decref(value);
    }
    return ok && !r.failed;
}

static bool take_old(journal *j, journal_line_fn *had, void *user, genet_err *err)
{
    size_t n = 0;
    char *text = genet__file_read(j->path, FILE_MAX_BYTES, &n, err);
    if (!text) return false;
    size_t whole = whole_lines(text, n);
    bool ok = tell(j, text, whole, had, user, err);
    genet__free(text);
    if (ok && whole < n && ftruncate(j->fd, (off_t)whole)) ok = genet__err_errno(err, "shorten", j->path);
    return ok;
}

static bool open_file(journal *j, genet_err *err)
{
    struct stat st;
    j->fd = open(j->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0666);
    if (j->fd < 0 || fstat(j->fd, &st)) return genet__err_errno(err, "open", j->path);
    if (!S_ISREG(st.st_mode)) return genet__err_set(err, GENET_ERR_USAGE, "%s: results go on in a file, and this is none", j->path);
    if (!flock(j->fd, LOCK_EX | LOCK_NB) || errno != EWOULDBLOCK) return true;
    return genet__err_set(err, GENET_ERR_IO, "%s: another run is writing to it", j->path);
}

static void drop(journal *j)
{
    if (j->fd >= 0) close(j->fd);
    genet__free(j->path);
    genet__str_release(&j->text);
    *j = (journal){ .fd = -1 };
}

bool genet__journal_open(journal *j, const char *path, journal_line_fn *had, void *user, genet_err *err)
{
    *j = (journal){ .fd = -1 };
    if (!path) return true;
    bool ok = (j->path = genet__strdup(path)) || genet__err_memory(err);
    if (ok && open_file(j, err) && take_old(j, had, user, err)) return true;
    drop(j);
    return false;
}

bool genet__journal_add(journal *j, const json_t *value, genet_err *err)
{
    j->n++;
    if (j->fd < 0) return true;
    genet__str_clear(&j->text);
    genet__json_print(value, 0, &j->text);
    genet__str_add(&j->text, "\n");
    if (j->text.failed) return genet__err_memory(err);
    return genet__file_write(j->fd, j->text.at, j->text.n) || genet__err_errno(err, "write", j->path);
}

bool genet__journal_close(journal *j, genet_err *err)
{
    bool ok = j->fd < 0 || genet__file_sync(j->fd) || genet__err_errno(err, "write", j->path);
    drop(j);
    return ok;
}
