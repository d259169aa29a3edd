/* classes.c - accuracy and F1 of classes, as scikit-learn's metrics define them: labels are texts, compared byte by byte;
 * classes are those that occur on either side, in the order of their bytes; what would be 0/0 is 0.
 *
 *     precision = right / predicted,  recall = right / true,  F1 = 2 right / (predicted + true)
 *
 * macro: the mean over classes; weighted: the mean by how often a class is true; micro: of all together, which for one label
 * an item is the accuracy. */
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/map.h"
#include "text/metric.h"

enum { MATRIX_MAX = 256 };              /* classes of a confusion matrix that is shown */

typedef struct label { char *text; int64_t right, predicted, truth; } label;
typedef struct pair { int32_t truth, predicted; } pair;         /* ids of labels, of an item */

typedef struct classes {
    map     ids;
    label  *label;
    int     n_label, cap_label;
    pair   *pair;
    int     n_pair, cap_pair;
    int64_t right;
} classes;

typedef struct rates { double precision, recall, f1; } rates;

/* --- adding ------------------------------------------------------------------------- */

/* The label's id, a new one if need be; -1: no memory. */
static int32_t id_of(classes *c, const char *text)
{
    const int64_t *known = genet__map_get(&c->ids, text);
    if (known) return (int32_t)*known;
    if (!GROW(c->label, c->n_label, c->cap_label)) return -1;
    char *copy = genet__strdup(text);
    if (!copy || !genet__map_set(&c->ids, text, c->n_label)) {
        genet__free(copy);
        return -1;
    }
    c->label[c->n_label] = (label){ .text = copy };
    return c->n_label++;
}

static bool add_accuracy(metric *m, const char *prediction, const char *const *reference, int n, genet_err *err)
{
    classes *c = m->state;
    bool right = false;
    (void)err;
    for (int i = 0; i < n; i++) right |= !strcmp(prediction, reference[i]);
    c->right += right;
    return true;
}

static bool add_f1(metric *m, const char *prediction, const char *const *reference, int n, genet_err *err)
{
    classes *c = m->state;
    TRY(add_accuracy(m, prediction, reference, n, err));
    int32_t truth = id_of(c, reference[0]), predicted = truth < 0 ? -1 : id_of(c, prediction);
    if (predicted < 0 || !GROW(c->pair, c->n_pair, c->cap_pair)) return genet__err_memory(err);
    c->label[truth].truth++;
    c->label[predicted].predicted++;
    c->label[truth].right += truth == predicted;
    c->pair[c->n_pair++] = (pair){ truth, predicted };
    return true;
}

static void release(metric *m)
{
    classes *c = m->state;
    genet__map_release(&c->ids);
    for (int i = 0; i < c->n_label; i++) genet__free(c->label[i].text);
    genet__free(c->label);
    genet__free(c->pair);
}

/* --- what follows from the counts --------------------------------------------------- */

static double ratio(double a, double b) { return b > 0 ? a / b : 0; }

static rates rates_of(const label *l)
{
    return (rates){ ratio((double)l->right, (double)l->predicted), ratio((double)l->right, (double)l->truth),
                    ratio(2 * (double)l->right, (double)(l->predicted + l->truth)) };
}

/* The mean over classes; weighted: by how often each is true. */
static rates mean_of(const classes *c, const int *order, bool weighted)
{
    rates sum = {0};
    double all = 0;
    for (int i = 0; i < c->n_label; i++) {
        const label *l = &c->label[order[i]];
        double w = weighted ? (double)l->truth : 1;
        rates r = rates_of(l);
        sum.precision += w * r.precision;
        sum.recall += w * r.recall;
        sum.f1 += w * r.f1;
        all += w;
    }
    return (rates){ ratio(sum.precision, all), ratio(sum.recall, all), ratio(sum.f1, all) };
}

static int by_text(const void *a, const void *b, void *user)
{
    const label *l = user;
    return strcmp(l[*(const int *)a].text, l[*(const int *)b].text);
}

/* Ids in the order of their texts; NULL: no memory. */
static int *order_of(const classes *c)
{
    int *order = genet__alloc_array((size_t)c->n_label, sizeof *order);
    if (!order) return NULL;
    for (int i = 0; i < c->n_label; i++) order[i] = i;
    qsort_r(order, (size_t)c->n_label, sizeof *order, by_text, c->label);
    return order;
}

/* --- results ------------------------------------------------------------------------ */

/* n x n: rows are what is true, columns what was predicted. */
static json_t *matrix_json(const classes *c, const int *order)
{
    int n = c->n_label;
    int64_t *cell = genet__alloc_array((size_t)n * (size_t)n, sizeof *cell);
    json_t *all = cell ? json_array() : NULL;
    for (int i = 0; cell && i < c->n_pair; i++) cell[c->pair[i].truth * n + c->pair[i].predicted]++;
    for (int i = 0; all && i < n; i++) {
        json_t *row = json_array();
        for (int k = 0; k < n; k++) genet__json_append(&row, json_integer(cell[order[i] * n + order[k]]));
        genet__json_append(&all, row);
    }
    genet__free(cell);
    return all;
}

static json_t *class_json(const label *l)
{
    rates r = rates_of(l);
    return json_pack("{s:s, s:f, s:f, s:f, s:I}", "label", l->text, "precision", r.precision, "recall", r.recall, "f1",
                     r.f1, "support", (json_int_t)l->truth);
}

static json_t *f1_json(const metric *m, const int *order)
{
    const classes *c = m->state;
    rates macro = mean_of(c, order, false), weighted = mean_of(c, order, true);
    double micro = (double)c->right / (double)m->n;
    json_t *each = json_array();
    for (int i = 0; i < c->n_label; i++) genet__json_append(&each, class_json(&c->label[order[i]]));
    json_t *j = json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:o}", "accuracy", micro, "micro_f1", micro,
                          "macro_precision", macro.precision, "macro_recall", macro.recall, "macro_f1", macro.f1,
                          "weighted_precision", weighted.precision, "weighted_recall", weighted.recall, "weighted_f1",
                          weighted.f1, "classes", each);
    if (!j || c->n_label > MATRIX_MAX || !json_object_set_new(j, "confusion", matrix_json(c, order))) return j;
    json_decref(j);
    return NULL;
}

static json_t *f1_result(const metric *m)
{
    int *order = order_of(m->state);
    json_t *j = order ? f1_json(m, order) : NULL;
    genet__free(order);
    return j;
}

static json_t *accuracy_result(const metric *m)
{
    const classes *c = m->state;
    return json_pack("{s:f}", "accuracy", (double)c->right / (double)m->n);
}

static void print_rates(str *out, const char *name, rates r, int64_t support)
{
    genet__str_printf(out, "%-16s %10.4f %10.4f %10.4f %10lld\n", name, r.precision, r.recall, r.f1, (long long)support);
}

static void f1_print(const metric *m, str *out)
{
    const classes *c = m->state;
    int *order = order_of(c);
    if (!order) {
        out->failed = true;
        return;
    }
    genet__str_printf(out, "%-16s %10s %10s %10s %10s\n", "", "precision", "recall", "f1", "support");
    for (int i = 0; i < c->n_label; i++)
        print_rates(out, c->label[order[i]].text, rates_of(&c->label[order[i]]), c->label[order[i]].truth);
    print_rates(out, "macro", mean_of(c, order, false), m->n);
    print_rates(out, "weighted", mean_of(c, order, true), m->n);
    genet__str_printf(out, "%-16s %32.4f %10lld\n", "accuracy", (double)c->right / (double)m->n, (long long)m->n);
    genet__free(order);
}

const metric_kind genet__metric_accuracy = {
    .name = "accuracy", .help = "predictions that equal a reference, 0 to 1", .state_bytes = sizeof(classes),
    .min_references = 1, .first = "accuracy", .add = add_accuracy, .result = accuracy_result, .release = release,
};
const metric_kind genet__metric_f1 = {
    .name = "f1", .help = "precision, recall and F1 of classes as scikit-learn, 0 to 1", .state_bytes = sizeof(classes),
    .min_references = 1, .max_references = 1, .first = "accuracy",
    .add = add_f1, .result = f1_result, .print = f1_print, .release = release,
};
