/* options.c - the options of training, as in Hugging Face's Trainer and
 * nanoGPT, and the learning rate they describe. */
#include <math.h>
#include <stddef.h>
#include <string.h>
#include "base/err.h"
#include "train/train.h"

#define AT(member) offsetof(train_options, member)
enum { RENEW = FIELD_RENEWABLE };

static const field table[] = {
    { "out",           FIELD_STRING, AT(out),           NULL, 0, 0, NULL, RENEW, "folder for the trained model (required)" },
    { "resume",        FIELD_BOOL,   AT(resume),        "false", 0, 0, NULL, RENEW,
      "go on from the last complete save in --out" },
    { "max_steps",     FIELD_INT,    AT(max_steps),     "2000", 1, 1e12, NULL, RENEW, "updates to make" },
    { "epochs",        FIELD_INT,    AT(epochs),        "0", 0, 1e9, NULL, 0,
      "passes over the training data, in place of max-steps" },
    { "early_stopping_patience", FIELD_INT, AT(early_stopping_patience), "0", 0, 1e9, NULL, RENEW,
      "stop after so many evaluations without a better one; 0: never" },
    { "batch_size",    FIELD_INT,    AT(batch_size),    "12", 0, 1 << 24, NULL, 0, "rows in a (micro-)batch" },
    { "gradient_accumulation_steps", FIELD_INT, AT(gradient_accumulation_steps), "1", 1, 1 << 20, NULL, 0,
      "micro-batches in an update" },
    { "learning_rate", FIELD_DOUBLE, AT(learning_rate), "1e-3", 0, 1e9, NULL, 0, "at its highest" },
    { "min_lr",        FIELD_DOUBLE, AT(min_lr),        "-1", -1, 1e9, NULL, 0,
      "where cosine and linear schedules end; -1: a tenth of it" },
    { "warmup_steps",  FIELD_INT,    AT(warmup_steps),  "100", 0, 1e12, NULL, 0, "steps in which the learning rate rises" },
    { "lr_schedule",   FIELD_CHOICE, AT(lr_schedule),   "cosine", 0, 0, "cosine|linear|constant", 0, "after the warm-up" },
    { "optimizer",     FIELD_CHOICE, AT(optim.optimizer), "adamw", 0, 0, "adamw|adam|sgd|lion", 0,
      "how weights are changed" },
    { "weight_decay",  FIELD_DOUBLE, AT(optim.weight_decay), "0.1", 0, 1e6, NULL, 0,
      "of matrices; biases and norms never decay" },
    { "beta1",         FIELD_DOUBLE, AT(optim.beta1),   "0.9", 0, 0.999999, NULL, 0, "of the mean gradient (adam, lion)" },
    { "beta2",         FIELD_DOUBLE, AT(optim.beta2),   "0.99", 0, 0.999999, NULL, 0, "of its square (adam)" },
    { "adam_epsilon",  FIELD_DOUBLE, AT(optim.adam_epsilon), "1e-8", 0, 1, NULL, 0, "added to its root (adam)" },
    { "momentum",      FIELD_DOUBLE, AT(optim.momentum), "0", 0, 0.999999, NULL, 0, "of sgd" },
    { "nesterov",      FIELD_BOOL,   AT(optim.nesterov), "false", 0, 0, NULL, 0, "Nesterov's momentum (sgd)" },
    { "max_grad_norm", FIELD_DOUBLE, AT(optim.max_grad_norm), "1.0", 0, 1e9, NULL, 0,
      "gradients are clipped to this norm; 0: never" },
    { "eval_steps",    FIELD_INT,    AT(eval_steps),    "250", 0, 1e12, NULL, RENEW,
      "steps between evaluations; 0: at the end only" },
    { "save_steps",    FIELD_INT,    AT(save_steps),    "250", 0, 1e12, NULL, RENEW,
      "steps between saves; 0: at the end only" },
    { "log_steps",     FIELD_INT,    AT(log_steps),     "10", 1, 1e12, NULL, RENEW,
      "steps between lines of training/metrics.jsonl" },
    { "tensorboard",   FIELD_BOOL,   AT(tensorboard),   "false", 0, 0, NULL, RENEW,
      "and what is logged to training/tensorboard, for TensorBoard" },
    { "keep",          FIELD_CHOICE, AT(keep),          "best", 0, 0, "best|last", RENEW,
      "which weights stand in the folder at the end" },
    { "save_total_limit", FIELD_INT, AT(save_total_limit), "2", 1, 1e6, NULL, RENEW,
      "saves to keep, the best one beside them" },
    { "checkpoint_activations", FIELD_BOOL, AT(checkpoint_activations), "false", 0, 0, NULL, 0,
      "compute activations again instead of keeping them: less memory, same results" },
    { "dtype",         FIELD_CHOICE, AT(dtype),         "f32", 0, 0, "f32|bf16", 0,
      "bf16: mixed precision; weights, optimiser and sums stay f32, products and what is kept for them are bf16" },
    { "seed",          FIELD_INT,    AT(seed),          "1337", 0, 9e15, NULL, 0,
      "of initial weights, batches and dropout" },
    { "threads",       FIELD_INT,    AT(threads),       "0", 0, 1024, NULL, RENEW,
      "0: all the cores there are; results do not depend on it" },
};
const fields genet__train_fields = { "training", table, sizeof table / sizeof *table };

dtype genet__train_dtype(const train_options *o) { return o->dtype && !strcmp(o->dtype, "bf16") ? GENET_BF16 : GENET_F32; }

static double lowest(const train_options *o) { return o->min_lr < 0 ? o->learning_rate / 10 : o->min_lr; }

/* nanoGPT's train.py, get_lr: linear warm-up, then down to min_lr at the last
 * step. */
double genet__schedule(const train_options *o, int64_t max_steps, int64_t step)
{
    double top = o->learning_rate;
    if (step < o->warmup_steps) return top * (double)(step + 1) / (double)(o->warmup_steps + 1);
    if (!strcmp(o->lr_schedule, "constant")) return top;
    double low = lowest(o);
    if (step >= max_steps) return low;
    double done = (double)(step - o->warmup_steps) / (double)(max_steps - o->warmup_steps);
    double rest = !strcmp(o->lr_schedule, "linear") ? 1 - done : 0.5 * (1 + cos(acos(-1) * done));
    return low + rest * (top - low);
}

bool genet__train_check(const train_options *o, genet_err *err)
{
    if (!o->out || !*o->out) return genet__err_set(err, GENET_ERR_USAGE, "--out FOLDER is missing: where the model goes");
    if (strcmp(o->lr_schedule, "constant") && lowest(o) > o->learning_rate)
        return genet__err_set(err, GENET_ERR_USAGE, "--min-lr %g is above --learning-rate %g: the learning rate would rise; "
                              "give --min-lr too", o->min_lr, o->learning_rate);
    if (o->early_stopping_patience && !o->eval_steps)
        return genet__err_set(err, GENET_ERR_USAGE,
                              "--early-stopping-patience counts evaluations, and --eval-steps 0 makes none "
                              "before the end");
    if (o->optim.nesterov && !(o->optim.momentum > 0))
        return genet__err_set(err, GENET_ERR_USAGE, "--nesterov needs --momentum above 0");
    return true;
}
