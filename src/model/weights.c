/* weights.c - params from and to safetensors.
 *
 * A file must hold exactly what the graph asks for: a missing, misshapen or
 * left-over tensor is an error that names it, so that weights of another
 * model are never half taken. */
#include "model/model.h"
#include "base/alloc.h"
#include "base/err.h"
#include <stdio.h>
#include <string.h>

/* --- writing -------------------------------------------------------------------- */

typedef struct source { const params *p; param **at; } source;

/* The writer streams; a weight never has a second copy on the host. */
static bool read_piece(void *user, int e, int64_t start, size_t n, void *to, genet_err *err)
{
    (void)err;
    const source *s = user;
    genet_device_read(s->p->device, (const char *)s->at[e]->address + start, to, n);
    return true;
}

bool genet__weights_write(const params *p, unsigned kinds, const char *path, file_sum *sum, genet_err *err)
{
    safetensor_entry *entry = genet__alloc_array((size_t)p->n + 1, sizeof *entry);
    source s = { p, genet__alloc_array((size_t)p->n + 1, sizeof *s.at) };
    json_t *metadata = json_pack("{s:s}", "format", "pt");      /* what transformers looks for */
    bool ok = (entry && s.at && metadata) || genet__err_memory(err);
    int n = 0;
    for (int i = 0; ok && i < p->n; i++) {
        param *w = p->at[i];
        if (!(w->kind & kinds)) continue;
        entry[n] = (safetensor_entry){ .name = w->name, .dtype = w->dtype, .rank = w->shape.rank };
        memcpy(entry[n].dim, w->shape.dim, sizeof w->shape.dim);
        s.at[n++] = w;
    }
    ok = ok && genet__safetensors_write(path, entry, n, metadata, read_piece, &s, sum, err);
    json_decref(metadata);
    genet__free(entry);
    genet__free(s.at);
    return ok;
}

/* --- reading -------------------------------------------------------------------- */

typedef struct reader {
    const safetensors *file;
    const weight_names *names;
    char *used;                 /* one flag a tensor of the file */
    float *buffer;
    size_t buffer_elements;
} reader;

/* By its own name, else without the family's prefix. */
static const safetensor *find(const reader *r, const char *name)
{
    const safetensor *t = genet__safetensors_find(r->file, name);
    const char *prefix = r->names ? r->names->prefix : NULL;
    if (!t && prefix && !strncmp(name, prefix, strlen(prefix)))
        t = genet__safetensors_find(r->file, name + strlen(prefix));
    return t;
}

static bool same_shape(const safetensor *t, const param *w)
{
    if (t->rank != w->shape.rank) return false;
    for (int i = 0; i < t->rank; i++)
        if (t->dim[i] != w->shape.dim[i]) return false;
    return true;
}

static bool misshapen(const reader *r, const safetensor *t, const param *w, genet_err *err)
{
    tensor found = { .shape = { .rank = t->rank } }, wanted = { .shape = w->shape };
    memcpy(found.shape.dim, t->dim, sizeof t->dim);
    return genet__err_set(err, GENET_ERR_FORMAT, "%s: %s is %s, and the model's config asks for %s", r->file->path,
                          t->name, SHAPE_TEXT(&found), SHAPE_TEXT(&wanted));
}

/* Same type: straight from the mapped file.  Other float types through a buffer. */
static bool read_one(reader *r, params *p, param *w, const safetensor *t, genet_err *err)
{
    if (t->dtype == (int)w->dtype) return genet__params_write(p, w, t->at, t->size_bytes, err);
    if (w->dtype != GENET_F32)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: %s is %s, not %s", r->file->path, t->name, t->type,
                              genet_dtype_name(w->dtype));
    if ((size_t)t->numel > r->buffer_elements) {
        genet__free(r->buffer);
        r->buffer = genet__alloc_array((size_t)t->numel, sizeof *r->buffer);
        r->buffer_elements = r->buffer ? (size_t)t->numel : 0;
        if (!r->buffer) return genet__err_memory(err);
    }
    if (!genet__safetensor_to_f32(t, r->buffer))
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: %s has type %s; genet reads F32, F16 and BF16 weights",
                              r->file->path, t->name, t->type);
    return genet__params_write(p, w, r->buffer, w->size_bytes, err);
}

/* By ending: such tensors repeat in every layer. */
static bool ignored(const weight_names *names, const char *name)
{
    size_t n = strlen(name);
    for (const char *const *e = names ? names->ignored : NULL; e && *e; e++)
        if (n >= strlen(*e) && !strcmp(name + n - strlen(*e), *e)) return true;
    return false;
}

/* File and params hold the same names and shapes: before anything is allocated
 * or overwritten. */
static bool check_all(reader *r, const params *p, unsigned kinds, genet_err *err)
{
    for (int i = 0; i < p->n; i++) {
        const param *w = p->at[i];
        if (!(w->kind & kinds)) continue;
        const safetensor *t = find(r, w->name);
        tensor wanted = { .shape = w->shape };
        if (!t)
            return genet__err_set(err, GENET_ERR_FORMAT, "%s has no tensor %s, which must be there with shape %s",
                                  r->file->path, w->name, SHAPE_TEXT(&wanted));
        if (!same_shape(t, w)) return misshapen(r, t, w, err);
        r->used[t - r->file->at] = 1;
    }
    for (int i = 0; i < r->file->n; i++)
        if (!r->used[i] && !ignored(r->names, r->file->at[i].name))
            return genet__err_set(err, GENET_ERR_FORMAT, "%s holds a tensor %s that the model's config has no place for",
                                  r->file->path, r->file->at[i].name);
    return true;
}

static bool read_all(reader *r, params *p, unsigned kinds, genet_err *err)
{
    for (int i = 0; i < p->n; i++)
        if (p->at[i]->kind & kinds) TRY(read_one(r, p, p->at[i], find(r, p->at[i]->name), err));
    return true;
}

bool genet__weights_read(params *p, unsigned kinds, const char *path, const weight_names *names, genet_err *err)
{
    safetensors file = {0};
    bool ok = genet__safetensors_open(&file, path, err);
    reader r = { .file = &file, .names = names };
    if (ok) {
        r.used = genet__alloc((size_t)file.n + 1);
        ok = r.used || genet__err_memory(err);
        ok = ok && check_all(&r, p, kinds, err) && genet__params_place(p, err) && read_all(&r, p, kinds, err);
    }
    genet__free(r.used);
    genet__free(r.buffer);
    genet__safetensors_close(&file);
    return ok;
}
