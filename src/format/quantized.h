/* quantized.h - quantised tensors in a safetensors file, whose format knows no
 * such types: each is a U8 tensor (rows, bytes of a row) of blocks (base/quant.h),
 * and the file's __metadata__ says under "genet.quantized" what it is, as JSON text:
 *
 *     {"NAME": {"type": "q8_0" | "q4_0", "shape": [rows, columns], "transposed": true}, ...}
 *
 * shape is the weight's own.  Where transposed is true (false when absent) a row of the file is a
 * column of the weight: blocks run along the first dimension. */
#ifndef GENET_FORMAT_QUANTIZED_H
#define GENET_FORMAT_QUANTIZED_H
#include "format/safetensors.h"

#define QUANTIZED_KEY "genet.quantized"

/* Give the tensors that s's metadata names their types and shapes; what does not fit their bytes is
 * an error. */
bool genet__quantized_read(safetensors *s, genet_err *err);
/* Metadata (may be NULL) with the key added where an entry is quantised; a new object, NULL: no memory. */
json_t *genet__quantized_metadata(const safetensor_entry *e, int n, const json_t *metadata);
/* Rows of blocks of a quantised entry, and bytes of each; false: its shape has no whole blocks. */
bool genet__quantized_layout(const safetensor_entry *e, int64_t *rows, int64_t *row_bytes);
#endif
