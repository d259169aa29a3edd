/* generate.h - from a language model to text: the prompt in chunks of one fixed
 * size, then one token at a time through caches of keys and values.
 *
 * When the context is full the window slides: the last half of the text in it
 * is read again from position 0, and generation goes on.  Of a longer prompt the
 * last tokens are read, as many as the context holds. */
#ifndef GENET_INFER_GENERATE_H
#define GENET_INFER_GENERATE_H
#include "base/fields.h"
#include "model/model.h"
#include "text/tokenizer.h"

typedef struct sampling {
    double  temperature;    /* 0: always the likeliest */
    int64_t top_k;          /* 0: all */
    double  top_p;          /* 1: all */
    int64_t seed;
} sampling;

typedef struct candidate { float logit; int32_t id; } candidate;
/* An id drawn from logits (n); scratch holds n; draw is uniform in [0, 1). */
int32_t genet__sample(const float *logits, candidate *scratch, int64_t n, const sampling *s, double draw);

/* One sequence being read and continued: two plans, caches, the text so far. */
typedef struct decoder decoder;

/* m has its weights and must outlive it; w is lent to whatever runs. */
decoder *genet__decoder_new(model *m, genet_workspace *w, genet_err *err);
void     genet__decoder_free(decoder *d);
void     genet__decoder_reset(decoder *d);              /* forget the text */
/* Read n >= 1 more ids; the logits of what follows the last of them. */
bool     genet__decoder_read(decoder *d, const int32_t *ids, int64_t n, genet_err *err);
const float *genet__decoder_logits(const decoder *d);   /* (vocab_size) */
int64_t  genet__decoder_position(const decoder *d);     /* tokens in the window */

typedef struct generation {
    const char *prompt;
    int64_t     n_tokens;
    sampling    sampling;
    /* Text as it comes, always whole UTF-8 characters; false stops. */
    bool      (*piece)(void *user, const char *text, size_t n);
    void       *user;
} generation;

/* Continue the prompt (passed on first) by n_tokens, or until the model's end
 * token. */
bool genet__generate(decoder *d, const tokenizer *t, const generation *g, genet_err *err);
#endif
