/* table.h - tables from comma-separated text (RFC 4180): a header row, then
 * rows of numbers, text and missing values, kept by column.
 *
 * - Spaces around a cell without quotes do not count; empty lines are passed
 *   over; a byte-order mark too.  A column without a name is "column N".
 * - A cell is missing when it is empty, NA, N/A, NaN, nan, null, NULL, None or ?.
 * - A column is NUMBER when every other cell is a finite number with a decimal
 *   point, else TEXT.  A column that is mostly numbers with some text between is an error
 *   that names the line: a slip of the pen must not make classes of numbers.
 * Who knows what a column must be says so by a table_typing instead.
 * What columns mean (encoding, scaling, filling) is the task's business. */
#ifndef GENET_TEXT_TABLE_H
#define GENET_TEXT_TABLE_H
#include "base/arena.h"
#include "base/str.h"

typedef enum column_type { COLUMN_NUMBER, COLUMN_TEXT, COLUMN_GUESS } column_type;    /* GUESS: only asked for, by content */

/* What a column of this name must be. */
typedef struct table_typing { column_type (*of)(const void *user, const char *name); const void *user; } table_typing;

typedef struct column {
    const char  *name;
    column_type  type;
    const char **text;          /* every cell as written, without quotes */
    double      *number;        /* NUMBER: one a row, NaN where missing; else NULL */
    int32_t     *code;          /* TEXT: index into value, -1 where missing; else NULL */
    const char **value;         /* TEXT: the distinct values, sorted bytewise */
    int          n_value;
    int64_t      n_missing;
} column;

typedef struct table {
    const char *path;
    char     delimiter;
    int      n_column;
    int64_t  n_row;
    column  *column;
    int64_t *line;              /* of each row in the file (quoted cells may span lines), from 1 */
    arena    arena;
} table;

/* Has row r no value? */
bool genet__column_missing(const column *c, int64_t r);
/* delimiter 0: the one of comma, semicolon and tab that the header row holds most often. */
bool genet__table_read(table *t, const char *path, char delimiter, genet_err *err);
/* As a typing says: a TEXT column may look like numbers, a NUMBER column holds nothing else. */
bool genet__table_read_as(table *t, const char *path, char delimiter, const table_typing *as, genet_err *err);
bool genet__table_parse_as(table *t, const char *text, size_t n, const char *where, char delimiter, const table_typing *as,
                           genet_err *err);
bool genet__table_parse(table *t, const char *text, size_t n, const char *where, char delimiter, genet_err *err);
void genet__table_release(table *t);                    /* also after a failure */
/* Index of a column, or -1 after an error that suggests the nearest name. */
int  genet__table_find(const table *t, const char *name, genet_err *err);
/* Append the table with one more column as text; cell[r] stands in row r. */
bool genet__table_print(const table *t, const char *name, const char *const *cell, str *out, genet_err *err);
#endif
