/* session.c - one thread's use of a model: writing, completing, scoring.
 *
 * What it needs is made when it is first asked for and kept: a decoder for
 * generating, of as many rows as the latest call wanted, and one for completing, so that
 * the text before the cursor stays read.  A call that fails lets go of its decoder, whose
 * caches may be half written. */
#include "api/session.h"
#include "base/alloc.h"
#include "base/err.h"
#include "infer/texts.h"

struct genet_session {
    const genet_model *model;
    genet_workspace   *workspace;
    decoder           *writer, *completer, *reader;         /* reader: of sources */
    encoder           *classifier, *embedder;
    bool               busy;            /* in genet_generate: its callback may not come back here */
};

genet_session *genet_session_new(const genet_model *m, genet_err *err)
{
    if (!genet__api_need(m, "model", err)) return NULL;
    genet_session *s = genet__alloc(sizeof *s);
    if (s) s->workspace = genet_workspace_new(m->model->params->device);
    if (s && s->workspace) {
        s->model = m;
        return s;
    }
    genet_session_free(s);
    genet__err_memory(err);
    return NULL;
}

void genet_session_free(genet_session *s)
{
    if (!s) return;
    genet__decoder_free(s->writer);
    genet__decoder_free(s->completer);
    genet__decoder_free(s->reader);
    genet__encoder_free(s->classifier);
    genet__encoder_free(s->embedder);
    genet_workspace_free(s->workspace);
    genet__free(s);
}

/* --- generating ---------------------------------------------------------------------- */

static void drop(decoder **d)
{
    genet__decoder_free(*d);
    *d = NULL;
}

static bool is_idle(const genet_session *s, genet_err *err)
{
    return !s->busy || genet__err_set(err, GENET_ERR_USAGE,
                                      "this session is generating: a callback needs a session of its own");
}

/* The one there is, if it has that many rows. */
static decoder *reader(genet_session *s, decoder **slot, int64_t rows, genet_err *err)
{
    if (*slot && genet__decoder_rows(*slot) != rows) drop(slot);
    if (!*slot) *slot = genet__decoder_new(s->model->model, s->workspace, rows, err);
    return *slot;
}

static bool was_given(const void *user, const char *name) { return genet__options_was_given(user, name); }

/* The defaults, what was given here, and for the rest the folder's file. */
bool genet__session_settle(const genet_model *m, const genet_options *o, generation_options *how, arena *a, genet_err *err)
{
    TRY(genet__fields_defaults(&genet__generation_fields, how, a, err) && genet__api_overlay(o, API_GENERATE, how, err));
    bool sources = m->model->head->encode;
    TRY((sources ? genet__generation_settle_source : genet__generation_settle)(how, &m->generation, o ? was_given : NULL,
                                                                               o ? o->set : NULL, a, err));
    return genet__generation_check(how, err);
}

static bool write_text(genet_session *s, const char *prompt, const generation_options *how, genet_piece_fn *piece,
                       void *user, genet_err *err)
{
    decoder *d = reader(s, &s->writer, genet__generation_rows(how), err);
    if (!d) return false;
    s->busy = true;
    bool ok = genet__generate(d, s->model->tokenizer, s->model->model, prompt, how, piece, user, err);
    s->busy = false;
    if (!ok) drop(&s->writer);
    return ok;
}

bool genet_generate(genet_session *s, const char *prompt, const genet_options *o, genet_piece_fn *piece, void *user,
                    genet_err *err)
{
    TRY(genet__api_need(s, "session", err) && genet__api_need(prompt, "prompt", err));
    TRY(genet__api_need((const void *)piece, "piece, the function for each piece of text,", err));
    TRY(is_idle(s, err) && genet__api_has_text(s->model, err));
    generation_options how = {0};
    arena a = {0};
    bool ok = genet__session_settle(s->model, o, &how, &a, err) && write_text(s, prompt, &how, piece, user, err);
    genet__arena_release(&a);
    return ok;
}

/* --- from sources -------------------------------------------------------------------- */

/* The one there is, if its rows and caches fit. */
static decoder *source_reader(genet_session *s, int64_t n, int64_t rows, int64_t longest, genet_err *err)
{
    decoder *d = s->reader;
    if (d && (genet__decoder_sources(d) != n || genet__decoder_rows(d) != n * rows || genet__decoder_source_tokens(d) < longest))
        drop(&s->reader);
    if (!s->reader) s->reader = genet__decoder_new_reading(s->model->model, s->workspace, n, rows, longest, err);
    return s->reader;
}

static bool write_from(genet_session *s, const token_list *ids, int n, const generation_options *how, genet_piece_fn *piece, void *user,
                       genet_err *err)
{
    int64_t longest = 1;
    for (int i = 0; i < n; i++) longest = ids[i].n > longest ? ids[i].n : longest;
    decoder *d = source_reader(s, n, genet__generation_rows(how), longest, err);
    if (!d) return false;
    s->busy = true;
    bool ok = genet__generate_from(d, s->model->tokenizer, s->model->model, ids, n, how, piece, user, err);
    s->busy = false;
    if (!ok) drop(&s->reader);
    return ok;
}

static bool translate(genet_session *s, const char *const *source, int n, const generation_options *how, genet_piece_fn *piece,
                      void *user, genet_err *err)
{
    const genet_model *m = s->model;
    token_list *ids = genet__alloc_array((size_t)n, sizeof *ids);
    bool ok = ids || genet__err_memory(err);
    for (int i = 0; ok && i < n; i++)
        ok = genet__api_need(source[i], "a source", err) && genet__source_ids(m->model, m->tokenizer, source[i], 0, &ids[i], NULL, err);
    ok = ok && write_from(s, ids, n, how, piece, user, err);
    for (int i = 0; ids && i < n; i++) genet__token_list_release(&ids[i]);
    genet__free(ids);
    return ok;
}

bool genet_translate(genet_session *s, const char *const *source, int n, const genet_options *o, genet_piece_fn *piece, void *user,
                     genet_err *err)
{
    TRY(genet__api_need(s, "session", err) && genet__api_need(source, "source", err));
    TRY(genet__api_need((const void *)piece, "piece, the function for each piece of text,", err));
    if (n < 1) return genet__err_set(err, GENET_ERR_USAGE, "n is %d: give one source at least", n);
    TRY(is_idle(s, err) && genet__api_has_text(s->model, err));
    if (!s->model->model->head->encode)
        return genet__err_set(err, GENET_ERR_USAGE, "a %s reads no source: genet_generate continues texts", s->model->model->head->architecture);
    generation_options how = {0};
    arena a = {0};
    bool ok = genet__session_settle(s->model, o, &how, &a, err) && translate(s, source, n, &how, piece, user, err);
    genet__arena_release(&a);
    return ok;
}

const genet_model *genet__session_model(const genet_session *s) { return s->model; }

decoder *genet__session_take(genet_session *s, genet_err *err)
{
    if (!is_idle(s, err)) return NULL;
    decoder *d = reader(s, &s->writer, 1, err);
    s->busy = d != NULL;
    return d;
}

void genet__session_give(genet_session *s, bool ok)
{
    s->busy = false;
    if (!ok) drop(&s->writer);
}

bool genet_complete(genet_session *s, const char *text, genet_completion *out, int *n, genet_err *err)
{
    TRY(genet__api_need(s, "session", err) && genet__api_need(text, "text", err));
    TRY(genet__api_need(out, "out", err) && genet__api_need(n, "n", err));
    if (*n < 1) return genet__err_set(err, GENET_ERR_USAGE, "*n is %d: ask for one completion at least", *n);
    TRY(is_idle(s, err) && genet__api_has_text(s->model, err));
    decoder *d = reader(s, &s->completer, COMPLETE_ROWS, err);
    if (!d) return false;
    if (genet__complete(d, s->model->tokenizer, s->model->model, text, out, n, err)) return true;
    drop(&s->completer);
    return false;
}

/* --- scoring ---------------------------------------------------------------------------- */

bool genet_evaluate(genet_session *s, const char *text, size_t n_bytes, const genet_options *o, genet_score *out,
                    genet_err *err)
{
    lm_score_options how;
    arena a = {0};
    TRY(genet__api_need(s, "session", err) && genet__api_need(out, "out", err));
    TRY(!n_bytes || genet__api_need(text, "text", err));
    TRY(is_idle(s, err) && genet__api_has_text(s->model, err));
    bool ok = genet__fields_defaults(&genet__lm_score_fields, &how, &a, err) &&
        genet__api_overlay(o, API_EVALUATE, &how, err);
    ok = ok && genet__lm_score_text(s->model->model, s->model->tokenizer, s->workspace, n_bytes ? text : "", n_bytes,
                                    &how, out, err);
    genet__arena_release(&a);
    return ok;
}

/* --- whole texts ------------------------------------------------------------------------ */

typedef struct classified { const model *model; double *probability; } classified;

static bool take_classes(void *user, int64_t i, const float *y, int64_t n, genet_err *err)
{
    classified *c = user;
    (void)i, (void)n, (void)err;
    genet__class_probabilities(c->model, y, c->probability);
    return true;
}

/* The likeliest that is left, again and again: classes are few. */
static void rank(const model *m, double *probability, genet_class *out, int *n)
{
    int most = m->n_labels < *n ? (int)m->n_labels : *n;
    for (*n = 0; *n < most; ++*n) {
        int64_t best = 0;
        char scratch[32];
        for (int64_t k = 1; k < m->n_labels; k++)
            if (probability[k] > probability[best]) best = k;
        snprintf(out[*n].label, sizeof out[*n].label, "%s", genet__label(m, best, scratch));
        out[*n].index = (int)best;
        out[*n].probability = probability[best];
        probability[best] = -1;
    }
}

bool genet_classify(genet_session *s, const char *text, const char *pair, genet_class *out, int *n, genet_err *err)
{
    TRY(genet__api_need(s, "session", err) && genet__api_need(text, "text", err) && genet__api_need(n, "n", err));
    TRY(is_idle(s, err) && genet__api_has_text(s->model, err) && (*n < 1 || genet__api_need(out, "out", err)));
    const model *m = s->model->model;
    if (m->head->kind != HEAD_SEQUENCE)
        return genet__err_set(err, GENET_ERR_USAGE, "%s holds a %s, which tells no classes", s->model->folder, m->head->architecture);
    if (!s->classifier) s->classifier = genet__encoder_new(m, s->model->tokenizer, s->workspace, POOL_NONE, 0, err);
    if (!s->classifier) return false;
    classified c = { m, genet__alloc_array((size_t)m->n_labels, sizeof *c.probability) };
    bool ok = (c.probability || genet__err_memory(err)) &&
              genet__encoder_run(s->classifier, &text, pair ? &pair : NULL, 1, take_classes, &c, err);
    if (ok) rank(m, c.probability, out, n);
    genet__free(c.probability);
    return ok;
}

/* As the folder says. */
static bool open_embedder(genet_session *s, sentence_options *o, genet_err *err)
{
    const genet_model *m = s->model;
    TRY(genet__sentence_read(o, m->model, m->folder, err));
    if (!s->embedder) s->embedder = genet__encoder_new(m->model, m->tokenizer, s->workspace, o->pool, o->max_length, err);
    return s->embedder;
}

bool genet_embed(genet_session *s, const char *const *text, int n_texts, float **out, int *width, genet_err *err)
{
    sentence_options o;
    TRY(genet__api_need(s, "session", err) && genet__api_need(out, "out", err) && genet__api_need(width, "width", err));
    *out = NULL;
    TRY(n_texts < 1 || genet__api_need(text, "texts", err));
    TRY(is_idle(s, err) && genet__api_has_text(s->model, err) && open_embedder(s, &o, err));
    for (int i = 0; i < n_texts; i++) TRY(genet__api_need(text[i], "a text", err));
    *width = (int)genet__encoder_width(s->embedder);
    float *x = genet__alloc_array((size_t)(n_texts > 0 ? n_texts : 1), (size_t)*width * sizeof *x);
    bool ok = (x || genet__err_memory(err)) && (n_texts < 1 || genet__encoder_vectors(s->embedder, text, n_texts, o.normalize, x, err));
    if (ok) *out = x;
    else genet__free(x);
    return ok;
}
