/* train.h - the training loop: schedule, evaluation, checkpoints, resume,
 * metrics.  It knows no model: a job says how to build the loss, feed a batch
 * and evaluate.
 *
 * On disk, in the model's folder: model.safetensors (a copy of the best or last
 * weights), training/metrics.jsonl, training/settings.json, and training/step-N,
 * a whole save: weights, optimiser, state.json, settings.json, manifest.json.  A
 * save is complete when its manifest matches; so a run killed at any moment
 * goes on bit for bit. */
#ifndef GENET_TRAIN_TRAIN_H
#define GENET_TRAIN_TRAIN_H
#include <signal.h>
#include "base/fields.h"
#include "base/log.h"
#include "nn/optim.h"
#include "plan/work.h"

typedef struct train_options {
    const char *out, *lr_schedule, *keep, *dtype;
    int64_t batch_size, gradient_accumulation_steps, max_steps, epochs, early_stopping_patience;
    int64_t warmup_steps, eval_steps, save_steps, log_steps, save_total_limit, seed, threads;
    double  learning_rate, min_lr;
    bool    checkpoint_activations, resume, tensorboard;
    optim_options optim;
} train_options;
extern const fields genet__train_fields;

/* What single ranges do not say; in words. */
bool   genet__train_check(const train_options *o, genet_err *err);
/* What --dtype says; f32 where nothing does. */
dtype  genet__train_dtype(const train_options *o);
/* Learning rate of a step, counted from 0. */
double genet__schedule(const train_options *o, int64_t max_steps, int64_t step);

/* A target that counts nothing in a loss (PyTorch's ignore_index). */
enum { NO_TARGET = -100 };
/* Results of a full pass over validation data; a job says which mean something. */
typedef struct train_score { double loss, perplexity, bits_per_byte, accuracy, bleu, macro_f1, margin; int64_t count; } train_score;
enum { TRAIN_SHAPES = 16 };          /* at most */
enum { SCORE_PERPLEXITY = 1, SCORE_BITS_PER_BYTE = 2, SCORE_ACCURACY = 4, SCORE_BLEU = 8, SCORE_MACRO_F1 = 16,
       SCORE_MARGIN = 32 };

/* --- what the loop tells whoever watches -------------------------------------- */

typedef enum train_event_kind { TRAIN_BEGIN, TRAIN_STEP, TRAIN_EVAL, TRAIN_SAVE, TRAIN_END } train_event_kind;
typedef struct train_event {
    train_event_kind kind;
    int64_t step, max_steps;            /* updates made, of how many */
    double  loss, learning_rate, grad_norm, units_per_s, time_s, left_s;
    bool    logged;                     /* metrics.jsonl got a line for this step */
    bool    scored;                     /* score is of this step */
    const char *unit;                   /* what units_per_s counts: "tokens" */
    unsigned    scores;
    train_score score;                  /* EVAL, END: the latest */
    double  best_loss;                  /* HUGE_VAL before the first evaluation */
    int64_t best_step, weights;         /* step of the best; number of weights */
    size_t  bytes;                      /* BEGIN: memory that the run takes */
} train_event;

/* --- a job --------------------------------------------------------------------- */

typedef struct train_job {
    const train_options *options;       /* out is the model's folder */
    const json_t        *settings;      /* all options, kept with every save */
    params              *params;        /* placed and filled by the loop */
    genet_workspace     *workspace;
    bool                 locked;        /* training/ is locked already, by the descriptor `lock` (genet__save_lock) */
    int                  lock;
    const log_sink      *log;
    const volatile sig_atomic_t *stop;  /* not 0: save and stop; may be NULL */
    void  (*watch)(void *watcher, const train_event *e);    /* may be NULL */
    void   *watcher;

    const char *unit;                   /* what is counted: "tokens", "rows" */
    unsigned scores;
    int64_t  batch_rows;                /* rows of a micro-batch */
    double   units_per_row;
    int64_t  steps_per_epoch;
    int      n_shapes;                  /* batches come in so many shapes, each with a plan of its own; 0: in one */
    size_t   eval_workspace_bytes, data_bytes;      /* needed beside the step's plan */

    void    *user;                      /* first argument of the following */
    /* The sum of losses over a micro-batch of `rows` rows, and their count. */
    bool   (*build)(void *user, net *n, int64_t rows, tensor **loss_sum, tensor **count, genet_err *err);
    /* With n_shapes: the shape of a step's batches, 0 being the largest; and from now on build and feed are of this one. */
    int    (*shape_of)(void *user, int64_t step);
    void   (*choose)(void *user, int shape);
    /* Write micro-batch `micro` of `step` (both from 0) into p's inputs. */
    bool   (*feed)(void *user, genet_plan *p, int64_t step, int64_t micro, genet_err *err);
    /* Params have memory and values now: bind what else needs them; may be NULL. */
    bool   (*ready)(void *user, genet_err *err);
    /* The full pass over validation data; NULL: there is none. */
    bool   (*evaluate)(void *user, train_score *out, genet_err *err);
    /* Write what stands in the folder beside the weights: config, tokenizer,
     * model card with what is known so far. */
    bool   (*describe)(void *user, const train_event *e, genet_err *err);
} train_job;

/* Train until done, or stopped (GENET_ERR_STOPPED, saved), or failed.  last
 * tells how it ended. */
bool genet__train(const train_job *job, train_event *last, genet_err *err);

/* What a step costs with `rows` rows; nothing is allocated on the device. */
typedef struct train_cost {
    double flops, bytes;                /* of a step */
    size_t workspace_bytes, params_bytes, total_bytes, unplaced_bytes;
    int    n_kernels;
    int64_t weights;
    plan_work work;                     /* what the flops and bytes are made of */
} train_cost;
bool genet__train_cost(const train_job *job, int64_t rows, int64_t accumulation, train_cost *out, genet_err *err);
#endif
