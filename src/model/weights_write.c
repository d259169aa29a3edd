/* weights_write.c - params to safetensors: one file in the params' own types, or a
 * folder of files in a type of the caller's choice.
 *
 * The writer asks for the bytes piece by piece, so a weight never has a
 * second copy on the host; narrowing happens on a piece, quantising on a few
 * rows.  A value that the narrower type cannot hold is an error that names the
 * weight. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/half.h"
#include "base/quant.h"
#include "model/model.h"

enum { FILES_MAX = 10000, GROUP_ROWS = 16 };

typedef struct source {
    const params *p;
    int n;
    param **at;                 /* the n params that are written, in order of declaration */
    safetensor_entry *entry;    /* beside them */
    int first;                  /* the one that the file being written begins with */
    float *wide;                /* a piece before it is narrowed, or a group of rows before they are quantised */
    unsigned char *blocks;      /* the group's; of entry made_entry from row made_row on */
    int made_entry;
    int64_t made_row;
} source;

/* --- what is written ------------------------------------------------------------ */

/* What w is written as.  Blocks need a depth of whole ones; what is no float stays what it is. */
static genet_dtype type_for(const param *w, const weight_types *types)
{
    genet_dtype type = w->use == USE_ANY ? types->any : w->use == USE_TABLE ? types->table : types->factor;
    if (w->dtype != GENET_F32 && w->dtype != GENET_F16 && w->dtype != GENET_BF16) return w->dtype;
    if (genet__is_blocks(type) && w->shape.dim[w->in_out ? 0 : 1] % QUANT_BLOCK) return w->dtype;
    return type;
}

/* For what becomes another type: a piece, or the widest group of rows. */
static bool conversion_memory(source *s, genet_err *err)
{
    int64_t depth = -1;
    for (int i = 0; i < s->n; i++) {
        if (s->at[i]->dtype == s->entry[i].dtype) continue;
        bool blocks = genet__is_blocks(s->entry[i].dtype);
        int64_t own = blocks ? s->at[i]->shape.dim[s->at[i]->in_out ? 0 : 1] : 0;
        depth = own > depth ? own : depth;
    }
    if (depth < 0) return true;
    size_t n = (size_t)depth * GROUP_ROWS, least = SAFETENSORS_CHUNK / 2;
    s->wide = genet__alloc_array(n > least ? n : least, sizeof *s->wide);
    s->blocks = genet__alloc(genet_dtype_bytes(GENET_Q8_0, (int64_t)n) + 1);
    return (s->wide && s->blocks) || genet__err_memory(err);
}

/* Blocks come last: they may begin at any even byte, and what follows them too. */
static bool source_open(source *s, const params *p, unsigned kinds, const weight_types *types, genet_err *err)
{
    *s = (source){ .p = p, .made_entry = -1 };
    s->entry = genet__alloc_array((size_t)p->n + 1, sizeof *s->entry);
    s->at = genet__alloc_array((size_t)p->n + 1, sizeof *s->at);
    if (!s->entry || !s->at) return genet__err_memory(err);
    for (int i = 0; i < 2 * p->n; i++) {
        param *w = p->at[i % p->n];
        genet_dtype type = type_for(w, types);
        if (!(w->kind & kinds) || genet__is_blocks(type) != (i >= p->n)) continue;
        safetensor_entry *e = &s->entry[s->n];
        *e = (safetensor_entry){ .name = w->name, .dtype = type, .rank = w->shape.rank,
                                 .transposed = genet__is_blocks(type) && w->in_out };
        memcpy(e->dim, w->shape.dim, sizeof w->shape.dim);
        s->at[s->n++] = w;
    }
    return conversion_memory(s, err);
}

static void source_close(source *s)
{
    genet__free(s->entry);
    genet__free(s->at);
    genet__free(s->wide);
    genet__free(s->blocks);
}

/* --- values ------------------------------------------------------------------------ */

/* Elements [start, start + n) of w as floats.  Stored types are read into the floats' own upper half. */
static void read_floats(const source *s, const param *w, int64_t start, int64_t n, float *to)
{
    const char *at = (const char *)w->address + genet_dtype_bytes(w->dtype, start);
    if (w->dtype == GENET_F32) {
        genet_device_read(s->p->device, at, to, (size_t)n * sizeof *to);
        return;
    }
    unsigned char *half = (unsigned char *)(to + n) - 2 * n;
    genet_device_read(s->p->device, at, half, (size_t)(2 * n));
    for (int64_t i = 0; i < n; i++) {           /* what is written has been read */
        uint16_t x;
        memcpy(&x, half + 2 * i, sizeof x);
        to[i] = w->dtype == GENET_F16 ? genet__from_f16(x) : genet__from_bf16(x);
    }
}

static bool cannot(const safetensor_entry *e, double x, genet_err *err)
{
    return genet__err_set(err, GENET_ERR_USAGE, "%s holds %g, which %s cannot: write it as f32", e->name, x,
                          genet_dtype_name(e->dtype));
}

static bool narrow(const source *s, const safetensor_entry *e, size_t count, unsigned char *to, genet_err *err)
{
    bool half = e->dtype == GENET_F16;
    uint16_t infinite = half ? 0x7c00u : 0x7f80u;
    for (size_t i = 0; i < count; i++) {
        uint16_t x = half ? genet__to_f16(s->wide[i]) : genet__to_bf16(s->wide[i]);
        if ((x & infinite) == infinite) return cannot(e, (double)s->wide[i], err);
        memcpy(to + 2 * i, &x, sizeof x);
    }
    return true;
}

/* --- blocks ------------------------------------------------------------------------- */

/* Rows [row, row + n) of what is quantised to s->wide; of a weight that is stored (in, out) they are columns, which
 * are read side by side. */
static void read_rows(source *s, const param *w, int64_t depth, int64_t rows, int64_t row, int64_t n)
{
    if (!w->in_out) {
        read_floats(s, w, row * depth, n * depth, s->wide);
        return;
    }
    float some[GROUP_ROWS];
    for (int64_t k = 0; k < depth; k++) {
        read_floats(s, w, k * rows + row, n, some);
        for (int64_t i = 0; i < n; i++) s->wide[i * depth + k] = some[i];
    }
}

/* The largest magnitude, or what is no number: what an error names. */
static double worst(const float *x, int64_t n)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) return (double)x[i];
        most = fmax(most, fabs((double)x[i]));
    }
    return most;
}

/* The blocks of the group that begins at `row`, made once: pieces cut groups anywhere. */
static bool make_group(source *s, int e, int64_t depth, int64_t rows, int64_t row, genet_err *err)
{
    int64_t n = rows - row < GROUP_ROWS ? rows - row : GROUP_ROWS;
    if (s->made_entry == e && s->made_row == row) return true;
    read_rows(s, s->at[e], depth, rows, row, n);
    bool ok = s->entry[e].dtype == GENET_Q8_0 ? genet__quantize_q8_0(s->wide, n * depth, (quant_q8_0 *)s->blocks)
                                              : genet__quantize_q4_0(s->wide, n * depth, (quant_q4_0 *)s->blocks);
    s->made_entry = ok ? e : -1;
    s->made_row = row;
    return ok || cannot(&s->entry[e], worst(s->wide, n * depth), err);
}

/* Bytes [start, start + n) of a quantised entry. */
static bool read_blocks(source *s, int e, int64_t start, size_t n, char *to, genet_err *err)
{
    const param *w = s->at[e];
    int64_t depth = w->shape.dim[w->in_out ? 0 : 1], rows = w->shape.dim[w->in_out ? 1 : 0];
    int64_t group_bytes = GROUP_ROWS * (int64_t)genet_dtype_bytes(s->entry[e].dtype, depth);
    while (n) {
        int64_t group = start / group_bytes, from = start % group_bytes;
        size_t some = (size_t)(group_bytes - from) < n ? (size_t)(group_bytes - from) : n;
        TRY(make_group(s, e, depth, rows, group * GROUP_ROWS, err));
        memcpy(to, s->blocks + from, some);
        start += (int64_t)some;
        to += some;
        n -= some;
    }
    return true;
}

/* Bytes [start, start + n) of what the file holds; an even number of them where
 * elements have two. */
static bool read_piece(void *user, int e, int64_t start, size_t n, void *to, genet_err *err)
{
    source *s = user;
    const param *w = s->at[s->first + e];
    const safetensor_entry *entry = &s->entry[s->first + e];
    if (entry->dtype == w->dtype) {
        genet_device_read(s->p->device, (const char *)w->address + start, to, n);
        return true;
    }
    if (genet__is_blocks(entry->dtype)) return read_blocks(s, s->first + e, start, n, to, err);
    int64_t size = (int64_t)genet_dtype_size(entry->dtype);
    if (entry->dtype == GENET_F32) {
        read_floats(s, w, start / size, (int64_t)n / size, to);
        return true;
    }
    read_floats(s, w, start / size, (int64_t)n / size, s->wide);
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
    bool ok = source_open(&s, p, kinds, &(weight_types){ GENET_F32, GENET_F32, GENET_F32 }, err) && write_file(&s, 0, s.n, path, sum, err);
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
    return genet__weights_write_as(p, kinds, folder, &(weight_types){ type, type, type }, max_bytes, n_file, err);
}

bool genet__weights_write_as(const params *p, unsigned kinds, const char *folder, const weight_types *types,
                             int64_t max_bytes, int *n_file, genet_err *err)
{
    source s;
    bool ok = source_open(&s, p, kinds, types, err);
    *n_file = ok ? count_files(&s, max_bytes) : 0;
    if (*n_file > FILES_MAX)
        ok = genet__err_set(err, GENET_ERR_USAGE, "files of at most %lld bytes would be %d; %d is the most",
                            (long long)max_bytes, *n_file, FILES_MAX);
    if (ok) ok = *n_file == 1 ? write_one(&s, folder, err) : write_many(&s, folder, max_bytes, *n_file, err);
    source_close(&s);
    return ok;
}
