/* classify_rows.h - labelled texts as token ids, split into those to learn from and those held out, and the batches of a
 * pass: texts of like lengths together, in an order that follows from the seed and the pass alone. */
#ifndef GENET_TASK_CLASSIFY_ROWS_H
#define GENET_TASK_CLASSIFY_ROWS_H
#include "infer/texts.h"
#include "text/frame.h"
#include "text/labelled.h"
#include "train/train.h"

typedef struct class_rows {
    labelled     data, eval;            /* eval: of --eval-data, else empty */
    const char **classes;
    int          n_class;
    int32_t     *label;                 /* of all rows: data's, then eval's */
    text_row    *row;
    int64_t     *train, *val;           /* rows to learn from, and held out; each in the files' order */
    int64_t      n, n_train, n_val;
    token_list   ids;
    int64_t      n_cut, tokens_cut;     /* texts that were longer than the model sees */

    int64_t      batch;                 /* rows of a batch */
    int64_t      T[TRAIN_SHAPES];       /* tokens of a row in each shape, the longest first */
    int          n_shape;
    int64_t      n_batch, pass;         /* batches of a pass; the pass that `order` is of, or -1 */
    int64_t     *order;                 /* (n_batch, batch): rows; -1: none */
    uint64_t     seed;
} class_rows;

/* classes not NULL: what they are called, else data says. val_fraction: of each class, where there is no eval_data. */
bool genet__class_rows_read(class_rows *r, const char *data, const char *eval_data, const labelled_columns *c, double val_fraction,
                            const char *const *classes, int n_class, uint64_t seed, genet_err *err);
/* Texts to ids, at most T of them; then batches of `batch` rows. whole: for a model that sees a text as a whole. */
bool genet__class_rows_tokens(class_rows *r, const tokenizer *t, bool whole, int64_t T, int64_t batch, genet_err *err);
void genet__class_rows_release(class_rows *r);
/* The rows of batch i of all passes, and the shape that holds them; NULL: no memory. */
const int64_t *genet__class_rows_batch(class_rows *r, int64_t i);
int  genet__class_rows_shape(const class_rows *r, const int64_t *rows);
#endif
