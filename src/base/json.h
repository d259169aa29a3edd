/* json.h - a thin face on jansson: parse with limits and positions in the
 * message, typed reads that name the missing field, stable printing. */
#ifndef GENET_BASE_JSON_H
#define GENET_BASE_JSON_H
#include <jansson.h>
#include "base/str.h"

enum { GENET_JSON_MAX_DEPTH = 512 };

json_t *genet__json_parse(const char *text, size_t n, const char *where, genet_err *err);
json_t *genet__json_read(const char *path, size_t max_bytes, genet_err *err);
bool    genet__json_write(const char *path, const json_t *j, genet_err *err);   /* atomic, indented, newline */
/* Text of j: keys in insertion order, numbers in their shortest form.  indent
 * 0: one line. */
void    genet__json_print(const json_t *j, int indent, str *out);

/* Put what `from` has and `to` lacks into `to`, nulls left out when without_nulls; false: no memory.
 * (jansson's own json_object_update_missing does not notice.) */
bool    genet__json_merge(json_t *to, const json_t *from, bool without_nulls);

/* Append value (taken over) to *list.  Out of memory *list becomes NULL and stays it, and json_pack of it fails: check
 * once at the end. */
void    genet__json_append(json_t **list, json_t *value);

/* Read a field of an object; where (a file's name) goes into the message.
 * With found == NULL the field must be there, else *found says. */
bool genet__json_int   (const json_t *o, const char *key, const char *where, int64_t *out, bool *found, genet_err *err);
bool genet__json_double(const json_t *o, const char *key, const char *where, double *out, bool *found, genet_err *err);
bool genet__json_bool  (const json_t *o, const char *key, const char *where, bool *out, bool *found, genet_err *err);
/* out stays owned by o */
bool genet__json_string(const json_t *o, const char *key, const char *where, const char **out, bool *found, genet_err *err);
#endif
