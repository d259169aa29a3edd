/* export.c - `genet export FOLDER --out NEW`: a finished model's folder for
 * others: weights in one file or cut into several, in the type of one's choice,
 * config.json that says so, and the files beside them as they are. */
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
#include "model/adapter.h"
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

static bool export_model(const char *const *word, genet_device *d, str *out, genet_err *err, void *user)
{
    const char *folder = word[0];
    const export_options *o = user;
    if (!o->out || !*o->out) return genet__err_set(err, GENET_ERR_USAGE, "--out is missing: the folder to make");
    hf_folder f = {0};
    int n_file = 0;
    arena a = {0};
    bool adapter = genet__adapter_exists(folder);
    const char *from = adapter ? genet__adapter_base(folder, &a, err) : folder;
    model *m = !from || !genet__hf_open(&f, from, false, err) ? NULL
             : adapter ? open_merged(folder, from, d, err) : genet__model_open(folder, d, MODEL_READ_F32, err);
    genet_dtype type = !strcmp(o->dtype, "f16") ? GENET_F16 : !strcmp(o->dtype, "bf16") ? GENET_BF16 : GENET_F32;
    cli_folder new = { .from = from, .out = o->out, .model = m, .config = f.config, .types = { type, type, type } };
    bool ok = m && parse_size(o->max_shard_size, &new.max_bytes, err) && cli_folder_write(&new, &n_file, err);
    int64_t weights = ok ? genet__params_numel(m->params, PARAM_WEIGHT) : 0;
    if (ok) genet__str_printf(out, "%s: %lld weights as %s in %d file%s\n", o->out, (long long)weights, o->dtype, n_file,
                              n_file == 1 ? "" : "s");
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

const verb cli_verb_export = { "export", "FOLDER --out NEW [--options]",
                               "a model's folder in files and types of choice; an adapter, merged", run };
