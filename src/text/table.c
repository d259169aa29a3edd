/* table.c - one pass cuts the text into cells, written one after the other
 * into a buffer as long as the text (a cell and its zero never need more room
 * than the cell and its delimiter did); then the columns are typed. */
#include "text/table.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "base/map.h"
#include "format/foreign.h"

#define BYTE_ORDER_MARK "\xef\xbb\xbf"

/* --- cells ------------------------------------------------------------------ */

typedef struct parser {
    const char *at, *end, *where;
    char       *to;             /* where the next cell goes */
    char        delimiter;
    int64_t     line;
    const char **cell;          /* all rows after one another */
    int         n_cell, cap;
} parser;

static bool wrong(const parser *p, int64_t line, const char *what, genet_err *err)
{
    return genet__err_set(err, GENET_ERR_FORMAT, "%s: line %" PRId64 ": %s", p->where, line, what);
}

/* Old Macintoshes ended lines with \r alone. */
static bool ends_cell(const parser *p)
{
    return p->at == p->end || *p->at == p->delimiter || *p->at == '\n' || *p->at == '\r';
}

/* In a table divided by tabs a tab is no space. */
static bool is_space(const parser *p, char c)
{
    return (c == ' ' || c == '\t') && c != p->delimiter;
}

/* Behind the opening quote; "" stands for one quote. */
static bool quoted(parser *p, genet_err *err)
{
    int64_t opened = p->line;
    for (; p->at < p->end; p->at++) {
        if (*p->at == '\n') p->line++;
        if (*p->at == '"' && !(p->at + 1 < p->end && p->at[1] == '"')) break;
        if (*p->at == '"') p->at++;
        *p->to++ = *p->at;
    }
    if (p->at == p->end) return wrong(p, opened, "a quote is opened here and never closed", err);
    for (p->at++; p->at < p->end && is_space(p, *p->at); p->at++) {}
    return ends_cell(p) ? true : wrong(p, p->line, "there is text behind a closing quote", err);
}

/* A quote inside of a cell that does not begin with one is a letter, as in
 * Python's csv module. */
static bool take_cell(parser *p, genet_err *err)
{
    if (!GROW(p->cell, p->n_cell, p->cap)) return genet__err_memory(err);
    char *start = p->to;
    p->cell[p->n_cell++] = start;
    while (p->at < p->end && is_space(p, *p->at)) p->at++;
    if (p->at < p->end && *p->at == '"') {
        p->at++;
        TRY(quoted(p, err));
    } else {
        while (!ends_cell(p)) *p->to++ = *p->at++;
        while (p->to > start && is_space(p, p->to[-1])) p->to--;
    }
    *p->to++ = 0;
    return true;
}

/* \n, \r\n or \r; at the end of the text none. */
static void take_line_end(parser *p)
{
    if (p->at < p->end && *p->at == '\r') p->at++;
    if (p->at < p->end && *p->at == '\n') p->at++;
    p->line++;
}

/* One row behind the empty lines; *n: its cells, 0 at the end of the text. */
static bool take_row(parser *p, int *n, int64_t *line, genet_err *err)
{
    int before = p->n_cell;
    while (p->at < p->end && (*p->at == '\n' || *p->at == '\r')) take_line_end(p);
    *line = p->line;
    *n = 0;
    if (p->at == p->end) return true;
    for (;;) {
        TRY(take_cell(p, err));
        if (p->at == p->end || *p->at != p->delimiter) break;
        p->at++;
    }
    take_line_end(p);
    *n = p->n_cell - before;
    return true;
}

/* Only the header row is asked: names hold delimiters more rarely than values
 * do, and never between quotes. */
static char guess_delimiter(const char *text, const char *end)
{
    static const char candidate[] = ",;\t";
    int count[3] = { 0 }, best = 0;
    bool in_quotes = false;
    for (; text < end && (in_quotes || *text != '\n'); text++) {
        const char *c = *text ? strchr(candidate, *text) : NULL;
        if (*text == '"') in_quotes = !in_quotes;
        else if (c && !in_quotes) count[c - candidate]++;
    }
    for (int i = 1; i < 3; i++)
        if (count[i] > count[best]) best = i;
    return candidate[best];
}

/* Zero bytes would end cells early; other bytes would spoil what we print. */
static bool check_text(const char *text, size_t n, const char *where, genet_err *err)
{
    int64_t line = 1;
    for (size_t i = 0; i < n;) {
        uint32_t c = 0;
        int length = genet__utf8_decode(text + i, n - i, &c);
        if (!length || !c)
            return genet__err_set(err, GENET_ERR_FORMAT, "%s: line %" PRId64 ": byte 0x%02X is not UTF-8 text", where,
                                  line, (unsigned char)text[i]);
        line += c == '\n';
        i += (size_t)length;
    }
    return true;
}

/* --- columns ---------------------------------------------------------------- */

static bool is_missing(const char *s)
{
    static const char *const words[] = { "", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?" };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcmp(s, words[i])) return true;
    return false;
}

bool genet__column_missing(const column *c, int64_t r) { return c->number ? isnan(c->number[r]) : c->code[r] < 0; }

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted, so that codes do not depend on the order of the rows. */
static bool make_codes(table *t, column *c, genet_err *err)
{
    c->code = ARENA_ARRAY(&t->arena, int32_t, t->n_row);
    c->value = ARENA_ARRAY(&t->arena, const char *, t->n_row);
    if (!c->code || !c->value) return genet__err_memory(err);
    int n = 0;
    for (int64_t r = 0; r < t->n_row; r++)
        if (!is_missing(c->text[r])) c->value[n++] = c->text[r];
    qsort(c->value, (size_t)n, sizeof *c->value, by_text);
    for (int i = 0; i < n; i++)
        if (!i || strcmp(c->value[i], c->value[i - 1])) c->value[c->n_value++] = c->value[i];
    for (int64_t r = 0; r < t->n_row; r++) {
        const char **found = is_missing(c->text[r]) ? NULL
                           : bsearch(&c->text[r], c->value, (size_t)c->n_value, sizeof *c->value, by_text);
        c->code[r] = found ? (int32_t)(found - c->value) : -1;
    }
    return true;
}

static bool no_number(const table *t, const column *c, int64_t r, const char *why, genet_err *err)
{
    return genet__err_set(err, GENET_ERR_FORMAT, "%s: line %" PRId64 ", column \"%s\": \"%.60s\" is not a number, %s",
                          t->path, t->line[r], c->name, c->text[r], why);
}

/* Reads the numbers, and decides whether the column is one of numbers where nobody did. */
static bool type_column(table *t, column *c, column_type want, genet_err *err)
{
    int64_t n_number = 0, first_text = -1;
    c->number = ARENA_ARRAY(&t->arena, double, t->n_row);
    if (!c->number) return genet__err_memory(err);
    for (int64_t r = 0; r < t->n_row; r++) {
        bool missing = is_missing(c->text[r]), number = !missing && genet__parse_double(c->text[r], &c->number[r]);
        if (missing) c->number[r] = NAN;
        c->n_missing += missing;
        n_number += number;
        if (!missing && !number && first_text < 0) first_text = r;
    }
    c->type = want != COLUMN_GUESS ? want : first_text < 0 ? COLUMN_NUMBER : COLUMN_TEXT;
    if (c->type == COLUMN_NUMBER)
        return first_text < 0 || no_number(t, c, first_text, "and this column must hold numbers", err);
    if (want == COLUMN_GUESS && 2 * n_number > t->n_row - c->n_missing)
        return no_number(t, c, first_text, "but most of the column is; correct it, or leave the cell empty", err);
    c->number = NULL;
    return make_codes(t, c, err);
}

/* Columns are asked for by name, so two of one name would be a trap. */
static bool name_columns(table *t, const char *const *cell, map *seen, genet_err *err)
{
    t->column = ARENA_ARRAY(&t->arena, column, t->n_column);
    if (!t->column) return genet__err_memory(err);
    for (int i = 0; i < t->n_column; i++) {
        const char *name = *cell[i] ? cell[i] : genet__arena_printf(&t->arena, "column %d", i + 1);
        if (!name) return genet__err_memory(err);
        const int64_t *other = genet__map_get(seen, name);
        if (other)
            return genet__err_set(err, GENET_ERR_FORMAT, "%s: columns %" PRId64 " and %d are both named \"%.60s\"",
                                  t->path, *other + 1, i + 1, name);
        if (!genet__map_set(seen, name, i)) return genet__err_memory(err);
        t->column[i].name = name;
    }
    return true;
}

/* --- the whole -------------------------------------------------------------- */

/* Names the delimiter: a wrong guess shows here first. */
static bool check_width(const table *t, int n, int64_t line, genet_err *err)
{
    if (n == t->n_column) return true;
    const char *divided = t->delimiter == ',' ? "commas" : t->delimiter == ';' ? "semicolons"
                        : t->delimiter == '\t' ? "tabs" : "the given delimiter";
    return genet__err_set(err, GENET_ERR_FORMAT,
                          "%s: line %" PRId64 " has %d cell%s, the header row has %d (cells are divided by %s)",
                          t->path, line, n, n == 1 ? "" : "s", t->n_column, divided);
}

/* The first row is the header; lines are kept for messages about values. */
static bool take_rows(table *t, parser *p, genet_err *err)
{
    int n, cap = 0;
    int64_t line, *lines = NULL;
    bool ok = take_row(p, &t->n_column, &line, err);
    if (ok && !t->n_column)
        ok = genet__err_set(err, GENET_ERR_FORMAT, "%s: is empty; a header row and rows of data are needed", t->path);
    while (ok && (ok = take_row(p, &n, &line, err)) && n > 0) {
        ok = check_width(t, n, line, err) &&
             (genet__grow(&lines, &cap, (int)t->n_row + 1, sizeof *lines) || genet__err_memory(err));
        if (ok) lines[t->n_row++] = line;
    }
    if (ok && !t->n_row) ok = genet__err_set(err, GENET_ERR_FORMAT, "%s: has a header row but no rows of data", t->path);
    t->line = ok ? ARENA_ARRAY(&t->arena, int64_t, t->n_row) : NULL;
    if (t->line) memcpy(t->line, lines, (size_t)t->n_row * sizeof *lines);
    else if (ok) ok = genet__err_memory(err);
    genet__free(lines);
    return ok;
}

/* From row after row to column after column; cells themselves stay where they are. */
static bool make_columns(table *t, const char *const *cell, const table_typing *as, genet_err *err)
{
    map seen = { 0 };
    bool named = name_columns(t, cell, &seen, err);
    genet__map_release(&seen);
    if (!named) return false;
    for (int i = 0; i < t->n_column; i++) {
        column *c = &t->column[i];
        c->text = ARENA_ARRAY(&t->arena, const char *, t->n_row);
        if (!c->text) return genet__err_memory(err);
        for (int64_t r = 0; r < t->n_row; r++) c->text[r] = cell[(r + 1) * t->n_column + i];
        TRY(type_column(t, c, as ? as->of(as->user, c->name) : COLUMN_GUESS, err));
    }
    return true;
}

bool genet__table_parse_as(table *t, const char *text, size_t n, const char *where, char delimiter, const table_typing *as,
                           genet_err *err)
{
    *t = (table){ 0 };
    bool binary = n && memchr(text, 0, n);         /* a column may be called PAR1 */
    if (genet__is_parquet(where, text, binary ? n : 0)) return genet__foreign_parquet(where, err);
    if (n >= 3 && !memcmp(text, BYTE_ORDER_MARK, 3)) text += 3, n -= 3;
    t->path = genet__arena_strdup(&t->arena, where);
    char *room = genet__arena_alloc(&t->arena, n + 1);
    t->delimiter = delimiter ? delimiter : guess_delimiter(text, text + n);
    parser p = { .at = text, .end = text + n, .where = where, .to = room, .delimiter = t->delimiter, .line = 1 };
    bool ok = (t->path && room) || genet__err_memory(err);
    ok = ok && check_text(text, n, where, err) && take_rows(t, &p, err) && make_columns(t, p.cell, as, err);
    genet__free(p.cell);
    if (!ok) genet__table_release(t);
    return ok;
}

bool genet__table_parse(table *t, const char *text, size_t n, const char *where, char delimiter, genet_err *err)
{
    return genet__table_parse_as(t, text, n, where, delimiter, NULL, err);
}

bool genet__table_read_as(table *t, const char *path, char delimiter, const table_typing *as, genet_err *err)
{
    mapped file;
    *t = (table){ 0 };
    TRY(genet__file_map(&file, path, err));
    bool ok = genet__table_parse_as(t, (const char *)file.at, file.size_bytes, path, delimiter, as, err);
    genet__file_unmap(&file);
    return ok;
}

bool genet__table_read(table *t, const char *path, char delimiter, genet_err *err)
{
    return genet__table_read_as(t, path, delimiter, NULL, err);
}

void genet__table_release(table *t)
{
    genet__arena_release(&t->arena);
    *t = (table){ 0 };
}

int genet__table_find(const table *t, const char *name, genet_err *err)
{
    int nearest = 0, distance = INT32_MAX;
    for (int i = 0; i < t->n_column; i++) {
        if (!strcmp(t->column[i].name, name)) return i;
        int d = genet__edit_distance(t->column[i].name, name);
        if (d < distance) nearest = i, distance = d;
    }
    genet__err_set(err, GENET_ERR_USAGE, "%s has no column \"%.60s\"; did you mean \"%.60s\"?", t->path, name,
                   t->column[nearest].name);
    return -1;
}

/* --- printing --------------------------------------------------------------- */

/* Quoted where reading it back would otherwise give something else. */
static void print_cell(char delimiter, const char *cell, str *out)
{
    char special[] = { '"', '\n', '\r', delimiter, 0 };
    size_t n = strlen(cell);
    bool plain = !cell[strcspn(cell, special)] && !(n && (strchr(" \t", cell[0]) || strchr(" \t", cell[n - 1]))) &&
                 strncmp(cell, BYTE_ORDER_MARK, 3);
    if (plain) {
        genet__str_add(out, cell);
        return;
    }
    genet__str_add(out, "\"");
    for (; *cell; cell++) {
        if (*cell == '"') genet__str_add(out, "\"");
        genet__str_add_n(out, cell, 1);
    }
    genet__str_add(out, "\"");
}

bool genet__table_print(const table *t, const char *name, const char *const *cell, str *out, genet_err *err)
{
    const char delimiter[] = { t->delimiter, 0 };
    for (int i = 0; i < t->n_column; i++)
        if (!strcmp(t->column[i].name, name))
            return genet__err_set(err, GENET_ERR_USAGE, "%s already has a column \"%s\"", t->path, name);
    for (int64_t r = -1; r < t->n_row; r++) {
        for (int i = 0; i < t->n_column; i++) {
            print_cell(t->delimiter, r < 0 ? t->column[i].name : t->column[i].text[r], out);
            genet__str_add(out, delimiter);
        }
        print_cell(t->delimiter, r < 0 ? name : cell[r], out);
        genet__str_add(out, "\n");
    }
    return out->failed ? genet__err_memory(err) : true;
}
