/* quantized.c - what safetensors' metadata says of quantised tensors, read and
 * written.  Reading believes nothing: the bytes must be those of the shape. */
#include "format/quantized.h"
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/quant.h"
#include "graph/graph.h"

static const genet_dtype types[] = { GENET_Q8_0, GENET_Q4_0 };

static int type_named(const char *name)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (name && !strcmp(name, genet_dtype_name(types[i]))) return (int)types[i];
    return -1;
}

/* --- reading ---------------------------------------------------------------------- */

static bool bad(const safetensors *s, const char *name, const char *why, genet_err *err)
{
    return genet__err_set(err, GENET_ERR_FORMAT, "%s: \"%s\" says of %s what cannot be: %s; the file is damaged: make it again",
                          s->path, QUANTIZED_KEY, SHOWN(name), why);
}

/* [rows, columns], none negative. */
static bool read_shape(const json_t *list, int64_t dim[2])
{
    if (!json_is_array(list) || json_array_size(list) != 2) return false;
    for (size_t i = 0; i < 2; i++) {
        const json_t *x = json_array_get(list, i);
        if (!json_is_integer(x) || json_integer_value(x) < 0) return false;
        dim[i] = json_integer_value(x);
    }
    return true;
}

static bool read_one(const safetensors *s, const char *name, const json_t *j, genet_err *err)
{
    const int64_t *place = genet__map_get(&s->index, name);
    const json_t *turned = json_object_get(j, "transposed");
    int type = type_named(json_string_value(json_object_get(j, "type")));
    int64_t dim[2], rows, row_bytes;
    if (!place) return bad(s, name, "there is no such tensor", err);
    if (type < 0) return bad(s, name, "its \"type\" is neither \"q8_0\" nor \"q4_0\"", err);
    if (turned && !json_is_boolean(turned)) return bad(s, name, "\"transposed\" is neither true nor false", err);
    if (!read_shape(json_object_get(j, "shape"), dim)) return bad(s, name, "\"shape\" is no pair of sizes", err);
    safetensor *t = &s->at[*place];
    safetensor_entry e = { .name = name, .dtype = (genet_dtype)type, .rank = 2, .dim = { dim[0], dim[1] },
                           .transposed = json_is_true(turned) };
    if (!genet__quantized_layout(&e, &rows, &row_bytes)) return bad(s, name, "its rows are no whole blocks of 32", err);
    if (t->dtype != GENET_U8 || t->rank != 2 || t->dim[0] != rows || t->dim[1] != row_bytes)
        return bad(s, name, "the tensor is not U8 with the rows and bytes that its shape needs", err);
    t->dtype = type;
    t->type = genet_dtype_name((genet_dtype)type);
    t->transposed = e.transposed;
    t->element_bytes = 0;
    memcpy(t->dim, dim, sizeof dim);
    t->numel = dim[0] * dim[1];
    return true;
}

bool genet__quantized_read(safetensors *s, genet_err *err)
{
    const char *text = genet__safetensors_meta(s, QUANTIZED_KEY), *name;
    json_t *all = text ? genet__json_parse(text, strlen(text), s->path, err) : NULL, *one;
    if (!text) return true;
    if (!all) return false;
    bool ok = json_is_object(all) || genet__err_set(err, GENET_ERR_FORMAT, "%s: \"%s\" is no JSON object", s->path, QUANTIZED_KEY);
    json_object_foreach(all, name, one) ok = ok && read_one(s, name, one, err);
    json_decref(all);
    return ok;
}

/* --- writing ---------------------------------------------------------------------- */

bool genet__quantized_layout(const safetensor_entry *e, int64_t *rows, int64_t *row_bytes)
{
    int64_t numel, columns = e->dim[e->transposed ? 0 : 1];
    *rows = e->dim[e->transposed ? 1 : 0];
    if (!genet__is_blocks(e->dtype) || e->rank != 2 || *rows < 0 || columns < 0 || columns % QUANT_BLOCK ||
        __builtin_mul_overflow(*rows, columns, &numel) || numel > INT64_MAX / 2) return false;
    *row_bytes = (int64_t)genet_dtype_bytes(e->dtype, columns);
    return true;
}

/* Of all quantised entries; NULL: no memory. */
static json_t *describe(const safetensor_entry *e, int n)
{
    json_t *all = json_object();
    for (int i = 0; all && i < n; i++) {
        if (!genet__is_blocks(e[i].dtype)) continue;
        json_t *one = json_pack("{s:s, s:[I, I]}", "type", genet_dtype_name(e[i].dtype), "shape", (json_int_t)e[i].dim[0],
                                (json_int_t)e[i].dim[1]);
        bool ok = one && (!e[i].transposed || !json_object_set_new(one, "transposed", json_true()));
        if (!ok || json_object_set(all, e[i].name, one)) {
            json_decref(all);
            all = NULL;
        }
        json_decref(one);
    }
    return all;
}

json_t *genet__quantized_metadata(const safetensor_entry *e, int n, const json_t *metadata)
{
    json_t *all = describe(e, n), *out = metadata ? json_copy((json_t *)metadata) : json_object();
    char *text = all && json_object_size(all) ? json_dumps(all, JSON_COMPACT) : NULL;
    bool ok = all && out && (!json_object_size(all) || (text && !json_object_set_new(out, QUANTIZED_KEY, json_string(text))));
    free(text);
    json_decref(all);
    if (ok) return out;
    json_decref(out);
    return NULL;
}
