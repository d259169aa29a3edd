/* tokenizer_file.c - tokenizers in files: tokenizer.json and tokenizer_config.json, read and written.  Older files are
 * tokenizer_folder.c's. */
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "format/gguf_model.h"
#include "text/sentencepiece.h"
#include "text/tokenizer_encoding.h"
#include "text/tokenizer_folder.h"
#include "text/tokenizer_kind.h"
#include "text/tokenizer_model.h"

static const tokenizer_kind *const plain[] = { &genet__tokenizer_char, &genet__tokenizer_word };
enum { N_PLAIN = sizeof plain / sizeof *plain, FILE_MAX = 256 << 20 };

/* Characters and words need no pipeline, where the file asks for nothing else. */
static const tokenizer_kind *kind_for(const json_t *j)
{
    const char *type = json_string_value(json_object_get(json_object_get(j, "model"), "type"));
    for (int i = 0; type && i < N_PLAIN; i++)
        if (!strcmp(plain[i]->model_type, type) && plain[i]->accepts(j)) return plain[i];
    return &genet__tokenizer_pipeline;
}

static bool keep(json_t **to, const json_t *j, const char *field)
{
    json_t *value = json_object_get(j, field);
    *to = value && !json_is_null(value) ? json_deep_copy(value) : NULL;
    return *to || !value || json_is_null(value);
}

/* Both are the caller's to use, but are read now: what is wrong with them is told at once. */
static bool read_settings(tokenizer *t, const json_t *j, const char *where, genet_err *err)
{
    static const char *const known[] = { "version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                                         "post_processor", "decoder", "model", NULL };
    const char *version = "1.0";
    bool found;
    truncation cut;
    padding pad;
    if (!json_is_object(json_object_get(j, "model")))
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: \"model\" with a \"type\" is missing", where);
    TRY(genet__json_known(j, known, where, "", err) && genet__json_string(j, "version", where, &version, &found, err));
    if (strcmp(version, "1.0"))
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: version \"%.20s\" is not known to this version", where, version);
    TRY(genet__truncation_read(json_object_get(j, "truncation"), &cut, where, err));
    TRY(genet__padding_read(json_object_get(j, "padding"), &pad, where, err));
    return (keep(&t->truncation, j, "truncation") && keep(&t->padding, j, "padding")) || genet__err_memory(err);
}

/* The messages of the index know no file. */
static bool load(tokenizer *t, const json_t *j, const char *where, genet_err *err)
{
    TRY(read_settings(t, j, where, err) && genet__added_read(t, j, where, err) && t->kind->load(t, j, where, err));
    return t->index || genet__added_index(t, err) || genet__err_prefix(err, "%s: ", where);
}

tokenizer *genet__tokenizer_from_json(const json_t *j, const char *where, genet_err *err)
{
    tokenizer *t = genet__alloc(sizeof *t);
    if (!t) {
        genet__err_memory(err);
        return NULL;
    }
    t->kind = kind_for(j);
    t->unknown = -1;
    if (load(t, j, where, err)) return t;
    genet__tokenizer_free(t);
    return NULL;
}

/* --- loading and saving ------------------------------------------------------------------------------------------ */

static tokenizer *load_json(const char *path, genet_err *err)
{
    json_t *j = genet__sentencepiece_is(path) ? genet__sentencepiece_read(path, err) : genet__json_read(path, FILE_MAX, err);
    tokenizer *t = j ? genet__tokenizer_from_json(j, path, err) : NULL;
    json_decref(j);
    return t;
}

static bool exists_in_gguf(const char *path)
{
    char *file;
    if (!genet__gguf_path(path, &file, NULL)) return true;      /* opening it says why */
    genet__free(file);
    return file;
}

bool genet__tokenizer_exists(const char *folder)
{
    return exists_in_gguf(folder) || genet__file_exists_in(folder, "tokenizer.json") || genet__folder_has_tokenizer(folder) ||
           genet__sentencepiece_in(folder);
}

/* A token in tokenizer_config.json: a string, or an object with its content. */
static const char *token_in(const json_t *config, const char *field)
{
    const json_t *j = json_object_get(config, field);
    return json_string_value(json_is_object(j) ? json_object_get(j, "content") : j);
}

/* tokenizer_config.json says which token ends a text; it is kept, to be written back with the tokenizer. */
static bool read_config(tokenizer *t, const char *folder, genet_err *err)
{
    if (!genet__file_exists_in(folder, "tokenizer_config.json")) return true;
    char *path = genet__path_join(folder, "tokenizer_config.json");
    t->config = path ? genet__json_read(path, FILE_MAX, err) : NULL;
    bool ok = t->config || (!path && genet__err_memory(err));
    if (ok && !json_is_object(t->config)) ok = genet__err_set(err, GENET_ERR_FORMAT, "%s: must be an object", path);
    genet__free(path);
    if (ok) t->end = token_in(t->config, "eos_token");
    return ok;
}

static tokenizer *load_old(const char *folder, genet_err *err)
{
    char *where;
    json_t *j = genet__folder_tokenizer(folder, &where, err);
    tokenizer *t = j ? genet__tokenizer_from_json(j, where, err) : NULL;
    json_decref(j);
    genet__free(where);
    return t;
}

static tokenizer *load_folder(const char *path, genet_err *err)
{
    bool json = genet__file_exists_in(path, "tokenizer.json");
    if (!json && genet__folder_has_tokenizer(path)) return load_old(path, err);
    const char *name = json ? NULL : genet__sentencepiece_in(path);
    char *file = genet__path_join(path, name ? name : "tokenizer.json");
    if (!file) genet__err_memory(err);
    tokenizer *t = file ? load_json(file, err) : NULL;
    genet__free(file);
    return t;
}

/* Both files that a GGUF file stands for. */
static bool read_gguf(const char *file, json_t **j, json_t **config, genet_err *err)
{
    gguf g;
    TRY(genet__gguf_open(&g, file, err));
    *j = genet__gguf_tokenizer(&g, err);
    *config = *j ? genet__gguf_tokenizer_config(&g, err) : NULL;
    genet__gguf_close(&g);
    return *config;
}

/* *t stays NULL where path means no GGUF file. */
static bool load_gguf(const char *path, tokenizer **t, genet_err *err)
{
    char *file;
    json_t *j = NULL, *config = NULL;
    *t = NULL;
    TRY(genet__gguf_path(path, &file, err));
    bool ok = !file || read_gguf(file, &j, &config, err);
    if (ok && j) ok = (*t = genet__tokenizer_from_json(j, file, err));
    if (*t) {
        (*t)->config = json_incref(config);
        (*t)->end = token_in((*t)->config, "eos_token");
    }
    json_decref(config);
    json_decref(j);
    genet__free(file);
    return ok;
}

tokenizer *genet__tokenizer_load(const char *path, genet_err *err)
{
    tokenizer *t;
    if (!load_gguf(path, &t, err) || t) return t;
    if (genet__file_exists(path) && !genet__file_is_dir(path)) return load_json(path, err);
    t = load_folder(path, err);
    if (!t || read_config(t, path, err)) return t;
    genet__tokenizer_free(t);
    return NULL;
}

/* Takes j over. */
static bool write_json(const char *folder, const char *name, json_t *j, genet_err *err)
{
    char *path = genet__path_join(folder, name);
    bool ok = j && path ? genet__json_write(path, j, err) : genet__err_memory(err);
    json_decref(j);
    genet__free(path);
    return ok;
}

static int set_token(json_t *config, const char *field, const tokenizer *t, int32_t id)
{
    const added_token *a = genet__added_find(t, id);
    return a && a->special ? json_object_set_new(config, field, json_string(a->content)) : 0;
}

/* A text of GPT-2's kind begins with what ends the one before. */
static int32_t begin_of(const tokenizer *t)
{
    static const char *const begins[] = { "<|endoftext|>", "<s>", "<bos>", "<|begin_of_text|>" };
    for (size_t k = 0; k < sizeof begins / sizeof *begins; k++)
        for (int i = 0; i < t->n_added; i++)
            if (!strcmp(t->added[i].content, begins[k])) return t->added[i].id;
    return -1;
}

/* The class keeps transformers from rebuilding the tokenizer of the model's
 * family; the flag, from dropping spaces before punctuation when it decodes.
 * Only tokens that are added ones: naming another would make it one. */
static json_t *config_of(const tokenizer *t)
{
    if (t->config) return json_incref(t->config);
    json_t *config = json_pack("{s:s, s:b}", "tokenizer_class", "PreTrainedTokenizerFast",
                               "clean_up_tokenization_spaces", 0);
    bool ok = config && !set_token(config, "bos_token", t, begin_of(t)) &&
              !set_token(config, "eos_token", t, genet__tokenizer_end(t)) &&
              !set_token(config, "unk_token", t, genet__tokenizer_unknown(t));
    if (ok) return config;
    json_decref(config);
    return NULL;
}

json_t *genet__tokenizer_json(const tokenizer *t)
{
    json_t *j = t->kind->to_json(t);
    if (!j || !json_object_set_new(j, "added_tokens", genet__added_json(t))) return j;
    json_decref(j);
    return NULL;
}

bool genet__tokenizer_save(const tokenizer *t, const char *folder, genet_err *err)
{
    return write_json(folder, "tokenizer_config.json", config_of(t), err) &&
           write_json(folder, "tokenizer.json", genet__tokenizer_json(t), err);
}
