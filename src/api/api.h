/* api.h - what stands behind the opaque types of genet/model.h.
 *
 *   options.c    options by name, over the same tables as the command line
 *   model.c      a folder opened: model, tokenizer, generation_config.json; described
 *   session.c    generating, completing, scoring
 *   chat.c       conversations
 *   metrics.c    texts beside their references
 *   train.c      a training run with a callback
 *
 * A model is only read after opening.  All that changes while text is written or
 * scored (caches, working memory) belongs to a session. */
#ifndef GENET_API_API_H
#define GENET_API_API_H
#include "infer/generate.h"
#include "task/lm.h"
#include "task/task.h"
#include "text/metric.h"

typedef enum api_verb { API_GENERATE, API_EVALUATE, API_METRIC, API_TRAIN } api_verb;

struct genet_options {
    api_verb  verb;
    options  *set;                      /* own, or the setup's */
    options   own;
    arena     arena;
    generation_options generation;
    lm_score_options   score;
    metric_options     metric;
    genet_message_fn *say;              /* hears of notes and warnings; may be NULL */
    void     *say_to;
    setup     setup;                    /* of train; its options are a list of wishes: each run has its own */
};

struct genet_model {
    model     *model;
    tokenizer *tokenizer;               /* NULL: the folder has none */
    char      *folder;
    bool       weights;                 /* they are there */
    bool       shared;                  /* the tokenizer is another model's */
    generation_file generation;         /* what it says of writing; each call has it settled with what was given */
};

/* without weights: config and tokenizer only, for those who look. */
genet_model *genet__api_open(const char *folder, genet_device *d, bool weights, genet_err *err);
/* Family, parameters, config, tokenizer, the training run; a new object. */
json_t *genet__api_describe(const genet_model *m, genet_err *err);
/* Put what was given in o over object, the struct of the one table that o is of.  o may be NULL; if it is of another
 * verb it is refused. */
bool genet__api_overlay(const genet_options *o, api_verb verb, void *object, genet_err *err);
/* A model that reads and writes text, or an error. */
bool genet__api_has_text(const genet_model *m, genet_err *err);
/* An argument that must not be NULL. */
bool genet__api_need(const void *argument, const char *name, genet_err *err);
#endif
