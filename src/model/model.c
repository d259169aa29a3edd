/* model.c - the list of families, and a model as a folder. */
#include "model/model.h"
#include "base/alloc.h"
#include "base/err.h"
#include "base/str.h"
#include "format/hf.h"
#include <string.h>

enum { GENERATION_MAX_BYTES = 1 << 20 };

const family *const genet__families[] = {
    &genet__family_gpt2, &genet__family_llama, &genet__family_mistral, &genet__family_qwen2, &genet__family_qwen3,
    &genet__family_bert, &genet__family_roberta, &genet__family_distilbert, &genet__family_t5,
    &genet__family_marian, &genet__family_mlp, NULL,
};

const family *genet__family_find(const char *name)
{
    for (const family *const *f = genet__families; *f; f++)
        if (!strcmp((*f)->name, name)) return *f;
    return NULL;
}

/* --- configs -------------------------------------------------------------------- */

/* As config.json's fields are where it does not have them. */
static bool set_defaults(const family *f, void *config, arena *a, genet_err *err)
{
    TRY(genet__fields_defaults(f->config, config, a, err));
    for (const char *const *d = f->defaults; d && *d; d += 2) TRY(genet__fields_set(f->config, config, d[0], d[1], a, err));
    return true;
}

void *genet__family_config(const family *f, arena *a, genet_err *err)
{
    void *config = genet__arena_alloc(a, f->config_bytes);
    if (!config) {
        genet__err_memory(err);
        return NULL;
    }
    if (!set_defaults(f, config, a, err) || !genet__fields_defaults(f->options, config, a, err)) return NULL;
    return config;
}

/* Fields under their other names.  A file that says both must say the same. */
static bool rename_aliases(const family *f, json_t *config, const char *where, genet_err *err)
{
    for (const char *const (*a)[2] = f->alias; a && (*a)[0]; a++) {
        json_t *value = json_object_get(config, (*a)[0]), *ours = json_object_get(config, (*a)[1]);
        if (value && ours && !json_equal(value, ours))
            return genet__err_set(err, GENET_ERR_FORMAT, "%s: \"%s\" and \"%s\" are one field, and differ", where,
                                  (*a)[0], (*a)[1]);
        if (value && !ours && json_object_set(config, (*a)[1], value)) return genet__err_memory(err);
    }
    return true;
}

/* Several tokens may end a text: an array of ids, the first of which the config's field holds. */
static bool read_ends(model *m, json_t *config, const char *where, genet_err *err)
{
    static const char key[] = "eos_token_id";
    const json_t *list = json_object_get(config, key);
    if (!json_is_array(list)) return true;
    if (!json_array_size(list)) return !json_object_del(config, key);       /* none */
    m->ends.n = (int)json_array_size(list);
    bool ok = m->ends.n <= INT_LIST_MAX;
    for (int i = 0; ok && i < m->ends.n; i++) {
        ok = json_is_integer(json_array_get(list, (size_t)i));
        m->ends.at[i] = json_integer_value(json_array_get(list, (size_t)i));
    }
    if (!ok) return genet__err_set(err, GENET_ERR_FORMAT, "%s: \"%s\" is no list of 1 to %d ids", where, key, INT_LIST_MAX);
    return !json_object_set_new(config, key, json_integer(m->ends.at[0])) || genet__err_memory(err);
}

/* null is -1 where that means "none"; elsewhere it is a field that is not there. */
static bool drop_nulls(const family *f, json_t *config, genet_err *err)
{
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(config, next, key, value) {
        if (!json_is_null(value)) continue;
        const field *known = genet__fields_find(f->config, key);
        bool none = known && known->type == FIELD_INT && known->min == -1;
        if (none ? json_object_set_new(config, key, json_integer(-1)) : json_object_del(config, key)) return genet__err_memory(err);
    }
    return true;
}

/* Fields that config.json has and genet does not know are passed over. */
static bool read_config(model *m, const json_t *j, const char *where, genet_err *err)
{
    const family *f = m->family;
    json_t *present = json_deep_copy(j);
    bool ok = present || genet__err_memory(err);
    ok = ok && (!f->settle || f->settle(present, where, err)) && drop_nulls(f, present, err) &&
         rename_aliases(f, present, where, err) && read_ends(m, present, where, err) &&
         genet__fields_from_json(f->config, m->config, present, where, &m->arena, err);
    json_decref(present);
    return ok;
}

/* Hugging Face writes null for "none", where a field here holds -1. */
static void none_to_null(json_t *config)
{
    const char *key;
    json_t *value;
    json_object_foreach(config, key, value)
        if (json_is_number(value) && json_number_value(value) == -1) json_object_set_new(config, key, json_null());
}

static bool write_in(const char *folder, const char *name, const json_t *j, genet_err *err)
{
    char *path = genet__path_join(folder, name);
    bool ok = path ? genet__json_write(path, j, err) : genet__err_memory(err);
    genet__free(path);
    return ok;
}

/* generation_config.json: what transformers looks at when it generates; that of the folder the model came from goes along. */
static bool write_generation(const model *m, const json_t *config, const char *folder, genet_err *err)
{
    if (m->generation) return write_in(folder, "generation_config.json", m->generation, err);
    bool reads = m->head->encode;       /* a translation is the likeliest text, and begins with a token of its own */
    json_t *j = json_pack("{s:b, s:O?, s:O?, s:O*, s:O*}", "do_sample", !reads, "bos_token_id", json_object_get(config, "bos_token_id"),
                          "eos_token_id", json_object_get(config, "eos_token_id"), "decoder_start_token_id",
                          reads ? json_object_get(config, "decoder_start_token_id") : NULL, "pad_token_id",
                          reads ? json_object_get(config, "pad_token_id") : NULL);
    bool ok = j ? write_in(folder, "generation_config.json", j, err) : genet__err_memory(err);
    json_decref(j);
    return ok;
}

/* As they were read. */
static bool write_ends(const model *m, json_t *config)
{
    json_t *list = m->ends.n ? json_array() : NULL;
    for (int i = 0; list && i < m->ends.n; i++) genet__json_append(&list, json_integer(m->ends.at[i]));
    return !m->ends.n || !json_object_set_new(config, "eos_token_id", list);
}

/* Both spellings of the type: releases of transformers know one or the other. */
json_t *genet__model_config_json(const model *m, genet_dtype type)
{
    const char *name = type == GENET_F16 ? "float16" : type == GENET_BF16 ? "bfloat16" : "float32";
    json_t *all = json_pack("{s:s, s:[s], s:s, s:s}", "model_type", m->family->name, "architectures",
                            m->head->architecture, "dtype", name, "torch_dtype", name);
    json_t *own = genet__fields_to_json(m->family->config, m->config);
    if (own) none_to_null(own);
    bool ok = all && own && write_ends(m, own) && genet__json_merge(all, own, false) && genet__labels_write(m, all);
    json_decref(own);
    if (ok) return all;
    json_decref(all);
    return NULL;
}

bool genet__model_write_config(const model *m, const char *folder, genet_err *err)
{
    json_t *all = genet__model_config_json(m, GENET_F32);
    bool ok = all || genet__err_memory(err);
    ok = ok && write_in(folder, "config.json", all, err) && (!m->family->vocab_size || write_generation(m, all, folder, err));
    json_decref(all);
    return ok;
}

/* --- models --------------------------------------------------------------------- */

model *genet__model_new(const family *f, const void *config, genet_device *d, uint64_t seed, genet_err *err)
{
    model *m = genet__alloc(sizeof *m);
    if (!m) {
        genet__err_memory(err);
        return NULL;
    }
    m->family = f;
    m->head = f->heads;
    m->config = genet__arena_alloc(&m->arena, f->config_bytes);
    bool ok = m->config || genet__err_memory(err);
    if (ok && config) memcpy(m->config, config, f->config_bytes);
    else ok = ok && set_defaults(f, m->config, &m->arena, err);
    if (ok && (m->params = genet__params_new(d, seed, err))) return m;
    genet__model_free(m);
    return NULL;
}

void genet__model_free(model *m)
{
    if (!m) return;
    genet__params_free(m->params);
    json_decref(m->generation);
    genet__arena_release(&m->arena);
    if (m->own_base) genet__model_free(m->base);
    genet__free(m);
}

int32_t genet__model_token(const model *m, const char *key)
{
    const field *f = genet__fields_find(m->family->config, key);
    if (!f || f->type != FIELD_INT || !m->family->vocab_size) return -1;
    int64_t id = *genet__model_int(m, f->offset);
    return id < *genet__model_int(m, m->family->vocab_size) ? (int32_t)id : -1;
}

tensor *genet__model_forward(const model *m, net *n, const model_inputs *in)
{
    model_inputs all = *in;
    all.n_labels = m->n_labels;
    return m->head->forward(n, m->config, &all);
}

/* Build the forward pass once for the least input: the parameters are what it
 * asks for. */
bool genet__model_declare(model *m, genet_err *err)
{
    const family *f = m->family;
    if (f->complete) f->complete(m->config);
    TRY(!f->check || f->check(m->config, err));
    graph *g = genet_graph_new();
    if (!g) return genet__err_memory(err);
    net n = { .graph = g, .params = m->params };
    model_inputs in = {0};
    if (f->n_input) in.x = genet_input(g, "x", GENET_F32, GENET_DIMS(1, *genet__model_int(m, f->n_input)));
    else in.x = genet_input(g, "x", GENET_I32, GENET_DIMS(1, 1));
    if (m->head->encode) in.source = genet_input(g, "source", GENET_I32, GENET_DIMS(1, 1));
    genet__model_forward(m, &n, &in);
    bool ok = genet__graph_ok(g, err);
    genet_graph_free(g);
    return ok;
}

static bool load(model *m, const char *folder, model_weights how, str *said, genet_err *err)
{
    const family *f = m->family;
    weight_names names = { f->prefix, f->ignored, { f->tied[0], f->tied[1] }, said };
    weights_form form = how == MODEL_READ_ONLY ? WEIGHTS_STORED : how == MODEL_READ_F32 ? WEIGHTS_F32 : WEIGHTS_COPIED;
    return genet__weights_open(m->params, PARAM_WEIGHT | PARAM_BUFFER, folder, form, &names, err);
}

static bool unknown_family(const char *where, const char *name, genet_err *err)
{
    str known = {0};
    for (const family *const *f = genet__families; *f; f++)
        genet__str_printf(&known, "%s%s", f == genet__families ? "" : ", ", (*f)->name);
    genet__err_set(err, GENET_ERR_FORMAT, "%s: model_type is \"%s\"; genet knows %s", where, SHOWN(name),
                   genet__str(&known));
    genet__str_release(&known);
    return false;
}

/* Of others' ways to quantise none is read. */
static bool known_quantization(const json_t *config, const char *where, genet_err *err)
{
    const json_t *q = json_object_get(config, "quantization_config");
    const char *method = json_string_value(json_object_get(q, "quant_method"));
    if (!q || json_is_null(q) || (method && !strcmp(method, QUANT_METHOD))) return true;
    return genet__err_set(err, GENET_ERR_FORMAT, "%s: \"quantization_config\": weights quantised by %s; genet reads its own "
                          "(genet quantize), and f32, f16 and bf16 weights", where, method ? SHOWN(method) : "nobody knows what");
}

/* A class that genet does not know, but for its head, is read as what the family is usually. */
static bool choose_head(model *m, const json_t *config, const char *where, genet_err *err)
{
    const char *name = json_string_value(json_array_get(json_object_get(config, "architectures"), 0));
    for (const model_head *h = m->family->heads; name && h->architecture; h++)
        if (!strcmp(h->architecture, name)) m->head = h;
    return genet__labels_read(m, config, where, err);
}

bool genet__model_set_head(model *m, head_kind kind, int64_t n_labels, genet_err *err)
{
    static const char *const does[] = { "continues text", "finds hidden words", "gives hidden states", "classifies texts",
                                        "classifies tokens", "finds answers", "reads tables" };
    for (const model_head *h = m->family->heads; h->architecture; h++)
        if (h->kind == kind) {
            m->head = h;
            m->n_labels = n_labels;
            return true;
        }
    return genet__err_set(err, GENET_ERR_USAGE, "family %s has no head that %s", m->family->name, does[kind]);
}

model *genet__model_from_config(const json_t *config, const char *where, genet_device *d, genet_err *err)
{
    const char *name;
    if (!genet__json_string(config, "model_type", where, &name, NULL, err)) return NULL;
    const family *f = genet__family_find(name);
    if (!f) {
        unknown_family(where, name, err);
        return NULL;
    }
    if (!known_quantization(config, where, err)) return NULL;
    model *m = genet__model_new(f, NULL, d, 0, err);
    if (m && read_config(m, config, where, err) && choose_head(m, config, where, err)) return m;
    genet__model_free(m);
    return NULL;
}

/* Of a model that may be written again. */
static bool read_generation(model *m, const char *folder, genet_err *err)
{
    if (!genet__file_exists_in(folder, "generation_config.json")) return true;
    char *path = genet__path_join(folder, "generation_config.json");
    m->generation = path ? genet__json_read(path, GENERATION_MAX_BYTES, err) : NULL;
    if (!path) genet__err_memory(err);
    genet__free(path);
    return m->generation;
}

/* Of a folder that has the head already, and as many classes, nothing may be missing. */
static bool change_head(model *m, const model_as *as, str **said, genet_err *err)
{
    bool counts = as->kind == HEAD_SEQUENCE || as->kind == HEAD_TOKEN;
    if (m->head->kind == as->kind && (!counts || m->n_labels == as->n_labels)) return true;
    *said = as->said;
    m->params->seed = as->seed;
    return genet__model_set_head(m, as->kind, as->n_labels, err);
}

/* Config, then parameters by building once, then weights: each step checks what
 * the one before let through. */
model *genet__model_open_as(const char *folder, genet_device *d, model_weights how, const model_as *as, genet_err *err)
{
    hf_folder f = {0};
    str *said = NULL;
    model *m = genet__hf_open(&f, folder, false, err) ? genet__model_from_config(f.config, f.where, d, err) : NULL;
    bool ok = m;
    ok = ok && (!as || change_head(m, as, &said, err));
    ok = ok && (genet__model_declare(m, err) || genet__err_prefix(err, "%s: ", f.where));
    genet__hf_close(&f);
    if (ok && how < MODEL_READ_ONLY) ok = read_generation(m, folder, err);
    if (ok && how != MODEL_NO_WEIGHTS)
        ok = load(m, folder, how, said, err) && genet__params_place(m->params, err) && genet__params_fill(m->params, err);
    if (ok) return m;
    /* what would be wrong usage on the command line is a fault of the file here */
    if (!as && err && err->code == GENET_ERR_USAGE) err->code = GENET_ERR_FORMAT;
    genet__model_free(m);
    return NULL;
}

model *genet__model_open(const char *folder, genet_device *d, model_weights how, genet_err *err)
{
    return genet__model_open_as(folder, d, how, NULL, err);
}
