/* answers.c - short answers: SQuAD's exact match and F1 over words (Rajpurkar et al. 2016, 2018; the evaluation scripts of
 * v1.1 and v2.0), and whether the final number of a GSM8K answer is right (Cobbe et al. 2021; the two filters of the task
 * in EleutherAI's lm-evaluation-harness). */
#include <string.h>
#include "base/err.h"
#include "text/metric.h"

/* --- SQuAD -------------------------------------------------------------------------- */

enum { PREDICTION, REFERENCE };

typedef struct squad_sums { double exact, f1; int64_t n; } squad_sums;
typedef struct squad_state {
    squad_sums has_answer, no_answer;
    grams      words;
    points     prediction, reference, piece;
} squad_state;

static bool is_punctuation(uint32_t c)
{
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

/* a, an, the; as a whole word, to which letters, numbers and the low line belong. */
static bool is_article(const uint32_t *at, int64_t n)
{
    static const char *const article[] = { "a", "an", "the" };
    for (int i = 0; i < 3; i++) {
        int64_t k = 0;
        while (k < n && article[i][k] && at[k] == (unsigned char)article[i][k]) k++;
        if (k == n && !article[i][k]) return true;
    }
    return false;
}

static void drop_punctuation(points *p)
{
    int64_t n = 0;
    for (int64_t i = 0; i < p->n; i++)
        if (!is_punctuation(p->at[i])) p->at[n++] = p->at[i];
    p->n = n;
}

/* Each becomes one space at most: the text does not grow. */
static void drop_articles(points *p)
{
    int64_t n = 0;
    for (int64_t i = 0, end; i < p->n; i = end) {
        for (end = i; end < p->n && genet__point_is_word(p->at[end]); end++) continue;
        if (end == i) end++;
        bool article = is_article(p->at + i, end - i);
        if (article) p->at[n++] = ' ';
        for (int64_t k = i; !article && k < end; k++) p->at[n++] = p->at[k];
    }
    p->n = n;
}

static void join_words(points *p)
{
    int64_t n = 0;
    for (int64_t i = 0; i < p->n; i++) {
        if (!genet__point_is_space(p->at[i])) p->at[n++] = p->at[i];
        else if (n && p->at[n - 1] != ' ') p->at[n++] = ' ';
    }
    p->n = n && p->at[n - 1] == ' ' ? n - 1 : n;
}

void genet__squad_normalize(points *p)
{
    genet__points_lower(p);
    drop_punctuation(p);
    drop_articles(p);
    join_words(p);
}

static bool equal(const points *a, const points *b)
{
    return a->n == b->n && (!a->n || !memcmp(a->at, b->at, (size_t)a->n * sizeof *a->at));
}

/* How many words of p; each adds one to its count. */
static int64_t count_words(squad_state *s, const points *p, int which)
{
    genet__points_clear(&s->piece);
    genet__grams_words(&s->words, p, &s->piece);
    for (int64_t i = 0; i < s->piece.n && !s->words.failed; i++) s->words.at[s->piece.at[i]].count[which]++;
    return s->piece.n;
}

/* Of normalised texts.  Where one has no words, v2 says whether the other has none either, v1.1 says 0. */
static double word_f1(squad_state *s, bool v2)
{
    int64_t both = 0;
    genet__grams_clear(&s->words);
    int64_t n_prediction = count_words(s, &s->prediction, PREDICTION), n_reference = count_words(s, &s->reference, REFERENCE);
    if (!n_prediction || !n_reference) return v2 && n_prediction == n_reference;
    for (int i = 1; i < s->words.n; i++) {
        const int32_t *count = s->words.at[i].count;
        both += count[PREDICTION] < count[REFERENCE] ? count[PREDICTION] : count[REFERENCE];
    }
    return genet__harmonic((double)both / (double)n_prediction, (double)both / (double)n_reference);
}

static bool is_v2(const metric *m) { return m->kind == &genet__metric_squad2; }

/* The best over the references; v2 passes over those without words, and where none is left the right answer is none. */
static bool add_squad(metric *m, const char *prediction, const char *const *reference, int n, genet_err *err)
{
    squad_state *s = m->state;
    double exact = 0, f1 = 0;
    int known = 0;
    TRY(genet__metric_points(&s->prediction, prediction, "prediction", err));
    genet__squad_normalize(&s->prediction);
    for (int i = 0; i < n + 1; i++) {
        if (i == n && known) break;
        if (i == n && !is_v2(m)) break;
        TRY(genet__metric_points(&s->reference, i < n ? reference[i] : "", "reference", err));
        genet__squad_normalize(&s->reference);
        if (i < n && is_v2(m) && !s->reference.n) continue;
        known += i < n;
        exact = equal(&s->prediction, &s->reference) ? 1 : exact;
        double f = word_f1(s, is_v2(m));
        f1 = f > f1 ? f : f1;
    }
    if (s->prediction.failed || s->reference.failed || s->piece.failed || s->words.failed) return genet__err_memory(err);
    squad_sums *to = known || !is_v2(m) ? &s->has_answer : &s->no_answer;
    to->exact += exact;
    to->f1 += f1;
    to->n++;
    return true;
}

static void release_squad(metric *m)
{
    squad_state *s = m->state;
    genet__grams_release(&s->words);
    genet__points_release(&s->prediction);
    genet__points_release(&s->reference);
    genet__points_release(&s->piece);
}

static double percent(double sum, int64_t n) { return n ? 100 * sum / (double)n : 0; }

static json_t *squad_result(const metric *m)
{
    const squad_state *s = m->state;
    const squad_sums *yes = &s->has_answer, *no = &s->no_answer;
    double exact = percent(yes->exact + no->exact, m->n), f1 = percent(yes->f1 + no->f1, m->n);
    if (!is_v2(m)) return json_pack("{s:f, s:f}", "exact_match", exact, "f1", f1);
    json_t *j = json_pack("{s:f, s:f, s:I}", "exact", exact, "f1", f1, "total", (json_int_t)m->n);
    json_t *part = json_object();
    if (part && yes->n) {
        json_decref(part);
        part = json_pack("{s:f, s:f, s:I}", "HasAns_exact", percent(yes->exact, yes->n), "HasAns_f1",
                         percent(yes->f1, yes->n), "HasAns_total", (json_int_t)yes->n);
    }
    bool ok = j && part && !json_object_update(j, part);
    json_decref(part);
    part = no->n ? json_pack("{s:f, s:f, s:I}", "NoAns_exact", percent(no->exact, no->n), "NoAns_f1",
                             percent(no->f1, no->n), "NoAns_total", (json_int_t)no->n) : json_object();
    ok = ok && part && !json_object_update(j, part);
    json_decref(part);
    if (ok) return j;
    json_decref(j);
    return NULL;
}

/* --- GSM8K -------------------------------------------------------------------------- */

typedef struct gsm8k_state { int64_t strict, flexible; str gold, got; } gsm8k_state;

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Bytes of a number at s: with its sign digits, commas and full stops. */
static size_t number_at(const char *s)
{
    size_t sign = *s == '-', n = strspn(s + sign, "0123456789.,");
    return n ? sign + n : 0;
}

/* What follows the first "#### ": the regular expression "#### (\-?[0-9\.\,]+)". */
static const char *strict_number(const char *text, size_t *n)
{
    for (const char *at = text; (at = strstr(at, "#### ")); at++)
        if ((*n = number_at(at + 5))) return at + 5;
    return NULL;
}

/* The last match of "(-?[$0-9.,]{2,})|(-?[0-9]+)". */
static const char *flexible_number(const char *text, size_t *n)
{
    const char *last = NULL;
    for (const char *at = text; *at;) {
        size_t sign = *at == '-', run = strspn(at + sign, "$0123456789.,");
        if (run >= 2 || (run && is_digit(at[sign]))) {
            last = at;
            *n = sign + run;
            at += *n;
        } else {
            at++;
        }
    }
    return last;
}

/* Without commas and dollars, what stands up to the last "#### ", and a full stop at the end; ASCII in lower case. */
static void clean_number(const char *s, size_t n, str *out)
{
    static const char mark[] = "#### ";
    genet__str_clear(out);
    genet__str_add_n(out, "", 0);
    for (size_t i = 0; i < n; i++) {
        char c = s[i] >= 'A' && s[i] <= 'Z' ? (char)(s[i] + 32) : s[i];
        if (c == ',' || c == '$') continue;
        genet__str_add_n(out, &c, 1);
        if (out->n >= 5 && !memcmp(out->at + out->n - 5, mark, 5)) genet__str_clear(out);
    }
    if (out->n && out->at[out->n - 1] == '.') out->at[--out->n] = 0;
}

static bool same_number(gsm8k_state *g, const char *got, size_t n, const char *gold)
{
    if (!got) return false;
    clean_number(got, n, &g->got);
    clean_number(gold, strlen(gold), &g->gold);
    return !strcmp(genet__str(&g->got), genet__str(&g->gold));
}

static bool add_gsm8k(metric *m, const char *prediction, const char *const *reference, int n, genet_err *err)
{
    gsm8k_state *g = m->state;
    size_t n_strict = 0, n_flexible = 0;
    const char *strict = strict_number(prediction, &n_strict), *flexible = flexible_number(prediction, &n_flexible);
    bool is_strict = false, is_flexible = false;
    for (int i = 0; i < n; i++) {
        is_strict |= same_number(g, strict, n_strict, reference[i]);
        is_flexible |= same_number(g, flexible, n_flexible, reference[i]);
    }
    if (g->got.failed || g->gold.failed) return genet__err_memory(err);
    g->strict += is_strict;
    g->flexible += is_flexible;
    return true;
}

static void release_gsm8k(metric *m)
{
    gsm8k_state *g = m->state;
    genet__str_release(&g->got);
    genet__str_release(&g->gold);
}

static json_t *gsm8k_result(const metric *m)
{
    const gsm8k_state *g = m->state;
    return json_pack("{s:f, s:f}", "exact_match", (double)g->strict / (double)m->n, "flexible_extract",
                     (double)g->flexible / (double)m->n);
}

/* --- the kinds ---------------------------------------------------------------------- */

const metric_kind genet__metric_squad = {
    .name = "squad", .help = "SQuAD v1.1: exact match and F1 over words, 0 to 100", .state_bytes = sizeof(squad_state),
    .min_references = 1, .first = "f1", .add = add_squad, .result = squad_result, .release = release_squad,
};
const metric_kind genet__metric_squad2 = {
    .name = "squad_v2", .help = "SQuAD v2.0: the same; no reference: there is no answer",
    .state_bytes = sizeof(squad_state), .first = "f1", .add = add_squad, .result = squad_result, .release = release_squad,
};
const metric_kind genet__metric_gsm8k = {
    .name = "gsm8k", .help = "the number behind #### (or the last one) is right, 0 to 1", .state_bytes = sizeof(gsm8k_state),
    .min_references = 1, .first = "exact_match", .add = add_gsm8k, .result = gsm8k_result, .release = release_gsm8k,
};
