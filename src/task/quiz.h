/* quiz.h - questions to a language model, from JSON lines: which of several choices it finds likeliest, or what it
 * answers in its own words.  Results are appended to a file, and the next run goes on from there. */
#ifndef GENET_TASK_QUIZ_H
#define GENET_TASK_QUIZ_H
#include "infer/generate.h"
#include "task/lm.h"
#include "text/scored.h"

typedef struct quiz_options {
    const char *template_;              /* what the model reads, {} being the question; \\n is a new line; NULL: the task's */
    const char *results;                /* file; NULL: none */
    int64_t     answer_tokens;
    const char *stop;                   /* an answer ends before any of these lines */
} quiz_options;
extern const fields genet__quiz_fields;

/* What a quiz is about: a model's folder, opened. */
typedef struct quiz {
    const char      *folder;
    const model     *model;
    const tokenizer *tokenizer;
    genet_workspace *workspace;
    const char      *data;              /* *.jsonl */
    const quiz_options *o;
} quiz;

/* Shares of questions whose likeliest choice is the right one: by log-probability, by that of a character, of a byte. */
typedef struct quiz_choices { int64_t n, resumed; double accuracy, by_character, by_byte; } quiz_choices;
bool genet__quiz_choices(const quiz *q, quiz_choices *out, genet_err *err);
/* The model's answers (likeliest token after likeliest token), beside the right ones: for a metric.  out is to be
 * released; *resumed of them were there already. */
bool genet__quiz_answers(const quiz *q, scored *out, int64_t *resumed, genet_err *err);
#endif
