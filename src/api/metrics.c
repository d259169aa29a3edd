/* metrics.c - texts beside their references, for C programs: a metric by its name, with options of its own. */
#include <string.h>
#include "api/api.h"
#include "base/alloc.h"
#include "base/err.h"

struct genet_metric { metric *metric; arena arena; };

/* The defaults and what was given; texts are copied, so that o may go. */
static bool settle(genet_metric *m, const genet_options *o, metric_options *how, genet_err *err)
{
    TRY(genet__fields_defaults(&genet__metric_fields, how, &m->arena, err) && genet__api_overlay(o, API_METRIC, how, err));
    how->tokenize = genet__arena_strdup(&m->arena, how->tokenize);
    how->smooth_method = genet__arena_strdup(&m->arena, how->smooth_method);
    return (how->tokenize && how->smooth_method) || genet__err_memory(err);
}

genet_metric *genet_metric_new(const char *name, const genet_options *o, genet_err *err)
{
    metric_options how;
    if (!genet__api_need(name, "the metric's name", err)) return NULL;
    genet_metric *m = genet__alloc(sizeof *m);
    if (!m) genet__err_memory(err);
    else if (settle(m, o, &how, err) && (m->metric = genet__metric_new(name, &how, err))) return m;
    genet_metric_free(m);
    return NULL;
}

void genet_metric_free(genet_metric *m)
{
    if (!m) return;
    genet__metric_free(m->metric);
    genet__arena_release(&m->arena);
    genet__free(m);
}

bool genet_metric_add(genet_metric *m, const char *prediction, const char *const *reference, int n, genet_err *err)
{
    TRY(genet__api_need(m, "metric", err) && genet__api_need(prediction, "prediction", err));
    if (n < 0) return genet__err_set(err, GENET_ERR_USAGE, "%d references", n);
    TRY(!n || genet__api_need(reference, "reference", err));
    for (int i = 0; i < n; i++) TRY(genet__api_need(reference[i], "a reference", err));
    return genet__metric_add(m->metric, prediction, reference, n, err);
}

static bool no_such(const json_t *result, const char *name, genet_err *err)
{
    str all = {0};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)result, key, value)
        if (json_is_number(value)) genet__str_printf(&all, "%s%s", all.n ? ", " : "", key);
    genet__err_set(err, GENET_ERR_USAGE, "the result has no number \"%.40s\"; it has: %s", name, genet__str(&all));
    genet__str_release(&all);
    return false;
}

bool genet_metric_number(const genet_metric *m, const char *name, double *out, genet_err *err)
{
    TRY(genet__api_need(m, "metric", err) && genet__api_need(name, "the number's name", err));
    TRY(genet__api_need(out, "out", err));
    json_t *result = genet__metric_result(m->metric, err), *value = json_object_get(result, name);
    bool ok = result && (json_is_number(value) || no_such(result, name, err));
    if (ok) *out = json_number_value(value);
    json_decref(result);
    return ok;
}

char *genet_metric_describe(const genet_metric *m, genet_err *err)
{
    str out = {0};
    json_t *result = genet__api_need(m, "metric", err) ? genet__metric_result(m->metric, err) : NULL;
    if (result) genet__json_print(result, 0, &out);
    if (out.failed) genet__err_memory(err);
    json_decref(result);
    if (!out.failed) return out.at;
    genet__str_release(&out);
    return NULL;
}
