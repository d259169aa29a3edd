/* schema.h - how the columns of a table become numbers, kept as table.json in
 * the model's folder so that other tables are read the same way.
 *
 * A number column is one input; a missing number is the training mean.  A text
 * column is one input a value (1 where the cell says it); a missing or unknown
 * text is all zeros.  Standardised inputs have the training rows' mean taken off
 * and are divided by their (biased) standard deviation.  A number beyond the range
 * of f32 is an error that names its line and column. */
#ifndef GENET_TASK_SCHEMA_H
#define GENET_TASK_SCHEMA_H
#include "base/json.h"
#include "text/table.h"

enum { SCHEMA_MAX_VALUES = 256 };       /* different texts of a column */

typedef struct schema_column {
    const char  *name;
    bool         text;
    double       mean, scale;           /* numbers: input = (x - mean) / scale when standardised */
    const char **value;                 /* texts, sorted */
    int          n_value, start;        /* start: its first input */
} schema_column;

typedef struct schema {
    const char    *target;
    bool           classify, standardize;
    const char   **class_name;
    int            n_class;             /* 0 for regression */
    schema_column *column;
    int            n_column;
    int64_t        n_input;
    int64_t        data_bytes, data_crc;    /* of the file it was fitted on */
    arena          arena;
} schema;

typedef struct schema_options { const char *target, *task, *ignore; bool standardize; } schema_options;

/* The columns of t; statistics over the n rows `rows`. */
bool genet__schema_fit(schema *s, const table *t, const schema_options *o, const int64_t *rows, int64_t n, genet_err *err);
void genet__schema_release(schema *s);
bool genet__schema_write(const schema *s, const char *folder, genet_err *err);
bool genet__schema_read(schema *s, const char *folder, genet_err *err);

/* All rows of t as inputs (n_row, n_input); heap, free with genet__free. */
float *genet__schema_inputs(const schema *s, const table *t, genet_err *err);
/* Column t->column[target] as numbers, or as class indices: one a row; NaN where missing.
 * Heap. */
double *genet__schema_targets(const schema *s, const table *t, genet_err *err);
#endif
