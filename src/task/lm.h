/* lm.h - evaluating language models: shared by training and `eval`. */
#ifndef GENET_TASK_LM_H
#define GENET_TASK_LM_H
#include "model/model.h"
#include "text/corpus.h"
#include "train/train.h"

/* The plan of a full pass in blocks of T tokens, `rows` at a time. */
typedef struct lm_eval {
    graph      *graph;
    genet_plan *plan;
    tensor     *x, *target, *sum, *count;
    int32_t    *x_ids, *target_ids;
    int64_t     rows, T;
    size_t      workspace_bytes;
} lm_eval;

bool genet__lm_eval_build(lm_eval *e, model *m, int64_t rows, int64_t T, genet_err *err);
bool genet__lm_eval_attach(lm_eval *e, model *m, genet_workspace *w, genet_err *err);
/* Predict every token of [from, to) but the first once, in non-overlapping
 * blocks of T, the last one shorter. */
bool genet__lm_eval_run(lm_eval *e, const corpus *c, const tokenizer *t, int64_t from, int64_t to,
                        train_score *out, genet_err *err);
void genet__lm_eval_release(lm_eval *e);

/* `genet eval FOLDER --data ...`: all of the text. */
bool genet__lm_evaluate(const char *folder, const char *const *paths, int n_paths, genet_device *d,
                        train_score *out, genet_err *err);
#endif
