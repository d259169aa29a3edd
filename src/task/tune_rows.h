/* tune_rows.h - examples in batches: items (a sequence, or a pair of them) that are learned from and held out, passes in drawn
 * orders with like lengths together, and the log-probability of what is said in each sequence. */
#ifndef GENET_TASK_TUNE_ROWS_H
#define GENET_TASK_TUNE_ROWS_H
#include "model/model.h"
#include "text/examples.h"
#include "train/train.h"

typedef struct tune_rows {
    const examples *e;
    int       each;             /* sequences of an item: 1 or 2 */
    int64_t   n, n_train, n_val;
    int64_t  *train, *val;      /* items, in the files' order */
    int64_t   batch;            /* items of a batch */
    int64_t   T[TRAIN_SHAPES];  /* inputs of a sequence in each shape, the longest first */
    int       n_shape;
    int64_t   n_batch, pass;    /* batches of a pass; the pass that `order` is of, or -1 */
    int64_t  *order;            /* (n_batch, batch): items; -1: none */
    uint64_t  seed;
} tune_rows;

/* Of n items in e the first n_data are learned from, but for val_fraction of them drawn at random, and the others held out. */
bool genet__tune_rows_make(tune_rows *r, const examples *e, int each, int64_t n_data, double val_fraction, int64_t batch,
                           uint64_t seed, genet_err *err);
void genet__tune_rows_release(tune_rows *r);
/* The items of batch i of all passes, and the shape that holds them; NULL: no memory. */
const int64_t *genet__tune_rows_batch(tune_rows *r, int64_t i);
int  genet__tune_rows_shape(const tune_rows *r, const int64_t *items);
/* One sequence (NULL: none) as T inputs, T targets, and 1 where a target is said; NO_TARGET elsewhere.  said may be NULL. */
void genet__tune_row(const example *e, int64_t T, int32_t *x, int32_t *target, float *said);

/* Log-probabilities (rows) of the targets (rows, T) that said (f32, 1 or 0) picks, summed. */
tensor *genet__row_log_probabilities(tensor *logits, tensor *target, tensor *said);
/* Direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290): of rows of which the first half is chosen and the second
 * rejected, reference (pairs) being the difference of their log-probabilities by the model as it was, the loss
 *
 *     -(1 - s) log sigmoid(beta z) - s log sigmoid(-beta z),    z = log p(chosen) - log p(rejected) - reference
 *
 * of each pair (pairs). */
tensor *genet__dpo_loss(tensor *log_p, tensor *reference, double beta, double smoothing);

/* Scoring sequences by plans of the same shapes. */
typedef struct row_score { double log_p; int64_t right, said; } row_score;
typedef struct row_scorer {
    struct scorer_shape { int64_t T, rows; graph *graph; genet_plan *plan; tensor *x, *target, *said, *sum, *best; } at[TRAIN_SHAPES];
    int      n;
    int32_t *x, *target, *best;
    float   *said, *sum;
    size_t   workspace_bytes;
} row_scorer;

bool genet__row_scorer_build(row_scorer *s, const model *m, const int64_t *T, int n, dtype type, genet_err *err);
bool genet__row_scorer_attach(row_scorer *s, const model *m, genet_workspace *w, genet_err *err);
/* out[i] of the sequence at[i]; stop (may be NULL) ends it early, with GENET_ERR_STOPPED. */
bool genet__row_scorer_run(row_scorer *s, const example *const *at, int64_t n, row_score *out, const volatile sig_atomic_t *stop,
                           genet_err *err);
void genet__row_scorer_release(row_scorer *s);
#endif
