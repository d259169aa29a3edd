/* safetensors.c - reading: the header is parsed into an array in the order of
 * the bytes, and nothing is believed.  A tensor's size must follow from its
 * shape and type; tensors must touch each other, from the first byte of the
 * data to the last, so no two overlap and nothing hides between them (the
 * rules of Hugging Face's own reader).  Writing: header first, then each
 * tensor in pieces asked from the caller, so there is no second copy. */
#include "format/safetensors.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/half.h"
#include "base/quant.h"
#include "base/str.h"
#include "format/quantized.h"

enum { HEADER_MAX = 100 * 1000 * 1000, NAME_MAX_BYTES = 1000 };      /* the first as Hugging Face's reader */

typedef struct type_row { const char *name; int dtype, bytes; } type_row;

static const type_row types[] = {
    { "F32", GENET_F32, 4 }, { "F64", GENET_F64, 8 }, { "F16", GENET_F16, 2 }, { "BF16", GENET_BF16, 2 },
    { "I32", GENET_I32, 4 }, { "U8", GENET_U8, 1 },
    /* carried along, never computed with */
    { "I64", -1, 8 }, { "U64", -1, 8 }, { "U32", -1, 4 }, { "I16", -1, 2 }, { "U16", -1, 2 }, { "I8", -1, 1 },
    { "BOOL", -1, 1 }, { "F8_E4M3", -1, 1 }, { "F8_E5M2", -1, 1 }, { "C64", -1, 8 },
};
enum { N_TYPES = sizeof types / sizeof *types };

/* By the file's spelling; NULL: a type from a later version of the format. */
static const type_row *type_named(const char *name)
{
    for (int i = 0; i < N_TYPES; i++)
        if (!strcmp(types[i].name, name)) return &types[i];
    return NULL;
}

static bool is_blocks(genet_dtype dtype) { return genet_dtype_size(dtype) == 0; }

/* Every genet_dtype but blocks has exactly one spelling. */
static const type_row *type_of(genet_dtype dtype)
{
    for (int i = 0; i < N_TYPES; i++)
        if (types[i].dtype == (int)dtype) return &types[i];
    return NULL;
}

/* Elements and bytes of a shape; false: negative, or more than int64_t can count. */
static bool shape_size(int rank, const int64_t *dim, int element_bytes, int64_t *numel, int64_t *size_bytes)
{
    *numel = 1;
    for (int i = 0; i < rank; i++)
        if (dim[i] < 0 || __builtin_mul_overflow(*numel, dim[i], numel)) return false;
    return !__builtin_mul_overflow(*numel, (int64_t)element_bytes, size_bytes);
}

/* --- reading -------------------------------------------------------------- */

const char *genet__safetensor_shown(const char *name, shown_name *out)
{
    size_t n = 0, most = sizeof out->at - 8;
    for (; name[n] && n < most; n++)
        out->at[n] = (unsigned char)name[n] < 32 || name[n] == 127 ? '?' : name[n];
    memcpy(out->at + n, name[n] ? "..." : "", name[n] ? sizeof "..." : 1);
    return out->at;
}

/* "FILE: tensor NAME: why" */
static bool bad_tensor(const safetensors *s, const char *name, const char *why, genet_err *err)
{
    return genet__err_set(err, GENET_ERR_FORMAT, "%s: tensor %s: %s; the file is damaged: fetch or save it again",
                          s->path, SHOWN(name), why);
}

/* A list of `least` to `most` integers from 0 on. */
static bool read_list(const json_t *list, int64_t *out, size_t least, size_t most, int *n)
{
    if (!json_is_array(list) || json_array_size(list) < least || json_array_size(list) > most) return false;
    *n = (int)json_array_size(list);
    for (int i = 0; i < *n; i++) {
        const json_t *x = json_array_get(list, (size_t)i);
        if (!json_is_integer(x) || json_integer_value(x) < 0) return false;
        out[i] = json_integer_value(x);
    }
    return true;
}

/* One entry of the header; data: where offsets count from, n_data bytes. */
static bool read_entry(safetensors *s, safetensor *t, const char *name, const json_t *j, const unsigned char *data,
                       size_t n_data, genet_err *err)
{
    char why[200];
    const char *type = json_string_value(json_object_get(j, "dtype"));
    if (!type) return bad_tensor(s, name, "\"dtype\" is missing or not a string", err);
    const type_row *row = type_named(type);
    if (!row) {
        snprintf(why, sizeof why, "unknown dtype \"%.20s\"", type);
        return bad_tensor(s, name, why, err);
    }
    *t = (safetensor){ .name = name, .type = row->name, .dtype = row->dtype, .element_bytes = row->bytes };
    int64_t offset[2], size;
    int two;
    if (!read_list(json_object_get(j, "shape"), t->dim, 0, GENET_MAX_DIM, &t->rank))
        return bad_tensor(s, name, "\"shape\" is not a list of at most 8 sizes from 0 on", err);
    if (!read_list(json_object_get(j, "data_offsets"), offset, 2, 2, &two))
        return bad_tensor(s, name, "\"data_offsets\" is not a pair of numbers from 0 on", err);
    if (!shape_size(t->rank, t->dim, row->bytes, &t->numel, &size))
        return bad_tensor(s, name, "\"shape\" has more elements than fit in any file", err);
    if (offset[0] > offset[1] || (uint64_t)offset[1] > n_data) {
        snprintf(why, sizeof why, "\"data_offsets\" [%" PRId64 ", %" PRId64 "] leave the file's %zu bytes of data",
                 offset[0], offset[1], n_data);
        return bad_tensor(s, name, why, err);
    }
    if (offset[1] - offset[0] != size) {
        snprintf(why, sizeof why, "its shape needs %" PRId64 " bytes of %s, its offsets hold %" PRId64, size, type,
                 offset[1] - offset[0]);
        return bad_tensor(s, name, why, err);
    }
    t->at = data + offset[0];
    t->size_bytes = (size_t)size;
    return true;
}

/* Empty tensors share their place with a neighbour; the name makes the order one. */
static int by_place(const void *a, const void *b)
{
    const safetensor *x = a, *y = b;
    if (x->at != y->at) return x->at < y->at ? -1 : 1;
    if (x->size_bytes != y->size_bytes) return x->size_bytes < y->size_bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* Sorted by place: does each begin where the one before it ended? */
static bool check_cover(const safetensors *s, const unsigned char *data, size_t n_data, genet_err *err)
{
    const unsigned char *end = data;
    for (int i = 0; i < s->n; i++) {
        if (s->at[i].at < end) return bad_tensor(s, s->at[i].name, "its bytes overlap another tensor's", err);
        if (s->at[i].at > end) return bad_tensor(s, s->at[i].name, "there is a hole before its bytes", err);
        end += s->at[i].size_bytes;
    }
    if (end == data + n_data) return true;
    return genet__err_set(err, GENET_ERR_FORMAT, "%s: %td bytes at the end belong to no tensor; the file is damaged: "
                          "fetch or save it again", s->path, data + n_data - end);
}

/* Free-form strings about the file, such as {"format": "pt"}. */
static bool read_metadata(safetensors *s, json_t *meta, genet_err *err)
{
    const char *key;
    json_t *value;
    bool strings = json_is_object(meta);
    json_object_foreach(meta, key, value) strings &= json_is_string(value);
    if (!strings)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: \"__metadata__\" is not an object of strings", s->path);
    s->metadata = json_incref(meta);
    return true;
}

/* Entries, then their order and cover, then the index by name (after sorting:
 * it holds places in the array). */
static bool read_header(safetensors *s, json_t *header, const unsigned char *data, size_t n_data, genet_err *err)
{
    s->at = ARENA_ARRAY(&s->arena, safetensor, (int64_t)json_object_size(header));
    if (!s->at) return genet__err_memory(err);
    const char *key;
    json_t *value;
    json_object_foreach(header, key, value) {
        if (!strcmp(key, "__metadata__")) {
            TRY(read_metadata(s, value, err));
            continue;
        }
        if (strlen(key) > NAME_MAX_BYTES) return bad_tensor(s, key, "its name is longer than 1000 bytes", err);
        const char *name = genet__arena_strdup(&s->arena, key);
        if (!name) return genet__err_memory(err);
        if (!json_is_object(value)) return bad_tensor(s, name, "its entry is not an object", err);
        TRY(read_entry(s, &s->at[s->n], name, value, data, n_data, err));
        s->n++;
    }
    if (s->n) qsort(s->at, (size_t)s->n, sizeof *s->at, by_place);
    TRY(check_cover(s, data, n_data, err));
    for (int i = 0; i < s->n; i++)
        if (!genet__map_set(&s->index, s->at[i].name, i)) return genet__err_memory(err);
    return genet__quantized_read(s, err);
}

/* The length is believed only within the file and 100 MB, before anything is
 * read or allocated for it. */
static bool parse(safetensors *s, const unsigned char *bytes, size_t n, genet_err *err)
{
    if (n < 8)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: %zu bytes are too few for a safetensors file", s->path, n);
    uint64_t length = 0;
    for (int i = 0; i < 8; i++) length |= (uint64_t)bytes[i] << 8 * i;
    if (length > HEADER_MAX || length > n - 8)
        return genet__err_set(err, GENET_ERR_FORMAT,
                              "%s: its header claims %" PRIu64 " bytes, of %zu in the file (at most "
                              "100 MB): cut short, or not a safetensors file",
                              s->path, length, n - 8);
    json_t *header = length && bytes[8] == '{'
                         ? genet__json_parse((const char *)bytes + 8, (size_t)length, s->path, err)
                         : NULL;
    if (!header && length && bytes[8] == '{') return false;
    bool ok = json_is_object(header) ? read_header(s, header, bytes + 8 + length, n - 8 - (size_t)length, err)
            : genet__err_set(err, GENET_ERR_FORMAT, "%s: its header is not a JSON object", s->path);
    json_decref(header);
    return ok;
}

bool genet__safetensors_parse(safetensors *s, const void *bytes, size_t n, const char *where, genet_err *err)
{
    *s = (safetensors){ 0 };
    s->path = genet__arena_strdup(&s->arena, where);
    bool ok = s->path ? parse(s, bytes, n, err) : genet__err_memory(err);
    if (!ok) genet__safetensors_close(s);
    return ok;
}

bool genet__safetensors_open(safetensors *s, const char *path, genet_err *err)
{
    mapped file;
    *s = (safetensors){ 0 };
    TRY(genet__file_map(&file, path, err));
    bool ok = genet__safetensors_parse(s, file.at, file.size_bytes, path, err);
    if (ok) s->file = file;
    else genet__file_unmap(&file);
    return ok;
}

void genet__safetensors_close(safetensors *s)
{
    json_decref(s->metadata);
    genet__map_release(&s->index);
    genet__file_unmap(&s->file);
    genet__arena_release(&s->arena);
    *s = (safetensors){ 0 };
}

const safetensor *genet__safetensors_find(const safetensors *s, const char *name)
{
    const int64_t *i = genet__map_get(&s->index, name);
    return i ? &s->at[*i] : NULL;
}

const char *genet__safetensors_meta(const safetensors *s, const char *key)
{
    return json_string_value(json_object_get(s->metadata, key));
}

/* --- values ----------------------------------------------------------------- */

/* genet__from_f16 without a branch, so that the loop over a file becomes vector
 * instructions: exponents move by 112; a denormal is the difference of two normal
 * numbers, exact also where denormals are flushed to zero. */
static inline float half_value(uint16_t h)
{
    uint32_t magnitude = h & 0x7fffu, sign = (uint32_t)(h & 0x8000u) << 16, u, large = magnitude >= 0x7c00u;
    uint32_t normal = (magnitude << 13) + ((112u << 23) << large), small = (magnitude << 13) | 113u << 23;
    normal |= (uint32_t)(magnitude > 0x7c00u) << 22;            /* NaN, quiet as hardware makes it */
    float f;
    memcpy(&f, &small, sizeof f);
    f -= 0x1p-14f;
    memcpy(&u, &f, sizeof u);
    u = sign | (magnitude < 0x400u ? u : normal);
    memcpy(&f, &u, sizeof f);
    return f;
}

/* Each case reads its elements through memcpy: the file promises no alignment. */
#define EACH(type, expression) \
    for (int64_t i = 0; i < t->numel; i++) { type x; memcpy(&x, t->at + i * (int64_t)sizeof x, sizeof x); expression; }

/* Element i of row r goes to (r, i), or to (i, r) where the file has the transpose. */
static void blocks_to_f32(const safetensor *t, float *out)
{
    int64_t columns = t->dim[t->transposed ? 0 : 1], rows = columns ? t->numel / columns : 0;
    const unsigned char *at = t->at;
    size_t size = genet_dtype_bytes((genet_dtype)t->dtype, QUANT_BLOCK);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c += QUANT_BLOCK, at += size) {
            float x[QUANT_BLOCK];
            quant_q8_0 q8;
            quant_q4_0 q4;
            if (t->dtype == GENET_Q8_0) memcpy(&q8, at, sizeof q8), genet__dequantize_q8_0(&q8, QUANT_BLOCK, x);
            else memcpy(&q4, at, sizeof q4), genet__dequantize_q4_0(&q4, QUANT_BLOCK, x);
            for (int i = 0; i < QUANT_BLOCK; i++) out[t->transposed ? (c + i) * rows + r : r * columns + c + i] = x[i];
        }
}

/* The file has the transpose: as floats a piece of a row at a time, which becomes part of a column. */
static bool turned_to_f32(const safetensor *t, float *out)
{
    enum { PIECE = 512 };
    int64_t columns = t->dim[0], rows = t->dim[1];
    float x[PIECE];
    safetensor some = *t;
    some.transposed = false;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c += some.numel) {
            some.numel = columns - c < PIECE ? columns - c : PIECE;
            some.size_bytes = (size_t)(some.numel * t->element_bytes);
            some.at = t->at + (r * columns + c) * t->element_bytes;
            if (!genet__safetensor_to_f32(&some, x)) return false;
            for (int64_t i = 0; i < some.numel; i++) out[(c + i) * rows + r] = x[i];
        }
    return true;
}

bool genet__safetensor_to_f32(const safetensor *t, float *out)
{
    if (t->transposed && t->element_bytes) return turned_to_f32(t, out);
    if (t->dtype == GENET_F32) { if (t->size_bytes) memcpy(out, t->at, t->size_bytes); }
    else if (t->dtype == GENET_F64) EACH(double, out[i] = (float)x)
    else if (t->dtype == GENET_BF16) EACH(uint16_t, out[i] = genet__from_bf16(x))
    else if (t->dtype == GENET_F16) EACH(uint16_t, out[i] = half_value(x))
    else if (t->dtype >= 0 && is_blocks((genet_dtype)t->dtype)) blocks_to_f32(t, out);
    else return false;
    return true;
}
#undef EACH

/* inf and NaN are the values whose exponent is all ones.  A block is looked
 * through without a branch, so that the loop becomes vector instructions; the
 * index is wanted only of a block that has one. */
#define FIND(name, type, exponent)                                                              \
    static int64_t name(const unsigned char *at, int64_t n)                                     \
    {                                                                                           \
        enum { BLOCK = 4096 };                                                                  \
        typedef type unaligned __attribute__((aligned(1), may_alias));                          \
        for (int64_t start = 0; start < n; start += BLOCK) {                                    \
            int64_t count = n - start < BLOCK ? n - start : BLOCK;                              \
            type bad = 0;                                                                       \
            const unaligned *x = (const unaligned *)(at + start * (int64_t)sizeof(type));       \
            for (int64_t i = 0; i < count; i++)                                                 \
                bad |= (type)((x[i] & (type)(exponent)) == (type)(exponent));                   \
            for (int64_t i = 0; bad && i < count; i++)                                          \
                if ((x[i] & (type)(exponent)) == (type)(exponent)) return start + i;            \
        }                                                                                       \
        return -1;                                                                              \
    }
FIND(find_16, uint16_t, 0x7c00u)
FIND(find_b16, uint16_t, 0x7f80u)
FIND(find_32, uint32_t, 0x7f800000u)
FIND(find_64, uint64_t, UINT64_C(0x7ff0000000000000))
#undef FIND

/* Of blocks the scales; the first element of the first block whose scale is none. */
static int64_t find_scale(const unsigned char *at, int64_t n_blocks, size_t size)
{
    for (int64_t i = 0; i < n_blocks; i++) {
        uint16_t d;
        memcpy(&d, at + (size_t)i * size, sizeof d);
        if ((d & 0x7c00u) == 0x7c00u) return i * QUANT_BLOCK;
    }
    return -1;
}

int64_t genet__safetensor_first_nonfinite(const safetensor *t)
{
    switch (t->dtype) {
    case GENET_F32:  return find_32(t->at, t->numel);
    case GENET_F64:  return find_64(t->at, t->numel);
    case GENET_F16:  return find_16(t->at, t->numel);
    case GENET_BF16: return find_b16(t->at, t->numel);
    case GENET_Q8_0: return find_scale(t->at, t->numel / QUANT_BLOCK, sizeof(quant_q8_0));
    case GENET_Q4_0: return find_scale(t->at, t->numel / QUANT_BLOCK, sizeof(quant_q4_0));
    default:         return -1;
    }
}

/* --- writing ---------------------------------------------------------------- */

/* {"dtype": "F32", "shape": [...], "data_offsets": [begin, end]}; NULL: no memory. */
static json_t *entry_json(const safetensor_entry *e, const char *type, int64_t begin, int64_t end)
{
    json_t *shape = json_array();
    for (int i = 0; i < e->rank; i++)
        if (json_array_append_new(shape, json_integer(e->dim[i]))) {
            json_decref(shape);
            return NULL;
        }
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", type, "shape", shape, "data_offsets", (json_int_t)begin,
                     (json_int_t)end);
}

/* jansson's way of handing out text. */
static int append(const char *text, size_t n, void *out)
{
    genet__str_add_n(out, text, n);
    return ((str *)out)->failed ? -1 : 0;
}

int64_t genet__safetensor_entry_bytes(const safetensor_entry *e)
{
    const type_row *type = type_of(e->dtype);
    int64_t numel, size, rows, row_bytes;
    if (is_blocks(e->dtype)) return genet__quantized_layout(e, &rows, &row_bytes) ? rows * row_bytes : -1;
    bool fits = type && e->rank >= 0 && e->rank <= GENET_MAX_DIM && shape_size(e->rank, e->dim, type->bytes, &numel, &size);
    return fits ? size : -1;
}

/* Offsets follow from the order of the entries: each begins where the last ended. */
static bool fill_header(json_t *header, const safetensor_entry *e, int n, const json_t *metadata, genet_err *err)
{
    int64_t begin = 0;
    bool blocks = false;
    for (int i = 0; i < n; i++) blocks |= is_blocks(e[i].dtype);
    if (blocks && json_object_set_new(header, "__metadata__", genet__quantized_metadata(e, n, metadata)))
        return genet__err_memory(err);
    if (metadata && !blocks && json_object_set(header, "__metadata__", (json_t *)metadata)) return genet__err_memory(err);
    for (int i = 0; i < n; i++) {
        int64_t size = genet__safetensor_entry_bytes(&e[i]);
        if (size < 0)
            return genet__err_set(err, GENET_ERR_USAGE,
                                  "tensor %s has a type or shape that no safetensors file can hold", e[i].name);
        if (json_object_get(header, e[i].name))
            return genet__err_set(err, GENET_ERR_USAGE, "two tensors of one file are named %s", e[i].name);
        safetensor_entry shown = e[i];
        if (is_blocks(e[i].dtype)) {
            shown.dtype = GENET_U8;
            genet__quantized_layout(&e[i], &shown.dim[0], &shown.dim[1]);
        }
        if (json_object_set_new(header, e[i].name, entry_json(&shown, type_of(shown.dtype)->name, begin, begin + size)))
            return genet__err_memory(err);
        begin += size;
    }
    return true;
}

/* Length and header, padded with spaces. */
static bool header_text(str *out, const safetensor_entry *e, int n, const json_t *metadata, genet_err *err)
{
    json_t *header = json_object();
    bool ok = header ? fill_header(header, e, n, metadata, err) : genet__err_memory(err);
    genet__str_add_n(out, "\0\0\0\0\0\0\0\0", 8);
    if (ok && json_dump_callback(header, append, out, JSON_COMPACT)) ok = genet__err_memory(err);
    json_decref(header);
    while (ok && !out->failed && out->n % SAFETENSORS_ALIGN) genet__str_add(out, " ");
    if (ok && out->failed) ok = genet__err_memory(err);
    for (int i = 0; ok && i < 8; i++) out->at[i] = (char)((uint64_t)(out->n - 8) >> 8 * i);
    return ok;
}

/* piece: SAFETENSORS_CHUNK bytes, all the memory that writing takes. */
static bool write_data(writer *w, const safetensor_entry *e, int n, safetensors_read_fn *read, void *user, char *piece,
                       genet_err *err)
{
    for (int i = 0; i < n; i++) {
        int64_t size = genet__safetensor_entry_bytes(&e[i]);
        for (int64_t start = 0; start < size; start += SAFETENSORS_CHUNK) {
            size_t bytes = (size_t)(size - start < SAFETENSORS_CHUNK ? size - start : SAFETENSORS_CHUNK);
            TRY(read(user, i, start, bytes, piece, err));
            TRY(genet__writer_add(w, piece, bytes, err));
        }
    }
    return true;
}

bool genet__safetensors_write(const char *path, const safetensor_entry *e, int n, const json_t *metadata,
                              safetensors_read_fn *read, void *user, file_sum *sum, genet_err *err)
{
    str header = { 0 };
    writer w;
    char *piece = genet__alloc(SAFETENSORS_CHUNK);
    bool ok = piece ? header_text(&header, e, n, metadata, err) : genet__err_memory(err);
    ok = ok && genet__writer_open(&w, path, err);
    if (ok) {
        ok = genet__writer_add(&w, header.at, header.n, err) && write_data(&w, e, n, read, user, piece, err);
        if (ok && sum) *sum = (file_sum){ w.written, w.crc };
        if (ok) ok = genet__writer_commit(&w, err);
        else genet__writer_abandon(&w);
    }
    genet__str_release(&header);
    genet__free(piece);
    return ok;
}
