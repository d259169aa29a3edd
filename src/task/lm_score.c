/* lm_score.c - how well a language model predicts texts: a text as a whole, in blocks or in strided windows, or each
 * line by itself.
 *
 * All of these become windows: up to T input tokens from a sequence, each predicting the next one, of which the
 * first `skip` predictions do not count.  Windows wait in a queue, are put in order of their lengths and run many at
 * a time in plans of a few sizes (rows and T are powers of two, but for the longest T); each adds to the tally of
 * its text or line.  The answer for one token is log sum exp of its logits minus its own logit (f32 as the plan has
 * them, summed in double).
 *
 * The model is only read: graphs are built on params beside its own, and so many threads may score with it. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "infer/generate.h"
#include "task/lm.h"
#include "text/space.h"

enum {
    QUEUE = 4096, SHORTEST = 16,
    BATCH_TOKENS = 4096, BATCH_LOGITS = 1 << 25,        /* of one run; one row is run however long it is */
    LINES = 1024, LINES_BYTES = 1 << 22, LINES_TOKENS = 1 << 20,        /* read before they are scored */
};

#define AT(member) offsetof(lm_score_options, member)
static const field option_fields[] = {
    { "stride",  FIELD_INT, AT(stride),  "0", 0, 1 << 24, NULL, 0,
      "0: blocks that do not overlap; else windows that begin this many tokens apart" },
    { "context", FIELD_INT, AT(context), "0", 0, 1 << 24, NULL, 0,
      "tokens that the model is shown at once; 0: as many as it can see" },
};
const fields genet__lm_score_fields = { "windows", option_fields, sizeof option_fields / sizeof *option_fields };

/* A sequence of tokens: on disk, or in memory. */
typedef struct span { const corpus *corpus; const int32_t *ids; int64_t n; } span;
/* Of predicted tokens; nll: their negative log-likelihood, nats. */
typedef struct tally { double nll; int64_t tokens, bytes, unknown; } tally;
/* Inputs at .. at+n-1 predict at+1 .. at+n, of which the first `skip` do not count. */
typedef struct window { const span *of; tally *to; int64_t at, n, skip, order; } window;
/* A plan of (rows, T) tokens. */
typedef struct pass { graph *graph; genet_plan *plan; tensor *x, *target, *lse, *picked; int64_t rows, T; } pass;

typedef struct scorer {
    model            model;             /* the caller's, with params beside its own */
    const tokenizer *tokenizer;
    genet_workspace *workspace;
    int64_t          stride, context, T, vocab;         /* T: inputs of the longest window */
    int32_t          bos, unknown;      /* -1: none */
    bool             words;             /* tokens are words: what stands between them is in no token */
    pass            *pass;
    int              n_pass, cap_pass;
    window           queue[QUEUE];
    int64_t          n_queue;
    int32_t         *x, *target;        /* of one run */
    float           *lse, *picked;
} scorer;

/* --- opening ------------------------------------------------------------------------ */

/* What model and options allow. */
static bool settle(scorer *s, const model *m, const lm_score_options *o, genet_err *err)
{
    if (m->head->kind != HEAD_LM)
        return genet__err_set(err, GENET_ERR_USAGE, "a %s does not predict the next token", m->head->architecture);
    int64_t sees = *genet__model_int(m, m->family->context);
    s->stride = o ? o->stride : 0;
    s->context = o && o->context ? o->context : sees;
    s->vocab = *genet__model_int(m, m->family->vocab_size);
    if (s->context < 1 || s->context > sees)
        return genet__err_set(err, GENET_ERR_USAGE, "context %lld: the model sees 1 to %lld tokens",
                              (long long)s->context, (long long)sees);
    if (s->stride < 0 || s->stride > s->context)
        return genet__err_set(err, GENET_ERR_USAGE, "stride %lld: between windows of %lld tokens (context) some would be "
                              "left out", (long long)s->stride, (long long)s->context);
    if (s->stride && s->context < 2)
        return genet__err_set(err, GENET_ERR_USAGE, "a window of 1 token (context) has nothing to predict");
    if (genet__tokenizer_size(s->tokenizer) > s->vocab)
        return genet__err_set(err, GENET_ERR_FORMAT, "the tokenizer has %d tokens and the model only %lld: they do not "
                              "belong together", genet__tokenizer_size(s->tokenizer), (long long)s->vocab);
    s->T = s->stride ? s->context - 1 : s->context;
    s->bos = genet__model_token(m, "bos_token_id");
    return true;
}

static void scorer_free(scorer *s)
{
    if (!s) return;
    for (int i = 0; i < s->n_pass; i++) {
        genet_plan_free(s->pass[i].plan);
        genet_graph_free(s->pass[i].graph);
    }
    genet__params_free(s->model.params);
    genet__free(s->pass);
    genet__free(s->x);
    genet__free(s->target);
    genet__free(s->lse);
    genet__free(s->picked);
    genet__free(s);
}

static bool scorer_init(scorer *s, const model *m, const tokenizer *t, genet_workspace *w, const lm_score_options *o,
                        genet_err *err)
{
    s->model = *m;
    s->model.params = NULL;
    s->tokenizer = t;
    s->workspace = w;
    TRY(settle(s, m, o, err));
    s->unknown = genet__tokenizer_unknown(t);
    s->words = genet__tokenizer_has_gaps(t);
    size_t most = s->T > BATCH_TOKENS ? (size_t)s->T : BATCH_TOKENS;
    s->x = genet__alloc_array(most, sizeof *s->x);
    s->target = genet__alloc_array(most, sizeof *s->target);
    s->lse = genet__alloc_array(most, sizeof *s->lse);
    s->picked = genet__alloc_array(most, sizeof *s->picked);
    if (!s->x || !s->target || !s->lse || !s->picked) return genet__err_memory(err);
    s->model.params = genet__params_beside(m->params, err);
    return s->model.params;
}

static scorer *scorer_new(const model *m, const tokenizer *t, genet_workspace *w, const lm_score_options *o,
                          genet_err *err)
{
    scorer *s = genet__alloc(sizeof *s);
    if (!s) genet__err_memory(err);
    else if (!scorer_init(s, m, t, w, o, err)) {
        scorer_free(s);
        s = NULL;
    }
    return s;
}

/* --- plans -------------------------------------------------------------------------- */

/* Of each position: log sum exp over the vocabulary, and the logit of its target (0 where it has none). */
static bool build(pass *p, scorer *s, genet_err *err)
{
    net n = { .graph = p->graph, .params = s->model.params };
    p->x = genet_input(p->graph, "x", GENET_I32, GENET_DIMS(p->rows, p->T));
    p->target = genet_input(p->graph, "target", GENET_I32, GENET_DIMS(p->rows, p->T));
    tensor *logits = genet__model_forward(&s->model, &n, &(model_inputs){ .x = p->x });     /* (rows, T, V) */
    p->lse = genet_side(genet_cross_entropy(logits, p->target, NO_TARGET, 0), 2);
    p->picked = genet_gather_last(logits, genet_reshape(p->target, GENET_DIMS(p->rows, p->T, 1)));
    tensor *out[] = { p->lse, p->picked };
    p->plan = genet_compile(p->graph, out, 2, s->model.params->device, NULL, err);
    return p->plan && genet_plan_attach(p->plan, s->workspace, err) &&
           genet__params_bind(s->model.params, p->graph, p->plan, err);
}

/* The plan of this size, made when it is wanted first; NULL: err says why. */
static pass *pass_of(scorer *s, int64_t rows, int64_t T, genet_err *err)
{
    for (int i = 0; i < s->n_pass; i++)
        if (s->pass[i].rows == rows && s->pass[i].T == T) return &s->pass[i];
    graph *g = GROW(s->pass, s->n_pass, s->cap_pass) ? genet_graph_new() : NULL;
    if (!g) {
        genet__err_memory(err);
        return NULL;
    }
    pass *p = &s->pass[s->n_pass++];        /* freed with s from here on */
    *p = (pass){ .graph = g, .rows = rows, .T = T };
    return build(p, s, err) ? p : NULL;
}

/* Plan lengths: few, and little padding. */
static int64_t plan_length(const scorer *s, int64_t n)
{
    int64_t T = SHORTEST;
    while (T < n) T *= 2;
    return T < s->T ? T : s->T;
}

/* Rows for so many waiting windows: a power of two, within the limits of one run. */
static int64_t plan_rows(const scorer *s, int64_t T, int64_t waiting)
{
    int64_t rows = 1;
    while (rows < waiting && 2 * rows * T <= BATCH_TOKENS && 2 * rows * T <= BATCH_LOGITS / s->vocab) rows *= 2;
    return rows;
}

/* --- running ------------------------------------------------------------------------ */

static void span_read(const span *s, int64_t from, int64_t n, int32_t *to)
{
    if (s->corpus) genet__corpus_read(s->corpus, from, n, to);
    else memcpy(to, s->ids + from, (size_t)n * sizeof *to);
}

/* What a window does not fill predicts nothing, and causal attention keeps it unseen. */
static void fill_row(scorer *s, const pass *p, int64_t row, const window *w)
{
    int32_t *x = s->x + row * p->T, *y = s->target + row * p->T;
    int64_t n = w ? w->n : 0;
    if (w) {
        span_read(w->of, w->at, n, x);
        span_read(w->of, w->at + 1, n, y);
    }
    for (int64_t i = 0; w && i < w->skip; i++) y[i] = NO_TARGET;
    for (int64_t i = n; i < p->T; i++) {
        x[i] = 0;
        y[i] = NO_TARGET;
    }
}

/* Every sum of its own in double: a text of any length loses nothing. */
static bool add_row(const scorer *s, const pass *p, int64_t row, const window *w, genet_err *err)
{
    tally *to = w->to;
    for (int64_t i = row * p->T + w->skip; i < row * p->T + w->n; i++) {
        double nll = (double)s->lse[i] - (double)s->picked[i];
        size_t bytes = 0;
        if (!isfinite(nll))
            return genet__err_set(err, GENET_ERR_FORMAT, "the model's answer is not finite: the weights are damaged");
        genet__tokenizer_piece(s->tokenizer, s->target[i], &bytes);
        to->nll += nll;
        to->tokens++;
        to->bytes += (int64_t)bytes;
        to->unknown += s->target[i] == s->unknown;
    }
    return true;
}

/* n windows, n <= p->rows. */
static bool run(scorer *s, pass *p, const window *w, int64_t n, genet_err *err)
{
    size_t size = (size_t)(p->rows * p->T) * sizeof(float);     /* an id's as well */
    for (int64_t row = 0; row < p->rows; row++) fill_row(s, p, row, row < n ? w + row : NULL);
    TRY(genet_plan_write(p->plan, p->x, s->x, size, err));
    TRY(genet_plan_write(p->plan, p->target, s->target, size, err));
    TRY(genet_plan_run(p->plan, err));
    TRY(genet_plan_read(p->plan, p->lse, s->lse, size, err));
    TRY(genet_plan_read(p->plan, p->picked, s->picked, size, err));
    for (int64_t row = 0; row < n; row++) TRY(add_row(s, p, row, w + row, err));
    return true;
}

/* Longest first, else as they came: the order of sums is always the same. */
static int by_length(const void *a, const void *b)
{
    const window *v = a, *w = b;
    if (v->n != w->n) return v->n > w->n ? -1 : 1;
    return v->order < w->order ? -1 : v->order > w->order;
}

static bool run_queue(scorer *s, genet_err *err)
{
    qsort(s->queue, (size_t)s->n_queue, sizeof *s->queue, by_length);
    for (int64_t at = 0, n; at < s->n_queue; at += n) {
        int64_t T = plan_length(s, s->queue[at].n), last = at + 1;
        while (last < s->n_queue && plan_length(s, s->queue[last].n) == T) last++;
        int64_t rows = plan_rows(s, T, last - at);
        n = rows < last - at ? rows : last - at;
        pass *p = pass_of(s, rows, T, err);
        TRY(p && run(s, p, s->queue + at, n, err));
    }
    s->n_queue = 0;
    return true;
}

/* --- windows ------------------------------------------------------------------------ */

static bool add_window(scorer *s, const span *of, tally *to, int64_t at, int64_t n, int64_t skip, genet_err *err)
{
    if (n <= skip) return true;
    if (s->n_queue == QUEUE) TRY(run_queue(s, err));
    s->queue[s->n_queue] = (window){ of, to, at, n, skip, s->n_queue };
    s->n_queue++;
    return true;
}

/* Blocks: inputs follow each other, so that every token but the first is predicted once. */
static bool add_blocks(scorer *s, const span *of, tally *to, genet_err *err)
{
    for (int64_t at = 0, left; (left = of->n - 1 - at) > 0; at += s->T)
        TRY(add_window(s, of, to, at, left < s->T ? left : s->T, 0, err));
    return true;
}

/* Windows as in transformers' guide "Perplexity of fixed-length models": tokens begin .. end-1, of which those are
 * targets that no window before had; the very first one of a window has nothing before it there, and is not predicted. */
static bool add_strides(scorer *s, const span *of, tally *to, genet_err *err)
{
    int64_t before = 0;         /* where the window before ended */
    for (int64_t begin = 0, end = 0; end < of->n; begin += s->stride) {
        end = of->n - begin < s->context ? of->n : begin + s->context;
        int64_t known = before - begin - 1;         /* predictions of tokens that have been targets */
        TRY(add_window(s, of, to, begin, end - begin - 1, known > 0 ? known : 0, err));
        before = end;
    }
    return true;
}

/* of and to must last until the queue has run. */
static bool add_span(scorer *s, const span *of, tally *to, genet_err *err)
{
    return s->stride ? add_strides(s, of, to, err) : add_blocks(s, of, to, err);
}

/* --- scores ------------------------------------------------------------------------- */

static int64_t count_words(const char *text, size_t n)
{
    int64_t words = 0;
    bool inside = false;
    for (size_t at = 0, space; at < n; at += space ? space : 1) {
        space = genet__space_at(text + at, n - at);
        words += !space && !inside;
        inside = !space;
    }
    return words;
}

/* Words do not hold the white space between them, and unknown ones not their letters: the bytes of such a text are
 * all n it has, but for those of its first word, which is not predicted (as genet__corpus_bytes). */
static int64_t bytes_of_words(const scorer *s, int32_t first_id, size_t n)
{
    size_t first = 0;
    if (first_id != s->unknown) genet__tokenizer_piece(s->tokenizer, first_id, &first);
    return (int64_t)(n - first);
}

/* Nothing predicted: tokens 0, log-probability 0, and means that are NaN. */
static void write_score(genet_score *out, const tally *t, int64_t words)
{
    double nll = t->nll, tokens = (double)t->tokens;
    *out = (genet_score){ .loss = NAN, .perplexity = NAN, .word_perplexity = NAN, .bits_per_byte = NAN,
                          .log_probability = nll ? -nll : 0, .tokens = t->tokens, .words = words, .bytes = t->bytes,
                          .unknown = t->unknown };
    if (!t->tokens) return;
    out->loss = nll / tokens;
    out->perplexity = exp(out->loss);
    if (words) out->word_perplexity = exp(nll / (double)words);
    if (t->bytes) out->bits_per_byte = nll / log(2) / (double)t->bytes;
}

/* All of one sequence. */
static bool score_span(scorer *s, const span *of, tally *to, genet_err *err)
{
    if (of->n < 2)
        return genet__err_set(err, GENET_ERR_FORMAT, "the text has %lld tokens; evaluation needs 2 at least",
                              (long long)of->n);
    return add_span(s, of, to, err) && run_queue(s, err);
}

bool genet__lm_score_text(const model *m, const tokenizer *t, genet_workspace *w, const char *text, size_t n,
                          const lm_score_options *o, genet_score *out, genet_err *err)
{
    token_list ids = {0};
    tally sum = {0};
    scorer *s = scorer_new(m, t, w, o, err);
    bool ok = s && genet__tokenizer_encode(t, text, n, &ids, err);
    span all = { .ids = ids.at, .n = ids.n };
    ok = ok && score_span(s, &all, &sum, err);
    if (ok && s->words) sum.bytes = bytes_of_words(s, ids.at[0], n);
    if (ok) write_score(out, &sum, count_words(text, n));
    genet__token_list_release(&ids);
    scorer_free(s);
    return ok;
}

bool genet__lm_score_files(const model *m, const tokenizer *t, genet_workspace *w, const char *const *paths, int n_paths,
                           const lm_score_options *o, genet_score *out, genet_err *err)
{
    corpus c = {0};
    tally sum = {0};
    scorer *s = scorer_new(m, t, w, o, err);
    text_source *source = s ? genet__source_open(paths, n_paths, NULL, err) : NULL;
    bool ok = source && genet__corpus_temporary(&c, source, t, err) &&
              score_span(s, &(span){ .corpus = &c, .n = c.n_tokens }, &sum, err);
    if (ok && s->words) sum.bytes = genet__corpus_bytes(&c, t, 1, c.n_tokens);
    if (ok) write_score(out, &sum, c.n_words);
    genet__corpus_close(&c);
    genet__source_close(source);
    scorer_free(s);
    return ok;
}

/* --- lines -------------------------------------------------------------------------- */

/* Its text and its ids, in what was read of the whole. */
typedef struct line { size_t text, n; int first_id; span span; tally sum; } line;

/* Lines that were read and wait to be scored together, so that plans are full. */
typedef struct line_reader {
    scorer      *scorer;
    str          text;
    token_list   ids;
    line         line[LINES];
    int          n;
    size_t       begin;         /* of the line being read, in text */
    int64_t      number;        /* of lines told so far */
    lm_line_fn  *tell;
    void        *user;
    bool         ended;         /* tell has heard enough */
} line_reader;

static bool score_lines(line_reader *r, genet_err *err)
{
    scorer *s = r->scorer;
    for (int i = 0; i < r->n; i++) {
        line *l = &r->line[i];
        int last = i + 1 < r->n ? r->line[i + 1].first_id : r->ids.n;
        l->span = (span){ .ids = r->ids.at + l->first_id, .n = last - l->first_id };
        TRY(add_span(s, &l->span, &l->sum, err));
    }
    return run_queue(s, err);
}

static void tell_line(line_reader *r, line *l)
{
    const char *text = genet__str(&r->text) + l->text;
    genet_score score;
    if (r->scorer->words && l->sum.tokens)
        l->sum.bytes = r->scorer->bos >= 0 ? (int64_t)l->n : bytes_of_words(r->scorer, l->span.ids[0], l->n);
    write_score(&score, &l->sum, count_words(text, l->n));
    r->ended = !r->tell(r->user, ++r->number, text, l->n, &score);
}

/* Score what waits, tell it in order, and begin anew. */
static bool flush_lines(line_reader *r, genet_err *err)
{
    TRY(score_lines(r, err));
    for (int i = 0; i < r->n && !r->ended; i++) tell_line(r, &r->line[i]);
    r->n = 0;
    r->ids.n = 0;
    r->begin = 0;
    genet__str_clear(&r->text);
    return true;
}

/* A line is whole: what came since `begin`; it ends at byte `end` of the piece that source gave.  An empty one has
 * no ids at all. */
static bool end_line(line_reader *r, const text_source *source, ptrdiff_t end, genet_err *err)
{
    size_t bad = 0, n = r->text.n - r->begin;
    token_list *ids = &r->ids;
    if (r->text.failed) return genet__err_memory(err);
    r->line[r->n] = (line){ .text = r->begin, .n = n, .first_id = ids->n };
    if (n && r->scorer->bos >= 0) {
        if (!GROW(ids->at, ids->n, ids->cap)) return genet__err_memory(err);
        ids->at[ids->n++] = r->scorer->bos;
    }
    if (!genet__tokenizer_encode_at(r->scorer->tokenizer, genet__str(&r->text) + r->begin, n, ids, &bad, err))
        return genet__source_prefix(source, end - (ptrdiff_t)n + (ptrdiff_t)bad, err) ||
               genet__err_prefix(err, "line %lld: ", (long long)(r->number + r->n + 1));
    r->n++;
    r->begin = r->text.n;
    return (r->n < LINES && r->text.n < LINES_BYTES && ids->n < LINES_TOKENS) || flush_lines(r, err);
}

/* Of the line end \r\n: how many bytes go. */
static ptrdiff_t drop_return(line_reader *r)
{
    str *s = &r->text;
    if (s->failed || s->n == r->begin || s->at[s->n - 1] != '\r') return 0;
    s->at[--s->n] = 0;
    return 1;
}

static bool read_lines(line_reader *r, text_source *source, genet_err *err)
{
    const char *text;
    size_t n;
    for (;;) {
        TRY(genet__source_next(source, &text, &n, err));
        if (!n) break;
        for (const char *at = text, *last = text + n; at < last && !r->ended;) {
            const char *end = memchr(at, '\n', (size_t)(last - at));
            genet__str_add_n(&r->text, at, (size_t)((end ? end : last) - at));
            if (end) TRY(end_line(r, source, end - text - drop_return(r), err));
            at = end ? end + 1 : last;
        }
        if (r->ended) return true;
    }
    if (r->text.failed) return genet__err_memory(err);
    return (r->text.n == r->begin || end_line(r, source, 0, err)) && flush_lines(r, err);
}

bool genet__lm_score_lines(const model *m, const tokenizer *t, genet_workspace *w, const char *const *paths, int n_paths,
                           const lm_score_options *o, lm_line_fn *tell, void *user, genet_err *err)
{
    scorer *s = scorer_new(m, t, w, o, err);
    text_source *source = s ? genet__source_open(paths, n_paths, NULL, err) : NULL;
    line_reader *r = source ? genet__alloc(sizeof *r) : NULL;
    bool ok = r || (source && genet__err_memory(err));
    if (ok) {
        r->scorer = s;
        r->tell = tell;
        r->user = user;
        ok = read_lines(r, source, err);
        genet__token_list_release(&r->ids);
        genet__str_release(&r->text);
    }
    genet__free(r);
    genet__source_close(source);
    scorer_free(s);
    return ok;
}

/* --- what may follow a text --------------------------------------------------------- */

struct lm_scorer { scorer *scorer; token_list ids; int32_t first, always; span *span; tally *tally; int cap_span, cap_tally; };

lm_scorer *genet__lm_scorer_new(const model *m, const tokenizer *t, genet_workspace *w, genet_err *err)
{
    lm_scorer *s = genet__alloc(sizeof *s);
    if (!s) genet__err_memory(err);
    else if ((s->scorer = scorer_new(m, t, w, NULL, err)) && genet__prompt_begin(m, t, &s->always, err)) {
        s->first = s->scorer->bos >= 0 ? s->scorer->bos : genet__model_token(m, "eos_token_id");
        return s;
    }
    genet__lm_scorer_free(s);
    return NULL;
}

void genet__lm_scorer_free(lm_scorer *s)
{
    if (!s) return;
    scorer_free(s->scorer);
    genet__token_list_release(&s->ids);
    genet__free(s->span);
    genet__free(s->tally);
    genet__free(s);
}

/* Bytes of text without white space at its end. */
static size_t without_space(const char *text)
{
    size_t n = strlen(text);
    for (size_t before; n && (before = genet__utf8_before(text, n, &(uint32_t){0})) &&
         genet__space_at(text + n - before, before) == before;) n -= before;
    return n;
}

/* How many tokens the context has by itself; with the one before every text, put into the list, where the tokenizer says so or
 * the context has no text. */
static bool count_context(lm_scorer *s, const char *text, size_t n, int *count, genet_err *err)
{
    token_list own = {0};
    bool ok = genet__tokenizer_encode(s->scorer->tokenizer, text, n, &own, err);
    *count = own.n;
    genet__token_list_release(&own);
    if (!ok || (*count && s->always < 0)) return ok;
    if (s->first < 0)
        return genet__err_set(err, GENET_ERR_USAGE, "an empty context: this model has no token to begin with");
    if (!GROW(s->ids.at, s->ids.n, s->ids.cap)) return genet__err_memory(err);
    s->ids.at[s->ids.n++] = s->first;
    ++*count;
    return true;
}

/* The pair's ids go to the end of the list; its span's n counts them, its tally's tokens those of the context. */
static bool encode_pair(lm_scorer *s, const lm_pair *p, span *of, tally *to, genet_err *err)
{
    int begin = s->ids.n, context;
    str both = {0};
    TRY(count_context(s, p->context, without_space(p->context), &context, err));
    genet__str_add(&both, p->context);
    genet__str_add(&both, p->continuation);
    bool ok = !both.failed || genet__err_memory(err);
    ok = ok && genet__tokenizer_encode(s->scorer->tokenizer, genet__str(&both), both.n, &s->ids, err);
    genet__str_release(&both);
    *of = (span){ .n = s->ids.n - begin };
    *to = (tally){ .tokens = context };
    if (ok && of->n <= context)
        return genet__err_set(err, GENET_ERR_USAGE, "\"%.40s\" has no tokens of its own after its context", p->continuation);
    if (ok && of->n - context > s->scorer->T)
        return genet__err_set(err, GENET_ERR_USAGE, "\"%.40s...\" has %lld tokens; the model sees %lld", p->continuation,
                              (long long)(of->n - context), (long long)s->scorer->T);
    return ok;
}

/* One window that ends with the sequence, and counts what follows the context. */
static bool add_pair(lm_scorer *s, const span *of, tally *to, genet_err *err)
{
    int64_t context = to->tokens, at = of->n - 1 - s->scorer->T;
    if (at < 0) at = 0;
    to->tokens = 0;
    return add_window(s->scorer, of, to, at, of->n - 1 - at, context - 1 - at, err);
}

bool genet__lm_score_pairs(lm_scorer *s, lm_pair *pair, int n, genet_err *err)
{
    int64_t at = 0;
    s->ids.n = 0;
    if (!genet__grow(&s->span, &s->cap_span, n, sizeof *s->span)) return genet__err_memory(err);
    if (!genet__grow(&s->tally, &s->cap_tally, n, sizeof *s->tally)) return genet__err_memory(err);
    for (int i = 0; i < n; i++) TRY(encode_pair(s, &pair[i], &s->span[i], &s->tally[i], err));
    for (int i = 0; i < n; i++) {
        s->span[i].ids = s->ids.at + at;
        at += s->span[i].n;
    }
    for (int i = 0; i < n; i++) TRY(add_pair(s, &s->span[i], &s->tally[i], err));
    TRY(run_queue(s->scorer, err));
    for (int i = 0; i < n; i++) {
        pair[i].log_probability = -s->tally[i].nll;
        pair[i].tokens = s->tally[i].tokens;
    }
    return true;
}
