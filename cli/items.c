/* items.c - many texts in, many lines out. */
#include "items.h"
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"

enum { MOST_BYTES = 1 << 30 };

/* --- in ------------------------------------------------------------------------------------ */

static bool from_lines(items *i, const char *path, genet_err *err)
{
    size_t n;
    char *text = genet__file_read(path, MOST_BYTES, &n, err);
    if (!text) return false;
    bool ok = strlen(text) == n || genet__err_set(err, GENET_ERR_FORMAT, "%s has zero bytes in it: no text", path);
    int64_t lines = 1;
    for (size_t k = 0; k < n; k++) lines += text[k] == '\n';
    char *copy = ok ? genet__arena_strdup(&i->arena, text) : NULL;
    i->text = ARENA_ARRAY(&i->arena, const char *, lines);
    genet__free(text);
    if (!ok || !copy || !i->text) return ok && genet__err_memory(err);
    while (*copy) {
        char *end = copy + strcspn(copy, "\n"), *next = *end ? end + 1 : end;
        *end = 0;
        if (end > copy && end[-1] == '\r') end[-1] = 0;
        i->text[i->n++] = copy;
        copy = next;
    }
    return true;
}

static bool from_rows(items *i, const item_options *o, genet_err *err)
{
    labelled_columns c = { o->text_column, o->text_pair_column, NULL };
    TRY(genet__labelled_read(&i->rows, o->input, &c, err));
    i->n = i->rows.n;
    i->text = ARENA_ARRAY(&i->arena, const char *, i->n);
    if (c.pair) i->pair = ARENA_ARRAY(&i->arena, const char *, i->n);
    if (!i->text || (c.pair && !i->pair)) return genet__err_memory(err);
    for (int64_t k = 0; k < i->n; k++) {
        i->text[k] = i->rows.at[k].text;
        if (i->pair) i->pair[k] = i->rows.at[k].pair;
    }
    return true;
}

static bool from_prompt(items *i, const item_options *o, genet_err *err)
{
    i->text = ARENA_ARRAY(&i->arena, const char *, 1);
    i->pair = ARENA_ARRAY(&i->arena, const char *, 1);
    if (!i->text || !i->pair) return genet__err_memory(err);
    i->text[0] = o->prompt;
    i->pair[0] = o->prompt_pair;
    if (!o->prompt_pair) i->pair = NULL;
    i->n = 1;
    return true;
}

bool cli_items_read(items *i, const item_options *o, genet_err *err)
{
    *i = (items){0};
    if (!o->prompt == !o->input) return genet__err_set(err, GENET_ERR_USAGE, "say -p TEXT, or --input FILE");
    if (o->resume && !o->output) return genet__err_set(err, GENET_ERR_USAGE, "--resume goes on with a file: --output FILE");
    if (o->prompt) return from_prompt(i, o, err);
    static const char *const tables[] = { ".jsonl", ".csv", ".tsv" };
    for (int k = 0; k < 3; k++)
        if (genet__ends_with(o->input, tables[k])) return from_rows(i, o, err);
    return from_lines(i, o->input, err);
}

void cli_items_release(items *i)
{
    genet__labelled_release(&i->rows);
    genet__arena_release(&i->arena);
}

/* --- out ----------------------------------------------------------------------------------- */

/* Whole lines count; one that was cut while being written goes. */
static bool count_lines(item_writer *w, int64_t *done, genet_err *err)
{
    size_t n, whole = 0;
    char *text = genet__file_read(w->path, MOST_BYTES, &n, err);
    if (!text) return false;
    for (size_t i = 0; i < n; i++)
        if (text[i] == '\n') whole = i + 1, ++*done;
    genet__free(text);
    return (!ftruncate(w->fd, (off_t)whole) && lseek(w->fd, 0, SEEK_END) >= 0) || genet__err_errno(err, "cut", w->path);
}

bool cli_items_open(item_writer *w, const item_options *o, int64_t *done, genet_err *err)
{
    *w = (item_writer){ .fd = -1, .path = o->output };
    *done = 0;
    if (!o->output) return true;
    bool there = genet__file_exists(o->output);
    if (there && !o->resume)
        return genet__err_set(err, GENET_ERR_USAGE, "%s is there already: --resume goes on with it", o->output);
    w->fd = open(o->output, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (w->fd < 0) return genet__err_errno(err, "write", o->output);
    return !there || count_lines(w, done, err);
}

bool cli_items_add(item_writer *w, const str *lines, genet_err *err)
{
    if (lines->failed) return genet__err_memory(err);
    if (!lines->n) return true;
    if (w->fd >= 0) return genet__file_write(w->fd, lines->at, lines->n) || genet__err_errno(err, "write", w->path);
    return (fwrite(lines->at, 1, lines->n, stdout) == lines->n && !fflush(stdout)) ||
           genet__err_set(err, GENET_ERR_IO, "standard output could not be written");
}

void cli_items_close(item_writer *w)
{
    if (w->fd >= 0) close(w->fd);
}
