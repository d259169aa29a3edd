/* from.c - a folder's model as the beginning of a run. */
#include "task/from.h"
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "model/adapter.h"
#include "train/save.h"

enum { CONFIG_BYTES = 1 << 20 };

bool genet__from_check(const setup *s, const from_options *o, genet_err *err)
{
    if (o->lora_rank && !(o->from && *o->from))
        return genet__err_set(err, GENET_ERR_USAGE, "lora_rank needs --from: adapters are of a model that is there");
    return !o->lora_rank || genet__train_dtype(&s->train) == GENET_F32 ||
           genet__err_set(err, GENET_ERR_USAGE, "adapters are trained in f32: leave --dtype out");
}

static bool conflict(const char *name, long long asked, long long is, const char *from, genet_err *err)
{
    return genet__err_set(err, GENET_ERR_USAGE, "%s %lld is asked for, and the model in %s has %lld", name, asked, from, is);
}

bool genet__from_adopt(setup *s, const model *m, const char *from, int64_t *T, genet_err *err)
{
    const family *f = s->family;
    for (int i = 0; i < f->options->n; i++) {
        const field *o = &f->options->at[i];
        bool given = genet__options_was_given(&s->options, o->name);
        void *is = (char *)m->config + o->offset, *asked = (char *)s->config + o->offset;
        if (o->type == FIELD_INT && given && o->offset != f->context && *(int64_t *)is != *(int64_t *)asked)
            return conflict(o->name, *(int64_t *)asked, *(int64_t *)is, from, err);
        if (o->type == FIELD_DOUBLE && given) {
            *(double *)is = *(double *)asked;
            if (f->prepare) f->prepare(m->config);
        }
    }
    int64_t context = *T = *genet__model_int(m, f->context);
    if (genet__options_was_given(&s->options, "block_size")) *T = *(int64_t *)((char *)s->config + f->context);
    return *T <= context || conflict("block_size", *T, context, from, err);
}

/* "a,b" as a JSON list, in the arena of the setup; NULL: the family's usual ones. */
static bool modules_of(const char *names, arena *a, adapter_config *c, genet_err *err)
{
    c->all = names && !strcmp(names, "all-linear");
    if (!names || c->all) return true;
    json_t *list = json_array();
    str text = {0};
    for (const char *at = names; *at; at += strcspn(at, ","), at += *at == ',')
        genet__json_append(&list, json_stringn(at, strcspn(at, ",")));
    if (list) genet__json_print(list, 0, &text);
    c->target_modules = list ? genet__arena_strdup(a, genet__str(&text)) : NULL;
    genet__str_release(&text);
    json_decref(list);
    return c->target_modules || genet__err_memory(err);
}

/* --from as it is, and beside it adapters, which alone are trained; a run that has saved has them in its saves. */
static model *open_adapted(setup *s, const from_options *o, genet_err *err)
{
    adapter_config c = { .peft_type = "LORA", .bias = "none", .r = o->lora_rank, .lora_alpha = o->lora_alpha,
                         .lora_dropout = o->lora_dropout };
    if (!modules_of(o->lora_modules, &s->arena, &c, err)) return NULL;
    model *base = genet__model_open(o->from, s->device, MODEL_READ_F32, err);
    return base ? genet__adapter_new(base, true, &c, (uint64_t)s->train.seed, err) : NULL;
}

/* From a folder: the run's own when it has saved already, else --from. */
static model *open_whole(setup *s, const char **folder, genet_err *err)
{
    int64_t saved = -1;
    if (s->train.resume && !genet__save_last(s->train.out, &saved, err)) return NULL;
    if (saved >= 0) *folder = s->train.out;
    return genet__model_open(*folder, s->device, saved < 0 ? MODEL_WRITABLE : MODEL_NO_WEIGHTS, err);
}

model *genet__from_open(setup *s, const from_options *o, int64_t *T, genet_err *err)
{
    const char *folder = o->from;
    model *m = o->lora_rank ? open_adapted(s, o, err) : open_whole(s, &folder, err);
    bool ok = m && (m->family == s->family ||
                    genet__err_set(err, GENET_ERR_USAGE, "%s holds a %s, not a %s: --model %s", folder, m->family->name, s->family->name, m->family->name));
    if (ok && genet__from_adopt(s, m, o->from, T, err)) return m;
    genet__model_free(m);
    return NULL;
}

const family *genet__from_family(const char *folder)
{
    genet_err ignored;
    char *path = folder ? genet__path_join(folder, "config.json") : NULL;
    json_t *j = path && genet__file_exists(path) ? genet__json_read(path, CONFIG_BYTES, &ignored) : NULL;
    const char *type = json_string_value(json_object_get(j, "model_type"));
    const family *f = type ? genet__family_find(type) : NULL;
    json_decref(j);
    genet__free(path);
    return f;
}

bool genet__from_write_config(const setup *s, const from_options *o, const model *m, genet_err *err)
{
    return m->adapter ? genet__adapter_write_config(m, o->from, s->train.out, err) : genet__model_write_config(m, s->train.out, err);
}
