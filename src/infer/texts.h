/* texts.h - whole texts through a model: rows of tokens of any lengths in, one row of numbers out for each: a class's
 * logits, or the hidden states pooled to one vector.
 *
 * Texts of like lengths go together, in batches of a few fixed shapes, each with a plan of its own that is compiled when it
 * is first needed; what a text does not fill is padding that nobody sees.  A text's answer depends on it alone, not on its
 * company. */
#ifndef GENET_INFER_TEXTS_H
#define GENET_INFER_TEXTS_H
#include "model/model.h"
#include "text/tokenizer.h"

/* How hidden states (T, C) become one vector: their mean, the first, the last, the largest of each dimension; the sum over
 * the root of their number.  (sentence-transformers' Pooling.) */
typedef enum pooling { POOL_NONE, POOL_MEAN, POOL_CLS, POOL_LAST, POOL_MAX, POOL_MEAN_SQRT } pooling;
#define POOLING_CHOICES "mean|cls|last|max|mean_sqrt"
pooling genet__pooling_of(const char *name);

/* n tokens, of which the first `first` are of segment 0. */
typedef struct text_row { const int32_t *ids; int n, first; } text_row;

/* Does the model tell the two texts of a pair apart? */
bool genet__has_segments(const model *m);

typedef struct texts texts;
/* m is only read and must outlive it; w is lent. pool: POOL_NONE gives what m's head answers; else its hidden states are
 * pooled, whatever its head. own: m's params, where nobody else uses them (a training run's), in `type` as net.dtype; NULL:
 * others may use m at the same time. */
texts *genet__texts_new(const model *m, params *own, genet_workspace *w, pooling pool, dtype type, genet_err *err);
void   genet__texts_free(texts *t);
/* Longest row that it takes. */
int64_t genet__texts_longest(const texts *t);
/* Numbers of an answer, of one token where the head answers for each. */
int64_t genet__texts_width(const texts *t);
/* Workspace that rows of T tokens need: what a run must have room for. */
bool   genet__texts_bytes(texts *t, int64_t T, size_t *bytes, genet_err *err);
/* Row i's answer: y has genet__texts_width() numbers; where the head answers for each token, so many for each of its n. */
typedef bool texts_fn(void *user, int64_t i, const float *y, int64_t n, genet_err *err);
/* All rows, in an order of their own; the answers are finite, or it fails. */
bool   genet__texts_run(texts *t, const text_row *row, int64_t n, texts_fn *take, void *user, genet_err *err);
/* --- texts as they are written (encode.c) ------------------------------------------------- */

/* A model with its tokenizer; all three are lent. */
typedef struct encoder encoder;
/* max_length: tokens of a text at most, 0: as many as the model sees. */
encoder *genet__encoder_new(const model *m, const tokenizer *t, genet_workspace *w, pooling pool, int64_t max_length, genet_err *err);
void     genet__encoder_free(encoder *e);
int64_t  genet__encoder_width(const encoder *e);
/* n texts, each with a second one where pair is not NULL; answers as of genet__texts_run. */
bool     genet__encoder_run(encoder *e, const char *const *text, const char *const *pair, int64_t n, texts_fn *take, void *user,
                            genet_err *err);
/* n vectors of genet__encoder_width() numbers into out. */
bool     genet__encoder_vectors(encoder *e, const char *const *text, int64_t n, bool normalize, float *out, genet_err *err);
/* Probabilities of m's classes from their logits: together 1, or each by itself where classes are independent. */
void     genet__class_probabilities(const model *m, const float *logits, double *probability);

/* To length 1; zeros stay. */
void   genet__unit_length(float *x, int64_t n);

/* --- sentence-transformers' folders (sentence.c) --------------------------------------- */

typedef struct sentence_options { pooling pool; bool normalize; int64_t max_length; } sentence_options;
/* modules.json, 1_Pooling/config.json, sentence_bert_config.json; without them the mean of an encoder, the last token of a
 * decoder.  A module that would change the vectors and genet does not know is an error that names it. */
bool genet__sentence_read(sentence_options *o, const model *m, const char *folder, genet_err *err);
#endif
