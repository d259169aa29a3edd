/* generate.c - reading through caches, and writing token by token.
 *
 * Two plans share weights and caches: one reads CHUNK tokens at a time (the
 * last chunk padded: causal attention keeps the padding unseen, and later
 * tokens overwrite its keys), one reads a single token.  Both answer with the logits
 * of one row only. */
#include "infer/generate.h"
#include <math.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/rng.h"
#include "base/str.h"

enum { CHUNK = 32 };

typedef struct reader {
    graph      *graph;
    genet_plan *plan;
    tensor     *x, *position, *select, *logits;
    int64_t     T;
} reader;

/* n ids stand in the window and in the caches. */
struct decoder {
    model      *model;
    reader      chunk, one;
    int64_t     window, vocab;
    int32_t    *text;           /* the ids in the window */
    int64_t     n;
    float      *logits;
    candidate  *scratch;
};

/* --- plans ----------------------------------------------------------------------- */

/* One sequence, T new tokens at `position`, the logits of row `select` of them. */
static bool build(reader *r, decoder *d, int64_t T, genet_err *err)
{
    model *m = d->model;
    *r = (reader){ .T = T, .graph = genet_graph_new() };
    if (!r->graph) return genet__err_memory(err);
    net n = { .graph = r->graph, .params = m->params };
    r->x = genet_input(r->graph, "x", GENET_I32, GENET_DIMS(1, T));
    r->position = genet_input(r->graph, "position", GENET_I32, GENET_DIMS(1));
    r->select = genet_input(r->graph, "select", GENET_I32, GENET_DIMS(1));
    model_inputs in = { .x = r->x, .position = r->position, .select = r->select, .cache_length = d->window };
    r->logits = genet_copy(m->family->forward(&n, m->config, &in));
    r->plan = genet_compile(r->graph, &r->logits, 1, m->params->device, NULL, err);
    return r->plan;
}

static bool attach(reader *r, decoder *d, genet_workspace *w, genet_err *err)
{
    TRY(genet_plan_attach(r->plan, w, err));
    return genet__params_bind(d->model->params, r->graph, r->plan, err);
}

static void release(reader *r)
{
    genet_plan_free(r->plan);
    genet_graph_free(r->graph);
}

/* The larger plan takes the workspace first. */
static bool set_up(decoder *d, genet_workspace *w, genet_err *err)
{
    int64_t chunk = d->window < CHUNK ? d->window : CHUNK;
    d->text = genet__alloc_array((size_t)d->window, sizeof *d->text);
    d->logits = genet__alloc_array((size_t)d->vocab, sizeof *d->logits);
    d->scratch = genet__alloc_array((size_t)d->vocab, sizeof *d->scratch);
    if (!d->text || !d->logits || !d->scratch) return genet__err_memory(err);
    TRY(build(&d->chunk, d, chunk, err));
    TRY(build(&d->one, d, 1, err));
    TRY(genet__params_place(d->model->params, err));        /* the caches */
    TRY(genet__params_fill(d->model->params, err));
    TRY(attach(&d->chunk, d, w, err));
    return attach(&d->one, d, w, err);
}

decoder *genet__decoder_new(model *m, genet_workspace *w, genet_err *err)
{
    const family *f = m->family;
    if (!f->vocab_size || !f->context) {
        genet__err_set(err, GENET_ERR_USAGE, "a model of family %s writes no text", f->name);
        return NULL;
    }
    decoder *d = genet__alloc(sizeof *d);
    if (!d) {
        genet__err_memory(err);
        return NULL;
    }
    d->model = m;
    d->window = *genet__model_int(m, f->context);
    d->vocab = *genet__model_int(m, f->vocab_size);
    if (set_up(d, w, err)) return d;
    genet__decoder_free(d);
    return NULL;
}

void genet__decoder_free(decoder *d)
{
    if (!d) return;
    release(&d->chunk);
    release(&d->one);
    genet__free(d->text);
    genet__free(d->logits);
    genet__free(d->scratch);
    genet__free(d);
}

void genet__decoder_reset(decoder *d) { d->n = 0; }
const float *genet__decoder_logits(const decoder *d) { return d->logits; }
int64_t genet__decoder_position(const decoder *d) { return d->n; }

/* --- reading ----------------------------------------------------------------------- */

/* n <= r->T ids at the end of the text; logits only when asked for. */
static bool run(decoder *d, reader *r, const int32_t *ids, int64_t n, bool logits, genet_err *err)
{
    int32_t x[CHUNK] = {0}, position = (int32_t)d->n, last = (int32_t)(n - 1);
    memcpy(x, ids, (size_t)n * sizeof *x);
    TRY(genet_plan_write(r->plan, r->x, x, (size_t)r->T * sizeof *x, err));
    TRY(genet_plan_write(r->plan, r->position, &position, sizeof position, err));
    TRY(genet_plan_write(r->plan, r->select, &last, sizeof last, err));
    TRY(genet_plan_run(r->plan, err));
    memmove(d->text + d->n, ids, (size_t)n * sizeof *ids);
    d->n += n;
    return !logits || genet_plan_read(r->plan, r->logits, d->logits, (size_t)d->vocab * sizeof *d->logits, err);
}

/* What fits into the window: chunks, and a last single token by the T = 1 plan. */
static bool read_within(decoder *d, const int32_t *ids, int64_t n, bool logits, genet_err *err)
{
    while (n > 0) {
        reader *r = n == 1 ? &d->one : &d->chunk;
        int64_t now = n < r->T ? n : r->T;
        TRY(run(d, r, ids, now, logits && now == n, err));
        ids += now;
        n -= now;
    }
    return true;
}

/* Forget the older half of a full window, and read the newer again. */
static bool slide(decoder *d, genet_err *err)
{
    int64_t keep = d->window / 2;
    const int32_t *kept = d->text + d->n - keep;
    d->n = 0;
    return read_within(d, kept, keep, false, err);
}

bool genet__decoder_read(decoder *d, const int32_t *ids, int64_t n, genet_err *err)
{
    for (int64_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= d->vocab)
            return genet__err_set(err, GENET_ERR_USAGE, "token %d is not among the model's %lld", ids[i], (long long)d->vocab);
    while (n > 0) {
        if (d->n == d->window) TRY(slide(d, err));
        int64_t room = d->window - d->n, now = n < room ? n : room;
        TRY(read_within(d, ids, now, now == n, err));
        ids += now;
        n -= now;
    }
    return true;
}

/* --- writing ----------------------------------------------------------------------- */

/* How many bytes at the start are whole characters; what follows may be the
 * beginning of one. */
static size_t whole_characters(const char *s, size_t n)
{
    size_t at = 0;
    while (at < n) {
        unsigned char c = (unsigned char)s[at];
        size_t length = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
        if (at + length > n) break;
        at += length;
    }
    return at;
}

/* Pass on what is whole.  Bytes that are no UTF-8 become U+FFFD, as other
 * decoders have it; at the end the rest does. */
static bool emit(str *pending, const generation *g, bool end)
{
    str out = {0};
    size_t whole = end ? pending->n : whole_characters(genet__str(pending), pending->n);
    for (size_t at = 0; at < whole;) {
        uint32_t code;
        int n = genet__utf8_decode(pending->at + at, whole - at, &code);
        if (n > 0) genet__str_add_n(&out, pending->at + at, (size_t)n);
        else genet__str_add(&out, "\xef\xbf\xbd");
        at += n > 0 ? (size_t)n : 1;
    }
    bool go_on = !out.n || g->piece(g->user, out.at, out.n);
    size_t rest = pending->n - whole;
    if (rest) memmove(pending->at, pending->at + whole, rest);
    if (pending->at) pending->at[rest] = 0;
    pending->n = rest;
    genet__str_release(&out);
    return go_on;
}

/* By the config's field; -1: the family has none. */
static int32_t end_token(const model *m)
{
    const field *f = genet__fields_find(m->family->config, "eos_token_id");
    return f ? (int32_t)*(const int64_t *)((const char *)m->config + f->offset) : -1;
}

static bool all_finite(const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i])) return false;
    return true;
}

/* The i-th choice depends on seed, i and the logits alone. */
static bool write_tokens(decoder *d, const tokenizer *t, const generation *g, str *pending, genet_err *err)
{
    uint32_t stream = genet__rng_stream("sample");
    int32_t end = end_token(d->model);
    for (int64_t i = 0; i < g->n_tokens; i++) {
        if (!all_finite(d->logits, d->vocab))
            return genet__err_set(err, GENET_ERR_FORMAT, "the model's answer is not finite: the weights are damaged");
        double draw = genet__rng_uniform((uint64_t)g->sampling.seed, stream, 0, (uint64_t)i);
        int32_t id = genet__sample(d->logits, d->scratch, d->vocab, &g->sampling, draw);
        size_t n;
        const char *piece = genet__tokenizer_piece(t, id, &n);
        if (id == end) return true;
        if (!piece) return genet__err_set(err, GENET_ERR_FORMAT, "the model wrote token %d, which its tokenizer does not have", id);
        genet__str_add_n(pending, piece, n);
        if (!emit(pending, g, false)) return true;
        if (i + 1 < g->n_tokens) TRY(genet__decoder_read(d, &id, 1, err));
    }
    return true;
}

bool genet__generate(decoder *d, const tokenizer *t, const generation *g, genet_err *err)
{
    token_list ids = {0};
    str pending = {0};
    bool ok = genet__tokenizer_encode(t, g->prompt, strlen(g->prompt), &ids, err);
    if (ok && !ids.n) ok = genet__err_set(err, GENET_ERR_USAGE, "the prompt is empty: there is nothing to continue");
    genet__decoder_reset(d);
    int64_t skipped = ids.n > d->window ? ids.n - d->window : 0;      /* what would have been forgotten is not read */
    ok = ok && genet__decoder_read(d, ids.at + skipped, ids.n - skipped, err);
    if (ok) {
        genet__str_add(&pending, g->prompt);
        if (emit(&pending, g, false)) ok = write_tokens(d, t, g, &pending, err);
        if (ok) emit(&pending, g, true);
    }
    if (pending.failed) ok = genet__err_memory(err);
    genet__token_list_release(&ids);
    genet__str_release(&pending);
    return ok;
}
