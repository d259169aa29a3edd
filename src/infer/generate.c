/* generate.c - writing: prompt to ids, sampling one or several sequences as rows of one decoder, and ids to
 * pieces of text.
 *
 * A sequence's bytes wait until they are whole UTF-8 characters that no stop string can begin with any more; its
 * tokens wait until their last byte went.  The i-th choice of sequence q depends on seed, q, i and the
 * logits alone. */
#include "infer/generate.h"
#include "text/tokenizer_encoding.h"
#include <math.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/rng.h"
#include "base/str.h"

typedef struct stop_string { const char *at; size_t n; } stop_string;

typedef struct sequence {
    token_list    ids;              /* prompt and text */
    str           pending;          /* bytes that were not passed on yet */
    size_t        passed;           /* how many were */
    genet_token  *token;            /* not passed on yet, with where each ends in the bytes ... */
    size_t       *end;
    genet_choice *top;              /* ... and n_top choices each */
    int           n_token, cap_token, cap_end, cap_top;
    int32_t       shown;            /* the last id that is text; -1: none */
    double        score;
    const char   *finish;           /* NULL: being written */
} sequence;

typedef struct writing {
    decoder                  *d;
    const tokenizer          *t;
    const generation_options *o;
    genet_piece_fn           *piece;
    void                     *user;
    arena                     arena;
    sequence                 *sequence;
    stop_string              *stop;
    int                       n_stop, n_top;
    end_tokens                end;
    int64_t                   n_prompt, V, n_source, rows;     /* n_source: 1 without sources; rows: sequences of all */
    float                    *adjusted;         /* (V) */
    candidate                *scratch, *best;   /* (V), (n_top) */
    int32_t                  *next;             /* one id a row */
    bool                      adjusts, left;    /* logits are changed before the choice; the caller has had enough */
} writing;

/* --- stop strings -------------------------------------------------------------------- */

/* Lines; \n, \t and \\ stand for what they say. */
static bool read_stops(writing *w, genet_err *err)
{
    const char *text = w->o->stop ? w->o->stop : "";
    int lines = 1;
    for (const char *p = text; *p; p++) lines += *p == '\n';
    char *to = genet__arena_alloc(&w->arena, strlen(text) + 1);
    w->stop = ARENA_ARRAY(&w->arena, stop_string, lines);
    if (!to || !w->stop) return genet__err_memory(err);
    for (const char *p = text; *p; p += *p == '\n') {
        char *begin = to;
        for (; *p && *p != '\n'; p++) {
            bool escape = *p == '\\' && p[1] && strchr("nt\\", p[1]);
            if (escape) p++;
            *to++ = escape && *p == 'n' ? '\n' : escape && *p == 't' ? '\t' : *p;
        }
        if (to > begin) w->stop[w->n_stop++] = (stop_string){ begin, (size_t)(to - begin) };
    }
    return true;
}

/* Where the stop string begins that ends first at or after byte `from`, the longest of several; -1: there is none. */
static int64_t find_stop(const writing *w, const str *s, size_t from)
{
    for (size_t end = from; end <= s->n; end++) {
        size_t longest = 0;
        for (int i = 0; i < w->n_stop; i++) {
            const stop_string *stop = &w->stop[i];
            if (stop->n <= end && stop->n > longest && !memcmp(s->at + end - stop->n, stop->at, stop->n)) longest = stop->n;
        }
        if (longest) return (int64_t)(end - longest);
    }
    return -1;
}

/* How many bytes at the end may be the beginning of a stop string. */
static size_t held_back(const writing *w, const str *s)
{
    size_t held = 0;
    for (int i = 0; i < w->n_stop; i++) {
        size_t n = w->stop[i].n - 1 < s->n ? w->stop[i].n - 1 : s->n;
        while (n > held && memcmp(s->at + s->n - n, w->stop[i].at, n)) n--;
        if (n > held) held = n;
    }
    return held;
}

/* --- pieces ------------------------------------------------------------------------------ */

static void drop_front(str *s, size_t n)
{
    if (!n) return;
    memmove(s->at, s->at + n, s->n - n + 1);
    s->n -= n;
}

/* The first n tokens are with the caller. */
static void drop_tokens(const writing *w, sequence *q, int n)
{
    size_t rest = (size_t)(q->n_token - n), k = (size_t)w->n_top;
    if (!n) return;
    memmove(q->token, q->token + n, rest * sizeof *q->token);
    memmove(q->end, q->end + n, rest * sizeof *q->end);
    if (k) memmove(q->top, q->top + (size_t)n * k, rest * k * sizeof *q->top);
    q->n_token -= n;
}

/* Give the caller this text and the first n tokens. */
static void hand_over(writing *w, sequence *q, const str *text, int n)
{
    for (int i = 0; i < n; i++) q->token[i].top = w->n_top ? q->top + (size_t)i * (size_t)w->n_top : NULL;
    genet_piece p = { .sequence = (int)(q - w->sequence), .text = genet__str(text), .n_bytes = text->n, .token = q->token,
                      .n_token = n, .finish = q->finish, .score = q->score };
    if (!w->piece(w->user, &p)) w->left = true;
    drop_tokens(w, q, n);
}

/* Pass on what is ready; of a finished sequence the rest. */
static bool emit(writing *w, sequence *q, genet_err *err)
{
    str text = {0};
    bool end = q->finish;
    size_t ready = end ? q->pending.n : q->pending.n - held_back(w, &q->pending);
    size_t taken = end ? ready : genet__utf8_add_whole(&text, genet__str(&q->pending), ready);
    int n = 0;
    if (end) genet__utf8_add(&text, genet__str(&q->pending), ready);
    drop_front(&q->pending, taken);
    q->passed += taken;
    while (n < q->n_token && (end || q->end[n] <= q->passed)) n++;
    bool ok = !text.failed || genet__err_memory(err);
    if (ok && (text.n || n || end)) hand_over(w, q, &text, n);
    genet__str_release(&text);
    return ok;
}

/* --- one choice ---------------------------------------------------------------------------- */

/* Note id with its log-probability and the likeliest ones, all by the model's own logits. */
static bool add_token(writing *w, sequence *q, int32_t id, const float *logits, genet_err *err)
{
    double total = genet__log_sum_exp(logits, w->V);
    if (!GROW(q->token, q->n_token, q->cap_token) || !GROW(q->end, q->n_token, q->cap_end) ||
        !GROW(q->ids.at, q->ids.n, q->ids.cap) ||
        (w->n_top && !genet__grow(&q->top, &q->cap_top, (q->n_token + 1) * w->n_top, sizeof *q->top)))
        return genet__err_memory(err);
    if (w->n_top) genet__likeliest(logits, w->scratch, w->V, w->n_top, w->best);
    for (int i = 0; i < w->n_top; i++)
        q->top[q->n_token * w->n_top + i] = (genet_choice){ w->best[i].id, (double)w->best[i].logit - total };
    q->token[q->n_token++] = (genet_token){ .id = id, .logprob = (double)logits[id] - total, .n_top = w->n_top };
    q->ids.at[q->ids.n++] = id;
    q->score += (double)logits[id] - total;
    return true;
}

bool genet__is_text(const tokenizer *t, int32_t id)
{
    return genet__tokenizer_piece(t, id, NULL) && !genet__tokenizer_is_special(t, id);
}

bool genet__text_add(const tokenizer *t, int32_t *shown, int32_t id, str *out, genet_err *err)
{
    if (!genet__is_text(t, id)) return true;
    TRY(genet__tokenizer_decode_on(t, *shown, &id, 1, out, err));
    *shown = id;
    return !out->failed || genet__err_memory(err);
}

/* Text that a stop string ends is cut before it. */
static void stop_at(const writing *w, sequence *q, size_t from)
{
    int64_t at = find_stop(w, &q->pending, from);
    if (at < 0) return;
    q->finish = "stop";
    q->pending.n = (size_t)at;
    q->pending.at[at] = 0;
}

/* -1: every token is banned. */
static int32_t choose(writing *w, const sequence *q, const float *logits, int64_t i)
{
    int64_t number = (q - w->sequence) % w->o->num_return_sequences;
    double draw = genet__rng_uniform((uint64_t)w->o->seed, genet__rng_stream("sample"), (uint32_t)number, (uint64_t)i);
    int32_t forced = genet__forced_token(w->o, i, w->d);
    if (forced >= 0) return forced;
    if (!w->adjusts) return genet__sample(logits, w->scratch, w->V, w->o, draw);
    memcpy(w->adjusted, logits, (size_t)w->V * sizeof *logits);
    genet__adjust_logits(w->adjusted, w->V, q->ids.at, q->ids.n, w->n_prompt, w->o);
    int32_t id = genet__sample(w->adjusted, w->scratch, w->V, w->o, draw);
    return w->adjusted[id] == -INFINITY ? -1 : id;
}

/* The i-th token of sequence q, and what it makes ready. */
static bool advance(writing *w, sequence *q, const float *logits, int64_t i, genet_err *err)
{
    int32_t id = choose(w, q, logits, i);
    size_t before = q->pending.n;
    if (id < 0)
        return genet__err_set(err, GENET_ERR_USAGE, "after %lld tokens nothing is left to write: no_repeat_ngram_size "
                              "%lld forbids every token", (long long)i, (long long)w->o->no_repeat_ngram_size);
    TRY(add_token(w, q, id, logits, err));
    if (genet__is_end(&w->end, id)) q->finish = "stop";
    else {
        TRY(genet__text_add(w->t, &q->shown, id, &q->pending, err));
        if (w->n_stop) stop_at(w, q, before + 1);
    }
    q->end[q->n_token - 1] = q->passed + q->pending.n;
    if (!q->finish && i + 1 >= w->o->max_new_tokens) q->finish = "length";
    return emit(w, q, err);
}

/* --- all sequences ---------------------------------------------------------------------------- */

/* One token of every sequence that is still written; *going: how many go on. */
static bool advance_all(writing *w, int64_t i, int64_t *going, genet_err *err)
{
    const float *logits = genet__decoder_logits(w->d);
    *going = 0;
    for (int64_t b = 0; b < w->rows && !w->left; b++) {
        sequence *q = &w->sequence[b];
        if (!q->finish) TRY(advance(w, q, logits + b * w->V, i, err));
        w->next[b] = q->ids.at[q->ids.n - 1];       /* a finished row goes on with anything */
        *going += !q->finish;
    }
    return true;
}

static bool write_all(writing *w, genet_err *err)
{
    int64_t going = w->rows;
    for (int64_t b = 0; !w->o->max_new_tokens && b < going && !w->left; b++) {
        w->sequence[b].finish = "length";
        TRY(emit(w, &w->sequence[b], err));
    }
    for (int64_t i = 0; i < w->o->max_new_tokens && going && !w->left; i++) {
        if (i) TRY(genet__decoder_step(w->d, w->next, NULL, err));
        TRY(advance_all(w, i, &going, err));
    }
    return true;
}

static bool set_up(writing *w, const token_list *prompt, genet_err *err)
{
    const generation_options *o = w->o;
    int64_t n = w->rows = o->num_return_sequences * w->n_source;
    w->V = genet__decoder_vocab(w->d);
    w->n_top = (int)(o->logprobs < w->V ? o->logprobs : w->V);
    w->n_prompt = prompt->n;
    w->adjusts = o->repetition_penalty != 1 || o->frequency_penalty != 0 || o->presence_penalty != 0 ||
                 o->no_repeat_ngram_size > 0;
    w->sequence = ARENA_ARRAY(&w->arena, sequence, n);
    w->next = ARENA_ARRAY(&w->arena, int32_t, genet__decoder_rows(w->d));
    w->adjusted = ARENA_ARRAY(&w->arena, float, w->V);
    w->scratch = ARENA_ARRAY(&w->arena, candidate, w->V);
    w->best = ARENA_ARRAY(&w->arena, candidate, w->n_top + 1);
    if (!w->sequence || !w->next || !w->adjusted || !w->scratch || !w->best) return genet__err_memory(err);
    for (int64_t b = 0; b < n; b++) {
        token_list *ids = &w->sequence[b].ids;
        if (!genet__grow(&ids->at, &ids->cap, prompt->n, sizeof *ids->at)) return genet__err_memory(err);
        memcpy(ids->at, prompt->at, (size_t)prompt->n * sizeof *ids->at);
        ids->n = prompt->n;
        w->sequence[b].shown = genet__is_text(w->t, ids->at[ids->n - 1]) ? ids->at[ids->n - 1] : -1;
    }
    return read_stops(w, err);
}

static void release(writing *w)
{
    for (int64_t b = 0; w->sequence && b < w->rows; b++) {
        sequence *q = &w->sequence[b];
        genet__token_list_release(&q->ids);
        genet__str_release(&q->pending);
        genet__free(q->token);
        genet__free(q->end);
        genet__free(q->top);
    }
    genet__arena_release(&w->arena);
}

/* --- prompts -------------------------------------------------------------------------------------- */

static bool is_known(const model *m, int64_t id) { return id >= 0 && id < *genet__model_int(m, m->family->vocab_size); }

/* Of a folder's file they are passed over: they never come. */
static bool check_ends(const model *m, const generation_options *o, genet_err *err)
{
    for (int i = 0; i < o->eos_token_id.n && !o->eos_of_file; i++)
        if (!is_known(m, o->eos_token_id.at[i]))
            return genet__err_set(err, GENET_ERR_USAGE, "eos_token_id %lld is not among the model's %lld tokens",
                                  (long long)o->eos_token_id.at[i], (long long)*genet__model_int(m, m->family->vocab_size));
    return true;
}

/* As transformers decides: generation_config.json speaks alone where there is one. */
end_tokens genet__end_tokens(const model *m, const generation_options *o)
{
    end_tokens e = {0};
    bool of_config = !o->eos_of_file && !o->eos_token_id.n;
    const int_list *ids = of_config ? &m->ends : &o->eos_token_id;
    int32_t one = genet__model_token(m, "eos_token_id");
    if (o->ignore_eos) return e;
    for (int i = 0; i < ids->n; i++)
        if (is_known(m, ids->at[i])) e.id[e.n++] = (int32_t)ids->at[i];
    if (of_config && !ids->n && one >= 0) e.id[e.n++] = one;
    return e;
}

bool genet__is_end(const end_tokens *e, int32_t id)
{
    for (int i = 0; i < e->n; i++)
        if (e->id[i] == id) return true;
    return false;
}

int32_t genet__start_token(const model *m, const generation_options *o)
{
    generation_options how = *o;
    how.ignore_eos = false;
    int32_t begin = genet__model_token(m, "bos_token_id");
    end_tokens end = genet__end_tokens(m, &how);
    return begin >= 0 || !end.n ? begin : end.id[0];
}

bool genet__prompt_begin(const model *m, const tokenizer *t, int32_t *begin, genet_err *err)
{
    bool yes;
    *begin = genet__model_token(m, "bos_token_id");
    TRY(genet__tokenizer_begins_with(t, *begin, &yes, err));
    if (!yes) *begin = -1;
    return true;
}

/* A prompt that says its beginning itself ("<s>...") has it once. */
static bool add_begin(token_list *ids, int32_t begin, genet_err *err)
{
    if (begin < 0 || !ids->n || ids->at[0] == begin) return true;
    if (!GROW(ids->at, ids->n, ids->cap)) return genet__err_memory(err);
    memmove(ids->at + 1, ids->at, (size_t)ids->n++ * sizeof *ids->at);
    ids->at[0] = begin;
    return true;
}

static bool encode(token_list *ids, const model *m, const tokenizer *t, const char *prompt, const generation_options *o,
                   genet_err *err)
{
    TRY(genet__tokenizer_encode(t, prompt, strlen(prompt), ids, err));
    int32_t begin;
    TRY(genet__prompt_begin(m, t, &begin, err) && add_begin(ids, begin, err));
    if (ids->n) return true;
    int32_t start = genet__start_token(m, o);
    if (start < 0) return genet__err_set(err, GENET_ERR_USAGE, "the prompt is empty: there is nothing to continue");
    if (!GROW(ids->at, ids->n, ids->cap)) return genet__err_memory(err);
    ids->at[ids->n++] = start;
    return true;
}

/* max_length counts the prompt. */
static bool limit_length(generation_options *o, int64_t n_prompt, genet_err *err)
{
    if (!o->max_length) return true;
    if (n_prompt >= o->max_length)
        return genet__err_set(err, GENET_ERR_USAGE, "the prompt has %lld tokens, and max_length %lld counts it",
                              (long long)n_prompt, (long long)o->max_length);
    if (o->max_new_tokens > o->max_length - n_prompt) o->max_new_tokens = o->max_length - n_prompt;
    return true;
}

static bool generate(writing *w, const model *m, const token_list *prompt, genet_err *err)
{
    w->end = genet__end_tokens(m, w->o);
    return set_up(w, prompt, err) && genet__decoder_begin(w->d, prompt->at, prompt->n, err) && write_all(w, err);
}

/* By beams or otherwise, for n_source sources or none. */
static bool write_texts(writing *w, const model *m, const token_list *prompt, genet_err *err)
{
    if (w->o->num_beams > 1)
        return genet__beam_search(w->d, w->t, m, prompt->at, prompt->n, w->n_source, w->o, w->piece, w->user, err);
    bool ok = generate(w, m, prompt, err);
    release(w);
    return ok;
}

bool genet__generate(decoder *d, const tokenizer *t, const model *m, const char *prompt, const generation_options *o,
                     genet_piece_fn *piece, void *user, genet_err *err)
{
    generation_options limited = *o;
    token_list ids = {0};
    writing w = { .d = d, .t = t, .o = &limited, .piece = piece, .user = user, .n_source = 1 };
    TRY(genet__generation_check(o, err) && check_ends(m, o, err));
    if (genet__decoder_rows(d) != genet__generation_rows(o))
        return genet__err_set(err, GENET_ERR_USAGE, "the decoder has %lld rows, and %lld are asked for",
                              (long long)genet__decoder_rows(d), (long long)genet__generation_rows(o));
    bool ok = encode(&ids, m, t, prompt, o, err) && limit_length(&limited, ids.n, err) && write_texts(&w, m, &ids, err);
    genet__token_list_release(&ids);
    return ok;
}

bool genet__go_on(decoder *d, const tokenizer *t, const model *m, const int32_t *ids, int64_t n, const generation_options *o,
                  genet_piece_fn *piece, void *user, genet_err *err)
{
    writing w = { .d = d, .t = t, .o = o, .piece = piece, .user = user, .end = genet__end_tokens(m, o), .n_source = 1 };
    const token_list prompt = { .at = (int32_t *)ids, .n = (int)n };
    TRY(genet__generation_check(o, err));
    if (o->num_beams > 1 || o->num_return_sequences > 1 || genet__decoder_rows(d) != 1)
        return genet__err_set(err, GENET_ERR_USAGE, "a conversation has one answer at a time: no num_beams, no "
                              "num_return_sequences");
    bool ok = set_up(&w, &prompt, err) && write_all(&w, err);
    release(&w);
    return ok;
}

/* --- from sources --------------------------------------------------------------------------- */

int32_t genet__decoder_start(const model *m, const generation_options *o)
{
    if (o && is_known(m, o->decoder_start_token_id)) return (int32_t)o->decoder_start_token_id;
    return genet__model_token(m, "decoder_start_token_id");
}

/* As transformers' processors: the first and the last token that there is room for. */
int32_t genet__forced_token(const generation_options *o, int64_t i, const decoder *d)
{
    if (!genet__decoder_sources(d)) return -1;
    if (i == 0 && o->forced_bos_token_id >= 0) return (int32_t)o->forced_bos_token_id;
    return i + 1 >= o->max_new_tokens ? (int32_t)o->forced_eos_token_id : -1;
}

bool genet__source_ids(const model *m, const tokenizer *t, const char *text, int64_t most, token_list *out, bool *cut, genet_err *err)
{
    int32_t end = m->ends.n ? (int32_t)m->ends.at[0] : genet__model_token(m, "eos_token_id");
    int64_t context = *genet__model_int(m, m->family->context);
    if (!most || most > context) most = context;
    out->n = 0;
    TRY(genet__tokenizer_encode(t, text, strlen(text), out, err));
    if (end >= 0 && out->n && out->at[out->n - 1] == end) out->n--;
    if (cut) *cut = out->n + (end >= 0) > most;
    if (out->n + (end >= 0) > most) out->n = (int)most - (end >= 0);
    if (end >= 0 && !GROW(out->at, out->n, out->cap)) return genet__err_memory(err);
    if (end >= 0) out->at[out->n++] = end;
    return out->n > 0 || genet__err_set(err, GENET_ERR_USAGE, "the text is empty: there is nothing to read");
}

static bool check_forced(const model *m, const char *name, int64_t id, genet_err *err)
{
    return id < 0 || is_known(m, id) ||
           genet__err_set(err, GENET_ERR_USAGE, "%s %lld is not among the model's %lld tokens", name, (long long)id,
                          (long long)*genet__model_int(m, m->family->vocab_size));
}

bool genet__generate_from(decoder *d, const tokenizer *t, const model *m, const token_list *source, int64_t n, const generation_options *o,
                          genet_piece_fn *piece, void *user, genet_err *err)
{
    generation_options limited = *o;
    int32_t start = genet__decoder_start(m, o);
    token_list prompt = { .at = &start, .n = 1 };
    writing w = { .d = d, .t = t, .o = &limited, .piece = piece, .user = user, .n_source = n };
    TRY(genet__generation_check(o, err) && check_ends(m, o, err));
    TRY(check_forced(m, "forced_bos_token_id", o->forced_bos_token_id, err));
    TRY(check_forced(m, "forced_eos_token_id", o->forced_eos_token_id, err));
    if (start < 0) return genet__err_set(err, GENET_ERR_USAGE, "config.json does not say decoder_start_token_id: give it");
    int64_t rows = genet__decoder_sources(d) * genet__generation_rows(o);
    if (!rows || genet__decoder_rows(d) != rows)
        return genet__err_set(err, GENET_ERR_USAGE, "the decoder has %lld rows, and %lld are asked for", (long long)genet__decoder_rows(d),
                              (long long)rows);
    TRY(limit_length(&limited, 1, err));
    int64_t room = genet__decoder_window(d) - 1;        /* a text ends where the model's positions do */
    if (limited.max_new_tokens > room) limited.max_new_tokens = room;
    return genet__decoder_read_sources(d, source, n, err) && write_texts(&w, m, &prompt, err);
}
