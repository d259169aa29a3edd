/* weights.c - params from safetensors.
 *
 * A file must hold exactly what the graph asks for: a missing, misshapen or
 * left-over tensor is an error that names it, so that weights of another
 * model are never half taken.  All of that, and that no weight is inf or NaN,
 * is looked at before memory is taken.  Weights that are only read may stay
 * where the mapped file has them, and as it has them: then they are matrices
 * that products read, of any type (WEIGHTS_STORED). */
#include "model/model.h"
#include "base/alloc.h"
#include "base/err.h"
#include "model/finite.h"
#include <string.h>

typedef struct reader {
    const shards *from;
    const weight_names *names;
    params *params;
    unsigned kinds;
    weights_form form;
    char *used;                 /* one flag a tensor, file after file */
    bool prefixed;              /* the file's names have the family's prefix */
    float *buffer;
    size_t buffer_elements;
} reader;

/* --- names -------------------------------------------------------------------- */

/* name without the family's prefix, or NULL. */
static const char *short_name(const reader *r, const char *name)
{
    const char *prefix = r->names->prefix;
    size_t n = prefix ? strlen(prefix) : 0;
    return n && !strncmp(name, prefix, n) ? name + n : NULL;
}

/* By its own name, else without the prefix, else (what a file may store instead) by
 * that of its tied copy. */
static const safetensor *find(const reader *r, const char *name, const safetensors **file)
{
    const char *cut = short_name(r, name);
    const safetensor *t = genet__shards_find(r->from, name, file);
    if (!t && cut) t = genet__shards_find(r->from, cut, file);
    if (!t && r->names->tied[1] && !strcmp(name, r->names->tied[1]))
        t = genet__shards_find(r->from, r->names->tied[0], file);
    return t;
}

/* Of a model that is opened with another head than its file's: what belongs to no backbone. */
static bool of_head(const reader *r, const char *name)
{
    const char *cut = short_name(r, name);
    return cut ? !strncmp(cut, "pooler.", 7) : r->prefixed || !strncmp(name, "lm_head.", 8);
}

/* By ending: such tensors repeat in every layer. */
static bool ignored(const weight_names *names, const char *name)
{
    size_t n = strlen(name);
    for (const char *const *e = names->ignored; e && *e; e++)
        if (n >= strlen(*e) && !strcmp(name + n - strlen(*e), *e)) return true;
    return false;
}

static char *flag_of(const reader *r, const safetensors *file, const safetensor *t)
{
    char *flag = r->used;
    for (const safetensors *f = r->from->file; f < file; f++) flag += f->n;
    return flag + (t - file->at);
}

/* --- checks -------------------------------------------------------------------- */

static bool same_shape(const safetensor *t, const param *w)
{
    if (t->rank != w->shape.rank) return false;
    for (int i = 0; i < t->rank; i++)
        if (t->dim[i] != w->shape.dim[i]) return false;
    return true;
}

static bool misshapen(const safetensors *file, const safetensor *t, const param *w, genet_err *err)
{
    tensor found = { .shape = { .rank = t->rank } }, wanted = { .shape = w->shape };
    memcpy(found.shape.dim, t->dim, sizeof t->dim);
    return genet__err_set(err, GENET_ERR_FORMAT, "%s: %s is %s, and the model's config asks for %s", file->path,
                          t->name, SHAPE_TEXT(&found), SHAPE_TEXT(&wanted));
}

static bool is_quantised(const safetensor *t) { return t->dtype >= 0 && genet__is_blocks((dtype)t->dtype); }

static bool check_type(const reader *r, const safetensors *file, const safetensor *t, const param *w, genet_err *err)
{
    if (t->dtype == (int)w->dtype) return true;
    if (is_quantised(t) && r->form == WEIGHTS_COPIED)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: %s is %s: quantised weights are used, not learned; go on from the "
                              "folder that they were made of, or make f32 of them: genet export FOLDER --dtype f32 --out NEW",
                              file->path, t->name, t->type);
    if (is_quantised(t) && w->use != USE_ANY && t->transposed != w->in_out)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: the blocks of %s do not run along what products sum over",
                              file->path, t->name);
    if (is_quantised(t) && w->dtype == GENET_F32 && (w->use != USE_ANY || r->form == WEIGHTS_F32)) return true;
    if (w->dtype != GENET_F32)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: %s is %s, not %s", file->path, t->name, t->type,
                              genet_dtype_name(w->dtype));
    return (t->dtype >= 0 && genet__is_float((dtype)t->dtype)) || t->dtype == GENET_F16 || t->dtype == GENET_BF16 ||
           genet__err_set(err, GENET_ERR_FORMAT, "%s: %s has type %s; genet reads F32, F64, F16 and BF16 weights",
                          file->path, t->name, t->type);
}

/* Which one would count is anybody's guess. */
static bool check_prefix(const reader *r, const param *w, genet_err *err)
{
    const char *cut = short_name(r, w->name);
    const safetensors *file;
    if (!cut || !genet__shards_find(r->from, w->name, &file) || !genet__shards_find(r->from, cut, NULL)) return true;
    return genet__err_set(err, GENET_ERR_FORMAT, "%s holds both %s and %s, which are one weight under two names", file->path,
                          w->name, cut);
}

/* A head that the file does not have begins anew, and is named once, by its first weights. */
static bool is_fresh(const reader *r, const param *w)
{
    const safetensor *t = r->names->said ? find(r, w->name, NULL) : NULL;
    return r->names->said && w->kind == PARAM_WEIGHT && of_head(r, w->name) && !(t && same_shape(t, w));
}

static void say(str *said, const char *what, const char *name) { genet__str_printf(said, "%s%s %s", said->n ? ", " : "", what, name); }

static bool check_one(const reader *r, const param *w, genet_err *err)
{
    const safetensors *file;
    const safetensor *t = find(r, w->name, &file);
    tensor wanted = { .shape = w->shape };
    if (is_fresh(r, w)) {
        if (t) *flag_of(r, file, t) = 1;
        say(r->names->said, "new", w->name);
        return true;
    }
    if (!t)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s has no tensor %s, which must be there with shape %s",
                              r->from->path, w->name, SHAPE_TEXT(&wanted));
    TRY(check_prefix(r, w, err));
    if (!same_shape(t, w)) return misshapen(file, t, w, err);
    *flag_of(r, file, t) = 1;
    return check_type(r, file, t, w, err);
}

/* The copy of a tied weight, stored beside it: transformers would use it when it
 * differs. */
static bool check_tied(const reader *r, genet_err *err)
{
    const char *const *name = r->names->tied;
    const safetensors *file;
    const safetensor *copy = name[0] ? genet__shards_find(r->from, name[0], &file) : NULL;
    if (!copy || genet__params_find(r->params, name[0])) return true;
    const safetensor *of = find(r, name[1], NULL);
    *flag_of(r, file, copy) = 1;
    if (of == copy || r->names->said || (of && of->dtype == copy->dtype && of->size_bytes == copy->size_bytes &&
                       !memcmp(of->at, copy->at, copy->size_bytes))) return true;
    return genet__err_set(err, GENET_ERR_FORMAT, "%s: %s is not %s again, and the model's config ties them; if they are two "
                          "weights, config.json must say \"tie_word_embeddings\": false", file->path, copy->name, name[1]);
}

static bool check_left(const reader *r, genet_err *err)
{
    const char *used = r->used;
    for (const safetensors *f = r->from->file; f < r->from->file + r->from->n; f++)
        for (int i = 0; i < f->n; i++)
            if (!*used++ && !ignored(r->names, f->at[i].name)) {
                if (r->names->said && of_head(r, f->at[i].name)) {
                    say(r->names->said, "unused", SHOWN(f->at[i].name));
                    continue;
                }
                return genet__err_set(err, GENET_ERR_FORMAT, "%s holds a tensor %s that the model's config has no place for",
                                      f->path, SHOWN(f->at[i].name));
            }
    return true;
}

/* Moments of a saved run are its own business; a weight that is not finite spoils every answer. */
static bool check_finite(const reader *r, genet_err *err)
{
    const params *p = r->params;
    finite_part *part = genet__alloc_array((size_t)p->n + 1, sizeof *part);
    if (!part) return genet__err_memory(err);
    int n = 0;
    for (int i = 0; i < p->n; i++) {
        const safetensors *file;
        if (!(p->at[i]->kind & r->kinds & (PARAM_WEIGHT | PARAM_BUFFER)) || is_fresh(r, p->at[i])) continue;
        part[n].tensor = find(r, p->at[i]->name, &file);
        part[n++].path = file->path;
    }
    bool ok = genet__all_finite(part, n, p->device, err);
    genet__free(part);
    return ok;
}

/* File and params hold the same names and shapes: before anything is allocated or
 * overwritten; and before anything but the header is read. */
static bool check_all(const reader *r, genet_err *err)
{
    const params *p = r->params;
    for (int i = 0; i < p->n; i++)
        if (p->at[i]->kind & r->kinds) TRY(check_one(r, p->at[i], err));
    TRY(check_tied(r, err) && check_left(r, err));
    return check_finite(r, err);
}

/* --- values -------------------------------------------------------------------- */

/* Same type: straight from the mapped file.  Other float types through a buffer. */
static bool read_one(reader *r, param *w, genet_err *err)
{
    const safetensors *file;
    const safetensor *t = find(r, w->name, &file);
    if (t->dtype == (int)w->dtype && t->transposed == w->transposed)
        return genet__params_write(r->params, w, t->at, t->size_bytes, err);
    if ((size_t)t->numel > r->buffer_elements) {
        genet__free(r->buffer);
        r->buffer = genet__alloc_array((size_t)t->numel, sizeof *r->buffer);
        r->buffer_elements = r->buffer ? (size_t)t->numel : 0;
        if (!r->buffer) return genet__err_memory(err);
    }
    genet__safetensor_to_f32(t, r->buffer);
    safetensor now = { .name = t->name, .dtype = GENET_F32, .element_bytes = sizeof(float), .numel = t->numel,
                       .at = (const unsigned char *)r->buffer };
    if (t->dtype == GENET_F64)          /* doubles beyond f32 */
        TRY(genet__all_finite(&(finite_part){ &now, file->path }, 1, r->params->device, err));
    return genet__params_write(r->params, w, r->buffer, w->size_bytes, err);
}

static bool read_all(reader *r, genet_err *err)
{
    params *p = r->params;
    TRY(genet__params_place(p, err));
    for (int i = 0; i < p->n; i++)
        if (p->at[i]->kind & r->kinds && !p->at[i]->adopted && !is_fresh(r, p->at[i])) TRY(read_one(r, p->at[i], err));
    return true;
}

/* What products read stays what it is in the file. */
static void settle_types(const reader *r)
{
    params *p = r->params;
    for (int i = 0; i < p->n; i++) {
        if (!(p->at[i]->kind & r->kinds) || p->at[i]->use == USE_ANY || is_fresh(r, p->at[i])) continue;
        const safetensor *t = find(r, p->at[i]->name, NULL);
        if (is_quantised(t) || t->dtype == GENET_F16 || t->dtype == GENET_BF16 || (t->transposed && t->dtype == GENET_F32))
            genet__params_store(p->at[i], (dtype)t->dtype, t->transposed);
    }
}

/* Those of the right type and alignment, where the device can; their file goes
 * over to the params. */
static bool adopt_all(reader *r, shards *from, genet_err *err)
{
    params *p = r->params;
    for (int i = 0; i < p->n; i++) {
        const safetensors *file;
        if (!(p->at[i]->kind & r->kinds) || is_fresh(r, p->at[i])) continue;
        const safetensor *t = find(r, p->at[i]->name, &file);
        if (t->dtype != (int)p->at[i]->dtype || t->transposed != p->at[i]->transposed ||
            !genet__params_adopt(p, p->at[i], t->at)) continue;
        safetensors *f = &from->file[file - from->file];
        if (!f->file.size_bytes) continue;              /* went over with an earlier one */
        mapped all = f->file;
        f->file = (mapped){ 0 };
        TRY(genet__params_keep(p, all, err));
    }
    return true;
}

/* Is any weight there under its whole name? */
static bool has_prefix(const reader *r)
{
    for (int i = 0; i < r->params->n; i++)
        if (short_name(r, r->params->at[i]->name) && genet__shards_find(r->from, r->params->at[i]->name, NULL)) return true;
    return false;
}

static bool take(params *p, unsigned kinds, shards *from, weights_form form, const weight_names *names, genet_err *err)
{
    static const weight_names plain_names;
    int n = 1;
    for (int i = 0; i < from->n; i++) n += from->file[i].n;
    reader r = { .from = from, .names = names ? names : &plain_names, .params = p, .kinds = kinds, .form = form };
    r.prefixed = has_prefix(&r);
    r.used = genet__alloc((size_t)n);
    bool ok = r.used || genet__err_memory(err);
    ok = ok && check_all(&r, err);
    if (ok && form == WEIGHTS_STORED) settle_types(&r);
    ok = ok && (form == WEIGHTS_COPIED || adopt_all(&r, from, err)) && read_all(&r, err);
    genet__free(r.used);
    genet__free(r.buffer);
    return ok;
}

bool genet__weights_read(params *p, unsigned kinds, const char *path, const weight_names *names, genet_err *err)
{
    shards file;
    bool ok = genet__shards_open_file(&file, path, err) && take(p, kinds, &file, WEIGHTS_COPIED, names, err);
    genet__shards_close(&file);
    return ok;
}

bool genet__weights_open(params *p, unsigned kinds, const char *folder, weights_form form, const weight_names *names,
                         genet_err *err)
{
    shards files;
    bool ok = genet__shards_open(&files, folder, err) && take(p, kinds, &files, form, names, err);
    genet__shards_close(&files);
    return ok;
}
