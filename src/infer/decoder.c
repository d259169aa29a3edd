/* decoder.c - reading through caches of keys and values, for B sequences at once.
 *
 * Several plans share the model's weights, which are only read, and caches of their own, each compiled when it is first
 * needed: LEVELS read the beginning, one sequence into cache row 0, in runs of falling length (the last one of the
 * shortest is padded: causal attention keeps the padding unseen, and later tokens overwrite its keys); one more reads
 * a token of each of the B rows.
 *
 * All rows begin with one prompt, which stands in cache row 0 alone.  rows[b][s] says which cache row holds row b's key
 * at position s, so that a row that goes on from another moves no keys.  One sequence needs no such table.
 *
 * Of a model with an encoder each row has a source, which an encode plan (one source at a time, of one of several lengths) has
 * read: its keys and values stand in caches of N memories, and memory_of says which of them a row reads.  A text begins
 * row by row there: what stands in its caches depends on the source.
 *
 * Which tokens are read together follows from how many there are, and only what would be read in the same way is kept
 * for the next text: what begin answers depends on its ids alone, to the last bit. */
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "infer/generate.h"

/* Tokens in a run of each level: long ones make full use of the weights that are read for them, short ones waste little
 * on the rest. */
enum { LEVELS = 3, LONGEST = 256, SMALL_WINDOW = 32 };
/* Lengths that sources are read at: 16, 32, ... up to the context. */
enum { ENCODERS = 18, SHORTEST_SOURCE = 16 };
static const int64_t level_tokens[LEVELS] = { LONGEST, 32, 8 };

typedef struct reader {
    graph      *graph;
    genet_plan *plan;
    tensor     *x, *position, *select, *rows, *logits;      /* select: levels only; rows: B > 1 only */
    tensor     *lengths, *memory_row, *memory_of;           /* of a model with an encoder */
    int64_t     B, T;           /* sequences, and tokens of each in a run */
} reader;

struct decoder {
    const model *model;
    params      *params;        /* caches, beside the model's weights */
    genet_workspace *workspace; /* the user's */
    reader       level[LEVELS], one;
    int          n_level;
    int64_t      B, S, V;       /* rows, window, vocabulary */
    int32_t     *text;          /* (B, S): the ids in the window */
    int32_t     *rows;          /* (B, S) */
    int32_t     *other;         /* (B, S): text or rows while they are permuted; zeros for the levels' plans */
    int64_t      n;             /* tokens in the window, in every row */
    int64_t      read_to[LEVELS];       /* of them, the same in all rows and in cache row 0: up to where whole runs of
                                           this level, or longer ones, have read */
    int64_t      begun;         /* so many tokens the latest text began with: they are held in all rows still.  0: none */
    float       *first;         /* (V): the logits after them */
    float       *logits;        /* (B, V) */

    int64_t      N, M;          /* sources, and tokens of the longest; 0: the model reads none */
    reader       encoder[ENCODERS];
    int          n_encoder;
    int32_t     *memory_of;     /* (B, M): b / (B / N), of what was given */
    int32_t     *source_length; /* (B) */
    bool         has_sources;
};

/* --- plans ----------------------------------------------------------------------- */

/* r->B rows of r->T new tokens at `position`; of a level's the logits of token `select`. */
static bool build(reader *r, decoder *d, genet_err *err)
{
    int64_t B = r->B, T = r->T;
    if (!(r->graph = genet_graph_new())) return genet__err_memory(err);
    graph *g = r->graph;
    net n = { .graph = g, .params = d->params };
    r->x = genet_input(g, "x", GENET_I32, GENET_DIMS(B, T));
    r->position = genet_input(g, "position", GENET_I32, GENET_DIMS(B));
    if (r != &d->one) r->select = genet_input(g, "select", GENET_I32, GENET_DIMS(1));
    if (d->B > 1) r->rows = genet_input(g, "rows", GENET_I32, GENET_DIMS(B, d->S));
    if (d->N) {
        r->lengths = genet_input(g, "lengths", GENET_I32, GENET_DIMS(B));
        r->memory_of = genet_input(g, "memory_of", GENET_I32, GENET_DIMS(B, d->M));
    }
    model_inputs in = { .x = r->x, .position = r->position, .select = r->select, .cache_length = d->S,
                        .cache_rows = d->B, .rows = r->rows, .memory_length = d->M, .memory_rows = d->N,
                        .memory_of = r->memory_of, .source_lengths = r->lengths };
    r->logits = genet_copy(genet__model_forward(d->model, &n, &in));
    r->plan = genet_compile(g, &r->logits, 1, d->params->device, NULL, err);
    return r->plan;
}

/* One source of up to r->T tokens, into a row of the memories. */
static bool build_encoder(reader *r, decoder *d, genet_err *err)
{
    if (!(r->graph = genet_graph_new())) return genet__err_memory(err);
    graph *g = r->graph;
    net n = { .graph = g, .params = d->params };
    r->x = genet_input(g, "source", GENET_I32, GENET_DIMS(1, r->T));
    r->lengths = genet_input(g, "lengths", GENET_I32, GENET_DIMS(1));
    r->memory_row = genet_input(g, "memory_row", GENET_I32, GENET_DIMS(1));
    model_inputs in = { .source = r->x, .source_lengths = r->lengths, .memory_length = d->M, .memory_rows = d->N,
                        .memory_row = r->memory_row };
    tensor *memory = d->model->head->encode(&n, d->model->config, &in);
    r->plan = genet_compile(g, &memory, 1, d->params->device, NULL, err);
    return r->plan;
}

static bool is_encoder(const reader *r, const decoder *d) { return r >= d->encoder && r < d->encoder + ENCODERS; }

static void release(reader *r)
{
    genet_plan_free(r->plan);
    genet_graph_free(r->graph);
    r->plan = NULL;
    r->graph = NULL;
}

/* The plan of r, compiled now if it was not needed before; the first one gives the caches their memory. */
static bool need(reader *r, decoder *d, genet_err *err)
{
    if (r->plan) return true;
    if ((is_encoder(r, d) ? build_encoder : build)(r, d, err) && genet__params_place(d->params, err) && genet__params_fill(d->params, err) &&
        genet_plan_attach(r->plan, d->workspace, err) && genet__params_bind(d->params, r->graph, r->plan, err)) return true;
    release(r);
    return false;
}

/* The least of the lengths that holds n tokens of a source. */
static int64_t source_level(const decoder *d, int64_t n)
{
    int64_t level = SHORTEST_SOURCE;
    while (level < n) level *= 2;
    return level < d->S ? level : d->S;
}

static void set_encoders(decoder *d)
{
    for (int64_t T = source_level(d, 1);; T = source_level(d, T + 1)) {
        d->encoder[d->n_encoder++] = (reader){ .B = 1, .T = T };
        if (T >= d->M || d->n_encoder == ENCODERS) return;
    }
}

/* Of a small window one run reads all. */
static void set_levels(decoder *d)
{
    d->one.B = d->B, d->one.T = 1;
    if (d->N) {
        set_encoders(d);
        return;
    }
    for (int i = 0; i < LEVELS; i++)
        if (level_tokens[i] <= d->S || d->S < SMALL_WINDOW) {
            reader *r = &d->level[d->n_level++];
            r->B = 1;
            r->T = d->S < SMALL_WINDOW ? d->S : level_tokens[i];
            if (d->S < SMALL_WINDOW) return;
        }
}

static bool set_up(decoder *d, genet_err *err)
{
    size_t n = (size_t)d->B * (size_t)d->S;
    set_levels(d);
    d->text = genet__alloc_array(n, sizeof *d->text);
    d->rows = genet__alloc_array(n, sizeof *d->rows);
    d->other = genet__alloc_array(n, sizeof *d->other);
    d->logits = genet__alloc_array((size_t)d->B * (size_t)d->V, sizeof *d->logits);
    d->first = genet__alloc_array((size_t)d->V, sizeof *d->first);
    if (!d->text || !d->rows || !d->other || !d->first || !d->logits) return genet__err_memory(err);
    if (d->N) {
        d->memory_of = genet__alloc_array((size_t)d->B * (size_t)d->M, sizeof *d->memory_of);
        d->source_length = genet__alloc_array((size_t)d->B, sizeof *d->source_length);
        if (!d->memory_of || !d->source_length) return genet__err_memory(err);
    }
    return (d->params = genet__params_beside(d->model->params, err));
}

/* sources 0: the model reads none. */
static decoder *new_decoder(const model *m, genet_workspace *w, int64_t sources, int64_t rows, int64_t source_tokens, genet_err *err)
{
    const family *f = m->family;
    decoder *d = genet__alloc(sizeof *d);
    if (!d) {
        genet__err_memory(err);
        return NULL;
    }
    d->model = m;
    d->B = rows;
    d->S = *genet__model_int(m, f->context);
    d->V = *genet__model_int(m, f->vocab_size);
    d->workspace = w;
    d->N = sources;
    if (sources) d->M = source_level(d, source_tokens);
    if (set_up(d, err)) return d;
    genet__decoder_free(d);
    return NULL;
}

decoder *genet__decoder_new(const model *m, genet_workspace *w, int64_t rows, genet_err *err)
{
    if (m->head->kind == HEAD_LM && !m->head->encode) return new_decoder(m, w, 0, rows, 0, err);
    genet__err_set(err, GENET_ERR_USAGE, m->head->encode ? "a %s reads one text and writes another: genet translate does that"
                                                         : "a %s writes no text", m->head->architecture);
    return NULL;
}

decoder *genet__decoder_new_reading(const model *m, genet_workspace *w, int64_t sources, int64_t rows_each, int64_t source_tokens,
                                    genet_err *err)
{
    if (m->head->encode) return new_decoder(m, w, sources, sources * rows_each, source_tokens, err);
    genet__err_set(err, GENET_ERR_USAGE, "a %s reads no source: genet generate continues texts", m->head->architecture);
    return NULL;
}

void genet__decoder_free(decoder *d)
{
    if (!d) return;
    for (int i = 0; i < LEVELS; i++) release(&d->level[i]);
    for (int i = 0; i < d->n_encoder; i++) release(&d->encoder[i]);
    release(&d->one);
    genet__params_free(d->params);
    genet__free(d->memory_of);
    genet__free(d->source_length);
    genet__free(d->text);
    genet__free(d->rows);
    genet__free(d->other);
    genet__free(d->first);
    genet__free(d->logits);
    genet__free(d);
}

int64_t genet__decoder_rows(const decoder *d) { return d->B; }
int64_t genet__decoder_sources(const decoder *d) { return d->N; }
int64_t genet__decoder_source_tokens(const decoder *d) { return d->M; }
int64_t genet__decoder_vocab(const decoder *d) { return d->V; }
int64_t genet__decoder_window(const decoder *d) { return d->S; }
int64_t genet__decoder_position(const decoder *d) { return d->n; }
const float *genet__decoder_logits(const decoder *d) { return d->logits; }

/* --- checks ------------------------------------------------------------------------- */

static bool ids_known(const decoder *d, const int32_t *ids, int64_t n, genet_err *err)
{
    for (int64_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= d->V)
            return genet__err_set(err, GENET_ERR_USAGE, "token %d is not among the model's %lld", ids[i], (long long)d->V);
    return true;
}

/* x - x is 0 unless x is infinite or NaN; no branch for each, so that it runs in vectors. */
static bool all_finite(const float *x, int64_t n)
{
    int bad = 0;
    for (int64_t i = 0; i < n; i++) bad |= !(x[i] - x[i] == 0);
    return !bad;
}

/* The logits of B rows into those of all. */
static bool read_logits(decoder *d, reader *r, int64_t B, genet_err *err)
{
    TRY(genet_plan_read(r->plan, r->logits, d->logits, (size_t)(B * d->V) * sizeof *d->logits, err));
    return all_finite(d->logits, B * d->V) ||
           genet__err_set(err, GENET_ERR_FORMAT, "the model's answer is not finite: the weights are damaged");
}

/* --- beginning ------------------------------------------------------------------------ */

/* n <= r->T ids at d->n into cache row 0. d->other is all zeros: the text is in that row. */
static bool read_by(reader *r, decoder *d, const int32_t *ids, int64_t n, genet_err *err)
{
    int32_t x[LONGEST] = {0}, position = (int32_t)d->n, last = (int32_t)(n - 1);
    memcpy(x, ids, (size_t)n * sizeof *x);
    TRY(need(r, d, err));
    TRY(genet_plan_write(r->plan, r->x, x, (size_t)r->T * sizeof *x, err));
    TRY(genet_plan_write(r->plan, r->position, &position, sizeof position, err));
    TRY(genet_plan_write(r->plan, r->select, &last, sizeof last, err));
    if (r->rows) TRY(genet_plan_write(r->plan, r->rows, d->other, (size_t)d->S * sizeof *d->other, err));
    TRY(genet_plan_run(r->plan, err));
    d->n += n;
    return true;
}

/* The n ids of the text from d->n on, in the longest runs that what is left fills; the logits of the last. */
static bool read_rest(decoder *d, int64_t n, genet_err *err)
{
    reader *r = &d->level[0], *shortest = &d->level[d->n_level - 1];
    memset(d->other, 0, (size_t)d->S * sizeof *d->other);
    while (d->n < n) {
        int64_t left = n - d->n;
        while (left < r->T && r < shortest) r++;
        TRY(read_by(r, d, d->text + d->n, left < r->T ? left : r->T, err));
    }
    return read_logits(d, r, 1, err);
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* How many of these ids are held already as they would be read now: of each level as long as both texts are read by
 * the same runs before.  The last run is made in any case, for its logits. */
static int64_t shared(const decoder *d, const int32_t *ids, int64_t n)
{
    int64_t same = 0, held = 0, most = least(n - 1, d->read_to[d->n_level - 1]);
    while (same < most && d->text[same] == ids[same]) same++;
    for (int i = 0; i < d->n_level; i++) {
        int64_t T = d->level[i].T, now = n / T * T;
        held = least(least(same, d->read_to[i]), now) / T * T;
        if (held != now || now != d->read_to[i]) break;
    }
    return held;
}

/* Nothing of what was begun can be gone back to. */
static void forget(decoder *d)
{
    memset(d->read_to, 0, sizeof d->read_to);
    d->begun = 0;
}

/* n <= S ids into row 0; they may lie there.  After a failure nothing is held. */
static bool read_begin(decoder *d, const int32_t *ids, int64_t n, genet_err *err)
{
    d->n = shared(d, ids, n);
    forget(d);
    memmove(d->text, ids, (size_t)n * sizeof *ids);
    if (!read_rest(d, n, err)) {
        d->n = 0;
        return false;
    }
    for (int i = 0; i < d->n_level; i++) d->read_to[i] = n / d->level[i].T * d->level[i].T;
    memcpy(d->first, d->logits, (size_t)d->V * sizeof *d->first);
    d->begun = n;
    return true;
}

/* What was begun before is gone back to without reading. */
static bool begin(decoder *d, const int32_t *ids, int64_t n, genet_err *err)
{
    bool same = d->begun == n && !memcmp(d->text, ids, (size_t)n * sizeof *ids);
    if (!same) TRY(read_begin(d, ids, n, err));
    for (int64_t b = 0; b < d->B; b++) {
        if (b) memcpy(d->text + b * d->S, d->text, (size_t)n * sizeof *ids);
        memcpy(d->logits + b * d->V, d->first, (size_t)d->V * sizeof *d->logits);
    }
    memset(d->rows, 0, (size_t)(d->B * d->S) * sizeof *d->rows);
    d->n = n;
    return true;
}

static bool begin_reading(decoder *d, const int32_t *ids, int64_t n, genet_err *err);

bool genet__decoder_begin(decoder *d, const int32_t *ids, int64_t n, genet_err *err)
{
    if (n < 1) return genet__err_set(err, GENET_ERR_USAGE, "a text begins with a token at least");
    if (n > d->S) ids += n - d->S, n = d->S;
    TRY(ids_known(d, ids, n, err));
    return d->N ? begin_reading(d, ids, n, err) : begin(d, ids, n, err);
}

/* Where the text that is held and these ids part. */
static int64_t common(const decoder *d, const int32_t *ids, int64_t n)
{
    int64_t same = 0;
    while (same < d->n && same < n && d->text[same] == ids[same]) same++;
    return same;
}

bool genet__decoder_rewind(decoder *d, const int32_t *ids, int64_t n, int64_t *kept, genet_err *err)
{
    if (d->B != 1) return genet__err_set(err, GENET_ERR_USAGE, "a decoder of %lld rows cannot go back", (long long)d->B);
    if (n < 1 || n > d->S)
        return genet__err_set(err, GENET_ERR_USAGE, "a text of %lld tokens; the model sees 1 to %lld", (long long)n,
                              (long long)d->S);
    TRY(ids_known(d, ids, n, err));
    int64_t same = common(d, ids, n);
    *kept = d->n = same < n ? same : n - 1;         /* the last one is read in any case, for its logits */
    forget(d);
    memmove(d->text, ids, (size_t)n * sizeof *ids);
    if (read_rest(d, n, err)) return true;
    d->n = 0;
    return false;
}

/* --- going on ------------------------------------------------------------------------- */

/* Row b of a (B, S) table becomes what row parent[b] was, as far as there is text. */
static void permute(decoder *d, int32_t **table, const int32_t *parent)
{
    int32_t *to = d->other, *from = *table;
    for (int64_t b = 0; b < d->B; b++)
        memcpy(to + b * d->S, from + parent[b] * d->S, (size_t)d->n * sizeof *to);
    d->other = from;
    *table = to;
}

/* Beyond the text a table may hold anything that was a row before. */
static bool follow(decoder *d, const int32_t *parent, genet_err *err)
{
    bool moved = false;
    for (int64_t b = 0; parent && b < d->B; b++) {
        if (parent[b] < 0 || parent[b] >= d->B)
            return genet__err_set(err, GENET_ERR_USAGE, "row %d is not among the %lld", parent[b], (long long)d->B);
        moved |= parent[b] != b;
    }
    if (moved) {
        permute(d, &d->text, parent);
        permute(d, &d->rows, parent);
    }
    return true;
}

/* The ids of column d->n of the text, one a row. */
static bool run_one(decoder *d, genet_err *err)
{
    reader *r = &d->one;
    int32_t *column = d->other;             /* B ids, then B positions */
    TRY(need(r, d, err));
    for (int64_t b = 0; b < d->B; b++) {
        column[b] = d->text[b * d->S + d->n];
        d->rows[b * d->S + d->n] = (int32_t)b;
    }
    TRY(genet_plan_write(r->plan, r->x, column, (size_t)d->B * sizeof *column, err));
    for (int64_t b = 0; b < d->B; b++) column[b] = (int32_t)d->n;
    TRY(genet_plan_write(r->plan, r->position, column, (size_t)d->B * sizeof *column, err));
    if (r->rows) TRY(genet_plan_write(r->plan, r->rows, d->rows, (size_t)(d->B * d->S) * sizeof *d->rows, err));
    if (d->N) {
        TRY(genet_plan_write(r->plan, r->memory_of, d->memory_of, (size_t)(d->B * d->M) * sizeof *d->memory_of, err));
        TRY(genet_plan_write(r->plan, r->lengths, d->source_length, (size_t)d->B * sizeof *d->source_length, err));
    }
    TRY(genet_plan_run(r->plan, err));
    d->n++;
    return true;
}

/* Forget the older half of every row, and read the newer again from position 0. */
static bool slide(decoder *d, genet_err *err)
{
    int64_t keep = d->S / 2, from = d->S - keep;
    if (d->N) return genet__err_set(err, GENET_ERR_USAGE, "the text has %lld tokens, as many as the model can write", (long long)d->S);
    if (d->B == 1) {
        memset(d->read_to, 0, sizeof d->read_to);
        return keep ? begin(d, d->text + from, keep, err) : (d->n = 0, true);
    }
    for (int64_t b = 0; b < d->B; b++)
        memmove(d->text + b * d->S, d->text + b * d->S + from, (size_t)keep * sizeof *d->text);
    memset(d->rows, 0, (size_t)(d->B * d->S) * sizeof *d->rows);
    forget(d);
    d->n = 0;
    while (d->n < keep) TRY(run_one(d, err));
    return true;
}

static bool step(decoder *d, const int32_t *ids, genet_err *err)
{
    if (d->n == d->S) TRY(slide(d, err));
    for (int64_t b = 0; b < d->B; b++) d->text[b * d->S + d->n] = ids[b];
    TRY(run_one(d, err));
    return read_logits(d, &d->one, d->B, err);
}

bool genet__decoder_step(decoder *d, const int32_t *ids, const int32_t *parent, genet_err *err)
{
    if (!d->n) return genet__err_set(err, GENET_ERR_USAGE, "there is no text to go on from");
    TRY(ids_known(d, ids, d->B, err));
    TRY(follow(d, parent, err));
    if (step(d, ids, err)) return true;
    forget(d);
    d->n = 0;
    return false;
}

/* --- sources ---------------------------------------------------------------------------- */

/* n >= 1 ids into memory `row`. */
static bool read_source(decoder *d, int64_t row, const int32_t *ids, int64_t n, genet_err *err)
{
    reader *r = d->encoder;
    int32_t at = (int32_t)row, length = (int32_t)n;
    while (r->T < n) r++;
    TRY(need(r, d, err));
    int32_t *x = genet__alloc_array((size_t)r->T, sizeof *x);
    if (!x) return genet__err_memory(err);
    memcpy(x, ids, (size_t)n * sizeof *x);
    bool ok = genet_plan_write(r->plan, r->x, x, (size_t)r->T * sizeof *x, err) &&
              genet_plan_write(r->plan, r->lengths, &length, sizeof length, err) &&
              genet_plan_write(r->plan, r->memory_row, &at, sizeof at, err) && genet_plan_run(r->plan, err);
    genet__free(x);
    return ok;
}

bool genet__decoder_read_sources(decoder *d, const token_list *source, int64_t n, genet_err *err)
{
    if (n < 1 || n > d->N)
        return genet__err_set(err, GENET_ERR_USAGE, "%lld sources, and the decoder takes 1 to %lld", (long long)n, (long long)d->N);
    d->has_sources = false;
    d->n = 0;
    for (int64_t i = 0; i < n; i++) {
        if (source[i].n < 1 || source[i].n > d->M)
            return genet__err_set(err, GENET_ERR_USAGE, "a source has %d tokens, and the decoder takes 1 to %lld", source[i].n, (long long)d->M);
        TRY(ids_known(d, source[i].at, source[i].n, err));
        TRY(read_source(d, i, source[i].at, source[i].n, err));
    }
    for (int64_t b = 0; b < d->B; b++) {
        int64_t of = b / (d->B / d->N) < n ? b / (d->B / d->N) : 0;         /* rows without a source read the first */
        d->source_length[b] = source[of].n;
        for (int64_t s = 0; s < d->M; s++) d->memory_of[b * d->M + s] = (int32_t)of;
    }
    return d->has_sources = true;
}

/* Every row by itself. */
static bool begin_reading(decoder *d, const int32_t *ids, int64_t n, genet_err *err)
{
    if (!d->has_sources) return genet__err_set(err, GENET_ERR_USAGE, "no source was read yet");
    bool ok = true;
    d->n = 0;
    for (int64_t i = 0; ok && i < n; i++) {
        for (int64_t b = 0; b < d->B; b++) d->text[b * d->S + i] = ids[i];
        ok = run_one(d, err);
    }
    ok = ok && read_logits(d, &d->one, d->B, err);
    if (!ok) d->n = 0;
    return ok;
}
