/* foreign.h - weights and data in forms that genet does not read: what to do with them.  They are known by their names. */
#ifndef GENET_FORMAT_FOREIGN_H
#define GENET_FORMAT_FOREIGN_H
#include "base/str.h"

/* Append "; FILE is a ..., which ...: in Python: ..." for a folder's or a file's weights; nothing where none is known. */
void genet__foreign_weights(const char *path, str *out);
/* A parquet file, by its name or first bytes (n of them at head): the error that says how to make JSON lines of it. */
bool genet__is_parquet(const char *path, const void *head, size_t n);
bool genet__foreign_parquet(const char *path, genet_err *err);
#endif
