/* safetensors.c - fuzz target: whatever the bytes, the reader refuses them in
 * words or every tensor it names can be read to its last byte. */
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "format/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    genet_err err = { 0 };
    safetensors s;
    uint8_t *copy = malloc(size ? size : 1);        /* of exact size, so that a sanitizer sees the end */
    if (!copy) return 0;
    if (size) memcpy(copy, data, size);
    if (genet__safetensors_parse(&s, copy, size, "fuzz", &err)) {
        for (int i = 0; i < s.n; i++) {
            const safetensor *t = genet__safetensors_find(&s, s.at[i].name);
            float *out = malloc((size_t)t->numel * sizeof(float) + 4);
            if (out) genet__safetensor_to_f32(t, out);
            if (t->size_bytes) memcpy(copy, t->at, 1), memcpy(copy, t->at + t->size_bytes - 1, 1);
            genet__safetensor_first_nonfinite(t);
            free(out);
        }
        genet__safetensors_close(&s);
    } else if (!err.text[0]) {
        __builtin_trap();                           /* a refusal needs words */
    }
    free(copy);
    return 0;
}
