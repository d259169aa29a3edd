/* optim.h - from a loss to new weights, as part of a graph: gradients in one
 * flat tensor, their norm, clipping, and an update of each parameter.
 *
 * Losses are a SUM and a COUNT.  Gradients are those of the sum; they are
 * divided once, by the count of the whole batch however it was cut, before
 * clipping.  When the norm or the loss is not finite nothing changes. */
#ifndef GENET_NN_OPTIM_H
#define GENET_NN_OPTIM_H
#include "nn/net.h"

typedef struct optim_options {
    const char *optimizer;                  /* adamw adam sgd lion */
    double beta1, beta2, adam_epsilon, momentum, weight_decay, max_grad_norm;
    bool   nesterov;
} optim_options;

/* The weights a graph trains, in order of declaration, and where each one's
 * gradient lies in the flat tensor. */
typedef struct optim_weights {
    int      n;
    param  **param;
    tensor **state, **derived;              /* derived: where the graph uses that form, else NULL */
    int64_t *start;                         /* n + 1 entries */
} optim_weights;

/* The trainable weights of n->params; fails naming those that n->graph lacks. */
bool genet__optim_weights(net *n, arena *a, optim_weights *w, genet_err *err);
/* d loss_sum / d each of them, one after the other: (N).  Fails (NULL) naming the
 * weights that loss_sum does not depend on. */
tensor *genet__optim_gradient(net *n, const optim_weights *w, tensor *loss_sum, genet_err *err);

/* Inputs (f32 scalars) and results of the updating part of a step. */
typedef struct optim_step {
    tensor *learning_rate, *step;           /* inputs; step counts from 1 */
    tensor *loss;                           /* loss_sum / count */
    tensor *grad_norm;                      /* before clipping */
    tensor *finite;                         /* u8: 1 when the weights were changed */
} optim_step;
/* gradient (N), loss_sum and count as read at this point of the graph. */
optim_step genet__optim_update(net *n, const optim_options *o, const optim_weights *w,
                               tensor *gradient, tensor *loss_sum, tensor *count);

/* Gradient accumulation: running sums, kept as caches called "sum.gradient",
 * "sum.loss" and "sum.count".  They begin as zeros; the plan that reads them
 * for the update clears them afterwards. */
typedef struct optim_sums { tensor *gradient, *loss, *count; } optim_sums;
optim_sums genet__optim_sums(net *n, int64_t n_gradient);
void genet__optim_accumulate(const optim_sums *s, tensor *gradient, tensor *loss_sum, tensor *count);
void genet__optim_clear(const optim_sums *s);
#endif
