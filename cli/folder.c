/* folder.c - a model's folder written anew: weights in other types and files,
 * config.json that says so, and the files beside them as they are. */
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "base/str.h"
#include "folder.h"

/* Not kept: where the model came from on somebody's disk, and how its weights were stored there. */
static bool passes(const char *key)
{
    return strcmp(key, "_name_or_path") && strcmp(key, "transformers_version") && strcmp(key, "quantization_config");
}

static bool is_quantised(const weight_types *t) { return !genet_dtype_size(t->factor) || !genet_dtype_size(t->table); }

/* So that nobody takes the bytes for something else. */
static bool say_quantised(json_t *config, const weight_types *t)
{
    return !is_quantised(t) ||
           !json_object_set_new(config, "quantization_config",
                                json_pack("{s:s, s:s, s:s}", "quant_method", QUANT_METHOD, "type",
                                          genet_dtype_name(t->factor), "embeddings", genet_dtype_name(t->table)));
}

/* Our config, and what the folder's says besides. */
static bool write_config(const cli_folder *f, const char *tmp, genet_err *err)
{
    json_t *all = genet__model_config_json(f->model, f->types.any);
    char *path = genet__path_join(tmp, "config.json");
    bool ok = (all && path && say_quantised(all, &f->types)) || genet__err_memory(err);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)f->config, key, value)
        if (ok && passes(key) && !json_object_get(all, key) && json_object_set(all, key, value)) ok = genet__err_memory(err);
    ok = ok && genet__json_write(path, all, err);
    genet__free(path);
    json_decref(all);
    return ok;
}

/* config.json is not copied: ours says what has become of the weights. */
static bool copy_beside(const char *folder, const char *tmp, genet_err *err)
{
    bool ok = true;
    for (const char *const *name = genet__hf_beside; ok && *name; name++) {
        if (!strcmp(*name, "config.json") || !genet__file_exists_in(folder, *name)) continue;
        char *from = genet__path_join(folder, *name), *to = genet__path_join(tmp, *name);
        ok = from && to ? genet__file_copy(from, to, err) : genet__err_memory(err);
        genet__free(from);
        genet__free(to);
    }
    return ok;
}

/* generation_config.json is written first, so that the folder's own replaces it. */
static bool write_all(const cli_folder *f, const char *tmp, int *n_file, genet_err *err)
{
    return genet__model_write_config(f->model, tmp, err) && write_config(f, tmp, err) && copy_beside(f->from, tmp, err) &&
           genet__weights_write_as(f->model->params, PARAM_WEIGHT | PARAM_BUFFER, tmp, &f->types, f->max_bytes, n_file,
                                   err) &&
           genet__file_sync_dir(tmp, err);
}

/* Neither the folder nor what an interrupted run may have left is written over. */
static bool refuse_existing(const char *out, const char *tmp, genet_err *err)
{
    if (genet__file_exists(out))
        return genet__err_set(err, GENET_ERR_USAGE, "%s exists already; --out names a new folder", out);
    return !genet__file_exists(tmp) ||
           genet__err_set(err, GENET_ERR_USAGE, "%s exists: an interrupted run of this left it; remove it first", tmp);
}

bool cli_folder_write(const cli_folder *f, int *n_file, genet_err *err)
{
    size_t n = strlen(f->out);
    while (n > 1 && f->out[n - 1] == '/') n--;
    str out = {0}, tmp = {0};
    genet__str_add_n(&out, f->out, n);
    genet__str_add_n(&tmp, f->out, n);
    genet__str_add(&tmp, ".tmp");
    bool ok = (!out.failed && !tmp.failed) || genet__err_memory(err);
    ok = ok && refuse_existing(out.at, tmp.at, err);
    if (ok) {
        ok = genet__file_make_dirs(tmp.at, err) && write_all(f, tmp.at, n_file, err) &&
             refuse_existing(out.at, "", err) && genet__file_rename(tmp.at, out.at, err);
        if (!ok) genet__file_remove_tree(tmp.at, NULL);
    }
    genet__str_release(&out);
    genet__str_release(&tmp);
    return ok;
}
