/* encode.c - texts as they are written through a model: tokens with the special ones around them, then answers. */
#include <math.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "infer/texts.h"
#include "text/frame.h"

struct encoder {
    const model     *model;
    const tokenizer *tokenizer;
    texts           *texts;
    frame            frame;
    int64_t          longest;
    token_list       ids;       /* of the latest call's texts */
    text_row        *row;
    int              cap;
};

encoder *genet__encoder_new(const model *m, const tokenizer *t, genet_workspace *w, pooling pool, int64_t max_length, genet_err *err)
{
    encoder *e = genet__alloc(sizeof *e);
    if (!e) {
        genet__err_memory(err);
        return NULL;
    }
    *e = (encoder){ .model = m, .tokenizer = t, .frame = genet__frame_of(t, m->family->heads->kind == HEAD_MASKED_LM) };
    if ((e->texts = genet__texts_new(m, NULL, w, pool, GENET_F32, err))) {
        e->longest = genet__texts_longest(e->texts);
        if (max_length && max_length < e->longest) e->longest = max_length;
        return e;
    }
    genet__encoder_free(e);
    return NULL;
}

void genet__encoder_free(encoder *e)
{
    if (!e) return;
    genet__texts_free(e->texts);
    genet__token_list_release(&e->ids);
    genet__free(e->row);
    genet__free(e);
}

int64_t genet__encoder_width(const encoder *e) { return genet__texts_width(e->texts); }

/* Ids that the tokenizer has and the model has not come of folders put together by hand. */
static bool known_ids(const encoder *e, genet_err *err)
{
    int64_t V = *genet__model_int(e->model, e->model->family->vocab_size);
    for (int i = 0; i < e->ids.n; i++)
        if (e->ids.at[i] >= V)
            return genet__err_set(err, GENET_ERR_FORMAT, "the tokenizer gives the id %d, and the model has %lld", (int)e->ids.at[i], (long long)V);
    return true;
}

bool genet__encoder_run(encoder *e, const char *const *text, const char *const *pair, int64_t n, texts_fn *take, void *user,
                        genet_err *err)
{
    int64_t cut, at = 0;
    if (n > INT32_MAX / 2 || !genet__grow(&e->row, &e->cap, (int)n + 1, sizeof *e->row)) return genet__err_memory(err);
    e->ids.n = 0;
    for (int64_t i = 0; i < n; i++) {
        int before = e->ids.n;
        TRY(genet__frame_text(&e->frame, e->tokenizer, text[i], pair ? pair[i] : NULL, e->longest, &e->ids, &e->row[i].first, &cut, err));
        e->row[i].n = e->ids.n - before;
    }
    for (int64_t i = 0; i < n; at += e->row[i++].n) e->row[i].ids = e->ids.at + at;
    return known_ids(e, err) && genet__texts_run(e->texts, e->row, n, take, user, err);
}

/* --- vectors ------------------------------------------------------------------------------- */

typedef struct vectors { float *out; int64_t width; bool normalize; } vectors;

static bool take_vector(void *user, int64_t i, const float *y, int64_t n, genet_err *err)
{
    vectors *v = user;
    float *to = v->out + i * v->width;
    (void)n, (void)err;
    memcpy(to, y, (size_t)v->width * sizeof *to);
    if (v->normalize) genet__unit_length(to, v->width);
    return true;
}

bool genet__encoder_vectors(encoder *e, const char *const *text, int64_t n, bool normalize, float *out, genet_err *err)
{
    vectors v = { out, genet__encoder_width(e), normalize };
    return genet__encoder_run(e, text, NULL, n, take_vector, &v, err);
}

/* --- classes -------------------------------------------------------------------------------- */

void genet__class_probabilities(const model *m, const float *logits, double *probability)
{
    double max = (double)logits[0], sum = 0;
    bool apart = genet__labels_independent(m);
    for (int64_t i = 1; i < m->n_labels; i++) max = fmax(max, (double)logits[i]);
    for (int64_t i = 0; i < m->n_labels; i++)
        sum += probability[i] = apart ? 1 / (1 + exp(-(double)logits[i])) : exp((double)logits[i] - max);
    for (int64_t i = 0; !apart && i < m->n_labels; i++) probability[i] /= sum;
}
