/* npy.c - fuzz target: .npy bytes are refused in words, or every element can
 * be read. */
#include <stdlib.h>
#include <string.h>
#include "format/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    genet_err err = { 0 };
    npy a;
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) return 0;
    if (size) memcpy(copy, data, size);
    if (genet__npy_parse(&a, copy, size, "fuzz", &err)) {
        volatile double sum = 0;
        for (int64_t i = 0; i < a.numel && i * a.element_bytes < (int64_t)size; i++)
            sum += genet__npy_double(&a, i) + (double)genet__npy_int(&a, i);
        (void)sum;
    } else if (!err.text[0]) {
        __builtin_trap();
    }
    free(copy);
    return 0;
}
