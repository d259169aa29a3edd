/* sentence.c - how sentence-transformers says a folder's vectors are made: modules.json lists what follows the
 * transformer, and each module has a folder with its own config.json. */
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "infer/texts.h"

enum { MAX_BYTES = 1 << 20 };

/* FOLDER/PART/NAME as JSON; *out NULL where there is no such file. */
static bool read_json(const char *folder, const char *part, const char *name, json_t **out, genet_err *err)
{
    str path = {0};
    genet__str_printf(&path, "%s/%s%s%s", folder, part, *part ? "/" : "", name);
    bool ok = !path.failed || genet__err_memory(err);
    *out = NULL;
    if (ok && genet__file_exists(path.at)) ok = (*out = genet__json_read(path.at, MAX_BYTES, err));
    genet__str_release(&path);
    return ok;
}

/* The old form has a truth value for each mode, the new one names it. */
static bool pooling_of(const json_t *j, const char *where, pooling *out, genet_err *err)
{
    static const struct { const char *key, *name; pooling pool; } modes[] = {
        { "pooling_mode_cls_token", "cls", POOL_CLS }, { "pooling_mode_mean_tokens", "mean", POOL_MEAN },
        { "pooling_mode_max_tokens", "max", POOL_MAX }, { "pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", POOL_MEAN_SQRT },
        { "pooling_mode_lasttoken", "lasttoken", POOL_LAST },
    };
    const char *name = json_string_value(json_object_get(j, "pooling_mode"));
    int n = 0;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (json_is_true(json_object_get(j, modes[i].key)) || (name && !strcmp(name, modes[i].name))) *out = modes[i].pool, n++;
    if (json_is_true(json_object_get(j, "pooling_mode_weightedmean_tokens"))) n = 0;
    return n == 1 || genet__err_set(err, GENET_ERR_FORMAT, "%s/config.json: genet pools in one of the ways cls, mean, max, "
                                    "mean_sqrt_len and lasttoken, and this names %s", where, n ? "several" : "none of them");
}

static bool read_pooling(sentence_options *o, const char *folder, const char *part, genet_err *err)
{
    json_t *j;
    TRY(read_json(folder, part, "config.json", &j, err));
    bool ok = j || genet__err_set(err, GENET_ERR_FORMAT, "%s/modules.json names %s, which has no config.json", folder, SHOWN(part));
    ok = ok && pooling_of(j, part, &o->pool, err);
    json_decref(j);
    return ok;
}

/* The last word of "sentence_transformers.models.Pooling". */
static bool read_module(sentence_options *o, const json_t *module, const char *folder, genet_err *err)
{
    const char *type = json_string_value(json_object_get(module, "type")), *part = json_string_value(json_object_get(module, "path"));
    const char *dot = type ? strrchr(type, '.') : NULL, *kind = dot ? dot + 1 : type;
    if (!kind || !part || strstr(part, "..") || *part == '/')
        return genet__err_set(err, GENET_ERR_FORMAT, "%s/modules.json: a module needs a \"type\" and a \"path\" inside the folder", folder);
    if (!strcmp(kind, "Transformer"))
        return !*part || genet__err_set(err, GENET_ERR_FORMAT, "%s/modules.json: the transformer is in %s; give that folder", folder, SHOWN(part));
    if (!strcmp(kind, "Pooling")) return read_pooling(o, folder, part, err);
    if (!strcmp(kind, "Normalize")) return o->normalize = true;
    return genet__err_set(err, GENET_ERR_FORMAT, "%s/modules.json: module %s; genet knows Transformer, Pooling and Normalize", folder, SHOWN(kind));
}

bool genet__sentence_read(sentence_options *o, const model *m, const char *folder, genet_err *err)
{
    json_t *modules, *own = NULL;
    bool decoder = m->family->heads->kind == HEAD_LM;
    *o = (sentence_options){ .pool = decoder ? POOL_LAST : POOL_MEAN, .max_length = *genet__model_int(m, m->family->context) };
    TRY(read_json(folder, "", "modules.json", &modules, err));
    bool ok = true;
    for (size_t i = 0; ok && i < json_array_size(modules); i++) ok = read_module(o, json_array_get(modules, i), folder, err);
    json_decref(modules);
    ok = ok && read_json(folder, "", "sentence_bert_config.json", &own, err);
    const json_t *most = json_object_get(own, "max_seq_length");
    if (ok && json_is_integer(most) && json_integer_value(most) > 0 && json_integer_value(most) < o->max_length)
        o->max_length = json_integer_value(most);
    json_decref(own);
    return ok;
}
