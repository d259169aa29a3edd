/* metric.h - how good texts are, beside others: BLEU, chrF, ROUGE, SQuAD's and GSM8K's exact match, accuracy and F1.
 *
 * Data becomes predictions, predictions become numbers: whoever has a text and its references (a file, a model that
 * translates, answers or summarises) adds them one after the other, and asks for the result at the end.  A metric keeps
 * counts, not texts, but for the labels of accuracy and F1, of which there are few. */
#ifndef GENET_TEXT_METRIC_H
#define GENET_TEXT_METRIC_H
#include "base/fields.h"
#include "text/grams.h"

enum { METRIC_ORDER_MAX = 16 };         /* of n-grams */

/* Names and meanings are those of sacreBLEU's program. */
typedef struct metric_options {
    const char *tokenize;               /* 13a, intl, char, zh, none */
    const char *smooth_method;          /* exp, floor, add-k, none */
    double      smooth_value;           /* negative: 0.1 for floor, 1 for add-k */
    int64_t     max_ngram_order;
    bool        effective_order;
    bool        lowercase;              /* BLEU and chrF */
    int64_t     chrf_char_order, chrf_word_order, chrf_beta;
    bool        chrf_whitespace, chrf_eps_smoothing;
    bool        rouge_stemmer;
} metric_options;
extern const fields genet__metric_fields;

typedef struct metric metric;

/* One family of numbers.  Sums of what was added are in a state of state_bytes, zeroed at the beginning. */
typedef struct metric_kind {
    const char *name, *help;
    size_t      state_bytes;
    int         min_references, max_references;         /* of an item; max 0: any number */
    const char *first;                                  /* the result's number that stands for all, as one of a line */
    bool      (*init)(metric *m, genet_err *err);       /* may be NULL: nothing to do */
    bool      (*add)(metric *m, const char *prediction, const char *const *reference, int n, genet_err *err);
    json_t   *(*result)(const metric *m);               /* an object; NULL: no memory.  m->n > 0 */
    void      (*print)(const metric *m, str *out);      /* lines for people; NULL: those of the object's numbers */
    void      (*release)(metric *m);                    /* may be NULL */
} metric_kind;

struct metric {
    const metric_kind *kind;
    metric_options     o;
    int64_t            n;               /* items */
    int                n_reference;     /* of every item; -1: not of all the same */
    void              *state;
};

/* All kinds, in the order of --help; *n of them. */
const metric_kind *const *genet__metric_kinds(int *n);
const metric_kind *genet__metric_find(const char *name);                /* NULL: none */
/* o: copied; its strings must last.  name: of a kind, else GENET_ERR_USAGE lists them. */
metric *genet__metric_new(const char *name, const metric_options *o, genet_err *err);
void    genet__metric_free(metric *m);
/* Texts are UTF-8.  After false m is of no use any more. */
bool    genet__metric_add(metric *m, const char *prediction, const char *const *reference, int n, genet_err *err);
/* As if nothing had been added. */
bool    genet__metric_clear(metric *m, genet_err *err);
/* A new object of numbers; "n": items.  An error when there are none. */
json_t *genet__metric_result(const metric *m, genet_err *err);
/* Lines of name and number. */
bool    genet__metric_print(const metric *m, str *out, genet_err *err);

/* --- for the kinds ------------------------------------------------------------------- */

extern const metric_kind genet__metric_bleu, genet__metric_chrf, genet__metric_chrf_plus, genet__metric_rouge,
    genet__metric_accuracy, genet__metric_f1, genet__metric_squad, genet__metric_squad2, genet__metric_gsm8k;

/* The sacreBLEU whose definitions BLEU and chrF follow, for signatures. */
#define METRIC_SACREBLEU "2.6.0"

/* text as code points in p, which is cleared; what: "prediction" or "reference", for the message. */
bool genet__metric_points(points *p, const char *text, const char *what, genet_err *err);
/* "nrefs:1|case:mixed", with nrefs:var where items differ. */
void genet__metric_signature(const metric *m, str *out);
/* sacreBLEU's tokenizer of this name over p, whose end is stripped already: words with spaces between. */
void genet__bleu_tokenize(const char *name, points *p, points *scratch);
/* The stem of a word of lower-case ASCII, in place: its new length. */
int  genet__porter_stem(char *word, int n);
/* The words that SQuAD compares: lower case, no ASCII punctuation, no articles, single spaces between. */
void genet__squad_normalize(points *p);

/* 2 p r / (p + r), or 0. */
static inline double genet__harmonic(double p, double r) { return p + r > 0 ? 2 * p * r / (p + r) : 0; }
#endif
