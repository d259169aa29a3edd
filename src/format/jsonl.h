/* jsonl.h - JSON lines: one object or array a line (jsonlines.org), such as a
 * run's metrics.jsonl.  The file is mapped; values come one at a time.
 *
 *     while ((line = genet__jsonl_next(&r, &err))) { ...; json_decref(line); }
 *     ok = !r.failed; */
#ifndef GENET_FORMAT_JSONL_H
#define GENET_FORMAT_JSONL_H
#include "base/file.h"
#include "base/json.h"

enum { JSONL_LINE_MAX = 16 << 20 };     /* bytes of a line */
enum { JSONL_TORN_OK = 1 };             /* a last line that was cut while being written is passed over */

typedef struct jsonl {
    const char *path;                   /* for messages; must outlive this */
    const char *at, *end;               /* what is left */
    int64_t     line;                   /* number of the value's line, from 1 */
    unsigned    flags;
    bool        failed, torn;           /* torn: the last line was passed over */
    mapped      file;
} jsonl;

bool genet__jsonl_open(jsonl *r, const char *path, unsigned flags, genet_err *err);
/* The same from bytes that outlive r. */
void genet__jsonl_parse(jsonl *r, const void *bytes, size_t n, const char *where, unsigned flags);
/* The next value (a new reference); empty lines are passed over.  NULL: the end, or failed
 * is set and err says "FILE: line 3, column 7: ...". */
json_t *genet__jsonl_next(jsonl *r, genet_err *err);
void genet__jsonl_close(jsonl *r);
#endif
