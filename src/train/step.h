/* step.h - the plans of one training step, as the loop and the estimate of
 * its cost use them. */
#ifndef GENET_TRAIN_STEP_H
#define GENET_TRAIN_STEP_H
#include "train/train.h"

/* With accumulation: forward, backward, add to sums; then the update. Without, one
 * plan does it all and `update` is NULL. */
typedef struct train_step {
    arena         arena;
    graph        *graph, *update_graph;
    genet_plan   *plan, *update;
    optim_weights weights;
    optim_step    optim;
    tensor       *rng, *gradient;
    int64_t       accumulation;
    genet_plan_info info, update_info;
} train_step;

typedef struct step_result { float loss, grad_norm; bool finite; } step_result;

/* Build and compile; nothing is allocated on the device.  Release also after a failure. */
bool genet__step_build(train_step *s, const train_job *job, int64_t rows, int64_t accumulation, genet_err *err);
void genet__step_release(train_step *s);
/* Params have memory: bind, and take the workspace. */
bool genet__step_attach(train_step *s, const train_job *job, genet_err *err);
/* Step `step` (from 0), the optimiser's update number `update` (from 1). */
bool genet__step_run(train_step *s, const train_job *job, int64_t step, int64_t update, double learning_rate,
                     step_result *out, genet_err *err);
/* Name, in a warning, the weights whose last gradient was zero everywhere. */
bool genet__step_check_gradients(train_step *s, const train_job *job, genet_err *err);
#endif
