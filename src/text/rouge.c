/* rouge.c - ROUGE-1, -2, -L and -Lsum (Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries"), to the digit as
 * Google's rouge_score computes them: words are runs of a-z and 0-9 after lower-casing, and with the stemmer those of
 * more than three letters are stemmed.
 *
 * Each has precision (of the prediction's n-grams or words), recall (of the reference's) and their harmonic mean F; of
 * several references the one with the largest F counts; the numbers of many texts are means.  L is the longest common
 * subsequence of both texts; Lsum takes lines as sentences, and for each sentence of the reference the union of what its
 * subsequences with all sentences of the prediction hit, every word counted no more often than both sides have it. */
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "text/metric.h"

enum { TARGET, PREDICTION };            /* what counts are of, and the two texts */
enum { ROUGE_1, ROUGE_2, ROUGE_L, ROUGE_LSUM, N_ROUGE };

typedef struct rates { double precision, recall, f; } rates;

/* A text as numbers of words, and where its lines end among them. */
typedef struct side { points word, line; } side;

typedef struct rouge {
    rates  sum[N_ROUGE];
    grams  words, grams;
    points text;
    side   side[2];
    str    spelling;
    int32_t *row;                       /* two rows of the table of subsequences */
    int    cap_row;
    unsigned char *left;                /* a bit a cell of it: the way back goes left */
    int    cap_left;
    unsigned char *hit;                 /* words of a target's line */
    int    cap_hit;
} rouge;

static rates rates_of(double hits, double n_prediction, double n_target)
{
    double p = n_prediction > 0 ? hits / n_prediction : 0, r = n_target > 0 ? hits / n_target : 0;
    return (rates){ p, r, genet__harmonic(p, r) };
}

/* --- reading ------------------------------------------------------------------------ */

static bool is_letter(uint32_t c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

static void add_word(rouge *r, side *to, const uint32_t *at, int64_t n, bool stem)
{
    int32_t node = GRAM_ROOT;
    if (!stem || n <= 3) node = genet__grams_spell(&r->words, at, n);
    else {
        genet__str_clear(&r->spelling);
        for (int64_t i = 0; i < n; i++) genet__str_add_n(&r->spelling, &(char){ (char)at[i] }, 1);
        if (r->spelling.failed || n > INT32_MAX) return;
        int length = genet__porter_stem(r->spelling.at, (int)n);
        for (int i = 0; i < length; i++)
            node = genet__grams_child(&r->words, node, (unsigned char)r->spelling.at[i]);
    }
    genet__points_add(&to->word, (uint32_t)node);
}

static bool read_side(rouge *r, side *to, const char *text, const char *what, bool stem, genet_err *err)
{
    TRY(genet__metric_points(&r->text, text, what, err));
    genet__points_lower(&r->text);
    genet__points_clear(&to->word);
    genet__points_clear(&to->line);
    const points *p = &r->text;
    for (int64_t i = 0, end; i < p->n; i = end) {
        for (end = i; end < p->n && is_letter(p->at[end]); end++) continue;
        if (end > i) add_word(r, to, p->at + i, end - i, stem);
        else if (p->at[end++] == '\n') genet__points_add(&to->line, (uint32_t)to->word.n);
    }
    genet__points_add(&to->line, (uint32_t)to->word.n);
    bool failed = p->failed || to->word.failed || to->line.failed || r->words.failed || r->spelling.failed;
    return !failed || genet__err_memory(err);
}

/* --- n-grams ------------------------------------------------------------------------ */

static rates score_grams(const rouge *r, int order)
{
    int64_t both = 0, n[2] = {0};
    for (int i = 1; i < r->grams.n; i++) {
        const gram *g = &r->grams.at[i];
        if (g->depth != order) continue;
        n[TARGET] += g->count[TARGET];
        n[PREDICTION] += g->count[PREDICTION];
        both += g->count[TARGET] < g->count[PREDICTION] ? g->count[TARGET] : g->count[PREDICTION];
    }
    return rates_of((double)both, (double)n[PREDICTION], (double)n[TARGET]);
}

/* --- longest common subsequences ---------------------------------------------------- */

/* The last row of the table: [j] is the length for all of a and the first j of b; NULL: no memory.  With way, a bit of
 * r->left at (i, j) says that one less of b is better than one less of a. */
static const int32_t *subsequence(rouge *r, const uint32_t *a, int64_t n_a, const uint32_t *b, int64_t n_b, bool way)
{
    int64_t cells = way ? (n_a * n_b + 7) / 8 : 0;
    if (n_b > INT32_MAX / 4 || n_a > INT32_MAX / 4 || cells > INT32_MAX / 2) return NULL;
    if (!genet__grow(&r->row, &r->cap_row, (int)(2 * (n_b + 1)), sizeof *r->row)) return NULL;
    if (cells && !genet__grow(&r->left, &r->cap_left, (int)cells, 1)) return NULL;
    int32_t *above = r->row, *row = r->row + n_b + 1;
    memset(above, 0, (size_t)(n_b + 1) * sizeof *above);
    if (cells) memset(r->left, 0, (size_t)cells);
    for (int64_t i = 0; i < n_a; i++) {
        row[0] = 0;
        for (int64_t j = 0; j < n_b; j++) {
            bool left = row[j] > above[j + 1];
            row[j + 1] = a[i] == b[j] ? above[j] + 1 : left ? row[j] : above[j + 1];
            if (way && left) r->left[(i * n_b + j) / 8] |= (unsigned char)(1 << (i * n_b + j) % 8);
        }
        int32_t *t = above;
        above = row;
        row = t;
    }
    return above;
}

static bool score_subsequence(rouge *r, rates *out, genet_err *err)
{
    const points *t = &r->side[TARGET].word, *p = &r->side[PREDICTION].word;
    const int32_t *length = subsequence(r, t->at, t->n, p->at, p->n, false);
    if (!length) return genet__err_memory(err);
    *out = rates_of(length[p->n], (double)p->n, (double)t->n);
    return true;
}

/* The words of line i. */
static const uint32_t *line_of(const side *s, int64_t i, int64_t *n)
{
    int64_t begin = i ? s->line.at[i - 1] : 0;
    *n = s->line.at[i] - begin;
    return *n ? s->word.at + begin : NULL;
}

/* Mark what one of the longest subsequences with a line of the prediction hits. */
static bool mark_hits(rouge *r, const uint32_t *a, int64_t n_a, const uint32_t *b, int64_t n_b)
{
    if (!subsequence(r, a, n_a, b, n_b, true)) return false;
    for (int64_t i = n_a, j = n_b; i > 0 && j > 0;) {
        int64_t cell = (i - 1) * n_b + j - 1;
        if (a[i - 1] == b[j - 1]) r->hit[--i] = 1, j--;
        else if (r->left[cell / 8] >> cell % 8 & 1) j--;
        else i--;
    }
    return true;
}

/* Words hit count as long as both sides have some left; counts of single words stand in r->grams and are used up. */
static bool count_line(rouge *r, const uint32_t *a, int64_t n_a, int64_t *hits, genet_err *err)
{
    int64_t n_b;
    if (n_a > INT32_MAX || !genet__grow(&r->hit, &r->cap_hit, (int)n_a, 1)) return genet__err_memory(err);
    memset(r->hit, 0, (size_t)n_a);
    for (int64_t i = 0; i < r->side[PREDICTION].line.n; i++) {
        const uint32_t *b = line_of(&r->side[PREDICTION], i, &n_b);
        if (n_b && !mark_hits(r, a, n_a, b, n_b)) return genet__err_memory(err);
    }
    for (int64_t i = 0; i < n_a; i++) {
        if (!r->hit[i]) continue;
        int32_t *count = r->grams.at[genet__grams_child(&r->grams, GRAM_ROOT, a[i])].count;
        if (count[TARGET] <= 0 || count[PREDICTION] <= 0) continue;
        count[TARGET]--;
        count[PREDICTION]--;
        ++*hits;
    }
    return true;
}

static bool score_lines(rouge *r, rates *out, genet_err *err)
{
    int64_t hits = 0, n;
    for (int64_t i = 0; i < r->side[TARGET].line.n; i++) {
        const uint32_t *line = line_of(&r->side[TARGET], i, &n);
        if (n) TRY(count_line(r, line, n, &hits, err));
    }
    *out = rates_of((double)hits, (double)r->side[PREDICTION].word.n, (double)r->side[TARGET].word.n);
    return true;
}

/* --- the kind ----------------------------------------------------------------------- */

/* Of one reference; score_lines uses the counts up, so it comes last. */
static bool score(rouge *r, rates out[N_ROUGE], genet_err *err)
{
    genet__grams_clear(&r->grams);
    for (int i = 0; i < 2; i++) genet__grams_count(&r->grams, r->side[i].word.at, r->side[i].word.n, 2, i);
    if (r->grams.failed) return genet__err_memory(err);
    out[ROUGE_1] = score_grams(r, 1);
    out[ROUGE_2] = score_grams(r, 2);
    return score_subsequence(r, &out[ROUGE_L], err) && score_lines(r, &out[ROUGE_LSUM], err);
}

static bool add(metric *m, const char *prediction, const char *const *reference, int n, genet_err *err)
{
    rouge *r = m->state;
    rates best[N_ROUGE] = {{0}}, one[N_ROUGE];
    genet__grams_clear(&r->words);
    TRY(read_side(r, &r->side[PREDICTION], prediction, "prediction", m->o.rouge_stemmer, err));
    for (int i = 0; i < n; i++) {
        TRY(read_side(r, &r->side[TARGET], reference[i], "reference", m->o.rouge_stemmer, err) && score(r, one, err));
        for (int k = 0; k < N_ROUGE; k++)
            if (!i || one[k].f > best[k].f) best[k] = one[k];
    }
    for (int k = 0; k < N_ROUGE; k++) {
        r->sum[k].precision += best[k].precision;
        r->sum[k].recall += best[k].recall;
        r->sum[k].f += best[k].f;
    }
    return true;
}

static void release(metric *m)
{
    rouge *r = m->state;
    genet__grams_release(&r->words);
    genet__grams_release(&r->grams);
    genet__points_release(&r->text);
    for (int i = 0; i < 2; i++) {
        genet__points_release(&r->side[i].word);
        genet__points_release(&r->side[i].line);
    }
    genet__str_release(&r->spelling);
    genet__free(r->row);
    genet__free(r->left);
    genet__free(r->hit);
}

static const char *const rouge_name[N_ROUGE] = { "rouge1", "rouge2", "rougeL", "rougeLsum" };

static json_t *result(const metric *m)
{
    const rouge *r = m->state;
    double n = (double)m->n;
    json_t *j = json_object();
    for (int k = 0; j && k < N_ROUGE; k++) {
        char name[3][32];
        static const char *const ending[3] = { "", "_precision", "_recall" };
        const double value[3] = { r->sum[k].f / n, r->sum[k].precision / n, r->sum[k].recall / n };
        for (int i = 0; j && i < 3; i++) {
            snprintf(name[i], sizeof name[i], "%s%s", rouge_name[k], ending[i]);
            if (!json_object_set_new(j, name[i], json_real(value[i]))) continue;
            json_decref(j);
            j = NULL;
        }
    }
    return j;
}

static void print(const metric *m, str *out)
{
    const rouge *r = m->state;
    double n = (double)m->n;
    for (int k = 0; k < N_ROUGE; k++)
        genet__str_printf(out, "%-12s F %.7f  precision %.7f  recall %.7f\n", rouge_name[k], r->sum[k].f / n,
                          r->sum[k].precision / n, r->sum[k].recall / n);
}

const metric_kind genet__metric_rouge = {
    .name = "rouge", .help = "ROUGE-1, -2, -L, -Lsum as rouge_score, 0 to 1", .state_bytes = sizeof(rouge),
    .min_references = 1, .first = "rougeL", .add = add, .result = result, .print = print, .release = release,
};
