/* gguf_write.c - writing GGUF, version 3.  Metadata is gathered as bytes; tensors are asked for a few rows at a time,
 * so there is no second copy of them. */
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "format/gguf.h"

enum { CHUNK = 1 << 20 };

/* --- metadata ---------------------------------------------------------------------- */

static void put(str *s, uint64_t x, int n)
{
    unsigned char bytes[8];
    for (int i = 0; i < n; i++) bytes[i] = (unsigned char)(x >> 8 * i);
    genet__str_add_n(s, bytes, (size_t)n);
}

static void put_text(str *s, const char *text, size_t n)
{
    put(s, n, 8);
    genet__str_add_n(s, text, n);
}

static void put_key(gguf_meta *m, const char *key, gguf_type type)
{
    put_text(&m->bytes, key, strlen(key));
    put(&m->bytes, type, 4);
    m->n++;
}

static int bytes_of(gguf_type t)
{
    return t == GGUF_U8 || t == GGUF_I8 || t == GGUF_BOOL ? 1 : t == GGUF_U16 || t == GGUF_I16 ? 2
         : t == GGUF_U64 || t == GGUF_I64 || t == GGUF_F64 ? 8 : 4;
}

void genet__gguf_put_int(gguf_meta *m, const char *key, gguf_type type, int64_t value)
{
    put_key(m, key, type);
    put(&m->bytes, (uint64_t)value, bytes_of(type));
}

void genet__gguf_put_f32(gguf_meta *m, const char *key, double value)
{
    float f = (float)value;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    put_key(m, key, GGUF_F32);
    put(&m->bytes, bits, 4);
}

void genet__gguf_put_string(gguf_meta *m, const char *key, const char *text, size_t n)
{
    put_key(m, key, GGUF_STRING);
    put_text(&m->bytes, text, n);
}

void genet__gguf_put_array(gguf_meta *m, const char *key, gguf_type element, const void *values, uint64_t n)
{
    put_key(m, key, GGUF_ARRAY);
    put(&m->bytes, element, 4);
    put(&m->bytes, n, 8);
    genet__str_add_n(&m->bytes, values, (size_t)n * (size_t)bytes_of(element));
}

void genet__gguf_put_strings(gguf_meta *m, const char *key, uint64_t n)
{
    put_key(m, key, GGUF_ARRAY);
    put(&m->bytes, GGUF_STRING, 4);
    put(&m->bytes, n, 8);
}

void genet__gguf_put_element(gguf_meta *m, const char *text, size_t n) { put_text(&m->bytes, text, n); }

/* --- tensors ----------------------------------------------------------------------- */

/* ggml's number of a type; -1: it has none that is written. */
static int type_number(genet_dtype t)
{
    static const struct { genet_dtype dtype; int number; } all[] = {
        { GENET_F32, 0 }, { GENET_F16, 1 }, { GENET_Q4_0, 2 }, { GENET_Q8_0, 8 }, { GENET_BF16, 30 },
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].dtype == t) return all[i].number;
    return -1;
}

static int64_t rows_of(const gguf_entry *e) { return e->rank == 2 ? e->rows : 1; }
static int64_t entry_bytes(const gguf_entry *e) { return rows_of(e) * (int64_t)genet_dtype_bytes(e->dtype, e->columns); }
static int64_t aligned(int64_t n) { return (n + GGUF_ALIGN - 1) / GGUF_ALIGN * GGUF_ALIGN; }

/* Everything before the data, padded. */
static bool make_header(str *s, const gguf_meta *m, const gguf_entry *e, int n, genet_err *err)
{
    int64_t offset = 0;
    genet__str_add_n(s, "GGUF", 4);
    put(s, 3, 4);
    put(s, (uint64_t)n, 8);
    put(s, m->n, 8);
    genet__str_add_n(s, genet__str(&m->bytes), m->bytes.n);
    for (int i = 0; i < n; i++) {
        int type = type_number(e[i].dtype);
        if (type < 0) return genet__err_set(err, GENET_ERR_USAGE, "%s: GGUF files are not written with %s", e[i].name,
                                            genet_dtype_name(e[i].dtype));
        put_text(s, e[i].name, strlen(e[i].name));
        put(s, (uint64_t)e[i].rank, 4);
        put(s, (uint64_t)e[i].columns, 8);
        if (e[i].rank == 2) put(s, (uint64_t)e[i].rows, 8);
        put(s, (uint64_t)type, 4);
        put(s, (uint64_t)offset, 8);
        offset += aligned(entry_bytes(&e[i]));
    }
    while (s->n % GGUF_ALIGN && !s->failed) put(s, 0, 1);
    return (!s->failed && !m->bytes.failed) || genet__err_memory(err);
}

/* Rows in groups of about CHUNK bytes, one at least; then up to the alignment. */
static bool write_entry(writer *w, const gguf_entry *e, int i, gguf_read_fn *read, void *user, void *buffer, genet_err *err)
{
    static const char zeros[GGUF_ALIGN];
    int64_t row_bytes = (int64_t)genet_dtype_bytes(e->dtype, e->columns), group = row_bytes ? CHUNK / row_bytes : 0;
    if (group < 1) group = 1;
    for (int64_t row = 0, rows = rows_of(e); row < rows; row += group) {
        int64_t n = rows - row < group ? rows - row : group;
        TRY(read(user, i, row, n, buffer, err) && genet__writer_add(w, buffer, (size_t)(n * row_bytes), err));
    }
    return genet__writer_add(w, zeros, (size_t)(aligned(entry_bytes(e)) - entry_bytes(e)), err);
}

static bool write_entries(writer *w, const gguf_entry *e, int n, gguf_read_fn *read, void *user, genet_err *err)
{
    size_t most = CHUNK;
    for (int i = 0; i < n; i++) {
        size_t row = genet_dtype_bytes(e[i].dtype, e[i].columns);
        most = row > most ? row : most;
    }
    void *buffer = genet__alloc(most);
    bool ok = buffer || genet__err_memory(err);
    for (int i = 0; ok && i < n; i++) ok = write_entry(w, &e[i], i, read, user, buffer, err);
    genet__free(buffer);
    return ok;
}

bool genet__gguf_write(const char *path, const gguf_meta *m, const gguf_entry *e, int n, gguf_read_fn *read, void *user,
                       genet_err *err)
{
    str header = {0};
    writer w;
    bool ok = make_header(&header, m, e, n, err) && genet__writer_open(&w, path, err);
    if (ok) {
        ok = genet__writer_add(&w, header.at, header.n, err) && write_entries(&w, e, n, read, user, err);
        if (ok) ok = genet__writer_commit(&w, err);
        else genet__writer_abandon(&w);
    }
    genet__str_release(&header);
    return ok;
}
