/* sample.c - choosing the next token from logits, as transformers' logits
 * processors do: penalties and bans (adjust), then temperature, the k likeliest, the nucleus of
 * probability p among them (Holtzman et al. 2020, arXiv 1904.09751), those above a share of the likeliest's
 * probability (min-p: Nguyen et al. 2024, arXiv 2407.01082), the locally typical ones (Meister et al. 2023, arXiv
 * 2202.00666), and one uniform draw through the cumulative sum.
 *
 * Candidates have one order (falling logit, rising id) and sums follow it, so
 * the choice is a function of logits and draw alone. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "infer/generate.h"

/* --- penalties and bans ------------------------------------------------------------- */

enum { BLOCK_IDS = 1 << 16 };

static double penalised(double logit, double penalty) { return logit < 0 ? logit * penalty : logit / penalty; }

/* Each distinct token once, however often it is in the text.  The ids seen are marked in a bitmap on the
 * stack, a block of the vocabulary at a time. */
static void penalise_repetition(float *logits, const int32_t *text, int64_t n, int64_t block, double penalty)
{
    uint64_t seen[BLOCK_IDS / 64];
    memset(seen, 0, sizeof seen);
    for (int64_t i = 0; i < n; i++) {
        int64_t id = text[i] - block;
        if (id < 0 || id >= BLOCK_IDS || seen[id / 64] >> id % 64 & 1) continue;
        seen[id / 64] |= UINT64_C(1) << id % 64;
        logits[text[i]] = (float)penalised(logits[text[i]], penalty);
    }
}

/* OpenAI's: logit - count * frequency - (count > 0) * presence, over the generated text. */
static void penalise_counts(float *logits, const int32_t *text, int64_t n, int64_t block, double frequency, double presence)
{
    int32_t count[BLOCK_IDS / 8];
    enum { SOME = BLOCK_IDS / 8 };
    for (int64_t low = block; low < block + BLOCK_IDS; low += SOME) {
        bool any = false;
        memset(count, 0, sizeof count);
        for (int64_t i = 0; i < n; i++)
            if (text[i] >= low && text[i] < low + SOME) count[text[i] - low]++, any = true;
        for (int64_t id = 0; any && id < SOME; id++)
            if (count[id]) logits[low + id] = (float)(logits[low + id] - count[id] * frequency - presence);
    }
}

/* NoRepeatNGramLogitsProcessor: what would end an n-gram that is in the text already. */
static void ban_ngrams(float *logits, const int32_t *text, int64_t n, int64_t size)
{
    size_t prefix_bytes = (size_t)(size - 1) * sizeof *text;
    const int32_t *prefix = text + n - (size - 1);
    for (int64_t i = 0; i + size <= n; i++)
        if (!memcmp(text + i, prefix, prefix_bytes)) logits[text[i + size - 1]] = -INFINITY;
}

void genet__adjust_logits(float *logits, int64_t n_vocab, const int32_t *text, int64_t n, int64_t n_prompt,
                          const generation_options *o)
{
    bool counts = o->frequency_penalty != 0 || o->presence_penalty != 0;
    for (int64_t block = 0; block < n_vocab; block += BLOCK_IDS) {
        if (o->repetition_penalty != 1) penalise_repetition(logits, text, n, block, o->repetition_penalty);
        if (counts)
            penalise_counts(logits, text + n_prompt, n - n_prompt, block, o->frequency_penalty, o->presence_penalty);
    }
    if (o->no_repeat_ngram_size > 0 && n >= o->no_repeat_ngram_size) ban_ngrams(logits, text, n, o->no_repeat_ngram_size);
}

/* --- order ----------------------------------------------------------------------------- */

/* NaN comes last, so that sorting is safe whatever the logits. */
static int in_order(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    bool x_nan = isnan(x->logit), y_nan = isnan(y->logit);
    if (x_nan != y_nan) return x_nan ? 1 : -1;
    if (!x_nan && x->logit != y->logit) return x->logit < y->logit ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

/* The first of equals. */
static int32_t likeliest(const float *logits, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (logits[i] > logits[best]) best = i;
    return (int32_t)best;
}

/* Hoare's quickselect: the first k of the order come to the front. */
static void select_first(candidate *c, int64_t n, int64_t k)
{
    int64_t low = 0, high = n - 1;
    while (low < high) {
        candidate pivot = c[low + (high - low) / 2];
        int64_t i = low, j = high;
        while (i <= j) {
            while (in_order(&c[i], &pivot) < 0) i++;
            while (in_order(&c[j], &pivot) > 0) j--;
            if (i > j) break;
            candidate swap = c[i];
            c[i++] = c[j];
            c[j--] = swap;
        }
        if (k <= j) high = j;
        else if (k >= i) low = i;
        else return;
    }
}

static void sort(candidate *c, int64_t n) { qsort(c, (size_t)n, sizeof *c, in_order); }

/* All logits at least as high as `floor`, by rising id. */
static int64_t at_least(const float *logits, int64_t n, float floor, candidate *to)
{
    int64_t m = 0;
    for (int64_t i = 0; i < n; i++)
        if (logits[i] >= floor) to[m++] = (candidate){ logits[i], (int32_t)i };
    return m;
}

/* A logit that at least k others reach: the k-th of the maxima of runs of RUN logits each.  The least
 * number when there are fewer runs than k. */
static float floor_of_first(const float *logits, int64_t n, int64_t k, candidate *c)
{
    enum { RUN = 32 };
    int64_t m = 0;
    for (int64_t i = 0; i + RUN <= n; i += RUN) {
        float max = logits[i];
        for (int64_t j = 1; j < RUN; j++) max = logits[i + j] > max ? logits[i + j] : max;
        c[m++] = (candidate){ max, (int32_t)i };
    }
    if (m < k) return -FLT_MAX;
    select_first(c, m, k - 1);
    return c[k - 1].logit >= -FLT_MAX ? c[k - 1].logit : -FLT_MAX;
}

/* The k likeliest and, with ties, those as likely as the last of them; sorted with ties or without.
 * -1 when not so many are finite. */
static int64_t first(const float *logits, candidate *c, int64_t n, int64_t k)
{
    int64_t m = at_least(logits, n, floor_of_first(logits, n, k, c), c);
    if (m < k) return -1;
    select_first(c, m, k - 1);
    float last = c[k - 1].logit;
    int64_t kept = k;
    for (int64_t i = k; i < m; i++)
        if (c[i].logit == last) c[kept++] = c[i];
    sort(c, kept);
    return kept;
}

void genet__likeliest(const float *logits, candidate *scratch, int64_t n_vocab, int64_t k, candidate *out)
{
    if (k > n_vocab) k = n_vocab;
    if (first(logits, scratch, n_vocab, k) < 0) {       /* not so many are finite */
        for (int64_t i = 0; i < n_vocab; i++) scratch[i] = (candidate){ logits[i], (int32_t)i };
        sort(scratch, n_vocab);
    }
    memcpy(out, scratch, (size_t)k * sizeof *out);
}

/* --- probabilities ------------------------------------------------------------------------ */

/* Probability but for the sum. */
static double weight_of(const choice_set *s, float logit) { return exp(((double)logit - s->max) / s->temperature); }
double genet__sample_weight(const choice_set *s, const candidate *c) { return weight_of(s, c->logit); }

static void sum_up(choice_set *s, const candidate *c)
{
    s->total = 0;
    for (int64_t i = 0; i < s->n; i++) s->total += weight_of(s, c[i].logit);
}

/* The shortest beginning of the sorted candidates that holds the share p.  Unsorted ones: first those that can be in
 * it: outside lies at least 1 - p of nothing but the least likely, and tokens each below (1 - p) / n of the
 * total cannot make up more than that together. */
static void nucleus(choice_set *s, candidate *c, bool sorted, double p)
{
    double wanted = p * s->total, floor = (1 - p) * s->total / (double)s->n, held = 0;
    int64_t m = 0, k = 0;
    if (!sorted) {
        for (int64_t i = 0; i < s->n; i++)
            if (weight_of(s, c[i].logit) >= floor) c[m++] = c[i];
        s->n = m;
        sort(c, m);
    }
    while (k < s->n && (!k || held < wanted)) held += weight_of(s, c[k++].logit);
    s->n = k;
    s->total = held;
}

static void above_share(choice_set *s, candidate *c, double min_p)
{
    int64_t m = 0;
    for (int64_t i = 0; i < s->n; i++)
        if (weight_of(s, c[i].logit) >= min_p) c[m++] = c[i];
    s->n = m;
    sum_up(s, c);
}

/* -log p, and its expectation (the entropy), nats. */
static double surprise(const choice_set *s, const candidate *c)
{
    return log(s->total) - ((double)c->logit - s->max) / s->temperature;
}

static double entropy_of(const choice_set *s, const candidate *c)
{
    double sum = 0;
    for (int64_t i = 0; i < s->n; i++) sum += weight_of(s, c[i].logit) / s->total * surprise(s, &c[i]);
    return sum;
}

/* Those whose surprise is nearest to the expected one, until they hold `mass`; with ties.  Candidates sorted by logit are
 * sorted by surprise, so the nearest ones are a run that grows at the nearer of its two ends. */
static void typical(choice_set *s, candidate *c, double mass)
{
    sort(c, s->n);
    double entropy = entropy_of(s, c), held = 0, far = 0;
    int64_t high = 0;
    while (high < s->n && surprise(s, &c[high]) < entropy) high++;
    int64_t low = high;                                         /* kept: low .. high - 1 */
    while (!(low < high && held >= mass * s->total) && (low > 0 || high < s->n)) {
        double below = low > 0 ? entropy - surprise(s, &c[low - 1]) : INFINITY;
        double above = high < s->n ? surprise(s, &c[high]) - entropy : INFINITY;
        held += weight_of(s, c[above <= below ? high++ : --low].logit);
        far = above <= below ? above : below;
    }
    while (low > 0 && entropy - surprise(s, &c[low - 1]) <= far) low--;
    while (high < s->n && surprise(s, &c[high]) - entropy <= far) high++;
    s->n = high - low;
    memmove(c, c + low, (size_t)s->n * sizeof *c);
    sum_up(s, c);
}

/* --- drawing --------------------------------------------------------------------------------- */

choice_set genet__sample_among(const float *logits, candidate *c, int64_t n, const generation_options *o)
{
    int32_t best = likeliest(logits, n);
    choice_set s = { 1, (double)logits[best], o->temperature > 0 ? o->temperature : 1, 1 };
    c[0] = (candidate){ logits[best], best };
    if (o->temperature <= 0 || !isfinite(logits[best])) return s;
    int64_t found = o->top_k > 0 && o->top_k < n ? first(logits, c, n, o->top_k) : -1;
    s.n = found > 0 ? found : at_least(logits, n, -FLT_MAX, c);
    sum_up(&s, c);
    if (o->top_p < 1) nucleus(&s, c, found > 0, o->top_p);
    if (o->min_p > 0) above_share(&s, c, o->min_p);
    if (o->typical_p < 1) typical(&s, c, o->typical_p);
    return s;
}

int32_t genet__sample(const float *logits, candidate *c, int64_t n, const generation_options *o, double draw)
{
    choice_set s = genet__sample_among(logits, c, n, o);
    double left = draw * s.total;
    for (int64_t i = 0; i + 1 < s.n; i++)
        if ((left -= weight_of(&s, c[i].logit)) < 0) return c[i].id;
    return c[s.n - 1].id;
}

/* Around the largest, so that nothing overflows. */
double genet__log_sum_exp(const float *logits, int64_t n)
{
    double max = (double)logits[likeliest(logits, n)], sum = 0;
    if (!isfinite(max)) return max;
    for (int64_t i = 0; i < n; i++) sum += exp((double)logits[i] - max);
    return max + log(sum);
}
