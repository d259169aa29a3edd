/* npy.h - NumPy's .npy files, read: versions 1 and 2, C order, little-
 * endian integers and floats; written: tables of f32 (numpy.org/doc, "numpy.lib.format").  Batches
 * for comparisons come this way. */
#ifndef GENET_FORMAT_NPY_H
#define GENET_FORMAT_NPY_H
#include "base/file.h"

typedef struct npy {
    char    kind;               /* 'i', 'u' or 'f' */
    int     element_bytes;      /* i and u: 1, 2, 4, 8; f: 4, 8 */
    int     rank;
    int64_t dim[GENET_MAX_DIM];
    int64_t numel;
    const unsigned char *at;    /* row-major; alignment is the file's */
    mapped  file;
} npy;

bool genet__npy_open(npy *a, const char *path, genet_err *err);
/* The same from bytes that outlive a. */
bool genet__npy_parse(npy *a, const void *bytes, size_t n, const char *where, genet_err *err);
void genet__npy_close(npy *a);
/* Element i of the flat array; floats are truncated by npy_int. */
int64_t genet__npy_int(const npy *a, int64_t i);
double  genet__npy_double(const npy *a, int64_t i);
/* x (rows, columns) as <f4, version 1, atomically. */
bool genet__npy_write(const char *path, const float *x, int64_t rows, int64_t columns, genet_err *err);
#endif
