/* model.c - a folder opened for use: the model, its tokenizer, and what its
 * generation_config.json says; text to ids and back; and the folder described, for
 * `genet info` too.  After opening nothing here changes, which is what lets threads share it. */
#include <string.h>
#include "api/api.h"
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "model/adapter.h"
#include "train/save.h"

enum { STATE_MAX_BYTES = 1 << 20 };

/* --- opening ---------------------------------------------------------------------- */

/* A folder without a tokenizer is a model still; a table's network has none, and no text to generate. */
static bool open_all(genet_model *m, genet_device *d, genet_err *err)
{
    model_weights how = m->weights ? MODEL_READ_ONLY : MODEL_NO_WEIGHTS;
    bool adapter = genet__adapter_exists(m->folder);
    if (adapter || genet__tokenizer_exists(m->folder))
        TRY(genet__open_text_model(m->folder, d, how, &m->model, &m->tokenizer, err));
    else TRY(m->model = genet__model_open(m->folder, d, how, err));
    if (!m->model->family->vocab_size) return true;
    arena a = {0};
    const char *from = adapter ? genet__adapter_base(m->folder, &a, err) : m->folder;
    bool ok = from && genet__generation_file_read(&m->generation, from, err);
    genet__arena_release(&a);
    return ok;
}

genet_model *genet__api_open(const char *folder, genet_device *d, bool weights, genet_err *err)
{
    genet_model *m = genet__alloc(sizeof *m);
    if (!m) {
        genet__err_memory(err);
        return NULL;
    }
    m->weights = weights;
    bool ok = (m->folder = genet__strdup(folder)) || genet__err_memory(err);
    if (ok && open_all(m, d, err)) return m;
    genet_model_free(m);
    return NULL;
}

genet_model *genet_model_open(const char *folder, genet_device *d, genet_err *err)
{
    if (!genet__api_need(folder, "folder", err) || !genet__api_need(d, "device", err)) return NULL;
    return genet__api_open(folder, d, true, err);
}

/* Writing follows the base's generation_config.json. */
static bool adapt(genet_model *m, const genet_model *base, const char *folder, genet_err *err)
{
    m->tokenizer = base->tokenizer;
    m->shared = m->weights = true;
    if (!(m->folder = genet__strdup(folder))) return genet__err_memory(err);
    return (m->model = genet__adapter_open(base->model, false, folder, err)) &&
           (!m->tokenizer || genet__generation_file_read(&m->generation, base->folder, err));
}

genet_model *genet_model_adapt(const genet_model *base, const char *folder, genet_err *err)
{
    if (!genet__api_need(base, "base", err) || !genet__api_need(folder, "folder", err)) return NULL;
    if (base->model->base || !base->weights) {
        genet__err_set(err, GENET_ERR_USAGE, "%s is adapted already, or open without weights: an adapter goes on a whole model", base->folder);
        return NULL;
    }
    genet_model *m = genet__alloc(sizeof *m);
    if (!m) genet__err_memory(err);
    else if (adapt(m, base, folder, err)) return m;
    genet_model_free(m);
    return NULL;
}

void genet_model_free(genet_model *m)
{
    if (!m) return;
    if (!m->shared) genet__tokenizer_free(m->tokenizer);
    genet__model_free(m->model);
    genet__free(m->folder);
    genet__generation_file_release(&m->generation);
    genet__free(m);
}

bool genet__api_has_text(const genet_model *m, genet_err *err)
{
    if (!m->model->family->vocab_size)
        return genet__err_set(err, GENET_ERR_USAGE, "%s holds a model of family %s, which reads no text", m->folder,
                              m->model->family->name);
    return m->tokenizer || genet__err_set(err, GENET_ERR_USAGE, "%s has no tokenizer.json: text cannot become tokens",
                                          m->folder);
}

/* --- text and ids ------------------------------------------------------------------- */

/* The list is handed over; where it is empty it still is memory to free. */
bool genet_tokenize(const genet_model *m, const char *text, size_t n_bytes, int32_t **ids, size_t *n_ids, genet_err *err)
{
    token_list list = {0};
    TRY(genet__api_need(m, "model", err) && genet__api_need(ids, "ids", err) && genet__api_need(n_ids, "n_ids", err));
    *ids = NULL;
    *n_ids = 0;
    TRY(!n_bytes || genet__api_need(text, "text", err));
    TRY(genet__api_has_text(m, err));
    bool ok = genet__tokenizer_encode(m->tokenizer, n_bytes ? text : "", n_bytes, &list, err);
    if (ok && !list.at) ok = GROW(list.at, list.n, list.cap) || genet__err_memory(err);
    if (!ok) {
        genet__token_list_release(&list);
        return false;
    }
    *ids = list.at;
    *n_ids = (size_t)list.n;
    return true;
}

static bool decode(const genet_model *m, const int32_t *ids, size_t n_ids, str *out, genet_err *err)
{
    int size = genet__tokenizer_size(m->tokenizer);
    for (size_t i = 0; i < n_ids; i++)
        if (ids[i] < 0 || ids[i] >= size)
            return genet__err_set(err, GENET_ERR_USAGE, "id %d at %zu is not among the tokenizer's %d", (int)ids[i], i,
                                  size);
    if (n_ids) TRY(genet__tokenizer_decode(m->tokenizer, ids, (int64_t)n_ids, out, err));
    genet__str_add_n(out, "", 0);       /* an empty text is memory, too */
    return (!out->failed && out->at) || genet__err_memory(err);
}

char *genet_detokenize(const genet_model *m, const int32_t *ids, size_t n_ids, size_t *n_bytes, genet_err *err)
{
    str out = {0};
    if (n_bytes) *n_bytes = 0;
    if (!genet__api_need(m, "model", err) || (n_ids && !genet__api_need(ids, "ids", err)) ||
        !genet__api_has_text(m, err)) return NULL;
    if (!decode(m, ids, n_ids, &out, err)) {
        genet__str_release(&out);
        return NULL;
    }
    if (n_bytes) *n_bytes = out.n;
    return out.at;
}

/* --- what the folder holds, as JSON ---------------------------------------------------- */

/* Takes part over; false: no memory. */
static bool add(json_t *all, json_t *part)
{
    bool ok = part && !json_object_update(all, part);
    json_decref(part);
    return ok;
}

/* What the newest save says of its scores. */
static bool add_scores(json_t *all, const char *folder, int64_t step, genet_err *err)
{
    static const char *const keys[] = { "val_loss", "perplexity", "bits_per_byte", "accuracy", "macro_f1", "best_loss", "best_step" };
    str path = {0};
    genet__str_printf(&path, "%s/training/step-%lld/state.json", folder, (long long)step);
    json_t *state = path.failed ? NULL : genet__json_read(path.at, STATE_MAX_BYTES, err);
    bool ok = state || (path.failed && genet__err_memory(err));
    for (size_t i = 0; ok && i < sizeof keys / sizeof *keys; i++) {
        json_t *value = json_object_get(state, keys[i]);
        if (json_is_number(value) && json_object_set(all, keys[i], value)) ok = genet__err_memory(err);
    }
    json_decref(state);
    genet__str_release(&path);
    return ok;
}

/* Steps, and what the run was: when the folder was made by one. */
static bool add_run(json_t *all, const char *folder, genet_err *err)
{
    int64_t step;
    if (!genet__file_exists_in(folder, "training/settings.json")) return true;
    TRY(genet__save_last(folder, &step, err));
    json_t *settings = genet__save_settings(folder, err);
    if (!settings) return false;
    json_t *run = json_pack("{s:I, s:O?, s:O?}", "saved_step", (json_int_t)step, "max_steps",
                            json_object_get(json_object_get(settings, "options"), "max_steps"), "task",
                            json_object_get(settings, "task"));
    json_decref(settings);
    TRY(add(all, run) || genet__err_memory(err));
    return step < 0 || add_scores(all, folder, step, err);
}

/* {"f32": bytes, "q8_0": bytes, ...} of the types there are; NULL: no memory. */
static json_t *bytes_by_type(const params *p)
{
    int64_t bytes[GENET_DTYPE_COUNT] = {0};
    json_t *all = json_object();
    for (int i = 0; i < p->n; i++)
        if (p->at[i]->kind & (PARAM_WEIGHT | PARAM_BUFFER)) bytes[p->at[i]->dtype] += (int64_t)p->at[i]->size_bytes;
    for (int type = 0; all && type < GENET_DTYPE_COUNT; type++)
        if (bytes[type] && json_object_set_new(all, genet_dtype_name((genet_dtype)type), json_integer(bytes[type]))) {
            json_decref(all);
            all = NULL;
        }
    return all;
}

static json_t *describe_model(const model *m, bool weights)
{
    return json_pack("{s:s, s:I, s:I, s:o, s:b, s:o}", "model", m->family->name, "parameters",
                     (json_int_t)genet__params_numel(m->params, PARAM_WEIGHT), "weights_bytes",
                     (json_int_t)genet__params_bytes(m->params, PARAM_WEIGHT | PARAM_BUFFER), "bytes_by_type",
                     bytes_by_type(m->params), "weights", weights, "config",
                     genet__model_config_json(m, GENET_F32));
}

static json_t *describe_tokenizer(const tokenizer *t)
{
    return json_pack("{s:s, s:i}", "tokenizer", genet__tokenizer_kind(t), "tokens", genet__tokenizer_size(t));
}

json_t *genet__api_describe(const genet_model *m, genet_err *err)
{
    json_t *all = describe_model(m->model, m->weights);
    bool ok = (all && (!m->tokenizer || add(all, describe_tokenizer(m->tokenizer)))) || genet__err_memory(err);
    if (ok && add_run(all, m->folder, err)) return all;
    json_decref(all);
    return NULL;
}

char *genet_model_describe(const genet_model *m, genet_err *err)
{
    str out = {0};
    json_t *all = genet__api_need(m, "model", err) ? genet__api_describe(m, err) : NULL;
    if (all) genet__json_print(all, 0, &out);
    if (out.failed) genet__err_memory(err);
    json_decref(all);
    if (!out.failed) return out.at;
    genet__str_release(&out);
    return NULL;
}
