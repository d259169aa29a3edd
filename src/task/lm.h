/* lm.h - evaluating language models: shared by training and `eval`. */
#ifndef GENET_TASK_LM_H
#define GENET_TASK_LM_H
#include "genet/model.h"
#include "model/model.h"
#include "text/corpus.h"
#include "train/train.h"

/* Learning masked words (lm_mask.c): some tokens of a block are hidden, and those are predicted. */
typedef struct lm_mask {
    int32_t  mask, begin, end;      /* ids of [MASK], and of what stands around a block (-1: nothing) */
    int64_t  V, around;             /* ids that a hidden token may be shown as; 0 to 2 tokens around a block */
    double   probability;
    uint64_t seed;
} lm_mask;

/* A tokenizer without a mask cannot do it; t may be NULL (for `plan`). */
bool genet__lm_mask_open(lm_mask *m, const tokenizer *t, int64_t vocab_size, double probability, uint64_t seed, genet_err *err);
/* The n tokens of text in `ids` as a row of the batch: x (n + m->around) is what is shown, y what is to be predicted. Draws
 * are those of (stream, step, first + i). */
void genet__lm_mask_row(const lm_mask *m, const tokenizer *t, const int32_t *ids, int64_t n, uint32_t stream, uint32_t step,
                        uint64_t first, int32_t *x, int32_t *y);

/* The plan of a full pass in blocks of T tokens, `rows` at a time. */
typedef struct lm_eval {
    graph      *graph;
    genet_plan *plan;
    tensor     *x, *lengths, *target, *sum, *count;
    int32_t    *x_ids, *target_ids, *ids, *length;
    const lm_mask *mask;            /* NULL: the next token is predicted */
    int64_t     rows, T;
    size_t      workspace_bytes;
} lm_eval;

/* The summed cross-entropy of logits (rows, T, V) against targets (rows, T); side 1 is the count.  Logits that are
 * a product with the head's weight are made again some rows at a time, with their gradients: those given are then
 * computed only if something else reads them.  smoothing: the part of a target that all tokens share (label smoothing). */
tensor *genet__lm_loss(tensor *logits, tensor *target, double smoothing);
/* type: as net.dtype, what a run trains in.  mask must outlive e; NULL: the next token is predicted. */
bool genet__lm_eval_build(lm_eval *e, model *m, const lm_mask *mask, int64_t rows, int64_t T, dtype type, genet_err *err);
bool genet__lm_eval_attach(lm_eval *e, model *m, genet_workspace *w, genet_err *err);
/* Predict every token of [from, to) but the first once, in non-overlapping
 * blocks of T, the last one shorter; or the masked ones, which are the same in every pass. */
bool genet__lm_eval_run(lm_eval *e, const corpus *c, const tokenizer *t, int64_t from, int64_t to,
                        train_score *out, genet_err *err);
void genet__lm_eval_release(lm_eval *e);

/* --- scoring texts (lm_score.c): `genet eval`, genet_evaluate ------------------------ */

typedef struct lm_score_options {
    int64_t stride;         /* 0: blocks that do not overlap, every token but the first predicted once; else windows of
                             * `context` tokens, stride apart, as transformers' guide on perplexity has them */
    int64_t context;        /* tokens of a window; 0: as many as the model sees */
} lm_score_options;
extern const fields genet__lm_score_fields;

/* Text from files: all of it is one text. */
bool genet__lm_score_files(const model *m, const tokenizer *t, genet_workspace *w, const char *const *paths, int n_paths,
                           const lm_score_options *o, genet_score *out, genet_err *err);
/* n bytes of text in memory. */
bool genet__lm_score_text(const model *m, const tokenizer *t, genet_workspace *w, const char *text, size_t n,
                          const lm_score_options *o, genet_score *out, genet_err *err);
/* A text and what may follow it.  The tokens are those of both joined, of which the ones after the context's own count; white
 * space at the context's end belongs to what follows (as lm-evaluation-harness has it).  Before an empty context stands the
 * model's first token.  Of a context that is too long the last tokens are read. */
typedef struct lm_pair { const char *context, *continuation; double log_probability; int64_t tokens; } lm_pair;
typedef struct lm_scorer lm_scorer;
lm_scorer *genet__lm_scorer_new(const model *m, const tokenizer *t, genet_workspace *w, genet_err *err);
void genet__lm_scorer_free(lm_scorer *s);
bool genet__lm_score_pairs(lm_scorer *s, lm_pair *pair, int n, genet_err *err);

/* Each line of the files by itself: tell is called for each, in order, and false ends it. A line's tokens are all
 * predicted where the config has a bos_token_id, which then goes before; else all but the first. */
typedef bool lm_line_fn(void *user, int64_t number, const char *line, size_t n, const genet_score *score);
bool genet__lm_score_lines(const model *m, const tokenizer *t, genet_workspace *w, const char *const *paths, int n_paths,
                           const lm_score_options *o, lm_line_fn *tell, void *user, genet_err *err);
#endif
