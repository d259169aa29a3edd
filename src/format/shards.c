/* shards.c - weights in several files.
 *
 * The index is a claim about files, and is checked as one: its file names must
 * be plain names (a path could lead anywhere), each tensor must be in the file
 * it is said to be in, and a file must hold no tensor that the index does not
 * place there; so no name is in two files and none is forgotten.  total_size
 * is not compared: transformers' own has counted tied tensors now once, now
 * twice. */
#include "format/shards.h"
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/str.h"
#include "format/foreign.h"
#include "format/gguf_model.h"

enum { INDEX_MAX = 256 << 20, FILES_MAX = 10000 };

bool genet__shards_exist_plain(const char *folder)
{
    return genet__file_exists_in(folder, WEIGHTS_FILE) || genet__file_exists_in(folder, WEIGHTS_INDEX);
}

bool genet__shards_exist(const char *folder)
{
    char *file = NULL;
    bool found = genet__shards_exist_plain(folder) || !genet__gguf_path(folder, &file, NULL) || file;
    genet__free(file);
    return found;
}

bool genet__shards_open_file(shards *s, const char *path, genet_err *err)
{
    *s = (shards){ 0 };
    s->path = genet__arena_strdup(&s->arena, path);
    s->file = genet__alloc(sizeof *s->file);
    bool ok = (s->path && s->file) || genet__err_memory(err);
    ok = ok && genet__safetensors_open(s->file, path, err);
    if (ok) s->n = 1;
    else genet__shards_close(s);
    return ok;
}

/* --- the index ------------------------------------------------------------------ */

/* A name in the folder, and nothing else. */
static bool plain(const char *name)
{
    size_t n = strlen(name), end = strlen(".safetensors");
    for (const char *c = name; *c; c++)
        if (*c == '/' || *c == '\\' || (unsigned char)*c < 32 || *c == 127) return false;
    return n > end && n < 250 && name[0] != '.' && !strcmp(name + n - end, ".safetensors");
}

static int by_name(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* The different values of the map, sorted; owned by it. */
static bool list_files(const shards *s, const json_t *weight_map, const char **file, int *n, genet_err *err)
{
    const char *key;
    json_t *value;
    int all = 0;
    *n = 0;
    json_object_foreach((json_t *)weight_map, key, value) {
        const char *name = json_string_value(value);
        if (!name || !plain(name))
            return genet__err_set(err, GENET_ERR_FORMAT, "%s: weight_map: the file of %s is %s%s%s, not the plain name of a "
                                  ".safetensors file in this folder", s->path, SHOWN(key), name ? "\"" : "",
                                  name ? SHOWN(name) : "no string", name ? "\"" : "");
        file[all++] = name;
    }
    qsort(file, (size_t)all, sizeof *file, by_name);
    for (int i = 0; i < all; i++)
        if (!*n || strcmp(file[*n - 1], file[i])) file[(*n)++] = file[i];
    return *n <= FILES_MAX || genet__err_set(err, GENET_ERR_FORMAT, "%s: weight_map names %d files; at most %d are read",
                                             s->path, *n, FILES_MAX);
}

/* What the map has no word of, or places elsewhere. */
static bool check_file(shards *s, int f, const char *name, const json_t *weight_map, genet_err *err)
{
    const safetensors *file = &s->file[f];
    for (int i = 0; i < file->n; i++) {
        const char *said = json_string_value(json_object_get(weight_map, file->at[i].name));
        if (!said || strcmp(said, name))
            return genet__err_set(err, GENET_ERR_FORMAT, "%s holds a tensor %s, which %s %s%s", file->path,
                                  SHOWN(file->at[i].name), s->path, said ? "places in " : "does not name", said ? said : "");
        if (!genet__map_set(&s->index, file->at[i].name, (int64_t)f << 32 | i)) return genet__err_memory(err);
    }
    return true;
}

static bool check_map(const shards *s, const json_t *weight_map, genet_err *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)weight_map, key, value)
        if (!genet__map_get(&s->index, key))
            return genet__err_set(err, GENET_ERR_FORMAT, "%s: weight_map places tensor %s in %s, which does not hold it",
                                  s->path, SHOWN(key), json_string_value(value));
    return true;
}

static bool open_files(shards *s, const char *folder, const json_t *weight_map, const char **name, genet_err *err)
{
    int n;
    TRY(list_files(s, weight_map, name, &n, err));
    s->file = genet__alloc_array((size_t)n, sizeof *s->file);
    if (!s->file) return genet__err_memory(err);
    for (int i = 0; i < n; i++) {
        const char *path = genet__arena_printf(&s->arena, "%s/%s", folder, name[i]);
        if (!path) return genet__err_memory(err);
        if (!genet__file_exists(path))
            return genet__err_set(err, GENET_ERR_IO, "%s is missing; %s places tensors in it", path, s->path);
        TRY(genet__safetensors_open(&s->file[i], path, err));
        s->n = i + 1;
        TRY(check_file(s, i, name[i], weight_map, err));
    }
    return check_map(s, weight_map, err);
}

static bool open_index(shards *s, const char *folder, genet_err *err)
{
    json_t *all = genet__json_read(s->path, INDEX_MAX, err);
    if (!all) return false;
    const json_t *weight_map = json_object_get(all, "weight_map");
    size_t n = json_object_size(weight_map);
    const char **name = n ? genet__alloc_array(n, sizeof *name) : NULL;
    bool ok;
    if (!n)
        ok = genet__err_set(err, GENET_ERR_FORMAT, "%s: \"weight_map\" is no object of tensors and their files", s->path);
    else ok = name ? open_files(s, folder, weight_map, name, err) : genet__err_memory(err);
    genet__free(name);
    json_decref(all);
    return ok;
}

/* The other ways to store weights are known by their names, so that the words can say how to get these. */
static bool no_weights(const char *folder, genet_err *err)
{
    str hint = {0};
    genet__foreign_weights(folder, &hint);
    if (!hint.n && genet__file_exists_in(folder, "training")) genet__str_add(&hint, "; the training in it has not saved a model yet");
    genet__err_set(err, GENET_ERR_IO, "%s holds no %s%s", folder, WEIGHTS_FILE, genet__str(&hint));
    genet__str_release(&hint);
    return false;
}

/* *taken: it is one. */
static bool open_gguf(shards *s, const char *path, bool *taken, genet_err *err)
{
    char *file;
    TRY(genet__gguf_path(path, &file, err));
    *taken = file;
    bool ok = !file || genet__gguf_shards(s, file, err);
    genet__free(file);
    return ok;
}

/* As in transformers, the one file comes first where both are. */
bool genet__shards_open(shards *s, const char *folder, genet_err *err)
{
    bool is_gguf;
    *s = (shards){ 0 };
    TRY(open_gguf(s, folder, &is_gguf, err));
    if (is_gguf) return true;
    if (!genet__shards_exist_plain(folder)) return no_weights(folder, err);
    bool sharded = !genet__file_exists_in(folder, WEIGHTS_FILE) && genet__file_exists_in(folder, WEIGHTS_INDEX);
    char *path = genet__path_join(folder, sharded ? WEIGHTS_INDEX : WEIGHTS_FILE);
    bool ok = path || genet__err_memory(err);
    if (ok && sharded) {
        s->path = genet__arena_strdup(&s->arena, path);
        ok = s->path ? open_index(s, folder, err) : genet__err_memory(err);
        if (!ok) genet__shards_close(s);
    } else if (ok) {
        ok = genet__shards_open_file(s, path, err);
    }
    genet__free(path);
    return ok;
}

void genet__shards_close(shards *s)
{
    for (int i = 0; i < s->n; i++) genet__safetensors_close(&s->file[i]);
    genet__free(s->file);
    genet__map_release(&s->index);
    genet__arena_release(&s->arena);
    *s = (shards){ 0 };
}

const safetensor *genet__shards_find(const shards *s, const char *name, const safetensors **file)
{
    const safetensors *in = s->file;
    const safetensor *t = NULL;
    if (s->n == 1) {
        t = genet__safetensors_find(in, name);
    } else if (s->n) {
        const int64_t *place = genet__map_get(&s->index, name);
        if (place) in = &s->file[*place >> 32], t = &in->at[*place & INT32_MAX];
    }
    if (t && file) *file = in;
    return t;
}
