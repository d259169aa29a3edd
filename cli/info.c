/* info.c - `genet info FOLDER`: what stands in a model's folder; without one,
 * what this genet is. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api/api.h"
#include "base/err.h"
#include "base/str.h"
#include "cli.h"
#include "format/shards.h"
#include "train/save.h"

typedef struct info_options { bool json; } info_options;
static const field table[] = {
    { "json", FIELD_BOOL, offsetof(info_options, json), "false", 0, 0, NULL, 0, "print one JSON object" },
};
static const fields tables = { "options", table, sizeof table / sizeof *table };

/* The model opens as for use: a damaged one is told here. */
static json_t *describe(const char *folder, genet_device *d, genet_err *err)
{
    genet_model *m = genet__api_open(folder, d, genet__shards_exist(folder), err);
    json_t *all = m ? genet__api_describe(m, err) : NULL;
    genet_model_free(m);
    return all;
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
        genet__str_printf(s, "%s%-*s %.*s\n", indent, 24 - (int)strlen(indent), key, (int)(n - 2 * quoted),
                          text ? text + quoted : "");
        free(text);
    }
}

/* What a report of a fault should say. */
static json_t *this_genet(const genet_device *d, genet_err *err)
{
    json_t *all = json_pack("{s:s, s:s, s:s, s:i, s:I}", "version", genet_version(), "commit", genet_commit(),
                            "instruction_set", genet_device_isa(d), "threads", genet_device_threads(d),
                            "memory_available_bytes", (json_int_t)genet__memory_available());
    if (!all) genet__err_memory(err);
    return all;
}

static void show(str *out, const json_t *all, bool json)
{
    if (!json) {
        add_lines(out, all, "");
        return;
    }
    genet__json_print(all, 0, out);
    genet__str_add(out, "\n");
}

static bool info(const char *const *word, genet_device *d, str *out, genet_err *err, void *user)
{
    const char *folder = word[0];
    const info_options *o = user;
    json_t *all = folder ? describe(folder, d, err) : this_genet(d, err);
    if (all) show(out, all, o->json);
    json_decref(all);
    return all;
}

static int run(const verb *v, int argc, char **argv)
{
    info_options o;
    return cli_simple(v, &(simple){ .fields = &tables, .options = &o, .body = info }, argc, argv);
}

const verb cli_verb_info = { "info", "[FOLDER] [--json]",
                             "what a model's folder holds; without one, which genet this is", run };
