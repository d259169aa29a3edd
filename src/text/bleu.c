/* bleu.c - BLEU of a corpus (Papineni et al. 2002, "BLEU: a Method for Automatic Evaluation of Machine Translation"), to the
 * digit as sacreBLEU computes it (Post 2018, "A Call for Clarity in Reporting BLEU Scores").
 *
 *     BLEU = BP exp(1/N sum log p_n),   BP = min(1, e^(1 - r/c))
 *
 * p_n in percent: n-grams of the predictions that a reference has too, none counted more often than the reference that has
 * it most often; c: words of the predictions; r: of each item's reference nearest in length, the shorter one of two as
 * near.  Smoothing: Chen and Cherry 2014, "A Systematic Comparison of Smoothing Techniques for Sentence-Level BLEU". */
#include <math.h>
#include <string.h>
#include "base/err.h"
#include "text/metric.h"

enum { HYPOTHESIS, REFERENCE, MOST };   /* what a gram's counts are of; MOST: in one reference */

typedef struct bleu {
    grams   words, grams;
    points  text, scratch, piece;
    int64_t correct[METRIC_ORDER_MAX], total[METRIC_ORDER_MAX];
    int64_t hypothesis_length, reference_length;
} bleu;

typedef struct bleu_score {
    double score, precision[METRIC_ORDER_MAX], brevity_penalty, ratio;
} bleu_score;

/* --- counting ----------------------------------------------------------------------- */

/* The words of a text as numbers, in b->piece. */
static bool read_words(bleu *b, const metric_options *o, const char *text, const char *what, genet_err *err)
{
    TRY(genet__metric_points(&b->text, text, what, err));
    if (o->lowercase) genet__points_lower(&b->text);
    genet__points_strip_end(&b->text);
    genet__bleu_tokenize(o->tokenize, &b->text, &b->scratch);
    genet__points_clear(&b->piece);
    genet__grams_words(&b->words, &b->text, &b->piece);
    bool failed = b->text.failed || b->scratch.failed || b->piece.failed || b->words.failed;
    return !failed || genet__err_memory(err);
}

static void keep_most(grams *g)
{
    for (int i = 0; i < g->n; i++) {
        int32_t *count = g->at[i].count;
        if (count[REFERENCE] > count[MOST]) count[MOST] = count[REFERENCE];
    }
}

/* Nearest to `wanted`; of two as near the shorter one. */
static int64_t nearer(int64_t wanted, int64_t a, int64_t b)
{
    int64_t da = llabs(wanted - a), db = llabs(wanted - b);
    if (da != db) return da < db ? a : b;
    return a < b ? a : b;
}

static void add_counts(bleu *b)
{
    for (int i = 1; i < b->grams.n; i++) {
        const gram *g = &b->grams.at[i];
        int32_t both = g->count[HYPOTHESIS] < g->count[MOST] ? g->count[HYPOTHESIS] : g->count[MOST];
        b->total[g->depth - 1] += g->count[HYPOTHESIS];
        b->correct[g->depth - 1] += both;
    }
}

static bool add(metric *m, const char *prediction, const char *const *reference, int n, genet_err *err)
{
    bleu *b = m->state;
    int order = (int)m->o.max_ngram_order;
    int64_t nearest = 0;
    genet__grams_clear(&b->words);
    genet__grams_clear(&b->grams);
    TRY(read_words(b, &m->o, prediction, "prediction", err));
    int64_t length = b->piece.n;
    genet__grams_count(&b->grams, b->piece.at, length, order, HYPOTHESIS);
    for (int i = 0; i < n; i++) {
        TRY(read_words(b, &m->o, reference[i], "reference", err));
        nearest = i ? nearer(length, nearest, b->piece.n) : b->piece.n;
        genet__grams_zero(&b->grams, REFERENCE);
        genet__grams_count(&b->grams, b->piece.at, b->piece.n, order, REFERENCE);
        keep_most(&b->grams);
    }
    if (b->grams.failed) return genet__err_memory(err);
    add_counts(b);
    b->hypothesis_length += length;
    b->reference_length += nearest;
    return true;
}

static void release(metric *m)
{
    bleu *b = m->state;
    genet__grams_release(&b->words);
    genet__grams_release(&b->grams);
    genet__points_release(&b->text);
    genet__points_release(&b->scratch);
    genet__points_release(&b->piece);
}

/* --- the score ---------------------------------------------------------------------- */

/* Of floor and add-k alone. */
static double smooth_value(const metric_options *o)
{
    bool floored = !strcmp(o->smooth_method, "floor");
    return o->smooth_value >= 0 ? o->smooth_value : floored ? 0.1 : 1;
}

static double log_or_least(double x) { return x == 0 ? -9999999999.0 : log(x); }

/* Percent; *smaller: how small exp makes the next precision of zero. */
static double precision(const metric_options *o, double correct, double total, double *smaller)
{
    if (correct > 0) return 100 * correct / total;
    if (!strcmp(o->smooth_method, "floor")) return 100 * smooth_value(o) / total;
    if (strcmp(o->smooth_method, "exp")) return 0;
    *smaller *= 2;
    return 100 / (*smaller * total);
}

static double brevity_penalty(const bleu *b)
{
    if (b->hypothesis_length >= b->reference_length) return 1;
    if (!b->hypothesis_length) return 0;
    return exp(1 - (double)b->reference_length / (double)b->hypothesis_length);
}

static bool any_correct(const bleu *b, int order)
{
    for (int i = 0; i < order; i++)
        if (b->correct[i]) return true;
    return false;
}

static bleu_score score(const metric *m)
{
    const bleu *b = m->state;
    const metric_options *o = &m->o;
    int order = (int)o->max_ngram_order, effective = order;
    double sum = 0, smaller = 1;
    bleu_score s = { .brevity_penalty = brevity_penalty(b) };
    if (b->reference_length) s.ratio = (double)b->hypothesis_length / (double)b->reference_length;
    if (!any_correct(b, order)) return s;
    for (int i = 0; i < order; i++) {
        double k = i && !strcmp(o->smooth_method, "add-k") ? smooth_value(o) : 0, total = (double)b->total[i] + k;
        if (total == 0) break;
        if (o->effective_order) effective = i + 1;
        s.precision[i] = precision(o, (double)b->correct[i] + k, total, &smaller);
    }
    for (int i = 0; i < effective; i++) sum += log_or_least(s.precision[i]);
    s.score = s.brevity_penalty * exp(sum / effective);
    return s;
}

/* As sacreBLEU prints it. */
static void signature(const metric *m, str *out)
{
    const metric_options *o = &m->o;
    genet__metric_signature(m, out);
    genet__str_printf(out, "|eff:%s|tok:%s|smooth:%s", o->effective_order ? "yes" : "no", o->tokenize, o->smooth_method);
    if (!strcmp(o->smooth_method, "floor") || !strcmp(o->smooth_method, "add-k"))
        genet__str_printf(out, "[%.2f]", smooth_value(o));
    genet__str_add(out, "|version:" METRIC_SACREBLEU);
}

static json_t *result(const metric *m)
{
    const bleu *b = m->state;
    bleu_score s = score(m);
    str sign = {0};
    json_t *precisions = json_array(), *counts = json_array(), *totals = json_array();
    for (int i = 0; i < m->o.max_ngram_order; i++) {
        genet__json_append(&precisions, json_real(s.precision[i]));
        genet__json_append(&counts, json_integer(b->correct[i]));
        genet__json_append(&totals, json_integer(b->total[i]));
    }
    signature(m, &sign);
    json_t *j = json_pack("{s:f, s:s, s:o, s:f, s:f, s:I, s:I, s:o, s:o}", "score", s.score, "signature",
                          sign.failed ? NULL : genet__str(&sign), "precisions", precisions, "bp", s.brevity_penalty,
                          "ratio", s.ratio, "sys_len", (json_int_t)b->hypothesis_length, "ref_len",
                          (json_int_t)b->reference_length, "counts", counts, "totals", totals);
    genet__str_release(&sign);
    return j;
}

/* sacreBLEU's own line, two digits of the score. */
static void print(const metric *m, str *out)
{
    const bleu *b = m->state;
    bleu_score s = score(m);
    genet__str_add(out, "BLEU|");
    signature(m, out);
    genet__str_printf(out, " = %.2f ", s.score);
    for (int i = 0; i < m->o.max_ngram_order; i++) genet__str_printf(out, "%s%.1f", i ? "/" : "", s.precision[i]);
    genet__str_printf(out, " (BP = %.3f ratio = %.3f hyp_len = %lld ref_len = %lld)\n", s.brevity_penalty, s.ratio,
                      (long long)b->hypothesis_length, (long long)b->reference_length);
}

const metric_kind genet__metric_bleu = {
    .name = "bleu", .help = "BLEU as sacreBLEU, 0 to 100", .state_bytes = sizeof(bleu), .min_references = 1,
    .first = "score", .add = add, .result = result, .print = print, .release = release,
};
