/* folder.c - a model's folder written anew: weights in other types and files,
 * config.json that says so, and the files beside them as they are. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "base/str.h"
#include "folder.h"
#include "format/gguf_model.h"
#include "train/save.h"

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

/* Takes j over. */
static bool write_in(const char *folder, const char *name, json_t *j, genet_err *err)
{
    char *path = j ? genet__path_join(folder, name) : NULL;
    bool ok = j && (path ? genet__json_write(path, j, err) : genet__err_memory(err));
    genet__free(path);
    json_decref(j);
    return ok;
}

/* The tokenizer that a GGUF file holds, if it does. */
static bool write_tokenizer(const char *file, const char *tmp, genet_err *err)
{
    gguf g;
    TRY(genet__gguf_open(&g, file, err));
    bool ok = !genet__gguf_value(&g, "tokenizer.ggml.model") ||
              (write_in(tmp, "tokenizer.json", genet__gguf_tokenizer(&g, err), err) &&
               write_in(tmp, "tokenizer_config.json", genet__gguf_tokenizer_config(&g, err), err));
    genet__gguf_close(&g);
    return ok;
}

/* config.json is not copied: ours says what has become of the weights. */
static bool copy_beside(const char *folder, const char *tmp, genet_err *err)
{
    char *file;
    TRY(genet__gguf_path(folder, &file, err));
    bool ok = !file || write_tokenizer(file, tmp, err);
    genet__free(file);
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
                                   err);
}

/* --- a place to write in -------------------------------------------------------------- */

/* Stands in OUT.tmp while it is being written: the folder is ours. */
static const char mark[] = ".genet-unfinished";

static bool refuse_existing(const char *out, genet_err *err)
{
    return !genet__file_exists(out) ||
           genet__err_set(err, GENET_ERR_USAGE, "%s exists already; --out names a new folder", out);
}

static bool is_real_folder(const char *path)
{
    struct stat s;
    return lstat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

static bool is_empty(const char *path, genet_err *err)
{
    char **names = genet__file_list(path, err);
    bool empty = names && !names[0];
    genet__file_list_free(names);
    return empty;
}

/* What an interrupted run left goes away: it has our mark (or nothing in it), and nobody holds its lock. */
static bool clear_stale(const char *tmp, genet_err *err)
{
    struct stat s;
    if (lstat(tmp, &s) != 0) return true;
    int lock = -1;
    if (!is_real_folder(tmp) || !(genet__file_exists_in(tmp, mark) || is_empty(tmp, NULL)))
        return genet__err_set(err, GENET_ERR_USAGE, "%s stands in the way, and genet did not make it: move it, or choose another "
                              "--out", tmp);
    TRY(genet__save_lock(tmp, &lock, err));
    if (lock < 0)
        return genet__err_set(err, GENET_ERR_USAGE, "%s: an interrupted run left it, or one is at work there: this file system "
                              "cannot tell; remove it first", tmp);
    bool ok = genet__file_remove_tree(tmp, err);
    close(lock);
    return ok;
}

/* Make tmp, lock it (*lock may be -1: no locks there), and mark it. */
static bool claim(const char *tmp, int *lock, genet_err *err)
{
    TRY(genet__file_make_dirs(tmp, err) && genet__save_lock(tmp, lock, err));
    char *path = genet__path_join(tmp, mark);
    bool ok = path ? genet__file_write_all(path, "", 0, err) : genet__err_memory(err);
    genet__free(path);
    return ok;
}

static bool remove_mark(const char *tmp, genet_err *err)
{
    char *path = genet__path_join(tmp, mark);
    bool ok = path ? unlink(path) == 0 || genet__err_errno(err, "remove", path) : genet__err_memory(err);
    genet__free(path);
    return ok;
}

/* In tmp, then under its name; what fails leaves nothing. */
static bool write_and_rename(const cli_folder *f, const char *out, const char *tmp, int *n_file, genet_err *err)
{
    int lock = -1;
    TRY(clear_stale(tmp, err));
    if (!claim(tmp, &lock, err)) {
        rmdir(tmp);         /* empty, if it is ours */
        if (lock >= 0) close(lock);
        return false;
    }
    bool ok = write_all(f, tmp, n_file, err) && remove_mark(tmp, err) && genet__file_sync_dir(tmp, err) &&
              refuse_existing(out, err) && genet__file_rename(tmp, out, err);
    if (!ok) genet__file_remove_tree(tmp, NULL);
    if (lock >= 0) close(lock);
    return ok;
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
    ok = ok && refuse_existing(out.at, err) && write_and_rename(f, out.at, tmp.at, n_file, err);
    genet__str_release(&out);
    genet__str_release(&tmp);
    return ok;
}
