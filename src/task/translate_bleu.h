/* translate_bleu.h - BLEU of greedy translations of what is held out, while a model is trained. */
#ifndef GENET_TASK_TRANSLATE_BLEU_H
#define GENET_TASK_TRANSLATE_BLEU_H
#include "infer/generate.h"
#include "text/metric.h"
#include "text/pairs.h"

typedef struct translate_bleu translate_bleu;

/* The first `most` distinct sources that are held out, each with all its targets as references; p outlives it. */
translate_bleu *genet__translate_bleu_new(const pairs *p, int64_t most, genet_err *err);
void genet__translate_bleu_free(translate_bleu *b);
/* Translate them all, greedily, with m as it is now; its decoder is made at the first call. */
bool genet__translate_bleu_run(translate_bleu *b, const model *m, const tokenizer *t, double *bleu, genet_err *err);
#endif
