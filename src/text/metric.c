/* metric.c - the table of metrics, their options, and what all of them share: making, checking what is added, printing
 * results. */
#include "text/metric.h"
#include <math.h>
#include <stddef.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"

#define AT(member) offsetof(metric_options, member)
static const field option_fields[] = {
    { "tokenize",           FIELD_CHOICE, AT(tokenize), "13a", 0, 0, "13a|intl|char|zh|none", 0, "BLEU: what cuts texts into words" },
    { "smooth_method",      FIELD_CHOICE, AT(smooth_method), "exp", 0, 0, "exp|floor|add-k|none", 0,
      "BLEU: what takes the place of a precision of zero" },
    { "smooth_value",       FIELD_DOUBLE, AT(smooth_value), "-1", -1, 1e9, NULL, 0,
      "BLEU: of floor and add-k; negative: 0.1 and 1" },
    { "max_ngram_order",    FIELD_INT,    AT(max_ngram_order), "4", 1, METRIC_ORDER_MAX, NULL, 0, "BLEU: the longest n-grams" },
    { "effective_order",    FIELD_BOOL,   AT(effective_order), "false", 0, 0, NULL, 0,
      "BLEU: leave out orders that the prediction is too short for (for single sentences)" },
    { "lowercase",          FIELD_BOOL,   AT(lowercase), "false", 0, 0, NULL, 0, "BLEU and chrF: case does not matter" },
    { "chrf_char_order",    FIELD_INT,    AT(chrf_char_order), "6", 1, METRIC_ORDER_MAX, NULL, 0, "chrF: the longest n-grams of characters" },
    { "chrf_word_order",    FIELD_INT,    AT(chrf_word_order), "0", 0, METRIC_ORDER_MAX, NULL, 0,
      "chrF: the longest n-grams of words; 2 is chrF++" },
    { "chrf_beta",          FIELD_INT,    AT(chrf_beta), "2", 1, 1000, NULL, 0, "chrF: how much recall weighs more than precision" },
    { "chrf_whitespace",    FIELD_BOOL,   AT(chrf_whitespace), "false", 0, 0, NULL, 0, "chrF: white space is characters too" },
    { "chrf_eps_smoothing", FIELD_BOOL,   AT(chrf_eps_smoothing), "false", 0, 0, NULL, 0,
      "chrF: the mean of every order's F, as chrF++.py has it" },
    { "rouge_stemmer",      FIELD_BOOL,   AT(rouge_stemmer), "false", 0, 0, NULL, 0, "ROUGE: compare stems (Porter) of words" },
};
const fields genet__metric_fields = { "metrics", option_fields, sizeof option_fields / sizeof *option_fields };

static const metric_kind *const kinds[] = {
    &genet__metric_bleu, &genet__metric_chrf, &genet__metric_chrf_plus, &genet__metric_rouge, &genet__metric_accuracy,
    &genet__metric_f1, &genet__metric_squad, &genet__metric_squad2, &genet__metric_gsm8k,
};
enum { N_KIND = sizeof kinds / sizeof *kinds };

const metric_kind *const *genet__metric_kinds(int *n)
{
    *n = N_KIND;
    return kinds;
}

const metric_kind *genet__metric_find(const char *name)
{
    for (int i = 0; i < N_KIND; i++)
        if (!strcmp(kinds[i]->name, name)) return kinds[i];
    return NULL;
}

/* --- life --------------------------------------------------------------------------- */

static bool no_such(const char *name, genet_err *err)
{
    str all = {0};
    for (int i = 0; i < N_KIND; i++) genet__str_printf(&all, "%s%s", i ? ", " : "", kinds[i]->name);
    genet__err_set(err, GENET_ERR_USAGE, "there is no metric \"%.40s\"; there are: %s", name, genet__str(&all));
    genet__str_release(&all);
    return false;
}

static bool begin(metric *m, genet_err *err)
{
    m->n = 0;
    m->n_reference = 0;
    m->state = genet__alloc(m->kind->state_bytes);
    if (!m->state) return genet__err_memory(err);
    return !m->kind->init || m->kind->init(m, err);
}

static void end(metric *m)
{
    if (m->state && m->kind->release) m->kind->release(m);
    genet__free(m->state);
    m->state = NULL;
}

metric *genet__metric_new(const char *name, const metric_options *o, genet_err *err)
{
    const metric_kind *kind = genet__metric_find(name);
    if (!kind) {
        no_such(name, err);
        return NULL;
    }
    metric *m = genet__alloc(sizeof *m);
    if (!m) {
        genet__err_memory(err);
        return NULL;
    }
    m->kind = kind;
    m->o = *o;
    if (begin(m, err)) return m;
    genet__metric_free(m);
    return NULL;
}

void genet__metric_free(metric *m)
{
    if (!m) return;
    end(m);
    genet__free(m);
}

bool genet__metric_clear(metric *m, genet_err *err)
{
    end(m);
    return begin(m, err);
}

/* --- adding ------------------------------------------------------------------------- */

bool genet__metric_points(points *p, const char *text, const char *what, genet_err *err)
{
    size_t bad = 0;
    genet__points_clear(p);
    if (!genet__points_decode(p, text, strlen(text), &bad))
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: byte %zu begins no character of UTF-8", what, bad);
    return !p->failed || genet__err_memory(err);
}

bool genet__metric_add(metric *m, const char *prediction, const char *const *reference, int n, genet_err *err)
{
    const metric_kind *k = m->kind;
    if (n < k->min_references || (k->max_references && n > k->max_references))
        return genet__err_set(err, GENET_ERR_FORMAT, "%s of %d references; it takes %s%d", k->name, n,
                              k->max_references ? "" : "at least ", k->min_references);
    TRY(k->add(m, prediction, reference, n, err));
    if (!m->n++) m->n_reference = n;
    else if (m->n_reference != n) m->n_reference = -1;
    return true;
}

/* --- results ------------------------------------------------------------------------ */

void genet__metric_signature(const metric *m, str *out)
{
    if (m->n_reference < 0) genet__str_add(out, "nrefs:var");
    else genet__str_printf(out, "nrefs:%d", m->n_reference);
    genet__str_printf(out, "|case:%s", m->o.lowercase ? "lc" : "mixed");
}

json_t *genet__metric_result(const metric *m, genet_err *err)
{
    if (!m->n) {
        genet__err_set(err, GENET_ERR_USAGE, "%s of nothing: there are no predictions", m->kind->name);
        return NULL;
    }
    json_t *j = m->kind->result(m);
    if (j && !json_object_set_new(j, "n", json_integer(m->n))) return j;
    genet__err_memory(err);
    json_decref(j);
    return NULL;
}

/* The object's numbers, one a line. */
static void print_numbers(const json_t *j, str *out)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)j, key, value) {
        if (json_is_integer(value)) genet__str_printf(out, "%-20s %lld\n", key, (long long)json_integer_value(value));
        else if (json_is_real(value)) genet__str_printf(out, "%-20s %.7g\n", key, json_real_value(value));
    }
}

bool genet__metric_print(const metric *m, str *out, genet_err *err)
{
    json_t *j = genet__metric_result(m, err);
    if (!j) return false;
    if (m->kind->print) m->kind->print(m, out);
    else print_numbers(j, out);
    json_decref(j);
    return !out->failed || genet__err_memory(err);
}
