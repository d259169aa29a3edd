/* task.h - what one can train: a task introduces data, a model, a loss and an
 * evaluation to the training loop.
 *
 * WHAT follows `train` is a task, or a model family, which then means its
 * usual task: `train gpt2` is `train lm --model gpt2`. */
#ifndef GENET_TASK_TASK_H
#define GENET_TASK_TASK_H
#include "model/model.h"
#include "train/settings.h"
#include "train/train.h"

/* Everything about one invocation, from options to result. */
typedef struct setup {
    arena         arena;
    const struct task *task;
    const family *family;
    options       options;
    train_options train;
    void         *own;              /* the task's options */
    void         *config;           /* the model's, as chosen */
    const char   *began_on;         /* instruction set of the run that is resumed */
    bool          fresh, had_out, had_training;     /* a new run, and folders that stood before it */
    bool          locked;           /* the run's folder is locked, by: */
    int           lock;

    /* given by the caller, after the options are set */
    genet_device    *device;
    genet_workspace *workspace;
    const log_sink  *log;
    const volatile sig_atomic_t *stop;
    void  (*watch)(void *watcher, const train_event *e);
    void   *watcher;
} setup;

typedef struct task {
    const char *name, *help, *family;       /* family: the one it takes by default */
    const char *details;                    /* paragraphs for --help */
    size_t      options_bytes;
    const fields *options;
    bool      (*takes)(const struct family *f);     /* families that it can train; NULL: those whose task it is */
    const char *const *presets;             /* "field", "value", ..., NULL: where its defaults differ */
    bool      (*train)(setup *s, train_event *last, genet_err *err);
    /* The cost of a step; data need not be there. */
    bool      (*cost)(setup *s, train_cost *out, genet_err *err);
} task;

extern const task genet__task_lm, genet__task_sft, genet__task_dpo, genet__task_translate, genet__task_classify, genet__task_mlp;
extern const task *const genet__tasks[];    /* ended by NULL */

/* Tables and defaults for `train WHAT --model FAMILY` (family may be NULL).
 * Release also after a failure. */
bool genet__setup_init(setup *s, const char *what, const char *family, genet_err *err);
void genet__setup_release(setup *s);
/* After the options were set: with --resume take over the run's settings,
 * without it refuse a folder that holds what would be written. */
bool genet__setup_settle(setup *s, genet_err *err);
/* Check what can be checked before any work. */
bool genet__setup_check(setup *s, genet_err *err);
/* The task's train; a new run that fails before its first save leaves nothing behind. */
bool genet__setup_train(setup *s, train_event *last, genet_err *err);
/* What all jobs share, filled from s; *settings is to be decref'd by the caller. */
bool genet__setup_job(setup *s, train_job *job, params *p, json_t **settings, genet_err *err);

/* README.md of a model's folder: a model card with data, scores, use and settings. tokenizer: its kind; NULL: the
 * model reads tables. */
bool genet__write_card(const setup *s, const char *data, const char *tokenizer, const train_event *e, genet_err *err);
/* Words of a list option: split at line ends, in a; *n of them. */
const char **genet__split_lines(const char *text, int *n, arena *a);
#endif
