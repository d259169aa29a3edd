/* hf.c - opening a model folder.  The common ways in which one is not there,
 * or not in the form we read, each get their own words. */
#include "format/hf.h"
#include <errno.h>
#include <sys/stat.h>
#include "base/alloc.h"
#include "base/err.h"
#include "format/foreign.h"
#include "format/gguf_model.h"

enum { CONFIG_MAX = 16 << 20 };

const char *const genet__hf_beside[] = {
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "merges.txt", "vocab.txt", "tokenizer.model", "spiece.model",
    "sentencepiece.bpe.model", "source.spm", "target.spm", "chat_template.jinja", "preprocessor_config.json",
    "README.md", "LICENSE", "LICENSE.txt", "table.json", NULL
};

/* FOLDER/name, in the arena. */
static const char *path_in(hf_folder *f, const char *name)
{
    return genet__arena_printf(&f->arena, "%s/%s", f->path, name);
}

static bool has(hf_folder *f, const char *name)
{
    const char *path = path_in(f, name);
    return path && genet__file_exists(path);
}

/* Every refusal names the folder first: it is what the user gave.  Other ways to store weights are known by their names,
 * so that the message can say how to get one that is read; else it gives the hint. */
static bool missing(hf_folder *f, const char *name, const char *hint, genet_err *err)
{
    str more = {0};
    genet__foreign_weights(f->path, &more);
    genet__err_set(err, GENET_ERR_IO, "%s is not a whole model folder: %s is missing%s", f->path, name, more.n ? genet__str(&more) : hint);
    genet__str_release(&more);
    return false;
}

/* model_type is what tells the families apart; without it nothing can be built. */
static bool open_config(hf_folder *f, genet_err *err)
{
    const char *path = f->where = path_in(f, "config.json");
    if (!path) return genet__err_memory(err);
    if (!has(f, "config.json"))
        return missing(f, "config.json", "; a folder written by genet train or by transformers has it", err);
    f->config = genet__json_read(path, CONFIG_MAX, err);
    return f->config && genet__json_string(f->config, "model_type", path, &f->model_type, NULL, err);
}

static bool open_weights(hf_folder *f, genet_err *err)
{
    if (genet__shards_exist(f->path)) return genet__shards_open(&f->weights, f->path, err);
    return missing(f, WEIGHTS_FILE, has(f, "training") ? "; the training in it has not saved a model yet" : "", err);
}

/* Absent, a file, and what cannot be looked at (a loop of links, no permission) differ. */
static bool check_folder(const char *path, genet_err *err)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return errno == ENOENT && !genet__file_exists(path)
               ? genet__err_set(err, GENET_ERR_IO, "there is no folder %s", path)
                                                            : genet__err_errno(err, "open the folder", path);
    if (S_ISDIR(st.st_mode)) return true;
    str more = {0};
    genet__foreign_weights(path, &more);
    genet__err_set(err, GENET_ERR_IO, "%s is a file; a model is a folder with config.json and model.safetensors, or a .gguf file%s",
                   path, genet__str(&more));
    genet__str_release(&more);
    return false;
}

/* What the file says, as config.json would. */
static bool open_gguf(hf_folder *f, const char *file, bool with_weights, genet_err *err)
{
    gguf g;
    f->where = genet__arena_strdup(&f->arena, file);
    if (!f->where) return genet__err_memory(err);
    TRY(genet__gguf_open(&g, file, err));
    f->config = genet__gguf_config(&g, err);
    genet__gguf_close(&g);
    f->model_type = json_string_value(json_object_get(f->config, "model_type"));
    return f->config && (!with_weights || genet__gguf_shards(&f->weights, file, err));
}

static bool open_folder(hf_folder *f, bool with_weights, genet_err *err)
{
    return check_folder(f->path, err) && open_config(f, err) && (!with_weights || open_weights(f, err));
}

bool genet__hf_open(hf_folder *f, const char *path, bool with_weights, genet_err *err)
{
    char *file;
    *f = (hf_folder){ .path = path };
    bool ok = genet__gguf_path(path, &file, err);
    ok = ok && (file ? open_gguf(f, file, with_weights, err) : open_folder(f, with_weights, err));
    genet__free(file);
    if (!ok) genet__hf_close(f);
    return ok;
}

void genet__hf_close(hf_folder *f)
{
    json_decref(f->config);
    genet__shards_close(&f->weights);
    genet__arena_release(&f->arena);
    *f = (hf_folder){ 0 };
}
