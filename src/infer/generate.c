/* generate.c - writing: prompt to ids, sampling one or several sequences as rows of one decoder, and ids to
 * pieces of text.
 *
 * A sequence's bytes wait until they are whole UTF-8 characters that no stop string can begin with any more; its
 * tokens wait until their last byte went.  The i-th choice of sequence q depends on seed, q, i and the
 * logits alone. */
#include "infer/generate.h"
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/rng.h"
#include "base/str.h"

enum { MAX_END = 8 };

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
    int                       n_stop, n_top, n_end;
    int32_t                   end[MAX_END];
    int64_t                   n_prompt, V;
    float                    *adjusted;         /* (V) */
    candidate                *scratch, *best;   /* (V), (n_top) */
    int32_t                  *next;             /* one id a row */
    bool                      adjusts, left;    /* logits are changed before the choice; the caller has had enough */
} writing;

/* --- UTF-8 ----------------------------------------------------------------------- */

/* Bytes of the character at s, or of the longest beginning of one (at least 1); *valid: it is whole;
 * *open: it is not, but more bytes could make it so.  The Unicode Standard, table 3-7. */
static size_t character(const char *s, size_t n, bool *valid, bool *open)
{
    unsigned char c = (unsigned char)s[0];
    size_t need = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
    unsigned char low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80, high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    *valid = *open = false;
    if (!need) return 1;
    for (size_t i = 1; i < need; i++, low = 0x80, high = 0xbf) {
        if (i == n) *open = true;
        if (i == n || (unsigned char)s[i] < low || (unsigned char)s[i] > high) return i;
    }
    *valid = true;
    return need;
}

/* Returns how many bytes were taken: all but a character that may be completed, or all at the end. */
static size_t add_characters(str *out, const char *s, size_t n, bool end)
{
    size_t at = 0;
    while (at < n) {
        bool valid, open;
        size_t length = character(s + at, n - at, &valid, &open);
        if (open && !end) break;
        if (valid) genet__str_add_n(out, s + at, length);
        else genet__str_add(out, "\xef\xbf\xbd");
        at += length;
    }
    return at;
}

void genet__utf8_add(str *out, const char *bytes, size_t n) { add_characters(out, bytes, n, true); }

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
    size_t taken = add_characters(&text, genet__str(&q->pending), ready, end);
    int n = 0;
    drop_front(&q->pending, taken);
    q->passed += taken;
    while (n < q->n_token && (end || q->end[n] <= q->passed)) n++;
    bool ok = !text.failed || genet__err_memory(err);
    if (ok && (text.n || n || end)) hand_over(w, q, &text, n);
    genet__str_release(&text);
    return ok;
}

/* The caller wants no more: every sequence ends here, without the text that waits. */
static void leave(writing *w, int64_t n_sequence)
{
    for (int64_t i = 0; i < n_sequence; i++) {
        sequence *q = &w->sequence[i];
        if (q->finish) continue;
        q->finish = "caller";
        hand_over(w, q, &(str){0}, q->n_token);
    }
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

/* The bytes of id behind those that wait. */
static bool add_text(const writing *w, sequence *q, int32_t id, genet_err *err)
{
    size_t n;
    const char *piece = genet__tokenizer_piece(w->t, id, &n);
    if (!piece) return genet__err_set(err, GENET_ERR_FORMAT, "the model wrote token %d, which its tokenizer does not have", id);
    if (genet__tokenizer_is_special(w->t, id)) return true;
    if (q->shown >= 0) genet__str_add(&q->pending, genet__tokenizer_between(w->t, q->shown, id));
    genet__str_add_n(&q->pending, piece, n);
    q->shown = id;
    return !q->pending.failed || genet__err_memory(err);
}

static bool ends(const writing *w, int32_t id)
{
    for (int i = 0; i < w->n_end; i++)
        if (w->end[i] == id) return true;
    return false;
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

static int32_t choose(writing *w, const sequence *q, const float *logits, int64_t i)
{
    double draw = genet__rng_uniform((uint64_t)w->o->seed, genet__rng_stream("sample"), (uint32_t)(q - w->sequence), (uint64_t)i);
    if (!w->adjusts) return genet__sample(logits, w->scratch, w->V, w->o, draw);
    memcpy(w->adjusted, logits, (size_t)w->V * sizeof *logits);
    genet__adjust_logits(w->adjusted, w->V, q->ids.at, q->ids.n, w->n_prompt, w->o);
    return genet__sample(w->adjusted, w->scratch, w->V, w->o, draw);
}

/* The i-th token of sequence q, and what it makes ready. */
static bool advance(writing *w, sequence *q, const float *logits, int64_t i, genet_err *err)
{
    int32_t id = choose(w, q, logits, i);
    size_t before = q->pending.n;
    TRY(add_token(w, q, id, logits, err));
    if (ends(w, id)) q->finish = "stop";
    else {
        TRY(add_text(w, q, id, err));
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
    for (int64_t b = 0; b < w->o->num_return_sequences && !w->left; b++) {
        sequence *q = &w->sequence[b];
        if (!q->finish) TRY(advance(w, q, logits + b * w->V, i, err));
        w->next[b] = q->ids.at[q->ids.n - 1];       /* a finished row goes on with anything */
        *going += !q->finish;
    }
    return true;
}

static bool write_all(writing *w, genet_err *err)
{
    int64_t going = w->o->num_return_sequences;
    for (int64_t b = 0; !w->o->max_new_tokens && b < going; b++) {
        w->sequence[b].finish = "length";
        TRY(emit(w, &w->sequence[b], err));
    }
    for (int64_t i = 0; i < w->o->max_new_tokens && going && !w->left; i++) {
        if (i) TRY(genet__decoder_step(w->d, w->next, NULL, err));
        TRY(advance_all(w, i, &going, err));
    }
    if (w->left) leave(w, w->o->num_return_sequences);
    return true;
}

static bool set_up(writing *w, const token_list *prompt, genet_err *err)
{
    const generation_options *o = w->o;
    int64_t n = o->num_return_sequences;
    w->V = genet__decoder_vocab(w->d);
    w->n_top = (int)(o->logprobs < w->V ? o->logprobs : w->V);
    w->n_prompt = prompt->n;
    w->adjusts = o->repetition_penalty != 1 || o->frequency_penalty != 0 || o->presence_penalty != 0 ||
                 o->no_repeat_ngram_size > 0;
    w->sequence = ARENA_ARRAY(&w->arena, sequence, n);
    w->next = ARENA_ARRAY(&w->arena, int32_t, n);
    w->adjusted = ARENA_ARRAY(&w->arena, float, w->V);
    w->scratch = ARENA_ARRAY(&w->arena, candidate, w->V);
    w->best = ARENA_ARRAY(&w->arena, candidate, w->n_top + 1);
    if (!w->sequence || !w->next || !w->adjusted || !w->scratch || !w->best) return genet__err_memory(err);
    for (int64_t b = 0; b < n; b++) {
        token_list *ids = &w->sequence[b].ids;
        if (!genet__grow(&ids->at, &ids->cap, prompt->n, sizeof *ids->at)) return genet__err_memory(err);
        memcpy(ids->at, prompt->at, (size_t)prompt->n * sizeof *ids->at);
        ids->n = prompt->n;
        w->sequence[b].shown = genet__tokenizer_is_special(w->t, ids->at[ids->n - 1]) ? -1 : ids->at[ids->n - 1];
    }
    return read_stops(w, err);
}

static void release(writing *w)
{
    for (int64_t b = 0; w->sequence && b < w->o->num_return_sequences; b++) {
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

/* A field of the config that holds a token; -1: there is none. */
static int32_t config_token(const model *m, const char *name)
{
    const field *f = genet__fields_find(m->family->config, name);
    return f && f->type == FIELD_INT ? (int32_t)*(const int64_t *)((const char *)m->config + f->offset) : -1;
}

int genet__end_tokens(const model *m, const tokenizer *t, const generation_options *o, int32_t out[8])
{
    int32_t config = config_token(m, "eos_token_id"), own = genet__tokenizer_end(t);
    int n = 0;
    if (o->ignore_eos) return 0;
    for (; n < o->eos_token_id.n && n < MAX_END; n++) out[n] = (int32_t)o->eos_token_id.at[n];
    if (n) return n;
    if (config >= 0) out[n++] = config;
    if (own >= 0 && own != config) out[n++] = own;
    return n;
}

/* What stands before a text that has no beginning: as people do with GPT-2, the token that ends the text before. */
static int32_t start_token(const model *m, const tokenizer *t)
{
    int32_t end[MAX_END], begin = config_token(m, "bos_token_id");
    if (begin >= 0) return begin;
    return genet__end_tokens(m, t, &(generation_options){0}, end) ? end[0] : -1;
}

static bool encode(token_list *ids, const model *m, const tokenizer *t, const char *prompt, genet_err *err)
{
    TRY(genet__tokenizer_encode(t, prompt, strlen(prompt), ids, err));
    if (ids->n) return true;
    int32_t start = start_token(m, t);
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
    w->n_end = genet__end_tokens(m, w->t, w->o, w->end);
    return set_up(w, prompt, err) && genet__decoder_begin(w->d, prompt->at, prompt->n, err) && write_all(w, err);
}

bool genet__generate(decoder *d, const tokenizer *t, const model *m, const char *prompt, const generation_options *o,
                     genet_piece_fn *piece, void *user, genet_err *err)
{
    generation_options limited = *o;
    token_list ids = {0};
    writing w = { .d = d, .t = t, .o = &limited, .piece = piece, .user = user };
    TRY(genet__generation_check(o, err));
    if (genet__decoder_rows(d) != genet__generation_rows(o))
        return genet__err_set(err, GENET_ERR_USAGE, "the decoder has %lld rows, and %lld are asked for",
                              (long long)genet__decoder_rows(d), (long long)genet__generation_rows(o));
    bool ok = encode(&ids, m, t, prompt, err) && limit_length(&limited, ids.n, err);
    if (ok && o->num_beams > 1) ok = genet__beam_search(d, t, m, ids.at, ids.n, &limited, piece, user, err);
    else if (ok) ok = generate(&w, m, &ids, err);
    release(&w);
    genet__token_list_release(&ids);
    return ok;
}
