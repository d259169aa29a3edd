/* source.c - the list of files is made once; each is then read through zlib,
 * which passes plain files through, in chunks that end between characters.
 * What a chunk's end cuts is kept (at most 3 bytes) and leads the next one.
 * Files are checked as they are read: nobody sees text that is not UTF-8. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "text/source.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include "base/alloc.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/file.h"
#include "format/foreign.h"
#include "format/jsonl.h"

enum { CHUNK = 1 << 18, MAX_DEPTH = 64 };

typedef struct source_file {
    const char *path;           /* sorted by it */
    int fd;                     /* of a pipe's copy; -1: open by path */
    int64_t n_bytes;            /* unpacked; known once it is read */
} source_file;

struct text_source {
    source_file *file;
    int     n_file, cap;
    int     at;                 /* the file being read */
    gzFile  gz;                 /* NULL: not open yet */
    int64_t offset;             /* bytes of this file that came before buffer */
    size_t  given, held;        /* buffer: `given` bytes handed out, then `held` of a cut character */
    char   *buffer;
    size_t  chunk;              /* bytes of it that are used */
    int     said;               /* where the piece last given began: the file, the byte in it */
    int64_t said_offset;
    const char *spool, *end;    /* end: after each document of a *.jsonl; NULL: these are texts like others */
    arena   arena;
};

static const char *title(const source_file *f)
{
    return strcmp(f->path, "-") ? f->path : "standard input";
}

/* --- which files ------------------------------------------------------------ */

/* fd, when not -1, belongs to s from here on. */
static bool add_file(text_source *s, const char *path, int fd, genet_err *err)
{
    const char *copy = genet__arena_strdup(&s->arena, path);
    if (!copy || !GROW(s->file, s->n_file, s->cap)) return genet__err_memory(err);
    s->file[s->n_file++] = (source_file){ copy, fd, 0 };
    return true;
}

/* Through genet__file_write, so that a full disk can be tested. */
static bool copy_pipe(int from, int to, const char *path, char *buffer, genet_err *err)
{
    for (;;) {
        ssize_t got = read(from, buffer, CHUNK);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return genet__err_errno(err, "read", path);
        if (got == 0) return true;
        if (!genet__file_write(to, buffer, (size_t)got)) return genet__err_errno(err, "write a copy of", path);
    }
}

/* A file without a name in the spool folder; -1: failed. */
static int unnamed(const text_source *s, genet_err *err)
{
    const char *folder = s->spool ? s->spool : getenv("TMPDIR");
    char *name = genet__path_join(folder && *folder ? folder : "/tmp", "genet-pipe-XXXXXX");
    if (!name) return genet__err_memory(err), -1;
    int to = mkostemp(name, O_CLOEXEC);
    if (to >= 0) unlink(name);
    else genet__err_errno(err, "make a temporary file", name);
    genet__free(name);
    return to;
}

/* Texts to descriptor `to`, gathered into larger pieces. */
static bool copy_documents(const text_source *s, jsonl *lines, int to, genet_err *err)
{
    str piece = {0};
    json_t *o;
    bool ok = true;
    while (ok && (o = genet__jsonl_next(lines, err))) {
        const json_t *text = json_object_get(o, "text");
        if (json_is_string(text)) genet__str_add_n(&piece, json_string_value(text), json_string_length(text));
        else ok = genet__err_set(err, GENET_ERR_FORMAT, "%s: line %lld has no \"text\"; prompts and conversations are for `train sft`",
                                 lines->path, (long long)lines->line);
        genet__str_add(&piece, s->end);
        json_decref(o);
        ok = ok && (!piece.failed || genet__err_memory(err));
        if (ok && piece.n < CHUNK) continue;
        ok = ok && (genet__file_write(to, piece.at, piece.n) || genet__err_errno(err, "write a copy of", lines->path));
        piece.n = 0;
    }
    ok = ok && !lines->failed;
    ok = ok && (!piece.n || genet__file_write(to, piece.at, piece.n) || genet__err_errno(err, "write a copy of", lines->path));
    genet__str_release(&piece);
    return ok;
}

static bool add_documents(text_source *s, const char *path, genet_err *err)
{
    jsonl lines;
    TRY(genet__jsonl_open(&lines, path, 0, err));
    int to = unnamed(s, err);
    bool ok = to >= 0 && copy_documents(s, &lines, to, err) && add_file(s, path, to, err);
    if (!ok && to >= 0) close(to);
    genet__jsonl_close(&lines);
    return ok;
}

/* A pipe can be read once only: read it from an unnamed copy ever after. */
static bool add_pipe(text_source *s, const char *path, genet_err *err)
{
    int to = unnamed(s, err);
    bool ok = to >= 0;
    int from = !ok ? -1 : strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
    if (ok && from < 0) ok = genet__err_errno(err, "read", path);
    ok = ok && copy_pipe(from, to, path, s->buffer, err) && add_file(s, path, to, err);
    if (from > STDIN_FILENO) close(from);
    if (!ok && to >= 0) close(to);
    return ok;
}

static bool add_path(text_source *s, const char *path, int depth, genet_err *err);

/* Links are followed, so depth is bounded: one may lead back. */
static bool add_folder(text_source *s, const char *path, int depth, genet_err *err)
{
    if (depth == MAX_DEPTH)
        return genet__err_set(err, GENET_ERR_IO,
                              "%.300s...: more than %d folders within each other: a link that leads back?", path,
                              MAX_DEPTH);
    char **names = genet__file_list(path, err);
    bool ok = names != NULL;
    for (char **p = names; ok && *p; p++) {
        if (**p == '.') continue;
        char *child = genet__path_join(path, *p);
        ok = child ? add_path(s, child, depth + 1, err) : genet__err_memory(err);
        genet__free(child);
    }
    genet__file_list_free(names);
    return ok;
}

/* depth 0: named by the user; below, what is neither file nor folder is passed over. */
static bool add_path(text_source *s, const char *path, int depth, genet_err *err)
{
    struct stat st;
    if (!depth && !strcmp(path, "-")) return add_pipe(s, path, err);
    if (stat(path, &st)) return genet__err_errno(err, "read", path);
    if (S_ISDIR(st.st_mode)) return add_folder(s, path, depth, err);
    if (S_ISREG(st.st_mode) && s->end && genet__ends_with(path, ".jsonl")) return add_documents(s, path, err);
    if (S_ISREG(st.st_mode) && s->end && genet__ends_with(path, ".jsonl.gz"))
        return genet__err_set(err, GENET_ERR_USAGE, "%s: JSON lines are read unpacked: gunzip it first", path);
    if (S_ISREG(st.st_mode)) return add_file(s, path, -1, err);
    return depth || add_pipe(s, path, err);
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const source_file *)a)->path, ((const source_file *)b)->path);
}

/* A file that counts twice would stand on both sides of the split. */
static bool sort_files(text_source *s, const char *first, genet_err *err)
{
    if (!s->n_file) return genet__err_set(err, GENET_ERR_USAGE, "there are no files in %s", first);
    qsort(s->file, (size_t)s->n_file, sizeof *s->file, by_path);
    for (int i = 1; i < s->n_file; i++)
        if (!by_path(&s->file[i - 1], &s->file[i]))
            return genet__err_set(err, GENET_ERR_USAGE, "%s is given twice", title(&s->file[i]));
    return true;
}

text_source *genet__source_open(const char *const *paths, int n, const char *spool, genet_err *err)
{
    return genet__source_open_documents(paths, n, spool, NULL, err);
}

text_source *genet__source_open_documents(const char *const *paths, int n, const char *spool, const char *end, genet_err *err)
{
    text_source *s = genet__alloc(sizeof *s);
    if (s) s->buffer = genet__alloc(CHUNK);
    bool ok = (s && s->buffer) || genet__err_memory(err);
    if (ok && n < 1) ok = genet__err_set(err, GENET_ERR_USAGE, "no data is given");
    if (ok) s->spool = spool, s->end = end, s->chunk = CHUNK;
    for (int i = 0; ok && i < n; i++) ok = add_path(s, paths[i], 0, err);
    if (ok && sort_files(s, paths[0], err)) return s;
    genet__source_close(s);
    return NULL;
}

/* --- reading ---------------------------------------------------------------- */

void genet__source_rewind(text_source *s)
{
    if (s->gz) gzclose_r(s->gz);
    s->gz = NULL;
    s->at = 0;
    s->offset = 0;
    s->given = s->held = 0;
}

void genet__source_close(text_source *s)
{
    if (!s) return;
    genet__source_rewind(s);
    for (int i = 0; i < s->n_file; i++)
        if (s->file[i].fd >= 0) close(s->file[i].fd);
    genet__free(s->file);
    genet__free(s->buffer);
    genet__arena_release(&s->arena);
    genet__free(s);
}

void genet__source_set_chunk(text_source *s, size_t n_bytes)
{
    genet__source_rewind(s);
    s->chunk = n_bytes < 4 ? 4 : n_bytes < CHUNK ? n_bytes : CHUNK;
}

int genet__source_files(const text_source *s)
{
    return s->n_file;
}

gzFile genet__gz_open(int fd, genet_err *err)
{
    gzFile gz = gzdopen(fd, "rb");
    if (gz) gzbuffer(gz, CHUNK / 2);        /* refuses no number, and nothing was read before */
    else genet__err_memory(err);
    return gz;
}

/* zlib's words are for programmers where the file is merely cut short. */
bool genet__gz_read(gzFile gz, void *to, size_t n, size_t *got, const char *path, genet_err *err)
{
    int code = Z_OK, k = gzread(gz, to, (unsigned)n);
    const char *words = k <= 0 ? gzerror(gz, &code) : "";
    *got = k > 0 ? (size_t)k : 0;
    if (k >= 0 && code == Z_OK) return true;
    if (code == Z_ERRNO) return genet__err_errno(err, "read", path);
    if (code == Z_MEM_ERROR) return genet__err_memory(err);
    if (code == Z_BUF_ERROR) words = "it ends in the middle";
    return genet__err_set(err, GENET_ERR_FORMAT, "%s: damaged gzip data: %s", path, words);
}

/* zlib closes the descriptor it is given, so a pipe's copy is lent as a duplicate. */
static bool open_file(text_source *s, genet_err *err)
{
    const source_file *f = &s->file[s->at];
    int fd = f->fd >= 0 ? dup(f->fd) : open(f->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || (f->fd >= 0 && lseek(fd, 0, SEEK_SET) < 0)) {
        genet__err_errno(err, "read", title(f));
        if (fd >= 0) close(fd);
        return false;
    }
    s->gz = genet__gz_open(fd, err);
    if (!s->gz) close(fd);
    return s->gz;
}

/* The offset counts unpacked bytes of this one file. */
static bool bad_text(const text_source *s, size_t i, genet_err *err)
{
    const char *path = title(&s->file[s->at]);
    int64_t offset = s->offset + (int64_t)i;
    unsigned char byte = (unsigned char)s->buffer[i];
    if (genet__is_parquet(path, s->buffer, s->offset ? 0 : i)) return genet__foreign_parquet(path, err);
    if (!byte)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: byte %" PRId64 " is zero: this is not a text file", path,
                              offset);
    return genet__err_set(err, GENET_ERR_FORMAT,
                          "%s: byte %" PRId64 " (0x%02X) is not UTF-8 text; convert the file first, for example "
                          "with iconv",
                          path, offset, byte);
}

/* Back through the files before. */
bool genet__source_prefix(const text_source *s, ptrdiff_t i, genet_err *err)
{
    int file = s->said;
    int64_t offset = s->said_offset + i;
    while (offset < 0 && file > 0) offset += s->file[--file].n_bytes;
    return genet__err_prefix(err, "%s: byte %" PRId64 ": ", title(&s->file[file]), offset);
}

/* Eight letters of plain ASCII, none of them zero. */
static bool plain8(const char *p)
{
    uint64_t x;
    memcpy(&x, p, 8);
    return !((x | (x - UINT64_C(0x0101010101010101))) & UINT64_C(0x8080808080808080));
}

/* Bytes of whole characters at the buffer's front; -1 and err: bad ones.  At
 * the end of a file nothing may be left over. */
static ptrdiff_t whole(const text_source *s, size_t n, bool last, genet_err *err)
{
    size_t i = 0;
    while (i < n) {
        uint32_t c = 0;
        if (i + 8 <= n && plain8(s->buffer + i)) {
            i += 8;
            continue;
        }
        int length = genet__utf8_decode(s->buffer + i, n - i, &c);
        if (!length && !last && n - i < 4) break;
        if (!length || !c) {
            bad_text(s, i, err);
            return -1;
        }
        i += (size_t)length;
    }
    return (ptrdiff_t)i;
}

/* More of the open file into the buffer; *n == 0 at its end. */
static bool fill(text_source *s, size_t *n, genet_err *err)
{
    memmove(s->buffer, s->buffer + s->given, s->held);
    s->offset += (int64_t)s->given;
    size_t got;
    TRY(genet__gz_read(s->gz, s->buffer + s->held, s->chunk - s->held, &got, title(&s->file[s->at]), err));
    ptrdiff_t done = whole(s, s->held + got, got == 0, err);
    if (done < 0) return false;
    s->held = s->held + got - (size_t)done;
    s->given = *n = (size_t)done;
    return true;
}

bool genet__source_next(text_source *s, const char **text, size_t *n, genet_err *err)
{
    *text = s->buffer;
    for (*n = 0; s->at < s->n_file;) {
        if (!s->gz) TRY(open_file(s, err));
        TRY(fill(s, n, err));
        s->said = s->at;
        s->said_offset = s->offset;
        if (*n) return true;
        if (s->held) continue;          /* less than a character so far */
        s->file[s->at].n_bytes = s->offset;
        gzclose_r(s->gz);
        s->gz = NULL;
        s->at++;
        s->offset = 0;
        s->given = 0;
    }
    genet__source_rewind(s);
    return true;
}

/* --- the first pass --------------------------------------------------------- */

/* The text is valid: every length is at least 1. */
static int64_t count_chars(const char *text, size_t n, char_set *set)
{
    int64_t n_chars = 0;
    for (size_t i = 0; i < n; n_chars++) {
        uint32_t c = 0;
        i += (size_t)genet__utf8_decode(text + i, n - i, &c);
        char_set_add(set, c);
    }
    return n_chars;
}

bool genet__source_scan(text_source *s, text_scan *out, genet_err *err)
{
    const char *text;
    size_t n;
    sha256 hash;
    memset(out, 0, sizeof *out);
    genet__sha256_init(&hash);
    genet__source_rewind(s);
    for (;;) {
        TRY(genet__source_next(s, &text, &n, err));
        if (!n) break;
        genet__sha256_add(&hash, text, n);
        out->n_bytes += (int64_t)n;
        out->n_chars += count_chars(text, n, &out->chars);
    }
    genet__sha256_end(&hash, out->hash);
    out->n_files = s->n_file;
    if (out->n_chars) return true;
    return genet__err_set(err, GENET_ERR_FORMAT, "the data is empty: %s holds no text", title(&s->file[0]));
}

bool genet__source_read(const char *path, str *out, genet_err *err)
{
    const char *part;
    size_t n = 1;
    text_source *s = genet__source_open(&path, 1, NULL, err);
    bool ok = s;
    while (ok && n) {
        ok = genet__source_next(s, &part, &n, err);
        if (ok) genet__str_add_n(out, part, n);
    }
    genet__source_close(s);
    if (ok && out->n >= 3 && !memcmp(out->at, "\xef\xbb\xbf", 3)) memmove(out->at, out->at + 3, (out->n -= 3) + 1);
    return ok && (!out->failed || genet__err_memory(err));
}
