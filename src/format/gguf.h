/* gguf.h - GGUF, the files of llama.cpp (ggml/docs/gguf.md): "GGUF", a version, counts, metadata (typed values by
 * key), a list of tensors, then their bytes, each aligned.  Versions 2 and 3, little-endian.
 *
 * Reading maps the file and copies nothing but names; every count, length, offset and overlap is checked before a
 * pointer is handed out.  Writing streams, and replaces atomically.  What the keys and names mean: gguf_model.h. */
#ifndef GENET_FORMAT_GGUF_H
#define GENET_FORMAT_GGUF_H
#include "format/safetensors.h"

typedef enum gguf_type {
    GGUF_U8, GGUF_I8, GGUF_U16, GGUF_I16, GGUF_U32, GGUF_I32, GGUF_F32, GGUF_BOOL, GGUF_STRING, GGUF_ARRAY, GGUF_U64,
    GGUF_I64, GGUF_F64, GGUF_N_TYPES
} gguf_type;

enum { GGUF_MAX_DIM = 4, GGUF_ALIGN = 32 };

/* A value of the metadata: its bytes as they lie. */
typedef struct gguf_value {
    const char *key;
    gguf_type   type, element;          /* element: of arrays */
    uint64_t    n;                      /* bytes of a string, elements of an array, else 1 */
    const unsigned char *at;
    size_t      size_bytes;             /* of all at `at` */
} gguf_value;

typedef struct gguf_tensor {
    const char *name, *type;            /* "Q4_K"; "type 77" where genet knows no name */
    int         dtype;                  /* genet_dtype; -1: a type that genet does not read */
    int         rank;
    int64_t     dim[GGUF_MAX_DIM];      /* row-major: the last one is contiguous (the file has them the other way round) */
    int64_t     numel;
    const unsigned char *at;
    size_t      size_bytes;
} gguf_tensor;

typedef struct gguf {
    const char  *path;                  /* for messages */
    int          version, n_value, n;
    gguf_value  *value;
    gguf_tensor *at;                    /* in the order of the list */
    map          keys, names;
    mapped       file;
    arena        arena;
} gguf;

bool genet__gguf_open(gguf *g, const char *path, genet_err *err);
/* The same from bytes that outlive g. */
bool genet__gguf_parse(gguf *g, const void *bytes, size_t n, const char *where, genet_err *err);
void genet__gguf_close(gguf *g);                        /* also after a failed open, and twice */
const gguf_tensor *genet__gguf_find(const gguf *g, const char *name);           /* NULL: absent */
const gguf_value *genet__gguf_value(const gguf *g, const char *key);            /* NULL: absent */

/* A value of a kind, or found (NULL: it must be there) says that there is none; another type is an error. */
bool genet__gguf_int(const gguf *g, const char *key, int64_t *out, bool *found, genet_err *err);
bool genet__gguf_double(const gguf *g, const char *key, double *out, bool *found, genet_err *err);
bool genet__gguf_bool(const gguf *g, const char *key, bool *out, bool *found, genet_err *err);
/* Not terminated; *n bytes. */
bool genet__gguf_string(const gguf *g, const char *key, const char **out, size_t *n, bool *found, genet_err *err);
/* An array of this kind: GGUF_STRING, GGUF_F32 (any float) or GGUF_I32 (any integer); NULL and no error: absent,
 * where found is given. */
const gguf_value *genet__gguf_array(const gguf *g, const char *key, gguf_type kind, bool *found, genet_err *err);
/* Element i < n of an array of numbers. */
double  genet__gguf_number(const gguf_value *v, uint64_t i);
int64_t genet__gguf_integer(const gguf_value *v, uint64_t i);
/* Strings of an array, one after the other, at most n times: *at begins as v->at. */
const char *genet__gguf_next(const unsigned char **at, size_t *n_bytes);

/* --- gguf_write.c ------------------------------------------------------------------ */

/* Metadata being gathered, as the file has it; a failed allocation is told by genet__gguf_write. */
typedef struct gguf_meta { str bytes; uint64_t n; } gguf_meta;          /* {0} is ready */
void genet__gguf_put_int(gguf_meta *m, const char *key, gguf_type type, int64_t value);
void genet__gguf_put_f32(gguf_meta *m, const char *key, double value);
void genet__gguf_put_string(gguf_meta *m, const char *key, const char *text, size_t n);
/* n elements: i32 or f32 values. */
void genet__gguf_put_array(gguf_meta *m, const char *key, gguf_type element, const void *values, uint64_t n);
/* An array of n strings: then as many of them. */
void genet__gguf_put_strings(gguf_meta *m, const char *key, uint64_t n);
void genet__gguf_put_element(gguf_meta *m, const char *text, size_t n);

/* One to write: rows times columns (rank 2) or columns (rank 1), of a type that genet reads. */
typedef struct gguf_entry { const char *name; genet_dtype dtype; int rank; int64_t rows, columns; } gguf_entry;
/* Rows [row, row + n) of entry e as the file has them, to `to`. */
typedef bool gguf_read_fn(void *user, int e, int64_t row, int64_t n, void *to, genet_err *err);

bool genet__gguf_write(const char *path, const gguf_meta *m, const gguf_entry *e, int n, gguf_read_fn *read, void *user,
                       genet_err *err);
#endif
