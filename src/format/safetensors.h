/* safetensors.h - Hugging Face's file of named tensors: eight bytes of header
 * length (little-endian), a JSON header {"name": {"dtype", "shape",
 * "data_offsets"}, ..., "__metadata__": {...}}, then the tensors' bytes without
 * holes (huggingface.co/docs/safetensors, "Format").
 *
 * Quantised tensors: quantized.h.
 *
 * Reading maps the file and copies nothing; every claim of the header is
 * checked before a pointer is handed out.  Writing streams.
 *
 * A mapped file that somebody shortens in place while it is read ends the
 * process (SIGBUS); writing here, as in Hugging Face's tools, replaces files
 * by renaming, which leaves a mapping whole. */
#ifndef GENET_FORMAT_SAFETENSORS_H
#define GENET_FORMAT_SAFETENSORS_H
#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "base/map.h"

typedef struct safetensor {
    const char *name;
    const char *type;           /* as the file spells it: "F32", "I64", ... */
    int     dtype;              /* genet_dtype, or -1: a type genet only carries */
    bool    transposed;         /* its rows are the weight's columns */
    int     element_bytes;      /* 0: it comes in blocks */
    int     rank;
    int64_t dim[GENET_MAX_DIM];
    int64_t numel;
    const unsigned char *at;    /* row-major, little-endian; alignment is the file's */
    size_t  size_bytes;
} safetensor;

typedef struct safetensors {
    const char *path;           /* for messages */
    int         n;
    safetensor *at;             /* in the order of their bytes */
    json_t     *metadata;       /* object of strings, or NULL */
    map         index;
    mapped      file;
    arena       arena;
} safetensors;

bool genet__safetensors_open(safetensors *s, const char *path, genet_err *err);
/* The same from bytes that outlive s. */
bool genet__safetensors_parse(safetensors *s, const void *bytes, size_t n, const char *where, genet_err *err);
void genet__safetensors_close(safetensors *s);          /* also after a failed open, and twice */
const safetensor *genet__safetensors_find(const safetensors *s, const char *name);   /* NULL: absent */
/* A string of the metadata, or NULL. */
const char *genet__safetensors_meta(const safetensors *s, const char *key);

/* All elements as float; F32, F64, F16, BF16 and quantised ones only (false: another type).  Row-major, also where the
 * file has the transpose. */
bool genet__safetensor_to_f32(const safetensor *t, float *out);
/* Index of the first inf or NaN of a float tensor, or -1; as fast as memory. */
int64_t genet__safetensor_first_nonfinite(const safetensor *t);

/* A name for messages: a hostile one must not reach the terminal raw, nor fill it. */
typedef struct shown_name { char at[108]; } shown_name;
const char *genet__safetensor_shown(const char *name, shown_name *out);
#define SHOWN(name) genet__safetensor_shown(name, &(shown_name){ .at = "" })

typedef struct safetensor_entry {
    const char *name;
    genet_dtype dtype;
    int         rank;
    int64_t     dim[GENET_MAX_DIM];
    bool        transposed;     /* quantised: its rows are written as columns */
} safetensor_entry;

/* Put bytes [start, start + n) of entry e's data (dense, row-major; of a transposed one that of its transpose) into to. */
typedef bool safetensors_read_fn(void *user, int e, int64_t start, size_t n, void *to, genet_err *err);

typedef struct file_sum { int64_t size_bytes; uint32_t crc; } file_sum;

/* Write entries in the given order, in pieces of at most SAFETENSORS_CHUNK
 * bytes, atomically.  metadata (an object of strings) and sum (size and CRC-32 of
 * the file written) may be NULL.  The header is padded so that data begins at a
 * multiple of SAFETENSORS_ALIGN bytes (the format asks for 8): tensors in a
 * mapped file then begin as they would in memory. */
enum { SAFETENSORS_CHUNK = 1 << 20, SAFETENSORS_ALIGN = 64 };
bool genet__safetensors_write(const char *path, const safetensor_entry *e, int n, const json_t *metadata,
                              safetensors_read_fn *read, void *user, file_sum *sum, genet_err *err);
/* Bytes of an entry's data; -1: a type or shape that no file can hold. */
int64_t genet__safetensor_entry_bytes(const safetensor_entry *e);
#endif
