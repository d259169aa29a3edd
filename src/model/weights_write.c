/* weights_write.c - params to safetensors: one file in the params' own types, or a
 * folder of files in a type of the caller's choice.
 *
 * The writer asks for the bytes piece by piece, so a weight never has a
 * second copy on the host; narrowing happens on a piece.  A value that the
 * narrower type cannot hold is an error that names the weight. */
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/half.h"
#include "model/model.h"

enum { FILES_MAX = 10000 };

typedef struct source {
    const params *p;
    int n;
    param **at;                 /* the n params that are written, in order of declaration */
    safetensor_entry *entry;    /* beside them */
    int first;                  /* the one that the file being written begins with */
    float *wide;                /* a piece before it is narrowed; NULL: nothing is */
} source;

/* --- what is written ------------------------------------------------------------ */

/* f32 as `type`; other types stay what they are. */
static bool source_open(source *s, const params *p, unsigned kinds, genet_dtype type, genet_err *err)
{
    *s = (source){ .p = p };
    s->entry = genet__alloc_array((size_t)p->n + 1, sizeof *s->entry);
    s->at = genet__alloc_array((size_t)p->n + 1, sizeof *s->at);
    bool narrow = type != GENET_F32;
    if (narrow) s->wide = genet__alloc_array(SAFETENSORS_CHUNK / 2, sizeof *s->wide);
    if (!s->entry || !s->at || (narrow && !s->wide)) return genet__err_memory(err);
    for (int i = 0; i < p->n; i++) {
        param *w = p->at[i];
        if (!(w->kind & kinds)) continue;
        safetensor_entry *e = &s->entry[s->n];
        *e = (safetensor_entry){ .name = w->name, .dtype = w->dtype == GENET_F32 ? type : w->dtype, .rank = w->shape.rank };
        memcpy(e->dim, w->shape.dim, sizeof w->shape.dim);
        s->at[s->n++] = w;
    }
    return true;
}

static void source_close(source *s)
{
    genet__free(s->entry);
    genet__free(s->at);
    genet__free(s->wide);
}

/* --- narrowing -------------------------------------------------------------------- */

static bool narrow(const source *s, const safetensor_entry *e, size_t count, unsigned char *to, genet_err *err)
{
    bool half = e->dtype == GENET_F16;
    uint16_t infinite = half ? 0x7c00u : 0x7f80u;
    for (size_t i = 0; i < count; i++) {
        uint16_t x = half ? genet__to_f16(s->wide[i]) : genet__to_bf16(s->wide[i]);
        if ((x & infinite) == infinite)
            return genet__err_set(err, GENET_ERR_USAGE, "%s holds %g, which %s cannot: write it as f32", e->name,
                                  (double)s->wide[i], genet_dtype_name(e->dtype));
        memcpy(to + 2 * i, &x, sizeof x);
    }
    return true;
}

/* Bytes [start, start + n) of what the file holds; an even number of them where
 * elements have two. */
static bool read_piece(void *user, int e, int64_t start, size_t n, void *to, genet_err *err)
{
    const source *s = user;
    const param *w = s->at[s->first + e];
    const safetensor_entry *entry = &s->entry[s->first + e];
    if (entry->dtype == w->dtype) {
        genet_device_read(s->p->device, (const char *)w->address + start, to, n);
        return true;
    }
    genet_device_read(s->p->device, (const char *)w->address + 2 * start, s->wide, 2 * n);
    return narrow(s, entry, n / 2, to, err);
}

/* Entries [from, to) as one file. */
static bool write_file(source *s, int from, int to, const char *path, file_sum *sum, genet_err *err)
{
    json_t *metadata = json_pack("{s:s}", "format", "pt");      /* what transformers looks for */
    s->first = from;
    bool ok = metadata || genet__err_memory(err);
    ok = ok && genet__safetensors_write(path, s->entry + from, to - from, metadata, read_piece, s, sum, err);
    json_decref(metadata);
    return ok;
}

bool genet__weights_write(const params *p, unsigned kinds, const char *path, file_sum *sum, genet_err *err)
{
    source s;
    bool ok = source_open(&s, p, kinds, GENET_F32, err) && write_file(&s, 0, s.n, path, sum, err);
    source_close(&s);
    return ok;
}

/* --- several files ------------------------------------------------------------------ */

/* The end of the file that begins with entry `from`: as many as fit, one at least. */
static int file_end(const source *s, int from, int64_t max_bytes)
{
    int64_t bytes = 0;
    int i = from;
    for (; i < s->n; i++) {
        bytes += genet__safetensor_entry_bytes(&s->entry[i]);
        if (i > from && bytes > max_bytes) break;
    }
    return i;
}

static int count_files(const source *s, int64_t max_bytes)
{
    int n = 0, i = 0;
    do i = file_end(s, i, max_bytes), n++; while (i < s->n);
    return n;
}

static bool write_index(const source *s, const char *folder, json_t *weight_map, genet_err *err)
{
    int64_t bytes = 0, numel = 0;
    for (int i = 0; i < s->n; i++)
        bytes += genet__safetensor_entry_bytes(&s->entry[i]), numel += genet__numel(&s->at[i]->shape);
    json_t *all = json_pack("{s:{s:I, s:I}, s:O}", "metadata", "total_parameters", (json_int_t)numel, "total_size",
                            (json_int_t)bytes, "weight_map", weight_map);
    char *path = genet__path_join(folder, WEIGHTS_INDEX);
    bool ok = all && path ? genet__json_write(path, all, err) : genet__err_memory(err);
    genet__free(path);
    json_decref(all);
    return ok;
}

/* weight_map gets its entries as the files are written. */
static bool write_files(source *s, const char *folder, int64_t max_bytes, int n_file, json_t *weight_map, genet_err *err)
{
    int from = 0;
    for (int f = 1; f <= n_file; f++) {
        char name[64];
        int to = file_end(s, from, max_bytes);
        snprintf(name, sizeof name, "model-%05d-of-%05d.safetensors", f, n_file);
        char *path = genet__path_join(folder, name);
        bool ok = path ? write_file(s, from, to, path, NULL, err) : genet__err_memory(err);
        genet__free(path);
        TRY(ok);
        for (; from < to; from++)
            if (json_object_set_new(weight_map, s->entry[from].name, json_string(name))) return genet__err_memory(err);
    }
    return write_index(s, folder, weight_map, err);
}

static bool write_one(source *s, const char *folder, genet_err *err)
{
    char *path = genet__path_join(folder, WEIGHTS_FILE);
    bool ok = path ? write_file(s, 0, s->n, path, NULL, err) : genet__err_memory(err);
    genet__free(path);
    return ok;
}

static bool write_many(source *s, const char *folder, int64_t max_bytes, int n_file, genet_err *err)
{
    json_t *weight_map = json_object();
    bool ok = weight_map ? write_files(s, folder, max_bytes, n_file, weight_map, err) : genet__err_memory(err);
    json_decref(weight_map);
    return ok;
}

bool genet__weights_write_folder(const params *p, unsigned kinds, const char *folder, genet_dtype type,
                                 int64_t max_bytes, int *n_file, genet_err *err)
{
    source s;
    bool ok = source_open(&s, p, kinds, type, err);
    *n_file = ok ? count_files(&s, max_bytes) : 0;
    if (*n_file > FILES_MAX)
        ok = genet__err_set(err, GENET_ERR_USAGE, "files of at most %lld bytes would be %d; %d is the most",
                            (long long)max_bytes, *n_file, FILES_MAX);
    if (ok) ok = *n_file == 1 ? write_one(&s, folder, err) : write_many(&s, folder, max_bytes, *n_file, err);
    source_close(&s);
    return ok;
}
