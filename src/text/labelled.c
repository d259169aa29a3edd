/* labelled.c - texts with labels from tables and JSON lines, and which classes there are. */
#include "text/labelled.h"
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "format/jsonl.h"

static bool add(labelled *l, labelled_row row, genet_err *err)
{
    if (!GROW(l->at, l->n, l->cap)) return genet__err_memory(err);
    l->at[l->n++] = row;
    return true;
}

/* --- tables --------------------------------------------------------------------------- */

/* Texts that look like numbers are texts. */
static column_type as_text(const void *user, const char *name)
{
    (void)user, (void)name;
    return COLUMN_TEXT;
}

static bool from_table(labelled *l, const char *path, char delimiter, const labelled_columns *c, genet_err *err)
{
    table *t = &l->table;
    TRY(genet__table_read_as(t, path, delimiter, &(table_typing){ as_text, NULL }, err));
    int text = genet__table_find(t, c->text, err);
    int pair = text >= 0 && c->pair ? genet__table_find(t, c->pair, err) : -1;
    TRY(text >= 0 && (!c->pair || pair >= 0));
    int label = c->label ? genet__table_find(t, c->label, err) : -1;
    TRY(!c->label || label >= 0);
    for (int64_t r = 0; r < t->n_row; r++) {
        if (c->label && !*t->column[label].text[r]) {
            l->n_unlabelled++;
            continue;
        }
        TRY(add(l, (labelled_row){ t->column[text].text[r], c->pair ? t->column[pair].text[r] : NULL,
                                   c->label ? t->column[label].text[r] : NULL, t->line[r] }, err));
    }
    return true;
}

/* --- JSON lines ------------------------------------------------------------------------ */

/* A string, number or truth value as text; *out NULL: null, or not there. */
static bool cell(labelled *l, const json_t *o, const char *key, const jsonl *r, const char **out, genet_err *err)
{
    const json_t *v = json_object_get(o, key);
    *out = NULL;
    if (!v || json_is_null(v)) return true;
    if (json_is_object(v) || json_is_array(v))
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: line %lld: \"%.60s\" is no text and no number", r->path, (long long)r->line, key);
    if (json_is_string(v)) {
        if (strlen(json_string_value(v)) != json_string_length(v))
            return genet__err_set(err, GENET_ERR_FORMAT, "%s: line %lld: \"%.60s\" has a zero byte in it", r->path, (long long)r->line, key);
        *out = genet__arena_strdup(&l->arena, json_string_value(v));
    } else {
        str text = {0};
        genet__json_print(v, 0, &text);
        *out = text.failed ? NULL : genet__arena_strdup(&l->arena, genet__str(&text));
        genet__str_release(&text);
    }
    return *out || genet__err_memory(err);
}

static bool from_line(labelled *l, const json_t *o, const jsonl *r, const labelled_columns *c, genet_err *err)
{
    labelled_row row = { .line = r->line };
    if (!json_is_object(o)) return genet__err_set(err, GENET_ERR_FORMAT, "%s: line %lld is no object", r->path, (long long)r->line);
    TRY(cell(l, o, c->text, r, &row.text, err) && (!c->pair || cell(l, o, c->pair, r, &row.pair, err)));
    const char *missing = !row.text ? c->text : c->pair && !row.pair ? c->pair : NULL;
    if (missing) return genet__err_set(err, GENET_ERR_FORMAT, "%s: line %lld has no \"%.60s\"", r->path, (long long)r->line, missing);
    TRY(!c->label || cell(l, o, c->label, r, &row.label, err));
    if (c->label && !row.label) return ++l->n_unlabelled;
    return add(l, row, err);
}

static bool from_lines(labelled *l, const char *path, const labelled_columns *c, genet_err *err)
{
    jsonl r;
    json_t *o;
    TRY(genet__jsonl_open(&r, path, 0, err));
    bool ok = true;
    while (ok && (o = genet__jsonl_next(&r, err))) {
        ok = from_line(l, o, &r, c, err);
        json_decref(o);
    }
    ok = ok && !r.failed;
    genet__jsonl_close(&r);
    return ok;
}

/* --- both -------------------------------------------------------------------------------- */

bool genet__labelled_read(labelled *l, const char *path, const labelled_columns *c, genet_err *err)
{
    *l = (labelled){0};
    TRY(genet__file_crc32(path, &l->crc, &l->size_bytes, err));
    if (genet__ends_with(path, ".jsonl") || genet__ends_with(path, ".json")) TRY(from_lines(l, path, c, err));
    else TRY(from_table(l, path, genet__ends_with(path, ".tsv") ? '\t' : 0, c, err));
    return l->n || genet__err_set(err, GENET_ERR_FORMAT, "%s has no row%s", path, l->n_unlabelled ? " with a label" : "");
}

void genet__labelled_release(labelled *l)
{
    genet__table_release(&l->table);
    genet__arena_release(&l->arena);
    genet__free(l->at);
    *l = (labelled){0};
}

static int by_bytes(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static int by_number(const void *a, const void *b)
{
    int64_t x = 0, y = 0;
    genet__parse_int(*(const char *const *)a, &x);
    genet__parse_int(*(const char *const *)b, &y);
    return x != y ? (x > y) - (x < y) : by_bytes(a, b);
}

const char **genet__labelled_classes(labelled *l, int *n)
{
    const char **all = ARENA_ARRAY(&l->arena, const char *, l->n + 1);
    bool numbers = true;
    int64_t x;
    *n = 0;
    if (!all) return NULL;
    for (int i = 0; i < l->n; i++) {
        all[i] = l->at[i].label;
        numbers &= genet__parse_int(all[i], &x);
    }
    qsort(all, (size_t)l->n, sizeof *all, numbers ? by_number : by_bytes);
    for (int i = 0; i < l->n; i++)
        if (!i || strcmp(all[i], all[*n - 1])) all[(*n)++] = all[i];
    return all;
}

/* Classes are few. */
int genet__labelled_class(const char *const *classes, int n, const char *label)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(classes[i], label)) return i;
    return -1;
}
