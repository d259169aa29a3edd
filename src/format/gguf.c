/* gguf.c - reading GGUF.  A cursor walks the bytes once; each length is held against what is left before anything is
 * believed of it, so no count can ask for more memory than the file has bytes.  Then the tensors, in the order of
 * their offsets: none may leave the data or lie in another. */
#include "format/gguf.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"

enum { KEY_MAX_BYTES = 65535, NAME_MAX_BYTES = 1000, LEAST_VALUE_BYTES = 13, LEAST_TENSOR_BYTES = 24, ALIGN_MAX = 1 << 20 };

/* ggml's types by their numbers (ggml/include/ggml.h): elements and bytes of a block; those without a name were
 * withdrawn. */
static const struct type_row { const char *name; int dtype, elements, bytes; } types[] = {
    [0] = { "F32", GENET_F32, 1, 4 }, [1] = { "F16", GENET_F16, 1, 2 }, [2] = { "Q4_0", GENET_Q4_0, 32, 18 },
    [3] = { "Q4_1", -1, 32, 20 }, [6] = { "Q5_0", -1, 32, 22 }, [7] = { "Q5_1", -1, 32, 24 },
    [8] = { "Q8_0", GENET_Q8_0, 32, 34 }, [9] = { "Q8_1", -1, 32, 36 }, [10] = { "Q2_K", -1, 256, 84 },
    [11] = { "Q3_K", -1, 256, 110 }, [12] = { "Q4_K", -1, 256, 144 }, [13] = { "Q5_K", -1, 256, 176 },
    [14] = { "Q6_K", -1, 256, 210 }, [15] = { "Q8_K", -1, 256, 292 }, [16] = { "IQ2_XXS", -1, 256, 66 },
    [17] = { "IQ2_XS", -1, 256, 74 }, [18] = { "IQ3_XXS", -1, 256, 98 }, [19] = { "IQ1_S", -1, 256, 50 },
    [20] = { "IQ4_NL", -1, 32, 18 }, [21] = { "IQ3_S", -1, 256, 110 }, [22] = { "IQ2_S", -1, 256, 82 },
    [23] = { "IQ4_XS", -1, 256, 136 }, [24] = { "I8", -1, 1, 1 }, [25] = { "I16", -1, 1, 2 }, [26] = { "I32", GENET_I32, 1, 4 },
    [27] = { "I64", -1, 1, 8 }, [28] = { "F64", GENET_F64, 1, 8 }, [29] = { "IQ1_M", -1, 256, 56 },
    [30] = { "BF16", GENET_BF16, 1, 2 }, [34] = { "TQ1_0", -1, 256, 54 }, [35] = { "TQ2_0", -1, 256, 66 },
    [39] = { "MXFP4", -1, 32, 17 },
};
enum { N_TYPES = sizeof types / sizeof *types };

/* Bytes of a value of each type; 0: not of one size. */
static const int value_bytes[GGUF_N_TYPES] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };
static const char *const value_names[GGUF_N_TYPES] = { "u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string",
                                                       "array", "u64", "i64", "f64" };

typedef struct cursor { const gguf *g; const unsigned char *at, *end; genet_err *err; } cursor;

/* --- bytes ------------------------------------------------------------------------- */

static bool bad(const gguf *g, const char *what, const char *why, genet_err *err)
{
    return genet__err_set(err, GENET_ERR_FORMAT, "%s: %s: %s; the file is damaged: fetch it again", g->path, SHOWN(what), why);
}

static uint64_t little(const unsigned char *at, int n)
{
    uint64_t x = 0;
    for (int i = 0; i < n; i++) x |= (uint64_t)at[i] << 8 * i;
    return x;
}

static size_t left(const cursor *c) { return (size_t)(c->end - c->at); }

static bool take(cursor *c, int n, uint64_t *out, const char *what)
{
    *out = 0;
    if (left(c) < (size_t)n) return bad(c->g, what, "the file ends within it", c->err);
    *out = little(c->at, n);
    c->at += n;
    return true;
}

/* n bytes at *out. */
static bool take_string(cursor *c, const unsigned char **out, uint64_t *n, const char *what)
{
    *out = c->at;
    TRY(take(c, 8, n, what));
    if (*n > left(c)) return bad(c->g, what, "a string is longer than what is left of the file", c->err);
    *out = c->at;
    c->at += *n;
    return true;
}

/* A key or a name: terminated, in the arena. */
static bool take_name(cursor *c, gguf *g, size_t most, const char **out, const char *what)
{
    const unsigned char *at;
    uint64_t n;
    TRY(take_string(c, &at, &n, what));
    if (!n || n > most) return bad(g, what, "a name that is empty or too long", c->err);
    uint32_t point;
    for (size_t i = 0, k; i < n; i += k) {
        k = (size_t)genet__utf8_decode((const char *)at + i, (size_t)n - i, &point);
        if (!k || !point) return bad(g, what, "a name that is not UTF-8 text", c->err);
    }
    char *copy = genet__arena_alloc(&g->arena, (size_t)n + 1);
    if (!copy) return genet__err_memory(c->err);
    memcpy(copy, at, (size_t)n);
    *out = copy;
    return true;
}

/* --- metadata ---------------------------------------------------------------------- */

/* Strings are walked through now, so that they need no checks later. */
static bool take_array(cursor *c, gguf_value *v)
{
    uint64_t type, n, ignored_n;
    const unsigned char *ignored;
    TRY(take(c, 4, &type, v->key) && take(c, 8, &n, v->key));
    if (type >= GGUF_N_TYPES || type == GGUF_ARRAY)
        return bad(c->g, v->key, "an array of arrays, or of a type that there is not", c->err);
    v->element = (gguf_type)type;
    v->n = n;
    v->at = c->at;
    size_t least = type == GGUF_STRING ? 8 : (size_t)value_bytes[type];
    if (n > left(c) / least) return bad(c->g, v->key, "more elements than the file has bytes for", c->err);
    if (type != GGUF_STRING) c->at += n * least;
    else for (uint64_t i = 0; i < n; i++) TRY(take_string(c, &ignored, &ignored_n, v->key));
    v->size_bytes = (size_t)(c->at - v->at);
    return true;
}

static bool take_value(cursor *c, gguf *g, gguf_value *v)
{
    uint64_t type;
    TRY(take_name(c, g, KEY_MAX_BYTES, &v->key, "metadata") && take(c, 4, &type, v->key));
    if (type >= GGUF_N_TYPES) return bad(g, v->key, "a type that there is not", c->err);
    v->type = (gguf_type)type;
    v->n = 1;
    if (type == GGUF_ARRAY) return take_array(c, v);
    if (type == GGUF_STRING) {
        TRY(take_string(c, &v->at, &v->n, v->key));
        v->size_bytes = (size_t)v->n;
        return true;
    }
    v->at = c->at;
    v->size_bytes = (size_t)value_bytes[type];
    uint64_t bits;
    TRY(take(c, value_bytes[type], &bits, v->key));
    return type != GGUF_BOOL || bits < 2 || bad(g, v->key, "neither true nor false", c->err);
}

static bool take_metadata(cursor *c, gguf *g, uint64_t n)
{
    if (n > left(c) / LEAST_VALUE_BYTES) return bad(g, "metadata", "more values than the file has bytes for", c->err);
    g->value = ARENA_ARRAY(&g->arena, gguf_value, (int64_t)n + 1);
    if (!g->value) return genet__err_memory(c->err);
    for (; (uint64_t)g->n_value < n; g->n_value++) {
        gguf_value *v = &g->value[g->n_value];
        TRY(take_value(c, g, v));
        if (genet__map_get(&g->keys, v->key)) return bad(g, v->key, "stands twice", c->err);
        if (!genet__map_set(&g->keys, v->key, g->n_value)) return genet__err_memory(c->err);
    }
    return true;
}

/* --- tensors ----------------------------------------------------------------------- */

/* Elements and bytes; an unknown type has none that could be checked. */
static bool tensor_size(const gguf *g, gguf_tensor *t, uint64_t type, genet_err *err)
{
    const struct type_row *row = type < N_TYPES && types[type].name ? &types[type] : NULL;
    int64_t blocks, bytes;
    t->numel = 1;
    for (int i = 0; i < t->rank; i++)
        if (t->dim[i] < 0 || __builtin_mul_overflow(t->numel, t->dim[i], &t->numel))
            return bad(g, t->name, "more elements than fit in any file", err);
    if (!row) return true;
    int64_t columns = t->rank ? t->dim[t->rank - 1] : 1;
    if (columns % row->elements) return bad(g, t->name, "its rows are no whole blocks of its type", err);
    blocks = t->numel / row->elements;
    if (__builtin_mul_overflow(blocks, (int64_t)row->bytes, &bytes))
        return bad(g, t->name, "more elements than fit in any file", err);
    t->size_bytes = (size_t)bytes;
    return true;
}

/* t->at becomes its offset for now: where the data begins is known after the last. */
static bool take_tensor(cursor *c, gguf *g, gguf_tensor *t, uint64_t *offset)
{
    uint64_t rank, type, dim;
    TRY(take_name(c, g, NAME_MAX_BYTES, &t->name, "tensors") && take(c, 4, &rank, t->name));
    if (rank > GGUF_MAX_DIM) return bad(g, t->name, "more than four dimensions", c->err);
    t->rank = (int)rank;
    for (int i = t->rank - 1; i >= 0; i--) {
        TRY(take(c, 8, &dim, t->name));
        if (dim > INT64_MAX) return bad(g, t->name, "more elements than fit in any file", c->err);
        t->dim[i] = (int64_t)dim;
    }
    TRY(take(c, 4, &type, t->name) && take(c, 8, offset, t->name));
    bool known = type < N_TYPES && types[type].name;
    t->dtype = known ? types[type].dtype : -1;
    t->type = known ? types[type].name : genet__arena_printf(&g->arena, "type %" PRIu64, type);
    if (!t->type) return genet__err_memory(c->err);
    return tensor_size(g, t, type, c->err);
}

static int by_place(const void *a, const void *b)
{
    const gguf_tensor *x = *(const gguf_tensor *const *)a, *y = *(const gguf_tensor *const *)b;
    if (x->at != y->at) return x->at < y->at ? -1 : 1;
    return x->size_bytes == y->size_bytes ? 0 : x->size_bytes < y->size_bytes ? -1 : 1;
}

static bool check_overlap(const gguf *g, genet_err *err)
{
    const gguf_tensor **t = genet__alloc_array((size_t)g->n + 1, sizeof *t);
    if (!t) return genet__err_memory(err);
    for (int i = 0; i < g->n; i++) t[i] = &g->at[i];
    qsort(t, (size_t)g->n, sizeof *t, by_place);
    bool ok = true;
    for (int i = 1; ok && i < g->n; i++)
        if (t[i]->at < t[i - 1]->at + t[i - 1]->size_bytes) ok = bad(g, t[i]->name, "its bytes overlap another tensor's", err);
    genet__free(t);
    return ok;
}

/* data: the offsets count from there. */
static bool place(const gguf *g, gguf_tensor *t, uint64_t offset, int64_t align, const unsigned char *data, size_t n,
                  genet_err *err)
{
    if (offset % (uint64_t)align) return bad(g, t->name, "its offset is no multiple of the alignment", err);
    if (offset > n || t->size_bytes > n - offset) return bad(g, t->name, "its bytes leave the file", err);
    t->at = data + offset;
    return true;
}

static bool take_tensors(cursor *c, gguf *g, uint64_t n, uint64_t *offset)
{
    for (; (uint64_t)g->n < n; g->n++) {
        gguf_tensor *t = &g->at[g->n];
        TRY(take_tensor(c, g, t, &offset[g->n]));
        if (genet__map_get(&g->names, t->name)) return bad(g, t->name, "stands twice", c->err);
        if (!genet__map_set(&g->names, t->name, g->n)) return genet__err_memory(c->err);
    }
    return true;
}

static bool read_align(const gguf *g, int64_t *align, genet_err *err)
{
    bool found;
    *align = GGUF_ALIGN;
    TRY(genet__gguf_int(g, "general.alignment", align, &found, err));
    return (*align >= 1 && *align <= ALIGN_MAX && !(*align & (*align - 1))) ||
           bad(g, "general.alignment", "no power of two up to 1048576", err);
}

/* The list, then where its tensors lie: the data begins at the next multiple of the alignment. */
static bool read_tensors(cursor *c, gguf *g, const unsigned char *bytes, uint64_t n)
{
    int64_t align;
    if (n > left(c) / LEAST_TENSOR_BYTES) return bad(g, "tensors", "more than the file has bytes for", c->err);
    TRY(read_align(g, &align, c->err));
    g->at = ARENA_ARRAY(&g->arena, gguf_tensor, (int64_t)n + 1);
    uint64_t *offset = ARENA_ARRAY(&g->arena, uint64_t, (int64_t)n + 1);
    if (!g->at || !offset) return genet__err_memory(c->err);
    TRY(take_tensors(c, g, n, offset));
    size_t begin = ((size_t)(c->at - bytes) + (size_t)align - 1) / (size_t)align * (size_t)align;
    size_t all = (size_t)(c->end - bytes), data = begin < all ? all - begin : 0;
    for (int i = 0; i < g->n; i++) TRY(place(g, &g->at[i], offset[i], align, bytes + all - data, data, c->err));
    return check_overlap(g, c->err);
}

/* --- the file ---------------------------------------------------------------------- */

static bool parse(gguf *g, const unsigned char *bytes, size_t n, genet_err *err)
{
    cursor c = { .g = g, .at = bytes + 4, .end = bytes + n, .err = err };
    uint64_t version, n_tensor, n_value;
    if (n < 4 || memcmp(bytes, "GGUF", 4))
        return genet__err_set(err, GENET_ERR_FORMAT, "%s does not begin with \"GGUF\": it is no GGUF file", g->path);
    TRY(take(&c, 4, &version, "version"));
    if (version != 2 && version != 3)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: GGUF of version %" PRIu64 "; genet reads 2 and 3, little-endian: "
                              "convert it with llama.cpp's tools", g->path, version);
    g->version = (int)version;
    return take(&c, 8, &n_tensor, "tensors") && take(&c, 8, &n_value, "metadata") && take_metadata(&c, g, n_value) &&
           read_tensors(&c, g, bytes, n_tensor);
}

bool genet__gguf_parse(gguf *g, const void *bytes, size_t n, const char *where, genet_err *err)
{
    *g = (gguf){ 0 };
    g->path = genet__arena_strdup(&g->arena, where);
    bool ok = g->path ? parse(g, bytes, n, err) : genet__err_memory(err);
    if (!ok) genet__gguf_close(g);
    return ok;
}

bool genet__gguf_open(gguf *g, const char *path, genet_err *err)
{
    mapped file;
    *g = (gguf){ 0 };
    TRY(genet__file_map(&file, path, err));
    bool ok = genet__gguf_parse(g, file.at, file.size_bytes, path, err);
    if (ok) g->file = file;
    else genet__file_unmap(&file);
    return ok;
}

void genet__gguf_close(gguf *g)
{
    genet__map_release(&g->keys);
    genet__map_release(&g->names);
    genet__file_unmap(&g->file);
    genet__arena_release(&g->arena);
    *g = (gguf){ 0 };
}

const gguf_tensor *genet__gguf_find(const gguf *g, const char *name)
{
    const int64_t *i = genet__map_get(&g->names, name);
    return i ? &g->at[*i] : NULL;
}

const gguf_value *genet__gguf_value(const gguf *g, const char *key)
{
    const int64_t *i = genet__map_get(&g->keys, key);
    return i ? &g->value[*i] : NULL;
}

/* --- values ------------------------------------------------------------------------ */

static bool is_integer(gguf_type t)
{
    return t <= GGUF_I32 || t == GGUF_U64 || t == GGUF_I64;
}

static bool is_float(gguf_type t) { return t == GGUF_F32 || t == GGUF_F64; }

/* What u64 has beyond int64_t becomes its largest. */
static int64_t integer_at(const unsigned char *at, gguf_type type)
{
    uint64_t x = little(at, value_bytes[type]);
    if (type == GGUF_I8) return (int8_t)x;
    if (type == GGUF_I16) return (int16_t)x;
    if (type == GGUF_I32) return (int32_t)x;
    return type == GGUF_U64 && x > INT64_MAX ? INT64_MAX : (int64_t)x;
}

static double double_at(const unsigned char *at, gguf_type type)
{
    float f;
    double d;
    if (!is_float(type)) return (double)integer_at(at, type);
    if (type == GGUF_F64) return memcpy(&d, at, sizeof d), d;
    return memcpy(&f, at, sizeof f), (double)f;
}

double genet__gguf_number(const gguf_value *v, uint64_t i)
{
    return double_at(v->at + i * (uint64_t)value_bytes[v->element], v->element);
}

int64_t genet__gguf_integer(const gguf_value *v, uint64_t i)
{
    return integer_at(v->at + i * (uint64_t)value_bytes[v->element], v->element);
}

const char *genet__gguf_next(const unsigned char **at, size_t *n_bytes)
{
    *n_bytes = (size_t)little(*at, 8);
    const char *text = (const char *)*at + 8;
    *at += 8 + *n_bytes;
    return text;
}

/* *v: the value, NULL where found says that there is none. */
static bool want(const gguf *g, const char *key, const gguf_value **v, bool *found, genet_err *err)
{
    *v = genet__gguf_value(g, key);
    if (found) *found = *v;
    return *v || found || genet__err_set(err, GENET_ERR_FORMAT, "%s: there is no %s, which such a model must have", g->path, key);
}

static bool wrong(const gguf *g, const gguf_value *v, const char *wanted, genet_err *err)
{
    return genet__err_set(err, GENET_ERR_FORMAT, "%s: %s is of type %s%s, not %s", g->path, v->key,
                          v->type == GGUF_ARRAY ? "array of " : "", value_names[v->type == GGUF_ARRAY ? v->element : v->type],
                          wanted);
}

bool genet__gguf_int(const gguf *g, const char *key, int64_t *out, bool *found, genet_err *err)
{
    const gguf_value *v;
    TRY(want(g, key, &v, found, err));
    if (v && !is_integer(v->type)) return wrong(g, v, "an integer", err);
    if (v) *out = integer_at(v->at, v->type);
    return true;
}

bool genet__gguf_double(const gguf *g, const char *key, double *out, bool *found, genet_err *err)
{
    const gguf_value *v;
    TRY(want(g, key, &v, found, err));
    if (v && !is_integer(v->type) && !is_float(v->type)) return wrong(g, v, "a number", err);
    if (v) *out = double_at(v->at, v->type);
    return !v || isfinite(*out) || genet__err_set(err, GENET_ERR_FORMAT, "%s: %s is not finite", g->path, key);
}

bool genet__gguf_bool(const gguf *g, const char *key, bool *out, bool *found, genet_err *err)
{
    const gguf_value *v;
    TRY(want(g, key, &v, found, err));
    if (v && v->type != GGUF_BOOL) return wrong(g, v, "true or false", err);
    if (v) *out = v->at[0];
    return true;
}

bool genet__gguf_string(const gguf *g, const char *key, const char **out, size_t *n, bool *found, genet_err *err)
{
    const gguf_value *v;
    *out = "";
    *n = 0;
    TRY(want(g, key, &v, found, err));
    if (v && v->type != GGUF_STRING) return wrong(g, v, "a string", err);
    if (v) *out = (const char *)v->at, *n = (size_t)v->n;
    return true;
}

const gguf_value *genet__gguf_array(const gguf *g, const char *key, gguf_type kind, bool *found, genet_err *err)
{
    const gguf_value *v;
    if (!want(g, key, &v, found, err) || !v) return NULL;
    bool fits = v->type == GGUF_ARRAY && (kind == GGUF_STRING ? v->element == kind
                                          : kind == GGUF_F32 ? is_float(v->element) : is_integer(v->element));
    if (fits) return v;
    if (found) *found = true;
    wrong(g, v, kind == GGUF_STRING ? "an array of strings" : kind == GGUF_F32 ? "an array of floats"
                                                                            : "an array of integers", err);
    return NULL;
}
