/* adapter.c - PEFT's adapter_config.json, and models made of a base and an adapter. */
#include "model/adapter.h"
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"

#define AT(member) offsetof(adapter_config, member)
static const field config_fields[] = {
    { "peft_type", FIELD_STRING, AT(peft_type), "LORA", 0, 0, NULL, 0, "LORA" },
    { "task_type", FIELD_STRING, AT(task_type), NULL, 0, 0, NULL, 0, "what it was trained for" },
    { "base_model_name_or_path", FIELD_STRING, AT(base_model_name_or_path), NULL, 0, 0, NULL, 0, "the model that it adapts" },
    { "r", FIELD_INT, AT(r), "8", 1, 1 << 16, NULL, 0, "rank" },
    { "lora_alpha", FIELD_DOUBLE, AT(lora_alpha), "8", 0, 1e9, NULL, 0, "the adapter counts alpha / r" },
    { "lora_dropout", FIELD_DOUBLE, AT(lora_dropout), "0", 0, 0.999, NULL, 0, "of what goes into it" },
    { "target_modules", FIELD_JSON, AT(target_modules), NULL, 0, 0, NULL, 0, "names of the layers that are adapted" },
    { "bias", FIELD_STRING, AT(bias), "none", 0, 0, NULL, 0, "none" },
    { "fan_in_fan_out", FIELD_BOOL, AT(fan_in_fan_out), "false", 0, 0, NULL, 0, "the base's weights are (in, out)" },
    { "use_rslora", FIELD_BOOL, AT(use_rslora), "false", 0, 0, NULL, 0, "alpha / sqrt(r) instead" },
    { "use_dora", FIELD_BOOL, AT(use_dora), "false", 0, 0, NULL, 0, "not supported" },
    { "inference_mode", FIELD_BOOL, AT(inference_mode), "true", 0, 0, NULL, 0, "as PEFT saves it" },
};
const fields genet__adapter_fields = { ADAPTER_CONFIG, config_fields, sizeof config_fields / sizeof *config_fields };

/* What PEFT adapts when nobody says (peft/utils/constants.py). */
static const char *usual_modules(const family *f)
{
    static const char *const table[][2] = {
        { "gpt2", "[\"c_attn\"]" }, { "llama", "[\"q_proj\", \"v_proj\"]" }, { "mistral", "[\"q_proj\", \"v_proj\"]" },
        { "qwen2", "[\"q_proj\", \"v_proj\"]" }, { "qwen3", "[\"q_proj\", \"v_proj\"]" }, { "t5", "[\"q\", \"v\"]" },
        { "marian", "[\"q_proj\", \"v_proj\"]" }, { "bert", "[\"query\", \"value\"]" }, { "roberta", "[\"query\", \"value\"]" },
        { "distilbert", "[\"q_lin\", \"v_lin\"]" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(table[i][0], f->name)) return table[i][1];
    return NULL;
}

bool genet__adapter_exists(const char *folder)
{
    return genet__file_exists_in(folder, ADAPTER_CONFIG) && !genet__file_exists_in(folder, "config.json");
}

/* --- adapter_config.json --------------------------------------------------------------- */

/* What genet would not do exactly is refused by name. */
static bool check(const adapter_config *c, const json_t *j, const char *where, genet_err *err)
{
    static const char *const must_be_empty[] = { "modules_to_save", "rank_pattern", "alpha_pattern", "layers_to_transform",
        "exclude_modules", "layers_pattern", "trainable_token_indices", "target_parameters", "loftq_config", "megatron_config", "layer_replication", "alora_invocation_tokens" };
    if (strcmp(c->peft_type, "LORA"))
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: peft_type is %.40s; genet knows LORA", where, c->peft_type);
    if (strcmp(c->bias, "none"))
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: bias is %.40s; genet adapts weights alone (none)", where, c->bias);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)j, key, value)
        if (json_is_true(value) && strcmp(key, "use_rslora") && (!strncmp(key, "use_", 4) || !strcmp(key, "lora_bias")))
            return genet__err_set(err, GENET_ERR_FORMAT, "%s: %.60s is true; genet knows plain LoRA", where, key);
    for (size_t i = 0; i < sizeof must_be_empty / sizeof *must_be_empty; i++) {
        const json_t *v = json_object_get(j, must_be_empty[i]);
        if (v && !json_is_null(v) && !json_is_false(v) && (json_is_object(v) || json_is_array(v) ? json_object_size(v) + json_array_size(v) : 1))
            return genet__err_set(err, GENET_ERR_FORMAT, "%s: \"%s\" is set, which genet does not know", where, must_be_empty[i]);
    }
    return true;
}

/* target_modules may be "all-linear", one name, or a list. */
static bool settle_modules(json_t *j, adapter_config *c, const char *where, genet_err *err)
{
    const json_t *v = json_object_get(j, "target_modules");
    const char *name = json_string_value(v);
    c->all = name && !strcmp(name, "all-linear");
    if (name && !c->all && strpbrk(name, ".*+?[](){}|^$\\"))
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: target_modules is a pattern, %.60s; genet reads lists of names and "
                              "\"all-linear\"", where, name);
    if (c->all) return !json_object_del(j, "target_modules") || genet__err_memory(err);
    return !name || !json_object_set_new(j, "target_modules", json_pack("[s]", name)) || genet__err_memory(err);
}

static bool read_json(adapter_config *c, json_t *j, const char *where, arena *a, genet_err *err)
{
    if (!json_is_object(j)) return genet__err_set(err, GENET_ERR_FORMAT, "%s: must be a JSON object", where);
    TRY(genet__fields_defaults(&genet__adapter_fields, c, a, err));
    TRY(settle_modules(j, c, where, err));
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(j, next, key, value)
        if (json_is_null(value)) json_object_del(j, key);
    TRY(genet__fields_from_json(&genet__adapter_fields, c, j, where, a, err));
    return check(c, j, where, err);
}

bool genet__adapter_read_config(adapter_config *c, const char *folder, arena *a, genet_err *err)
{
    char *path = genet__path_join(folder, ADAPTER_CONFIG);
    json_t *j = path ? genet__json_read(path, 1 << 20, err) : NULL;
    bool ok = path ? j && read_json(c, j, path, a, err) : genet__err_memory(err);
    json_decref(j);
    genet__free(path);
    return ok;
}

const char *genet__adapter_base(const char *folder, arena *a, genet_err *err)
{
    adapter_config c = {0};
    if (!genet__adapter_read_config(&c, folder, a, err)) return NULL;
    const char *base = c.base_model_name_or_path;
    if (!base || !*base) {
        genet__err_set(err, GENET_ERR_FORMAT, "%s/" ADAPTER_CONFIG " names no base_model_name_or_path", folder);
        return NULL;
    }
    const char *beside = genet__arena_printf(a, "%s/%s", folder, base);
    if (genet__file_exists_in(base, "config.json")) return base;
    if (beside && genet__file_exists_in(beside, "config.json")) return beside;
    genet__err_set(err, GENET_ERR_IO, "%s adapts %.200s, which is no folder with a model here; `genet get` fetches one from a hub, and "
                   "base_model_name_or_path in its " ADAPTER_CONFIG " may name any folder", folder, base);
    return NULL;
}

bool genet__adapter_write_config(const model *m, const char *base, const char *folder, genet_err *err)
{
    adapter_config c = *m->adapter;
    c.base_model_name_or_path = base;
    json_t *j = genet__fields_to_json(&genet__adapter_fields, &c);
    bool ok = j && (!c.all || !json_object_set_new(j, "target_modules", json_string("all-linear")));
    char *path = genet__path_join(folder, ADAPTER_CONFIG);
    ok = ok && path ? genet__json_write(path, j, err) : genet__err_memory(err);
    genet__free(path);
    json_decref(j);
    return ok;
}

/* --- models ------------------------------------------------------------------------------ */

/* The list of names in m's arena, ended by NULL. */
static bool list_modules(model *m, const char *text, lora *l, genet_err *err)
{
    if (!text) return genet__err_set(err, GENET_ERR_USAGE, "which layers of a %s are to be adapted? name them", m->family->name);
    json_t *list = genet__json_parse(text, strlen(text), "target_modules", err);
    size_t n = json_array_size(list);
    const char **at = list ? ARENA_ARRAY(&m->arena, const char *, (int)n + 1) : NULL;
    bool ok = list && (at || genet__err_memory(err));
    for (size_t i = 0; ok && i < n; i++) {
        const char *name = json_string_value(json_array_get(list, i));
        ok = (name && *name) || genet__err_set(err, GENET_ERR_FORMAT, "target_modules must be a list of names");
        ok = ok && ((at[i] = genet__arena_strdup(&m->arena, name)) || genet__err_memory(err));
    }
    json_decref(list);
    l->modules = at;
    return ok && (n || genet__err_set(err, GENET_ERR_FORMAT, "target_modules is empty"));
}

static bool keep_config(model *m, const adapter_config *c, genet_err *err)
{
    adapter_config *own = ARENA_NEW(&m->arena, adapter_config);
    lora *l = ARENA_NEW(&m->arena, lora);
    if (!own || !l) return genet__err_memory(err);
    *own = *c;
    if (!own->target_modules && !own->all) own->target_modules = usual_modules(m->family);
    own->fan_in_fan_out = !strcmp(m->family->name, "gpt2");
    own->inference_mode = true;
    if (!own->task_type) own->task_type = m->head->encode ? "SEQ_2_SEQ_LM" : m->head->kind == HEAD_LM ? "CAUSAL_LM" : NULL;
    const char **strings[] = { &own->peft_type, &own->task_type, &own->target_modules, &own->bias, &own->base_model_name_or_path };
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
        if (*strings[i] && !(*strings[i] = genet__arena_strdup(&m->arena, *strings[i]))) return genet__err_memory(err);
    *l = (lora){ .rank = c->r, .dropout = c->lora_dropout, .all = c->all,
                 .scale = c->lora_alpha / (c->use_rslora ? sqrt((double)c->r) : (double)c->r) };
    TRY(c->all || list_modules(m, own->target_modules, l, err));
    m->adapter = own;
    m->params->lora = l;
    return true;
}

model *genet__adapter_new(model *base, bool own_base, const adapter_config *c, uint64_t seed, genet_err *err)
{
    model *m = genet__alloc(sizeof *m);
    if (!m) {
        genet__err_memory(err);
        if (own_base) genet__model_free(base);
        return NULL;
    }
    *m = (model){ .family = base->family, .head = base->head, .config = base->config, .generation = json_incref(base->generation),
                  .n_labels = base->n_labels, .label = base->label, .problem_type = base->problem_type,
                  .ends = base->ends, .base = base, .own_base = own_base };
    bool ok = (m->params = genet__params_beside(base->params, err)) && keep_config(m, c, err);
    if (ok) m->params->seed = seed;
    ok = ok && genet__model_declare(m, err);
    if (ok && !m->params->n)
        ok = genet__err_set(err, GENET_ERR_USAGE, "no layer of this %s is called %s", m->family->name, m->adapter->target_modules);
    if (ok) return m;
    genet__model_free(m);
    return NULL;
}

model *genet__adapter_open(model *base, bool own_base, const char *folder, genet_err *err)
{
    arena a = {0};
    adapter_config c = {0};
    model *m = NULL;
    char *path = genet__path_join(folder, ADAPTER_FILE);
    bool ok = path || genet__err_memory(err);
    ok = ok && genet__adapter_read_config(&c, folder, &a, err);
    if (ok) m = genet__adapter_new(base, own_base, &c, 0, err);
    else if (own_base) genet__model_free(base);
    if (m && !genet__weights_read(m->params, PARAM_WEIGHT, path, NULL, err)) {
        genet__model_free(m);
        m = NULL;
    }
    genet__free(path);
    genet__arena_release(&a);
    return m;
}

/* --- merging ------------------------------------------------------------------------------- */

/* A weight of the adapter as doubles' floats on the host. */
static float *values_of(const params *p, const param *w, genet_err *err)
{
    float *v = genet__alloc(w->size_bytes);
    if (!v) genet__err_memory(err);
    else if (!genet__params_read(p, w, v, w->size_bytes, err)) {
        genet__free(v);
        return NULL;
    }
    return v;
}

/* W (out, in) or (in, out) += scale B A, sums in double. */
static void add_product(float *w, const float *a, const float *b, const lora *l, int64_t in, int64_t out, bool in_out)
{
    for (int64_t o = 0; o < out; o++)
        for (int64_t i = 0; i < in; i++) {
            double sum = 0;
            for (int64_t r = 0; r < l->rank; r++) sum += (double)b[o * l->rank + r] * (double)a[r * in + i];
            w[in_out ? i * out + o : o * in + i] += (float)(l->scale * sum);
        }
}

/* a: lora_A of a layer; its lora_B follows, and the layer's weight is in `into`. */
static bool merge_one(const model *m, const param *a, const param *b, model *into, genet_err *err)
{
    char name[300];
    size_t prefix = sizeof LORA_PREFIX - 1, n = strlen(a->name) - prefix - strlen("lora_A.weight");
    snprintf(name, sizeof name, "%.*sweight", (int)n, a->name + prefix);
    param *w = genet__params_find(into->params, name);
    if (!w || w->dtype != GENET_F32) return genet__err_set(err, GENET_ERR_USAGE, "%s is no f32 weight to add to", name);
    float *wv = values_of(into->params, w, err), *av = wv ? values_of(m->params, a, err) : NULL, *bv = av ? values_of(m->params, b, err) : NULL;
    if (bv) add_product(wv, av, bv, m->params->lora, a->shape.dim[1], b->shape.dim[0], w->in_out);
    bool ok = bv && genet__params_write(into->params, w, wv, w->size_bytes, err);
    genet__free(wv);
    genet__free(av);
    genet__free(bv);
    return ok;
}

bool genet__adapter_merge(const model *adapted, model *into, genet_err *err)
{
    const params *p = adapted->params;
    for (int i = 0; i + 1 < p->n; i++)
        if (p->at[i]->kind == PARAM_WEIGHT && strstr(p->at[i]->name, ".lora_A.")) TRY(merge_one(adapted, p->at[i], p->at[i + 1], into, err));
    return true;
}
