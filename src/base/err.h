/* err.h - failing in words: the first argument of these is the caller's
 * genet_err (may be NULL), the answer is always false, so that a function can
 * `return genet__err_set(err, ...)`. */
#ifndef GENET_BASE_ERR_H
#define GENET_BASE_ERR_H
#include "genet/genet.h"

bool genet__err_set(genet_err *err, genet_code code, const char *fmt, ...) GENET_PRINTF(3, 4);
/* "cannot read FILE: No such file or directory", from errno. */
bool genet__err_errno(genet_err *err, const char *doing, const char *path);
/* Put words before the text there is: "model.safetensors: ...". */
bool genet__err_prefix(genet_err *err, const char *fmt, ...) GENET_PRINTF(2, 3);
bool genet__err_memory(genet_err *err);

/* Forward a failure that already filled err. */
#define TRY(call) do { if (!(call)) return false; } while (0)
#endif
