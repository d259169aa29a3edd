/* labelled.h - texts with labels from files: .csv and .tsv with a header row (RFC 4180, by table.h), .jsonl with an object
 * a line. A text may have a second one beside it, as questions have. */
#ifndef GENET_TEXT_LABELLED_H
#define GENET_TEXT_LABELLED_H
#include "base/arena.h"
#include "text/table.h"

/* Names of columns, or of an object's fields; pair and label NULL: there are none. */
typedef struct labelled_columns { const char *text, *pair, *label; } labelled_columns;

typedef struct labelled_row { const char *text, *pair, *label; int64_t line; } labelled_row;    /* line: in the file */
typedef struct labelled {
    labelled_row *at;           /* in the file's order; without a label: left out, and counted */
    int      n, cap;
    int64_t  n_unlabelled, size_bytes;
    uint32_t crc;               /* of the file */
    table    table;
    arena    arena;
} labelled;

bool genet__labelled_read(labelled *l, const char *path, const labelled_columns *c, genet_err *err);
void genet__labelled_release(labelled *l);              /* also after a failure */
/* The different labels, in order: as numbers where all are whole numbers, else bytewise; in l's arena. NULL: no memory. */
const char **genet__labelled_classes(labelled *l, int *n);
/* The place of a label among them, or -1. */
int genet__labelled_class(const char *const *classes, int n, const char *label);
#endif
