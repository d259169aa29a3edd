/* translate_batch.h - pairs as token ids, and the batches that training and evaluation take of them.
 *
 * Pairs of like length go together: a batch has one of several shapes (rows, length), shape 0 being the longest, and what a
 * pair does not fill is padding that no one sees.  A pass over the training pairs is a list of batches in a drawn order; which
 * they are follows from the seed and the pass alone. */
#ifndef GENET_TASK_TRANSLATE_BATCH_H
#define GENET_TASK_TRANSLATE_BATCH_H
#include "model/model.h"
#include "text/pairs.h"
#include "text/tokenizer.h"
#include "train/train.h"

/* Where its ids stand in the list; both sides end with the end token. */
typedef struct item { int32_t source, n_source, target, n_target; int shape; } item;

typedef struct batch_shape { int64_t rows, length; int64_t n; } batch_shape;           /* n: training pairs of this shape */
typedef struct batch { int shape; int64_t first, n; } batch;                            /* of `order` */

typedef struct batches {
    token_list  ids;
    item       *at;             /* training pairs, then those held out */
    int64_t     n_train, n, n_long;             /* n_long: pairs left out, longer than a block */
    int32_t     start, end;     /* what a target's text begins with, what ends both */
    batch_shape shape[TRAIN_SHAPES];
    int         n_shape;
    int64_t     parts;          /* micro-batches of a step */
    uint64_t    seed;

    batch      *list;           /* of one pass */
    int64_t     n_list, pass;   /* pass: the one in order and list; -1: none */
    item      **order;
    struct batch_key *key;
    int32_t    *source, *lengths, *x, *target;          /* (rows, length) of the largest batch */
} batches;

/* The token's side of a plan. */
typedef struct batch_inputs { tensor *source, *lengths, *x, *target; } batch_inputs;

/* Tokenize; pairs of more than `block` tokens are left out.  rows: of a batch; tokens > 0: as many rows as so many tokens hold
 * instead.  {0} is ready; start, end, parts and seed are set. */
bool genet__batches_make(batches *b, const pairs *p, const tokenizer *t, int64_t block, int64_t rows, int64_t tokens, genet_err *err);
/* One shape without data, as `plan` takes it. */
void genet__batches_blank(batches *b, int64_t block, int64_t rows, int64_t tokens);
void genet__batches_release(batches *b);
/* The batch of a step, counted through all passes. */
const batch *genet__batches_of(batches *b, int64_t step);
/* Inputs (rows, length) of a model with an encoder; its logits. */
tensor *genet__batches_build(batch_inputs *in, const model *m, net *n, int64_t rows, int64_t length);
/* Write n <= rows pairs of a shape into p's inputs, padding after them. */
bool genet__batches_write(batches *b, const batch_inputs *in, genet_plan *p, int64_t rows, int64_t length, item *const *at, int64_t n,
                          genet_err *err);
#endif
