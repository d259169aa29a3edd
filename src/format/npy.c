/* npy.c - a .npy file is a magic word, a version, the length of a header, the
 * header (a Python dictionary in text: descr, fortran_order, shape) and the
 * array.  A small reader walks the header; whatever it does not expect is
 * refused with the header's text. */
#include "format/npy.h"
#include <stdio.h>
#include <string.h>
#include "base/err.h"

/* What is left of the header. */
typedef struct cursor { const char *at, *end; } cursor;

/* The next character that is not white space; 0 at the end. */
static char peek(cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n')) c->at++;
    return c->at < c->end ? *c->at : 0;
}

/* Step over wanted, or stay. */
static bool take(cursor *c, char wanted)
{
    if (peek(c) != wanted) return false;
    c->at++;
    return true;
}

/* 'text' or "text"; at most 31 bytes. */
static bool take_string(cursor *c, char out[32])
{
    char quote = peek(c);
    int n = 0;
    if (quote != '\'' && quote != '"') return false;
    for (c->at++; c->at < c->end && *c->at != quote && n < 31; c->at++) out[n++] = *c->at;
    out[n] = 0;
    return take(c, quote);
}

/* True and False are words without quotes. */
static bool take_word(cursor *c, const char *word)
{
    size_t n = strlen(word);
    peek(c);
    if ((size_t)(c->end - c->at) < n || memcmp(c->at, word, n)) return false;
    c->at += n;
    return true;
}

/* Checked digit by digit: a hostile size must not wrap. */
static bool take_size(cursor *c, int64_t *out)
{
    char first = peek(c);
    if (first < '0' || first > '9') return false;
    for (*out = 0; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++)
        if (__builtin_mul_overflow(*out, 10, out) || __builtin_add_overflow(*out, *c->at - '0', out)) return false;
    return true;
}

/* () or (3,) or (3, 4) */
static bool take_shape(cursor *c, npy *a)
{
    if (!take(c, '(')) return false;
    for (a->rank = 0; !take(c, ')'); a->rank++) {
        if (a->rank == GENET_MAX_DIM || !take_size(c, &a->dim[a->rank])) return false;
        if (!take(c, ',') && peek(c) != ')') return false;
    }
    return true;
}

static bool set_type(npy *a, const char *descr)
{
    static const char known[] = "|i1 |u1 <i2 <u2 <i4 <u4 <i8 <u8 <f4 <f8";
    if (strlen(descr) != 3 || !strchr("<|", descr[0]) || !strstr(known, descr)) return false;
    a->kind = descr[1];
    a->element_bytes = descr[2] - '0';
    return true;
}

/* Keys come in any order, each must come (bits of seen), and no other may:
 * a field that we do not know could change what the bytes mean. */
static bool parse_header(npy *a, cursor c, bool *fortran, char descr[32])
{
    int seen = 0;
    char key[32];
    if (!take(&c, '{')) return false;
    while (!take(&c, '}')) {
        if (!take_string(&c, key) || !take(&c, ':')) return false;
        if (!strcmp(key, "descr") && take_string(&c, descr)) seen |= 1;
        else if (!strcmp(key, "fortran_order") &&
                 (*fortran = peek(&c) == 'T', take_word(&c, *fortran ? "True" : "False")))
            seen |= 2;
        else if (!strcmp(key, "shape") && take_shape(&c, a)) seen |= 4;
        else return false;
        if (!take(&c, ',') && peek(&c) != '}') return false;
    }
    return seen == 7;
}

/* Where the header lies; false: not such a file, or cut. */
static bool find_header(const unsigned char *p, size_t n, size_t *start, size_t *length)
{
    if (n < 10 || memcmp(p, "\x93NUMPY", 6) || p[6] < 1 || p[6] > 2) return false;
    *start = p[6] == 1 ? 10 : 12;
    if (n < *start) return false;
    *length = (size_t)p[8] | (size_t)p[9] << 8;
    if (p[6] == 2) *length |= (size_t)p[10] << 16 | (size_t)p[11] << 24;
    return *length <= n - *start;
}

bool genet__npy_parse(npy *a, const void *bytes, size_t n, const char *where, genet_err *err)
{
    const unsigned char *p = bytes;
    size_t start, length;
    bool fortran = false;
    char descr[32] = "";
    int64_t size = 1;
    *a = (npy){ 0 };
    if (!find_header(p, n, &start, &length))
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: not a .npy file of version 1 or 2, or cut short", where);
    const char *text = (const char *)p + start;
    if (!parse_header(a, (cursor){ text, text + length }, &fortran, descr))
        return genet__err_set(err, GENET_ERR_FORMAT,
                              "%s: its header is not what NumPy writes (descr, fortran_order and a shape of "
                              "at most %d dimensions)",
                              where, GENET_MAX_DIM);
    if (!set_type(a, descr))
        return genet__err_set(err, GENET_ERR_FORMAT,
                              "%s: holds type '%s'; only little-endian integers and floats (such as <i4, <u2, <f4) "
                              "can be read",
                              where, descr);
    if (fortran && a->rank > 1)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: is in Fortran order; save numpy.ascontiguousarray(x)", where);
    bool overflow = false;
    for (int i = 0; i < a->rank; i++) overflow |= __builtin_mul_overflow(size, a->dim[i], &size);
    a->numel = size;
    overflow |= __builtin_mul_overflow(size, (int64_t)a->element_bytes, &size);
    if (overflow || (uint64_t)size != n - start - length)
        return genet__err_set(err, GENET_ERR_FORMAT,
                              "%s: its shape does not fit the %zu bytes of data in it: cut short?", where,
                              n - start - length);
    a->at = p + start + length;
    return true;
}

bool genet__npy_open(npy *a, const char *path, genet_err *err)
{
    mapped file;
    *a = (npy){ 0 };
    TRY(genet__file_map(&file, path, err));
    bool ok = genet__npy_parse(a, file.at, file.size_bytes, path, err);
    if (ok) a->file = file;
    else genet__file_unmap(&file);
    return ok;
}

void genet__npy_close(npy *a)
{
    genet__file_unmap(&a->file);
    *a = (npy){ 0 };
}

/* Byte by byte, so that neither alignment nor the host's byte order matters. */
static int64_t integer_at(const npy *a, int64_t i)
{
    uint64_t u = 0;
    for (int k = 0; k < a->element_bytes; k++) u |= (uint64_t)a->at[i * a->element_bytes + k] << 8 * k;
    int unused = 64 - 8 * a->element_bytes;
    return a->kind == 'i' ? (int64_t)(u << unused) >> unused : (int64_t)u;     /* sign-extend */
}

double genet__npy_double(const npy *a, int64_t i)
{
    float f;
    double d;
    if (a->kind != 'f') return (double)integer_at(a, i);
    if (a->element_bytes == 8) return memcpy(&d, a->at + 8 * i, 8), d;
    return memcpy(&f, a->at + 4 * i, 4), (double)f;
}

int64_t genet__npy_int(const npy *a, int64_t i)
{
    if (a->kind != 'f') return integer_at(a, i);
    double d = genet__npy_double(a, i);
    return d >= -0x1p63 && d < 0x1p63 ? (int64_t)d : 0;
}

/* The header ends with a newline at a multiple of 64 bytes. */
bool genet__npy_write(const char *path, const float *x, int64_t rows, int64_t columns, genet_err *err)
{
    enum { PREFIX_BYTES = 10, HEADER_BYTES = 118 };
    char head[PREFIX_BYTES + HEADER_BYTES + 1], text[HEADER_BYTES];
    writer w;
    snprintf(text, sizeof text, "{'descr': '<f4', 'fortran_order': False, 'shape': (%lld, %lld), }", (long long)rows, (long long)columns);
    memcpy(head, "\x93NUMPY\x01\x00", 8);
    head[8] = HEADER_BYTES;
    head[9] = 0;
    snprintf(head + PREFIX_BYTES, HEADER_BYTES + 1, "%-*s\n", HEADER_BYTES - 1, text);
    TRY(genet__writer_open(&w, path, err));
    bool ok = genet__writer_add(&w, head, PREFIX_BYTES + HEADER_BYTES, err);
    for (int64_t i = 0; ok && i < rows * columns; i++) {
        unsigned char bytes[4];
        uint32_t u;
        memcpy(&u, &x[i], 4);
        for (int k = 0; k < 4; k++) bytes[k] = (unsigned char)(u >> 8 * k);
        ok = genet__writer_add(&w, bytes, sizeof bytes, err);
    }
    if (ok) return genet__writer_commit(&w, err);
    genet__writer_abandon(&w);
    return false;
}
