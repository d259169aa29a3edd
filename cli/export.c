/* export.c - `genet export FOLDER --out NEW`: a finished model's folder for
 * others: weights in one file or cut into several, in the type of one's choice,
 * config.json that says so, and the files beside them as they are.  Or `--gguf FILE`: one file for llama.cpp. */
#include <ctype.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "cli.h"
#include "folder.h"
#include "format/gguf_model.h"
#include "format/hf.h"
#include "model/adapter.h"
#include "model/gguf_export.h"
#include "text/tokenizer.h"

enum { TOKENIZER_MAX = 256 << 20, TEMPLATE_MAX = 1 << 24 };

typedef struct export_options { const char *out, *max_shard_size, *dtype, *gguf, *type; } export_options;
static const field table[] = {
    { "out", FIELD_STRING, offsetof(export_options, out), NULL, 0, 0, NULL, 0, "folder to make; must not exist" },
    { "max_shard_size", FIELD_STRING, offsetof(export_options, max_shard_size), "5GB", 0, 0, NULL, 0,
      "larger weights are cut into files of at most this: 500MB, 5GB, 2GiB" },
    { "dtype", FIELD_CHOICE, offsetof(export_options, dtype), "f32", 0, 0, "f32|f16|bf16", 0,
      "type that weights are stored in; narrower ones are rounded" },
    { "gguf", FIELD_STRING, offsetof(export_options, gguf), NULL, 0, 0, NULL, 0,
      "instead of a folder write this file, for llama.cpp: gpt2, llama, mistral, qwen2 and qwen3" },
    { "type", FIELD_CHOICE, offsetof(export_options, type), "f32", 0, 0, "f32|f16|bf16|q8_0|q4_0", 0,
      "of the matrices in it; norms, biases and positions are f32" },
};
static const fields tables = { "options", table, sizeof table / sizeof *table };

/* "5GB": a number and B, KB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (of 1024). */
static bool parse_size(const char *text, int64_t *bytes, genet_err *err)
{
    static const char units[] = "KMGT";
    char number[40];
    size_t n = strspn(text, "0123456789.");
    const char *unit = text + n;
    double x = 0, base = 1000;
    int power = 0;
    bool ok = n && n < sizeof number;
    memcpy(number, text, ok ? n : 0);
    number[ok ? n : 0] = 0;
    ok = ok && genet__parse_double(number, &x);
    if (*unit == ' ') unit++;
    const char *at = *unit ? strchr(units, toupper((unsigned char)*unit)) : NULL;
    if (at) {
        power = (int)(at - units) + 1;
        unit++;
        if (*unit == 'i') base = 1024, unit++;
    }
    ok = ok && (!*unit || (toupper((unsigned char)*unit) == 'B' && !unit[1]));
    x *= pow(base, power);
    if (!ok || !(x >= 1) || x > 0x1p60)
        return genet__err_set(err, GENET_ERR_USAGE, "--max-shard-size \"%s\" is no size; write 500MB, 5GB or 2GiB", text);
    *bytes = (int64_t)x;
    return true;
}

/* What an adapter makes of its base, as a model of its own: its weights added to those that it adapts. */
static model *open_merged(const char *folder, const char *base, genet_device *d, genet_err *err)
{
    model *m = genet__model_open(base, d, MODEL_WRITABLE, err), *adapted = m ? genet__adapter_open(m, false, folder, err) : NULL;
    bool ok = adapted && genet__adapter_merge(adapted, m, err);
    genet__model_free(adapted);
    if (ok) return m;
    genet__model_free(m);
    return NULL;
}

/* --- for llama.cpp --------------------------------------------------------------------- */

static genet_dtype type_of(const char *name)
{
    static const genet_dtype all[] = { GENET_F32, GENET_F16, GENET_BF16, GENET_Q8_0, GENET_Q4_0 };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(genet_dtype_name(all[i]), name)) return all[i];
    return GENET_F32;
}

/* A file of the folder as JSON; *j stays NULL where there is none. */
static bool read_beside(const char *folder, const char *name, json_t **j, genet_err *err)
{
    *j = NULL;
    if (!genet__file_exists_in(folder, name)) return true;
    char *path = genet__path_join(folder, name);
    *j = path ? genet__json_read(path, TOKENIZER_MAX, err) : NULL;
    if (!path) genet__err_memory(err);
    genet__free(path);
    return *j;
}

/* tokenizer.json as it is, or what genet reads instead of one. */
static bool read_tokenizer(const char *folder, json_t **j, genet_err *err)
{
    TRY(read_beside(folder, "tokenizer.json", j, err));
    if (*j) return true;
    tokenizer *t = genet__tokenizer_load(folder, err);
    *j = t ? genet__tokenizer_json(t) : NULL;
    if (t && !*j) genet__err_memory(err);
    genet__tokenizer_free(t);
    return *j;
}

/* tokenizer_config.json, or what a GGUF file says instead. */
static bool read_words(const char *folder, json_t **config, genet_err *err)
{
    char *file;
    gguf g;
    *config = NULL;
    TRY(genet__gguf_path(folder, &file, err));
    bool ok = true;
    if (!file) {
        ok = read_beside(folder, "tokenizer_config.json", config, err);
    } else if ((ok = genet__gguf_open(&g, file, err))) {
        ok = (*config = genet__gguf_tokenizer_config(&g, err));
        genet__gguf_close(&g);
    }
    genet__free(file);
    return ok;
}

/* Of chat_template.jinja, else tokenizer_config.json; heap, NULL and true: there is none. */
static bool read_template(const char *folder, const json_t *config, char **text, genet_err *err)
{
    size_t n;
    const char *own = json_string_value(json_object_get(config, "chat_template"));
    *text = NULL;
    if (!genet__file_exists_in(folder, "chat_template.jinja"))
        return !own || (*text = genet__strdup(own)) || genet__err_memory(err);
    char *path = genet__path_join(folder, "chat_template.jinja");
    *text = path ? genet__file_read(path, TEMPLATE_MAX, &n, err) : NULL;
    if (!path) genet__err_memory(err);
    genet__free(path);
    return *text;
}

/* The folder's own name. */
static bool name_of(const char *folder, str *name, genet_err *err)
{
    size_t n = strlen(folder), from;
    while (n > 1 && folder[n - 1] == '/') n--;
    for (from = n; from > 0 && folder[from - 1] != '/'; from--) { }
    genet__str_add_n(name, folder + from, n - from);
    return !name->failed || genet__err_memory(err);
}

static bool write_gguf(const char *folder, const model *m, const export_options *o, str *out, genet_err *err)
{
    json_t *tokens = NULL, *config = NULL;
    char *chat = NULL;
    str name = {0};
    int left = 0;
    bool ok = read_tokenizer(folder, &tokens, err) && read_words(folder, &config, err) &&
              read_template(folder, config, &chat, err) && name_of(folder, &name, err);
    gguf_export e = { .model = m, .tokenizer = tokens, .chat_template = chat, .name = name.at, .where = folder,
                      .type = type_of(o->type) };
    ok = ok && genet__gguf_export(&e, o->gguf, &left, err);
    if (ok) genet__str_printf(out, "%s: %lld weights, matrices as %s\n", o->gguf,
                              (long long)genet__params_numel(m->params, PARAM_WEIGHT), o->type);
    if (left) genet__str_printf(out, "%d of them left as f32: rows of no whole blocks of 32\n", left);
    json_decref(tokens);
    json_decref(config);
    genet__free(chat);
    genet__str_release(&name);
    return ok;
}

/* --- the verb --------------------------------------------------------------------------- */

static bool check_target(const export_options *o, genet_err *err)
{
    bool folder = o->out && *o->out, file = o->gguf && *o->gguf;
    if (folder && file) return genet__err_set(err, GENET_ERR_USAGE, "--out makes a folder and --gguf a file: say one of them");
    return folder || file || genet__err_set(err, GENET_ERR_USAGE, "--out is missing: the folder to make (or --gguf FILE)");
}

static bool write_folder(const char *folder, const model *m, const json_t *config, const export_options *o, str *out, genet_err *err)
{
    int n_file = 0;
    genet_dtype type = type_of(o->dtype);
    cli_folder new = { .from = folder, .out = o->out, .model = m, .config = config, .types = { type, type, type } };
    TRY(parse_size(o->max_shard_size, &new.max_bytes, err) && cli_folder_write(&new, &n_file, err));
    genet__str_printf(out, "%s: %lld weights as %s in %d file%s\n", o->out,
                      (long long)genet__params_numel(m->params, PARAM_WEIGHT), o->dtype, n_file, n_file == 1 ? "" : "s");
    return true;
}

static bool export_model(const char *const *word, genet_device *d, str *out, genet_err *err, void *user)
{
    const char *folder = word[0];
    const export_options *o = user;
    TRY(check_target(o, err));
    hf_folder f = {0};
    arena a = {0};
    bool adapter = genet__adapter_exists(folder);
    const char *from = adapter ? genet__adapter_base(folder, &a, err) : folder;
    model *m = !from || !genet__hf_open(&f, from, false, err) ? NULL
             : adapter ? open_merged(folder, from, d, err) : genet__model_open(folder, d, MODEL_READ_F32, err);
    bool ok = m && (o->gguf && *o->gguf ? write_gguf(from, m, o, out, err) : write_folder(from, m, f.config, o, out, err));
    genet__model_free(m);
    genet__hf_close(&f);
    genet__arena_release(&a);
    return ok;
}

static int run(const verb *v, int argc, char **argv)
{
    export_options o;
    return cli_simple(v, &(simple){ .fields = &tables, .options = &o, .body = export_model,
                                    .folder = "say which model: a folder that genet or transformers wrote" }, argc, argv);
}

const verb cli_verb_export = { "export", "FOLDER --out NEW|--gguf FILE [--options]",
                               "a model's folder in files and types of choice, or as one file for llama.cpp; an adapter, merged", run };
