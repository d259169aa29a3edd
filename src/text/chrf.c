/* chrf.c - chrF (Popović 2015, "chrF: character n-gram F-score for automatic MT evaluation") and chrF++ (Popović 2017), to
 * the digit as sacreBLEU computes them.
 *
 *     F_beta = (1 + beta^2) P R / (beta^2 P + R)
 *
 * P and R are the means, over the orders of n-grams that both sides have, of matches / n-grams of the predictions and
 * matches / n-grams of the references.  Of several references each item takes the one with the best F of its own. */
#include <string.h>
#include "base/err.h"
#include "text/metric.h"

enum { HYPOTHESIS, REFERENCE };         /* what a gram's counts are of */
enum { SIDES = 2 * METRIC_ORDER_MAX };  /* orders of characters, then of words */

typedef struct match { int64_t hypothesis, reference, both; } match;

typedef struct chrf {
    match  all[SIDES];
    grams  characters, words, spelling;
    points text, characters_of, words_of;
} chrf;

/* --- counting ----------------------------------------------------------------------- */

static bool is_punctuation(uint32_t c)
{
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

/* A word, with a mark at its end or else at its beginning as a word of its own. */
static void add_word(chrf *c, const uint32_t *at, int64_t n)
{
    int64_t cut = n == 1 ? 0 : is_punctuation(at[n - 1]) ? n - 1 : is_punctuation(at[0]) ? 1 : 0;
    if (cut) genet__points_add(&c->words_of, (uint32_t)genet__grams_spell(&c->spelling, at, cut));
    genet__points_add(&c->words_of, (uint32_t)genet__grams_spell(&c->spelling, at + cut, n - cut));
}

/* What is counted of a text: its characters, and where there are orders of words its words. */
static bool read_text(chrf *c, const metric_options *o, const char *text, const char *what, genet_err *err)
{
    TRY(genet__metric_points(&c->text, text, what, err));
    if (o->lowercase) genet__points_lower(&c->text);
    genet__points_clear(&c->characters_of);
    genet__points_clear(&c->words_of);
    for (int64_t i = 0, end; i < c->text.n; i = end) {
        for (end = i; end < c->text.n && !genet__point_is_space(c->text.at[end]); end++) continue;
        genet__points_copy(&c->characters_of, c->text.at + i, end - i);
        if (end > i && o->chrf_word_order) add_word(c, c->text.at + i, end - i);
        if (end == i && o->chrf_whitespace) genet__points_add(&c->characters_of, c->text.at[i]);
        if (end == i) end++;
    }
    bool failed = c->text.failed || c->characters_of.failed || c->words_of.failed || c->spelling.failed;
    return !failed || genet__err_memory(err);
}

static bool count(chrf *c, const metric_options *o, int which, genet_err *err)
{
    genet__grams_count(&c->characters, c->characters_of.at, c->characters_of.n, (int)o->chrf_char_order, which);
    genet__grams_count(&c->words, c->words_of.at, c->words_of.n, (int)o->chrf_word_order, which);
    return !(c->characters.failed || c->words.failed) || genet__err_memory(err);
}

static void add_matches(const grams *g, match *to)
{
    for (int i = 1; i < g->n; i++) {
        const gram *at = &g->at[i];
        match *m = &to[at->depth - 1];
        m->hypothesis += at->count[HYPOTHESIS];
        m->reference += at->count[REFERENCE];
        m->both += at->count[HYPOTHESIS] < at->count[REFERENCE] ? at->count[HYPOTHESIS] : at->count[REFERENCE];
    }
}

/* --- the score ---------------------------------------------------------------------- */

static double f_beta(const metric_options *o, double p, double r)
{
    double factor = (double)(o->chrf_beta * o->chrf_beta), below = factor * p + r;
    return below > 0 ? (1 + factor) * p * r / below : 0;
}

/* The mean of the F of every order, where what is not there counts as almost nothing: chrF++.py. */
static double score_by_order(const metric_options *o, const match *m, int n)
{
    static const double eps = 1e-16;
    double sum = 0;
    for (int i = 0; i < n; i++) {
        double p = m[i].hypothesis ? (double)m[i].both / (double)m[i].hypothesis : eps;
        double r = m[i].reference ? (double)m[i].both / (double)m[i].reference : eps;
        sum += p > 0 || r > 0 ? f_beta(o, p, r) : eps;
    }
    return 100 * sum / n;
}

/* In percent; m: of n orders. */
static double score(const metric_options *o, const match *m)
{
    int n = (int)(o->chrf_char_order + o->chrf_word_order), orders = 0;
    double p = 0, r = 0;
    if (o->chrf_eps_smoothing) return score_by_order(o, m, n);
    for (int i = 0; i < n; i++) {
        if (!m[i].hypothesis || !m[i].reference) continue;
        p += (double)m[i].both / (double)m[i].hypothesis;
        r += (double)m[i].both / (double)m[i].reference;
        orders++;
    }
    return orders ? 100 * f_beta(o, p / orders, r / orders) : 0;
}

/* Of the hypothesis that is counted already and one reference.  What the reference has no n-grams of is not counted. */
static bool match_one(chrf *c, const metric_options *o, const char *reference, match *to, genet_err *err)
{
    int n_char = (int)o->chrf_char_order, n = n_char + (int)o->chrf_word_order;
    memset(to, 0, SIDES * sizeof *to);
    TRY(read_text(c, o, reference, "reference", err));
    genet__grams_zero(&c->characters, REFERENCE);
    genet__grams_zero(&c->words, REFERENCE);
    TRY(count(c, o, REFERENCE, err));
    add_matches(&c->characters, to);
    add_matches(&c->words, to + n_char);
    for (int i = 0; i < n; i++)
        if (!to[i].reference) to[i].hypothesis = 0;
    return true;
}

static bool add(metric *m, const char *prediction, const char *const *reference, int n, genet_err *err)
{
    chrf *c = m->state;
    match best[SIDES] = {{0}}, one[SIDES];
    double most = -1;
    genet__grams_clear(&c->characters);
    genet__grams_clear(&c->words);
    genet__grams_clear(&c->spelling);
    TRY(read_text(c, &m->o, prediction, "prediction", err) && count(c, &m->o, HYPOTHESIS, err));
    for (int i = 0; i < n; i++) {
        TRY(match_one(c, &m->o, reference[i], one, err));
        double f = score(&m->o, one);
        if (f <= most) continue;
        most = f;
        memcpy(best, one, sizeof best);
    }
    for (int i = 0; i < SIDES; i++) {
        c->all[i].hypothesis += best[i].hypothesis;
        c->all[i].reference += best[i].reference;
        c->all[i].both += best[i].both;
    }
    return true;
}

/* --- the kind ----------------------------------------------------------------------- */

static bool init_plus(metric *m, genet_err *err)
{
    (void)err;
    m->o.chrf_word_order = 2;
    return true;
}

static void release(metric *m)
{
    chrf *c = m->state;
    genet__grams_release(&c->characters);
    genet__grams_release(&c->words);
    genet__grams_release(&c->spelling);
    genet__points_release(&c->text);
    genet__points_release(&c->characters_of);
    genet__points_release(&c->words_of);
}

/* As sacreBLEU prints it. */
static void signature(const metric *m, str *out)
{
    genet__metric_signature(m, out);
    genet__str_printf(out, "|eff:%s|nc:%lld|nw:%lld|space:%s|version:" METRIC_SACREBLEU,
                      m->o.chrf_eps_smoothing ? "no" : "yes", (long long)m->o.chrf_char_order,
                      (long long)m->o.chrf_word_order, m->o.chrf_whitespace ? "yes" : "no");
}

/* chrF2++ */
static void add_name(const metric *m, str *out)
{
    genet__str_printf(out, "chrF%lld", (long long)m->o.chrf_beta);
    for (int64_t i = 0; i < m->o.chrf_word_order; i++) genet__str_add(out, "+");
}

static json_t *result(const metric *m)
{
    const chrf *c = m->state;
    str name = {0}, sign = {0};
    add_name(m, &name);
    signature(m, &sign);
    bool failed = name.failed || sign.failed;
    json_t *j = failed ? NULL : json_pack("{s:f, s:s, s:s}", "score", score(&m->o, c->all), "signature",
                                          genet__str(&sign), "name", genet__str(&name));
    genet__str_release(&name);
    genet__str_release(&sign);
    return j;
}

static void print(const metric *m, str *out)
{
    const chrf *c = m->state;
    add_name(m, out);
    genet__str_add(out, "|");
    signature(m, out);
    genet__str_printf(out, " = %.2f\n", score(&m->o, c->all));
}

const metric_kind genet__metric_chrf = {
    .name = "chrf", .help = "chrF as sacreBLEU, 0 to 100", .state_bytes = sizeof(chrf), .min_references = 1,
    .first = "score", .add = add, .result = result, .print = print, .release = release,
};
const metric_kind genet__metric_chrf_plus = {
    .name = "chrf++", .help = "chrF++: with words and pairs of words", .state_bytes = sizeof(chrf), .min_references = 1,
    .init = init_plus, .first = "score", .add = add, .result = result, .print = print, .release = release,
};
