/* answer.h - answers that stand in a text: a span head says of each token how likely an answer begins and ends there.
 *
 * A context that is too long is read in windows that overlap.  Scores are those of transformers' question-answering pipeline
 * (release 4): the product of two softmaxes over a window's tokens. */
#ifndef GENET_INFER_ANSWER_H
#define GENET_INFER_ANSWER_H
#include "base/fields.h"
#include "infer/texts.h"

typedef struct answer_options {
    int64_t n_best, max_answer_length, max_question_length, max_length, doc_stride;     /* all but the first in tokens */
    bool    no_answer;          /* "none" may be the best answer */
} answer_options;
extern const fields genet__answer_fields;

/* Bytes begin .. end-1 of the context; both 0: there is no answer. */
typedef struct span_answer { double score; int64_t begin, end; } span_answer;

/* The n_best likeliest into out (room for so many), the likeliest first; *n: how many there are. t: of a model with a
 * span head. */
bool genet__answer(texts *t, const model *m, const tokenizer *tokens, const char *question, const char *context,
                   const answer_options *o, span_answer *out, int64_t *n, genet_err *err);
#endif
