/* sample.c - choosing the next token from logits: temperature, the k
 * likeliest, then the nucleus of probability p among them (Holtzman et al.
 * 2020, arXiv 1904.09751), then one uniform draw through the cumulative sum.
 *
 * Candidates have one order (falling logit, rising id) and sums follow it, so
 * the choice is a function of logits and draw alone. */
#include <math.h>
#include <stdlib.h>
#include "infer/generate.h"

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

/* e^((logit - max) / temperature): probabilities but for their sum. */
typedef struct scaled { double max, temperature; } scaled;
static double weight_of(scaled s, float logit) { return exp(((double)logit - s.max) / s.temperature); }

static double sum_of(scaled s, const candidate *c, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += weight_of(s, c[i].logit);
    return sum;
}

/* Those that can be in the nucleus: outside it lies at least 1 - p of nothing
 * but the least likely, and tokens each below (1 - p) / n of the total cannot
 * make up more than that together. */
static int64_t above(const candidate *from, int64_t n, scaled s, double floor, candidate *to)
{
    int64_t m = 0;
    for (int64_t i = 0; i < n; i++)
        if (weight_of(s, from[i].logit) >= floor) to[m++] = from[i];
    return m;
}

/* The shortest beginning of the sorted candidates that holds `share`. */
static int64_t nucleus(scaled s, const candidate *c, int64_t n, double share, double *kept)
{
    int64_t k = 0;
    for (*kept = 0; k < n && *kept < share; k++) *kept += weight_of(s, c[k].logit);
    return k;
}

int32_t genet__sample(const float *logits, candidate *c, int64_t n, const sampling *how, double draw)
{
    int32_t best = likeliest(logits, n);
    if (how->temperature <= 0 || how->top_k == 1) return best;
    scaled s = { (double)logits[best], how->temperature };
    for (int64_t i = 0; i < n; i++) c[i] = (candidate){ logits[i], (int32_t)i };
    bool limited = how->top_k > 0 && how->top_k < n;
    if (limited) {
        select_first(c, n, how->top_k - 1);
        n = how->top_k;
        qsort(c, (size_t)n, sizeof *c, in_order);
    }
    double total = sum_of(s, c, n);
    if (how->top_p < 1) {
        if (!limited) {
            n = above(c, n, s, (1 - how->top_p) * total / (double)n, c);
            qsort(c, (size_t)n, sizeof *c, in_order);
        }
        n = nucleus(s, c, n, how->top_p * total, &total);
    }
    double left = draw * total;
    for (int64_t i = 0; i + 1 < n; i++)
        if ((left -= weight_of(s, c[i].logit)) < 0) return c[i].id;
    return c[n > 0 ? n - 1 : 0].id;
}
