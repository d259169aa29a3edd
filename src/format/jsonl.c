/* jsonl.c - reading JSON lines.
 *
 * Only a line without an end can be torn: whoever appends writes the newline
 * last.  Such a line is taken when it is a whole value, and else, where the
 * caller allows, passed over. */
#include "format/jsonl.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"

bool genet__jsonl_open(jsonl *r, const char *path, unsigned flags, genet_err *err)
{
    mapped file;
    *r = (jsonl){ .failed = true };
    TRY(genet__file_map(&file, path, err));
    genet__jsonl_parse(r, file.at, file.size_bytes, path, flags);
    r->file = file;
    return true;
}

void genet__jsonl_parse(jsonl *r, const void *bytes, size_t n, const char *where, unsigned flags)
{
    *r = (jsonl){ .path = where, .at = bytes, .end = (const char *)bytes + n, .flags = flags };
    if (n >= 3 && !memcmp(bytes, "\xef\xbb\xbf", 3)) r->at += 3;        /* a byte order mark, as some editors write */
}

void genet__jsonl_close(jsonl *r)
{
    genet__file_unmap(&r->file);
    *r = (jsonl){ .failed = true };
}

static bool blank(const char *text, size_t n)
{
    while (n && (*text == ' ' || *text == '\t' || *text == '\r')) text++, n--;
    return !n;
}

/* json_parse counts lines from the text it is given: its ":1:7: words" become
 * "FILE: line N, column 7: words". */
static json_t *parse(const jsonl *r, const char *text, size_t n, genet_err *err)
{
    if (n > JSONL_LINE_MAX) {
        genet__err_set(err, GENET_ERR_FORMAT, "%s: line %" PRId64 ": %zu bytes; a line has at most %d", r->path, r->line, n,
                       JSONL_LINE_MAX);
        return NULL;
    }
    json_t *j = genet__json_parse(text, n, "", err);
    if (j || err->code != GENET_ERR_FORMAT) return j;
    char *words = err->text;
    long column = !strncmp(words, ":1:", 3) ? strtol(words + 3, &words, 10) : 0;
    genet__err_set(err, GENET_ERR_FORMAT, "%s: line %" PRId64 ", column %ld%s", r->path, r->line, column, words);
    return NULL;
}

json_t *genet__jsonl_next(jsonl *r, genet_err *err)
{
    while (!r->failed && r->at < r->end) {
        const char *text = r->at, *end = memchr(text, '\n', (size_t)(r->end - text));
        size_t n = (size_t)((end ? end : r->end) - text);
        r->at = end ? end + 1 : r->end;
        r->line++;
        if (blank(text, n)) continue;
        genet_err why = { 0 };
        json_t *j = parse(r, text, n, &why);
        if (j) return j;
        r->torn = !end && r->flags & JSONL_TORN_OK && why.code == GENET_ERR_FORMAT;
        r->failed = !r->torn;
        if (r->failed && err) *err = why;
    }
    return NULL;
}
