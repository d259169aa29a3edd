/* jinja.h - the part of the template language Jinja that chat templates are written in, as transformers 5 sets it up
 * (jinja2's ImmutableSandboxedEnvironment with trim_blocks, lstrip_blocks, loop controls, raise_exception,
 * strftime_now, and a tojson that does not escape HTML).
 *
 * A template comes from strangers: it can read only the variables it is given, and its work, memory and depth are
 * limited; beyond them rendering is an error.  What this part of the language lacks is an error that names it and
 * its line. */
#ifndef GENET_TEXT_JINJA_H
#define GENET_TEXT_JINJA_H
#include "base/json.h"

typedef struct jinja jinja;

enum { JINJA_MAX_BYTES = 1 << 20 };     /* of a template's text */

/* Zeros: the presets. */
typedef struct jinja_limits {
    int64_t max_steps;          /* expressions and elements looked at */
    size_t  max_bytes;          /* of all values and texts together */
    int64_t now;                /* strftime_now's time, in seconds since 1970, shown as UTC; 0: the clock, local time */
} jinja_limits;

/* Read-only once made: threads may share it.  where (copied) begins every message: "FILE: line 3: ...".  NULL: err says why. */
jinja *genet__jinja_parse(const char *text, size_t n, const char *where, genet_err *err);
void   genet__jinja_free(jinja *t);
/* Append what t gives with these variables (an object).  limits may be NULL. */
bool   genet__jinja_render(const jinja *t, const json_t *variables, const jinja_limits *limits, str *out, genet_err *err);
/* Does the template read this variable anywhere? */
bool   genet__jinja_reads(const jinja *t, const char *name);
#endif
