/* journal.h - results as JSON lines that a run appends to one by one, and that the next run goes on from: what is there is
 * told line by line, and a last line that was cut while being written is taken away. */
#ifndef GENET_FORMAT_JOURNAL_H
#define GENET_FORMAT_JOURNAL_H
#include "base/json.h"

/* line: 0, 1, ...; false ends the opening, and has filled err. */
typedef bool journal_line_fn(void *user, int64_t line, const json_t *value, genet_err *err);

typedef struct journal {
    int     fd;                 /* -1: there is no file */
    char   *path;
    int64_t n;                  /* lines it has */
    str     text;
} journal;

/* Made when it is not there.  path NULL: nothing is kept, and all calls succeed.  Held alone: a second run is refused. */
bool genet__journal_open(journal *j, const char *path, journal_line_fn *had, void *user, genet_err *err);
/* One more line, written at once. */
bool genet__journal_add(journal *j, const json_t *value, genet_err *err);
/* Synced and closed; false: it may not be on disk. */
bool genet__journal_close(journal *j, genet_err *err);
#endif
