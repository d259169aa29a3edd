/* schema.c - columns to numbers and back to table.json. */
#include "task/schema.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/str.h"

/* --- fitting ---------------------------------------------------------------------- */

/* Marks the columns that the comma-separated names tell, without spaces around them. */
static bool mark_ignored(const char *names, const table *t, bool *ignored, arena *a, genet_err *err)
{
    for (const char *at = names; at && *at; at += *at == ',') {
        const char *end = at + strcspn(at, ","), *last = end;
        while (at < last && strchr(" \t", *at)) at++;
        while (last > at && strchr(" \t", last[-1])) last--;
        char *name = genet__arena_printf(a, "%.*s", (int)(last - at), at);
        if (!name) return genet__err_memory(err);
        int found = *name ? genet__table_find(t, name, err) : -1;
        if (*name && found < 0) return genet__err_prefix(err, "--ignore: ");
        if (found >= 0) ignored[found] = true;
        at = end;
    }
    return true;
}

/* The table goes away; the schema stays. */
static const char **copy_values(schema *s, const char *const *value, int n)
{
    const char **copy = ARENA_ARRAY(&s->arena, const char *, n + 1);
    for (int i = 0; copy && i < n; i++)
        if (!(copy[i] = genet__arena_strdup(&s->arena, value[i]))) return NULL;
    return copy;
}

/* Mean and biased deviation of the numbers that are there. */
static void statistics(schema_column *c, const column *from, const int64_t *rows, int64_t n)
{
    double sum = 0, squares = 0;
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++)
        if (!isnan(from->number[rows[i]])) sum += from->number[rows[i]], count++;
    c->mean = count ? sum / (double)count : 0;
    for (int64_t i = 0; i < n; i++)
        if (!isnan(from->number[rows[i]])) squares += pow(from->number[rows[i]] - c->mean, 2);
    double deviation = count ? sqrt(squares / (double)count) : 0;
    c->scale = deviation > 0 ? deviation : 1;
}

/* The next column, with its place among the inputs. */
static bool fit_column(schema *s, const column *from, const int64_t *rows, int64_t n, genet_err *err)
{
    schema_column *c = &s->column[s->n_column++];
    *c = (schema_column){ .name = genet__arena_strdup(&s->arena, from->name), .text = from->type == COLUMN_TEXT,
                          .start = (int)s->n_input, .scale = 1 };
    if (!c->name) return genet__err_memory(err);
    if (!c->text) {
        statistics(c, from, rows, n);
        s->n_input++;
        return true;
    }
    if (from->n_value > SCHEMA_MAX_VALUES)
        return genet__err_set(err, GENET_ERR_USAGE, "column %s has %d different texts, more than %d: it cannot be an input; "
                              "--ignore %s leaves it out", from->name, from->n_value, SCHEMA_MAX_VALUES, from->name);
    c->value = copy_values(s, from->value, from->n_value);
    c->n_value = from->n_value;
    s->n_input += c->n_value;
    return c->value || genet__err_memory(err);
}

static int by_number(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The classes of a number column: its different values, rising. */
static bool number_classes(schema *s, const column *c, int64_t n_row, genet_err *err)
{
    double *sorted = genet__alloc_array((size_t)n_row + 1, sizeof *sorted);
    if (!sorted) return genet__err_memory(err);
    int64_t n = 0;
    for (int64_t r = 0; r < n_row; r++)
        if (!isnan(c->number[r])) sorted[n++] = c->number[r];
    qsort(sorted, (size_t)n, sizeof *sorted, by_number);
    s->class_name = ARENA_ARRAY(&s->arena, const char *, n + 1);
    bool ok = s->class_name;
    for (int64_t i = 0; ok && i < n; i++) {
        char text[32];
        if (i && sorted[i] == sorted[i - 1]) continue;
        genet__format_double(text, sorted[i]);
        ok = (s->class_name[s->n_class++] = genet__arena_strdup(&s->arena, text));
    }
    genet__free(sorted);
    return ok || genet__err_memory(err);
}

/* What to predict decides between regression and classification. */
static bool fit_target(schema *s, const table *t, const column *c, const char *task, genet_err *err)
{
    bool text = c->type == COLUMN_TEXT;
    s->classify = !strcmp(task, "classification") || (!strcmp(task, "auto") && text);
    if (text && !s->classify)
        return genet__err_set(err, GENET_ERR_USAGE, "regression needs a column of numbers, and %s holds text: "
                              "--task classification predicts it", c->name);
    if (!s->classify) return true;
    if (!text) TRY(number_classes(s, c, t->n_row, err));
    else {
        s->class_name = copy_values(s, c->value, c->n_value);
        s->n_class = c->n_value;
        if (!s->class_name) return genet__err_memory(err);
    }
    return s->n_class > 1 || genet__err_set(err, GENET_ERR_USAGE,
                                            "%s has the same value everywhere: nothing to classify", c->name);
}

bool genet__schema_fit(schema *s, const table *t, const schema_options *o, const int64_t *rows, int64_t n, genet_err *err)
{
    int target = genet__table_find(t, o->target, err);
    *s = (schema){ .standardize = o->standardize };
    if (target < 0) return false;
    s->target = genet__arena_strdup(&s->arena, o->target);
    s->column = ARENA_ARRAY(&s->arena, schema_column, t->n_column + 1);
    bool *ignored = ARENA_ARRAY(&s->arena, bool, t->n_column + 1);
    if (!s->target || !s->column || !ignored) return genet__err_memory(err);
    TRY(mark_ignored(o->ignore, t, ignored, &s->arena, err));
    TRY(fit_target(s, t, &t->column[target], o->task, err));
    for (int i = 0; i < t->n_column; i++)
        if (i != target && !ignored[i]) TRY(fit_column(s, &t->column[i], rows, n, err));
    return s->n_input || genet__err_set(err, GENET_ERR_USAGE, "%s has no column to predict %s from", t->path, o->target);
}

void genet__schema_release(schema *s)
{
    genet__arena_release(&s->arena);
    *s = (schema){0};
}

/* --- using ------------------------------------------------------------------------- */

/* Values are few: no index is needed. */
static int find_text(const char *const *value, int n, const char *text)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(value[i], text)) return i;
    return -1;
}

/* Inputs and targets are f32. */
static bool too_large(const table *t, const column *c, int64_t r, genet_err *err)
{
    return genet__err_set(err, GENET_ERR_FORMAT,
                          "%s: line %lld, column \"%s\": \"%.60s\" is too large: numbers are kept in 32 bits, "
                          "up to 3.4e38", t->path, (long long)t->line[r], c->name, c->text[r]);
}

/* One column of t into the inputs of all rows; x begins as zeros. */
static bool column_inputs(const schema *s, const schema_column *c, const table *t, const column *from, float *x,
                          genet_err *err)
{
    if (!c->text) {
        if (from->type == COLUMN_TEXT && from->n_value)
            return genet__err_set(err, GENET_ERR_FORMAT, "%s: column %s must hold numbers, and has \"%s\"", t->path, c->name,
                                  from->value[0]);
        for (int64_t r = 0; r < t->n_row; r++) {
            double v = from->type == COLUMN_TEXT || isnan(from->number[r]) ? c->mean : from->number[r];
            float input = (float)(s->standardize ? (v - c->mean) / c->scale : v);
            if (!isfinite((float)v) || !isfinite(input)) return too_large(t, from, r, err);
            x[r * s->n_input + c->start] = input;
        }
        return true;
    }
    for (int64_t r = 0; r < t->n_row; r++) {
        int k = genet__column_missing(from, r) ? -1 : find_text(c->value, c->n_value, from->text[r]);
        if (k >= 0) x[r * s->n_input + c->start + k] = 1;
    }
    return true;
}

/* Columns are found by name: other tables may order them otherwise. */
float *genet__schema_inputs(const schema *s, const table *t, genet_err *err)
{
    float *x = genet__alloc_array((size_t)(t->n_row * s->n_input) + 1, sizeof *x);
    bool ok = x || genet__err_memory(err);
    for (int i = 0; ok && i < s->n_column; i++) {
        int at = genet__table_find(t, s->column[i].name, err);
        ok = at >= 0 && column_inputs(s, &s->column[i], t, &t->column[at], x, err);
    }
    if (ok) return x;
    genet__free(x);
    return NULL;
}

/* The class of row r; numbers go by value, not by spelling. */
static double class_of(const schema *s, const column *c, int64_t r)
{
    char number[32];
    const char *text = c->text[r];
    if (genet__column_missing(c, r)) return NAN;
    if (c->type == COLUMN_NUMBER) {
        genet__format_double(number, c->number[r]);
        text = number;
    }
    int k = find_text(s->class_name, s->n_class, text);
    return k < 0 ? NAN : k;
}

double *genet__schema_targets(const schema *s, const table *t, genet_err *err)
{
    int at = genet__table_find(t, s->target, err);
    if (at < 0) return NULL;
    const column *c = &t->column[at];
    double *y = genet__alloc_array((size_t)t->n_row + 1, sizeof *y);
    if (!y) genet__err_memory(err);
    for (int64_t r = 0; y && r < t->n_row; r++) {
        y[r] = s->classify ? class_of(s, c, r) : c->type == COLUMN_TEXT ? NAN : c->number[r];
        if (!isinf((float)y[r])) continue;
        too_large(t, c, r, err);
        genet__free(y);
        return NULL;
    }
    return y;
}

/* --- table.json ----------------------------------------------------------------------- */

static json_t *texts(const char *const *value, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++) genet__json_append(&list, json_string(value[i]));
    return list;
}

/* All that is needed to read another table the same way. */
static json_t *column_to_json(const schema_column *c)
{
    if (c->text) return json_pack("{s:s, s:s, s:o}", "name", c->name, "type", "text", "values", texts(c->value, c->n_value));
    return json_pack("{s:s, s:s, s:f, s:f}", "name", c->name, "type", "number", "mean", c->mean, "scale", c->scale);
}

bool genet__schema_write(const schema *s, const char *folder, genet_err *err)
{
    json_t *columns = json_array();
    for (int i = 0; i < s->n_column; i++) genet__json_append(&columns, column_to_json(&s->column[i]));
    json_t *all = json_pack("{s:s, s:s, s:b, s:o, s:o, s:I, s:I}", "target", s->target, "task",
                            s->classify ? "classification" : "regression", "standardize", s->standardize,
                            "classes", texts(s->class_name, s->n_class), "columns", columns,
                            "data_bytes", (json_int_t)s->data_bytes, "data_crc32", (json_int_t)s->data_crc);
    char *path = genet__path_join(folder, "table.json");
    bool ok = all && path ? genet__json_write(path, all, err) : genet__err_memory(err);
    json_decref(all);
    genet__free(path);
    return ok;
}

/* Strings outlive the JSON they came in. */
static bool read_texts(schema *s, const json_t *list, const char *where, const char ***to, int *n, genet_err *err)
{
    if (!json_is_array(list)) return genet__err_set(err, GENET_ERR_FORMAT, "%s: a list of texts is missing", where);
    *n = (int)json_array_size(list);
    *to = ARENA_ARRAY(&s->arena, const char *, *n + 1);
    if (!*to) return genet__err_memory(err);
    for (int i = 0; i < *n; i++) {
        const char *text = json_string_value(json_array_get(list, (size_t)i));
        if (!text) return genet__err_set(err, GENET_ERR_FORMAT, "%s: a list holds something that is no text", where);
        if (!((*to)[i] = genet__arena_strdup(&s->arena, text))) return genet__err_memory(err);
    }
    return true;
}

/* Inputs are counted as at fitting. */
static bool read_column(schema *s, const json_t *j, const char *where, genet_err *err)
{
    schema_column *c = &s->column[s->n_column++];
    const char *name, *type;
    TRY(genet__json_string(j, "name", where, &name, NULL, err));
    TRY(genet__json_string(j, "type", where, &type, NULL, err));
    *c = (schema_column){ .name = genet__arena_strdup(&s->arena, name), .text = !strcmp(type, "text"),
                          .start = (int)s->n_input };
    if (!c->name) return genet__err_memory(err);
    if (!c->text && strcmp(type, "number"))
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: column %s has type \"%s\", neither text nor number", where,
                              c->name, type);
    if (c->text) {
        TRY(read_texts(s, json_object_get(j, "values"), where, &c->value, &c->n_value, err));
        s->n_input += c->n_value;
        return true;
    }
    s->n_input++;
    TRY(genet__json_double(j, "mean", where, &c->mean, NULL, err));
    TRY(genet__json_double(j, "scale", where, &c->scale, NULL, err));
    return c->scale > 0 || genet__err_set(err, GENET_ERR_FORMAT, "%s: column %s has scale %g", where, c->name, c->scale);
}

static bool read_all(schema *s, const json_t *j, const char *where, genet_err *err)
{
    const char *target, *task;
    const json_t *columns = json_object_get(j, "columns");
    TRY(genet__json_string(j, "target", where, &target, NULL, err));
    TRY(genet__json_string(j, "task", where, &task, NULL, err));
    TRY(genet__json_bool(j, "standardize", where, &s->standardize, NULL, err));
    TRY(genet__json_int(j, "data_bytes", where, &s->data_bytes, NULL, err));
    TRY(genet__json_int(j, "data_crc32", where, &s->data_crc, NULL, err));
    s->classify = !strcmp(task, "classification");
    if (!s->classify && strcmp(task, "regression"))
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: task \"%s\" is neither regression nor classification", where,
                              task);
    s->target = genet__arena_strdup(&s->arena, target);
    TRY(read_texts(s, json_object_get(j, "classes"), where, &s->class_name, &s->n_class, err));
    if (s->classify ? s->n_class < 2 : s->n_class)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: %s with %d classes", where, task, s->n_class);
    if (!json_is_array(columns)) return genet__err_set(err, GENET_ERR_FORMAT, "%s: no list of columns", where);
    s->column = ARENA_ARRAY(&s->arena, schema_column, json_array_size(columns) + 1);
    if (!s->column || !s->target) return genet__err_memory(err);
    for (size_t i = 0; i < json_array_size(columns); i++) TRY(read_column(s, json_array_get(columns, i), where, err));
    return true;
}

/* table.json comes from outside: every field is checked. */
bool genet__schema_read(schema *s, const char *folder, genet_err *err)
{
    *s = (schema){0};
    char *path = genet__path_join(folder, "table.json");
    json_t *j = path ? genet__json_read(path, 1 << 28, err) : NULL;
    if (!path) genet__err_memory(err);
    bool ok = j && read_all(s, j, path, err);
    json_decref(j);
    genet__free(path);
    return ok;
}
