/* finite.h - a check that no weight is inf or NaN, for weights.c. */
#ifndef GENET_MODEL_FINITE_H
#define GENET_MODEL_FINITE_H
#include "format/safetensors.h"

/* path: the file's, for messages. */
typedef struct finite_part { const safetensor *tensor; const char *path; } finite_part;

/* Look at n tensors of F32, F64, F16 or BF16 (others count as finite) with all of d's threads; an error names the
 * first element that is none. */
bool genet__all_finite(const finite_part *part, int n, genet_device *d, genet_err *err);
#endif
