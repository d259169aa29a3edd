/* info.c - `genet info FOLDER`: what stands in a model's folder; without one,
 * what this genet is. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/file.h"
#include "base/str.h"
#include "cli.h"
#include "model/model.h"
#include "text/tokenizer.h"
#include "train/save.h"

typedef struct info_options { bool json; } info_options;
static const field table[] = {
    { "json", FIELD_BOOL, offsetof(info_options, json), "false", 0, 0, NULL, 0, "print one JSON object" },
};
static const fields tables = { "options", table, sizeof table / sizeof *table };

/* A folder may lack one: then nothing is said of it. */
static bool add_tokenizer(json_t *all, const char *folder, genet_err *err)
{
    if (!genet__file_exists_in(folder, "tokenizer.json")) return true;
    tokenizer *t = genet__tokenizer_load(folder, err);
    if (!t) return false;
    json_object_set_new(all, "tokenizer", json_string(genet__tokenizer_kind(t)));
    json_object_set_new(all, "tokens", json_integer(genet__tokenizer_size(t)));
    genet__tokenizer_free(t);
    return true;
}

/* Steps, and the last lines of the metrics that matter. */
static bool add_run(json_t *all, const char *folder, genet_err *err)
{
    int64_t step;
    if (!genet__file_exists_in(folder, "training/settings.json")) return true;
    TRY(genet__save_last(folder, &step, err));
    json_t *settings = genet__save_settings(folder, err);
    if (!settings) return false;
    json_object_set_new(all, "saved_step", json_integer(step));
    json_object_set(all, "max_steps", json_object_get(json_object_get(settings, "options"), "max_steps"));
    json_object_set(all, "task", json_object_get(settings, "task"));
    json_decref(settings);
    return true;
}

/* The model opens as for use: a damaged one is told here. */
static bool describe(json_t *all, const char *folder, genet_device *d, genet_err *err)
{
    model *m = genet__model_open(folder, d, genet__file_exists_in(folder, "model.safetensors"), err);
    if (!m) return false;
    json_object_set_new(all, "model", json_string(m->family->name));
    json_object_set_new(all, "parameters", json_integer(genet__params_numel(m->params, PARAM_WEIGHT)));
    json_object_set_new(all, "weights_bytes", json_integer((json_int_t)genet__params_bytes(m->params, PARAM_WEIGHT | PARAM_BUFFER)));
    json_object_set_new(all, "weights", json_boolean(genet__file_exists_in(folder, "model.safetensors")));
    json_t *config = genet__fields_to_json(m->family->config, m->config);
    if (config) json_object_set_new(all, "config", config);
    genet__model_free(m);
    return add_tokenizer(all, folder, err) && add_run(all, folder, err);
}

/* One field a line, objects indented. */
static void add_lines(str *s, const json_t *all, const char *indent)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)all, key, value) {
        if (json_is_object(value)) {
            genet__str_printf(s, "%s%s:\n", indent, key);
            add_lines(s, value, "  ");
            continue;
        }
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(7));
        size_t n = text ? strlen(text) : 0, quoted = n > 1 && text[0] == '"';
        genet__str_printf(s, "%s%-*s %.*s\n", indent, 24 - (int)strlen(indent), key, (int)(n - 2 * quoted), text ? text + quoted : "");
        free(text);
    }
}

/* What a report of a fault should say. */
static void this_genet(json_t *all, const genet_device *d)
{
    json_object_set_new(all, "version", json_string(genet_version()));
    json_object_set_new(all, "commit", json_string(genet_commit()));
    json_object_set_new(all, "instruction_set", json_string(genet_device_isa(d)));
    json_object_set_new(all, "threads", json_integer(genet_device_threads(d)));
    json_object_set_new(all, "memory_available_bytes", json_integer((json_int_t)genet__memory_available()));
}

static void show(str *out, const json_t *all, bool json)
{
    if (!json) {
        add_lines(out, all, "");
        return;
    }
    char *text = json_dumps(all, JSON_REAL_PRECISION(9));
    genet__str_printf(out, "%s\n", text ? text : "{}");
    free(text);
}

static bool info(const char *folder, genet_device *d, str *out, genet_err *err, void *user)
{
    const info_options *o = user;
    json_t *all = json_object();
    bool ok = all || genet__err_memory(err);
    if (ok && folder) ok = describe(all, folder, d, err);
    else if (ok) this_genet(all, d);
    if (ok) show(out, all, o->json);
    json_decref(all);
    return ok;
}

static int run(const verb *v, int argc, char **argv)
{
    info_options o;
    return cli_simple(v, &(simple){ .fields = &tables, .options = &o, .body = info }, argc, argv);
}

const verb cli_verb_info = { "info", "[FOLDER] [--json]", "what a model's folder holds; without one, which genet this is", run };
