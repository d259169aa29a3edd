/* export.c - `genet export FOLDER --out NEW`: a finished model's folder for
 * others: weights in one file or cut into several, in the type of one's choice,
 * config.json that says so, and the files beside them as they are.
 *
 * Everything is written to NEW.tmp, synced, and renamed at the end: NEW is
 * whole or not there. */
#include <ctype.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "cli.h"
#include "format/hf.h"
#include "model/model.h"

typedef struct export_options { const char *out, *max_shard_size, *dtype; } export_options;
static const field table[] = {
    { "out", FIELD_STRING, offsetof(export_options, out), NULL, 0, 0, NULL, 0, "folder to make; must not exist" },
    { "max_shard_size", FIELD_STRING, offsetof(export_options, max_shard_size), "5GB", 0, 0, NULL, 0,
      "larger weights are cut into files of at most this: 500MB, 5GB, 2GiB" },
    { "dtype", FIELD_CHOICE, offsetof(export_options, dtype), "f32", 0, 0, "f32|f16|bf16", 0,
      "type that weights are stored in; narrower ones are rounded" },
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

/* Not kept: where the model came from on somebody's disk. */
static bool passes(const char *key) { return strcmp(key, "_name_or_path") && strcmp(key, "transformers_version"); }

/* Our config, and what the folder's says besides. */
static bool write_config(const model *m, const json_t *had, const char *tmp, genet_dtype type, genet_err *err)
{
    json_t *all = genet__model_config_json(m, type);
    char *path = genet__path_join(tmp, "config.json");
    bool ok = (all && path) || genet__err_memory(err);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)had, key, value)
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
static bool write_all(const model *m, const json_t *config, const char *folder, const char *tmp, const export_options *o,
                      int64_t max_bytes, int *n_file, genet_err *err)
{
    genet_dtype type = !strcmp(o->dtype, "f16") ? GENET_F16 : !strcmp(o->dtype, "bf16") ? GENET_BF16 : GENET_F32;
    return genet__model_write_config(m, tmp, err) && write_config(m, config, tmp, type, err) &&
           copy_beside(folder, tmp, err) &&
           genet__weights_write_folder(m->params, PARAM_WEIGHT | PARAM_BUFFER, tmp, type, max_bytes, n_file, err) &&
           genet__file_sync_dir(tmp, err);
}

/* Neither the folder nor what an interrupted export may have left is written over. */
static bool refuse_existing(const char *out, const char *tmp, genet_err *err)
{
    if (genet__file_exists(out))
        return genet__err_set(err, GENET_ERR_USAGE, "%s exists already; --out names a new folder", out);
    return !genet__file_exists(tmp) ||
           genet__err_set(err, GENET_ERR_USAGE, "%s exists: an interrupted export left it; remove it first", tmp);
}

static bool write_folder(const model *m, const json_t *config, const char *folder, const export_options *o, int *n_file,
                         genet_err *err)
{
    int64_t max_bytes = 0;
    size_t n = strlen(o->out);
    TRY(parse_size(o->max_shard_size, &max_bytes, err));
    while (n > 1 && o->out[n - 1] == '/') n--;
    str out = {0}, tmp = {0};
    genet__str_add_n(&out, o->out, n);
    genet__str_add_n(&tmp, o->out, n);
    genet__str_add(&tmp, ".tmp");
    bool ok = (!out.failed && !tmp.failed) || genet__err_memory(err);
    ok = ok && refuse_existing(out.at, tmp.at, err);
    if (ok) {
        ok = genet__file_make_dirs(tmp.at, err) && write_all(m, config, folder, tmp.at, o, max_bytes, n_file, err) &&
             refuse_existing(out.at, "", err) && genet__file_rename(tmp.at, out.at, err);
        if (!ok) genet__file_remove_tree(tmp.at, NULL);
    }
    genet__str_release(&out);
    genet__str_release(&tmp);
    return ok;
}

static bool export_model(const char *const *word, genet_device *d, str *out, genet_err *err, void *user)
{
    const char *folder = word[0];
    const export_options *o = user;
    if (!o->out || !*o->out) return genet__err_set(err, GENET_ERR_USAGE, "--out is missing: the folder to make");
    hf_folder f = {0};
    int n_file = 0;
    model *m = genet__hf_open(&f, folder, false, err) ? genet__model_open(folder, d, MODEL_READ_ONLY, err) : NULL;
    bool ok = m && write_folder(m, f.config, folder, o, &n_file, err);
    int64_t weights = ok ? genet__params_numel(m->params, PARAM_WEIGHT) : 0;
    if (ok) genet__str_printf(out, "%s: %lld weights as %s in %d file%s\n", o->out, (long long)weights, o->dtype, n_file,
                              n_file == 1 ? "" : "s");
    genet__model_free(m);
    genet__hf_close(&f);
    return ok;
}

static int run(const verb *v, int argc, char **argv)
{
    export_options o;
    return cli_simple(v, &(simple){ .fields = &tables, .options = &o, .body = export_model,
                                    .folder = "say which model: a folder that genet or transformers wrote" }, argc, argv);
}

const verb cli_verb_export = { "export", "FOLDER --out NEW [--options]",
                               "a model's folder in files and types of choice", run };
