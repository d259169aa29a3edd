/* lm_mask.c - hiding tokens for a model that is to find them again (Devlin et al. 2018, section 3.1): of a block's
 * tokens 15 % are chosen; of those 80 % are shown as [MASK], 10 % as any token, 10 % as they are. A block stands between
 * [CLS] and [SEP], or <s> and </s>, where the tokenizer has them. What is chosen is drawn by counter: the same for any
 * number of threads, and after a resume. */
#include <string.h>
#include "base/err.h"
#include "base/rng.h"
#include "task/lm.h"

static int32_t first_known(const tokenizer *t, const char *a, const char *b)
{
    int32_t id = genet__tokenizer_find(t, a, strlen(a));
    return id >= 0 ? id : genet__tokenizer_find(t, b, strlen(b));
}

bool genet__lm_mask_open(lm_mask *m, const tokenizer *t, int64_t vocab_size, double probability, uint64_t seed, genet_err *err)
{
    *m = (lm_mask){ .mask = -1, .begin = -1, .end = -1, .V = vocab_size, .probability = probability, .seed = seed };
    if (!t) return true;
    m->mask = first_known(t, "[MASK]", "<mask>");
    m->begin = first_known(t, "[CLS]", "<s>");
    m->end = first_known(t, "[SEP]", "</s>");
    m->around = (m->begin >= 0) + (m->end >= 0);
    m->V = genet__tokenizer_size(t);
    return m->mask >= 0 || genet__err_set(err, GENET_ERR_USAGE, "the tokenizer has neither [MASK] nor <mask>, which hides words "
                                          "from this model: --tokenizer wordpiece:V makes one that has");
}

/* One chosen token: three numbers a token, so that what is shown does not depend on what is chosen before. */
static int32_t shown_as(const lm_mask *m, int32_t id, uint32_t stream, uint32_t step, uint64_t index)
{
    double how = genet__rng_uniform(m->seed, stream, step, 3 * index + 1);
    if (how < 0.8) return m->mask;
    return how < 0.9 ? (int32_t)genet__rng_below(m->seed, stream, step, 3 * index + 2, (uint64_t)m->V) : id;
}

void genet__lm_mask_row(const lm_mask *m, const tokenizer *t, const int32_t *ids, int64_t n, uint32_t stream, uint32_t step,
                        uint64_t first, int32_t *x, int32_t *y)
{
    if (m->begin >= 0) *x++ = m->begin, *y++ = NO_TARGET;
    for (int64_t i = 0; i < n; i++) {
        uint64_t index = first + (uint64_t)i;
        bool chosen = !genet__tokenizer_is_special(t, ids[i]) && genet__rng_uniform(m->seed, stream, step, 3 * index) < m->probability;
        x[i] = chosen ? shown_as(m, ids[i], stream, step, index) : ids[i];
        y[i] = chosen ? ids[i] : NO_TARGET;
    }
    if (m->end >= 0) x[n] = m->end, y[n] = NO_TARGET;
}
