/* metrics.c - predictions through one or several metrics, and the numbers printed: of all items together, or of each. */
#include "cli.h"
#include "metrics.h"
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"

enum { MAX_METRICS = 16 };

typedef struct job {
    metric       *metric[MAX_METRICS];
    int           n;
    const scored *s;
    bool          json;
    str          *out;
} job;

/* "bleu,chrf": each once. */
static bool open_metrics(job *j, const char *names, const metric_options *o, arena *a, genet_err *err)
{
    char *all = genet__arena_strdup(a, names), *rest = NULL;
    if (!all) return genet__err_memory(err);
    for (char *name = strtok_r(all, ", ", &rest); name; name = strtok_r(NULL, ", ", &rest)) {
        if (j->n == MAX_METRICS) return genet__err_set(err, GENET_ERR_USAGE, "more than %d metrics", MAX_METRICS);
        for (int i = 0; i < j->n; i++)
            if (!strcmp(j->metric[i]->kind->name, name))
                return genet__err_set(err, GENET_ERR_USAGE, "--metric: %s twice", name);
        TRY(j->metric[j->n] = genet__metric_new(name, o, err));
        j->n++;
    }
    return j->n || genet__err_set(err, GENET_ERR_USAGE, "--metric names none");
}

static bool add_item(job *j, int at, genet_err *err)
{
    const scored_item *item = &j->s->at[at];
    for (int k = 0; k < j->n; k++)
        if (!genet__metric_add(j->metric[k], item->prediction, item->reference, item->n_reference, err))
            return genet__err_prefix(err, "item %d: ", at + 1);
    return true;
}

/* {"bleu": {...}, ...}; item 0: of all. */
static bool print_json(const job *j, int item, genet_err *err)
{
    json_t *all = json_object();
    bool ok = all && (!item || !json_object_set_new(all, "item", json_integer(item)));
    if (!ok) genet__err_memory(err);
    if (ok && !item && j->s->missing)
        ok = !json_object_set_new(all, "missing", json_integer(j->s->missing)) || genet__err_memory(err);
    for (int k = 0; ok && k < j->n; k++) {
        json_t *one = genet__metric_result(j->metric[k], err);
        ok = one && (!json_object_set_new(all, j->metric[k]->kind->name, one) || genet__err_memory(err));
    }
    if (ok) genet__json_print(all, 0, j->out);
    genet__str_add(j->out, "\n");
    json_decref(all);
    return ok;
}

/* The first number of each metric, and the prediction. */
static bool print_line(const job *j, int at, genet_err *err)
{
    for (int k = 0; k < j->n; k++) {
        json_t *one = genet__metric_result(j->metric[k], err);
        if (!one) return false;
        genet__str_printf(j->out, "%.7g\t", json_number_value(json_object_get(one, j->metric[k]->kind->first)));
        json_decref(one);
    }
    genet__str_printf(j->out, "%s\n", j->s->at[at].prediction);
    return true;
}

static bool score_each(job *j, genet_err *err)
{
    for (int i = 0; i < j->s->n; i++) {
        for (int k = 0; k < j->n; k++) TRY(genet__metric_clear(j->metric[k], err));
        TRY(add_item(j, i, err));
        TRY(j->json ? print_json(j, i + 1, err) : print_line(j, i, err));
    }
    return true;
}

static bool score_all(job *j, genet_err *err)
{
    for (int i = 0; i < j->s->n; i++) TRY(add_item(j, i, err));
    if (j->json) return print_json(j, 0, err);
    for (int k = 0; k < j->n; k++) TRY(genet__metric_print(j->metric[k], j->out, err));
    if (j->s->missing) genet__str_printf(j->out, "missing predictions  %d\n", j->s->missing);
    return true;
}

static void close_metrics(job *j)
{
    for (int k = 0; k < j->n; k++) genet__metric_free(j->metric[k]);
}

bool cli_metrics_check(const char *names, const metric_options *o, genet_err *err)
{
    job j = {0};
    arena a = {0};
    bool ok = open_metrics(&j, names, o, &a, err);
    close_metrics(&j);
    genet__arena_release(&a);
    return ok;
}

bool cli_metrics(const char *names, const metric_options *o, const scored *s, bool lines, bool json, str *out, genet_err *err)
{
    job j = { .s = s, .json = json, .out = out };
    arena a = {0};
    bool ok = open_metrics(&j, names, o, &a, err) && (lines ? score_each : score_all)(&j, err);
    close_metrics(&j);
    genet__arena_release(&a);
    return ok;
}
