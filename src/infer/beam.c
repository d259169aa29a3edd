/* beam.c - beam search, equal token for token to transformers' GenerationMixin._beam_search (version 5):
 *
 * K running beams, of which only the first counts at the beginning.  Each step scores all K V continuations by
 * the sum of their adjusted log-probabilities and takes the best max(2, 1 + end tokens) K of them: those of the
 * first K that end a text are finished, the best K that do not end one run on.  Finished beams are kept with the score
 * sum / length^length_penalty while they are among the K best.  Sums and scores are float, as there; only ties are
 * decided otherwise, always for the smaller index.
 *
 * Several sources are searched side by side, each by a search of its own over its K rows of one decoder, so all take their steps together.
 *
 * A hypothesis is a node that knows the one before it, so beams share their beginnings. */
#include <math.h>
#include <string.h>
#include "base/arena.h"
#include "base/err.h"
#include "infer/generate.h"

static const float NEVER = -1e9f;       /* the score of what does not count */

/* A token after the tokens of `before` (NULL: after the prompt). */
typedef struct node {
    const struct node *before;
    int32_t id;
    int     length;             /* tokens after the prompt, with this one */
    double  logprob;            /* under the model, before adjusting */
    const genet_choice *top;    /* o->logprobs of them */
} node;

typedef struct beam { float score; const node *last; bool finished; } beam;
typedef struct continuation { float sum; int row; int32_t id; bool ends; const node *made; } continuation;

typedef struct search {
    decoder         *d;
    const tokenizer *t;
    const generation_options *o;
    const int32_t   *prompt;
    int64_t          n_prompt, V, length;       /* length: tokens after the prompt so far, the same in all running beams */
    int64_t          most, n_top;               /* tokens to add at most, as max_new_tokens; likeliest ones with each */
    int              K, n_keep, row;            /* row: of the decoder, of the first beam */
    bool             done;
    end_tokens       end;
    beam            *next;                      /* (K) */
    beam            *running, *finished;        /* (K), the best first */
    continuation    *best;                      /* (n_keep), the best first */
    int32_t         *text, *ids, *parent;       /* (n_prompt + most); of the decoder's rows, from `row` on: (K), (K) */
    float           *adjusted;                  /* (V): log-probabilities of one row */
    double          *log_sum;                   /* (K) */
    candidate       *scratch, *likely;          /* (V), (o->logprobs) */
    const genet_choice **top;                   /* (K): of this step, NULL while nobody asked */
    arena            arena;
} search;

/* --- setting up ------------------------------------------------------------------- */

static bool check(const search *s, genet_err *err)
{
    int64_t window = genet__decoder_window(s->d), over = s->n_prompt + s->most - window;
    if (over > 0)
        return genet__err_set(err, GENET_ERR_USAGE, "beams do not slide: the prompt's %lld tokens and %lld new ones are "
                              "%lld more than the model's context of %lld; shorten the prompt or lower max_new_tokens",
                              (long long)s->n_prompt, (long long)s->most, (long long)over, (long long)window);
    if (s->o->stop && *s->o->stop)
        return genet__err_set(err, GENET_ERR_USAGE, "stop strings and num_beams %d do not go together: a beam ends with "
                              "an end token or at max_new_tokens; leave one of them out", s->K);
    return true;
}

static bool set_up(search *s, genet_err *err)
{
    arena *a = &s->arena;
    int64_t keep = (int64_t)s->K * (s->end.n > 1 ? 1 + s->end.n : 2);
    s->n_keep = (int)(keep < s->K * s->V ? keep : s->K * s->V);
    s->running = ARENA_ARRAY(a, beam, s->K);
    s->finished = ARENA_ARRAY(a, beam, s->K);
    s->best = ARENA_ARRAY(a, continuation, s->n_keep);
    s->text = ARENA_ARRAY(a, int32_t, s->n_prompt + s->most);
    s->next = ARENA_ARRAY(a, beam, s->K);
    s->adjusted = ARENA_ARRAY(a, float, s->V);
    s->log_sum = ARENA_ARRAY(a, double, s->K);
    s->scratch = ARENA_ARRAY(a, candidate, s->V);
    s->likely = ARENA_ARRAY(a, candidate, s->n_top);
    s->top = ARENA_ARRAY(a, const genet_choice *, s->K);
    if (!s->running || !s->finished || !s->best || !s->text || !s->next || !s->adjusted || !s->log_sum ||
        !s->scratch || !s->likely || !s->top)
        return genet__err_memory(err);
    memcpy(s->text, s->prompt, (size_t)s->n_prompt * sizeof *s->text);
    for (int b = 0; b < s->K; b++) {
        s->running[b].score = b ? NEVER : 0;
        s->finished[b].score = NEVER;
    }
    return true;
}

/* --- one step ----------------------------------------------------------------------- */

static const float *logits_of(const search *s, int row) { return genet__decoder_logits(s->d) + (s->row + row) * s->V; }

/* s->text becomes the prompt and what running beam `row` has added to it. */
static int64_t text_of(search *s, int row)
{
    for (const node *at = s->running[row].last; at; at = at->before) s->text[s->n_prompt + at->length - 1] = at->id;
    return s->n_prompt + s->length;
}

/* Penalties act on log-probabilities here, as they do there: all are negative, so that each of them takes away. */
static void score_row(search *s, int row)
{
    const float *logits = logits_of(s, row);
    double sum = s->log_sum[row] = genet__log_sum_exp(logits, s->V);
    int32_t forced = genet__forced_token(s->o, s->length, s->d);
    for (int64_t i = 0; i < s->V; i++) s->adjusted[i] = (float)((double)logits[i] - sum);
    genet__adjust_logits(s->adjusted, s->V, s->text, text_of(s, row), s->n_prompt, s->o);
    for (int64_t i = 0; forced >= 0 && i < s->V; i++) s->adjusted[i] = i == forced ? 0 : -INFINITY;
    for (int64_t i = 0; i < s->V; i++) s->adjusted[i] += s->running[row].score;
}

/* Insert into the n best so far; among equals the earlier stays before.  NaN (of -inf and -inf) cannot be: sums only
 * fall. */
static int keep_best(continuation *best, int n, int most, continuation c)
{
    if (n == most && !(c.sum > best[n - 1].sum)) return n;
    int at = n < most ? n++ : n - 1;
    for (; at > 0 && c.sum > best[at - 1].sum; at--) best[at] = best[at - 1];
    best[at] = c;
    return n;
}

/* At the last step every continuation ends its text. */
static void find_best(search *s)
{
    int n = 0;
    bool full = s->length + 1 == s->most;
    for (int row = 0; row < s->K; row++) {
        score_row(s, row);
        for (int64_t i = 0; i < s->V; i++)
            if (n < s->n_keep || s->adjusted[i] > s->best[n - 1].sum)
                n = keep_best(s->best, n, s->n_keep, (continuation){ s->adjusted[i], row, (int32_t)i, false, NULL });
        s->top[row] = NULL;
    }
    for (int i = 0; i < n; i++) s->best[i].ends = full || genet__is_end(&s->end, s->best[i].id);
}

/* --- following the best --------------------------------------------------------------- */

static const genet_choice *top_of(search *s, int row)
{
    genet_choice *top = ARENA_ARRAY(&s->arena, genet_choice, s->n_top);
    if (!top) return NULL;
    genet__likeliest(logits_of(s, row), s->scratch, s->V, s->n_top, s->likely);
    for (int64_t i = 0; i < s->n_top; i++)
        top[i] = (genet_choice){ s->likely[i].id, (double)s->likely[i].logit - s->log_sum[row] };
    return s->top[row] = top;
}

/* c's node, made when it is first needed. */
static const node *node_of(search *s, continuation *c)
{
    if (c->made) return c->made;
    node *made = ARENA_NEW(&s->arena, node);
    if (!made) return NULL;
    double logprob = (double)logits_of(s, c->row)[c->id] - s->log_sum[c->row];
    *made = (node){ s->running[c->row].last, c->id, (int)s->length + 1, logprob, NULL };
    if (s->n_top && !(made->top = s->top[c->row] ? s->top[c->row] : top_of(s, c->row))) return NULL;
    return c->made = made;
}

/* A better finished beam moves the worse ones down. */
static void insert_finished(search *s, beam b)
{
    int at = s->K - 1;
    if (!(b.score > s->finished[at].score)) return;
    for (; at > 0 && b.score > s->finished[at - 1].score; at--) s->finished[at] = s->finished[at - 1];
    s->finished[at] = b;
}

/* Length counts the token that ends the text. */
static bool finish(search *s, genet_err *err)
{
    float divisor = (float)pow((double)(s->length + 1), s->o->length_penalty);
    for (int i = 0; i < s->K && i < s->n_keep; i++) {
        if (!s->best[i].ends) continue;
        const node *last = node_of(s, &s->best[i]);
        if (!last) return genet__err_memory(err);
        insert_finished(s, (beam){ s->best[i].sum / divisor, last, true });
    }
    return true;
}

/* The best that do not end a text run on, then, far behind, those that do. */
static bool run_on(search *s, genet_err *err)
{
    beam *next = s->next;
    int n = 0;
    for (int ends = 0; ends < 2; ends++)
        for (int i = 0; i < s->n_keep && n < s->K; i++) {
            continuation *c = &s->best[i];
            if (c->ends != ends) continue;
            next[n].last = node_of(s, c);
            if (!next[n].last) return genet__err_memory(err);
            next[n].score = ends ? c->sum + NEVER : c->sum;
            s->ids[n] = c->id;
            s->parent[n++] = s->row + c->row;
        }
    memcpy(s->running, next, (size_t)s->K * sizeof *next);
    s->length++;
    return true;
}

/* --- when to stop --------------------------------------------------------------------- */

static bool all_finished(const search *s)
{
    for (int b = 0; b < s->K; b++)
        if (!s->finished[b].finished) return false;
    return true;
}

/* Could a running beam still become better than the worst finished one?  "never" supposes the length that
 * favours it most, "false" the present one. */
static bool may_improve(const search *s)
{
    bool longest = !strcmp(s->o->early_stopping, "never") && s->o->length_penalty > 0;
    float divisor = (float)pow((double)(longest ? s->most : s->length), s->o->length_penalty);
    float worst = all_finished(s) ? s->finished[s->K - 1].score : NEVER;
    return s->running[0].score / divisor > worst;
}

static bool any_runs(const search *s)
{
    for (int i = 0; i < s->n_keep; i++)
        if (!s->best[i].ends) return true;
    return false;
}

/* One step of one search; its K rows know then how they go on. */
static bool advance(search *s, genet_err *err)
{
    find_best(s);
    TRY(finish(s, err));
    TRY(run_on(s, err));
    s->done = !any_runs(s) || !may_improve(s) || (!strcmp(s->o->early_stopping, "true") && all_finished(s));
    return true;
}

/* ids, parent: of all the decoder's rows; those of a search that is done go on with anything. */
static bool look(search *s, int64_t n, const int32_t *ids, const int32_t *parent, genet_err *err)
{
    TRY(genet__decoder_begin(s->d, s->prompt, s->n_prompt, err));
    for (;;) {
        int64_t going = 0;
        for (int64_t i = 0; i < n; i++) {
            if (!s[i].done) TRY(advance(&s[i], err));
            going += !s[i].done;
        }
        if (!going) return true;
        TRY(genet__decoder_step(s->d, ids, parent, err));
    }
}

/* --- the answer ------------------------------------------------------------------------- */

/* The text of n ids after the prompt. */
static bool decode(const search *s, const int32_t *ids, int n, str *out, genet_err *err)
{
    str bytes = {0};
    int32_t shown = s->prompt[s->n_prompt - 1];
    if (!genet__is_text(s->t, shown)) shown = -1;
    bool ok = true;
    for (int i = 0; ok && i < n; i++) ok = genet__text_add(s->t, &shown, ids[i], &bytes, err);
    genet__utf8_add(out, genet__str(&bytes), bytes.n);
    if (ok && out->failed) ok = genet__err_memory(err);
    genet__str_release(&bytes);
    return ok;
}

/* The end token is among the tokens, and no text. */
static bool emit(search *s, int sequence, const beam *b, genet_piece_fn *piece, void *user, bool *go_on, genet_err *err)
{
    int n = b->last ? b->last->length : 0;
    bool stop = b->last && genet__is_end(&s->end, b->last->id);
    genet_token *token = ARENA_ARRAY(&s->arena, genet_token, n);
    int32_t *ids = ARENA_ARRAY(&s->arena, int32_t, n);
    if (!token || !ids) return genet__err_memory(err);
    for (const node *at = b->last; at; at = at->before) {
        ids[at->length - 1] = at->id;
        token[at->length - 1] = (genet_token){ .id = at->id, .logprob = at->logprob, .top = at->top,
                                               .n_top = (int)s->n_top };
    }
    str text = {0};
    bool ok = decode(s, ids, stop ? n - 1 : n, &text, err);
    *go_on = ok && piece(user, &(genet_piece){ .sequence = sequence, .text = genet__str(&text), .n_bytes = text.n,
                                               .token = token, .n_token = n, .finish = stop ? "stop" : "length",
                                               .score = (double)b->score });
    genet__str_release(&text);
    return ok;
}

/* Fewer finished ones than asked for are left when bans leave nothing to say. */
static bool emit_all(search *s, int64_t source, genet_piece_fn *piece, void *user, bool *go_on, genet_err *err)
{
    int64_t first = source * s->o->num_return_sequences;
    if (!s->finished[0].finished)
        return genet__err_set(err, GENET_ERR_USAGE, "the beams found nothing to write: no_repeat_ngram_size %lld forbids "
                              "every token, or length_penalty %g is out of all measure",
                              (long long)s->o->no_repeat_ngram_size, s->o->length_penalty);
    for (int i = 0; *go_on && i < s->o->num_return_sequences && s->finished[i].finished; i++)
        TRY(emit(s, (int)first + i, &s->finished[i], piece, user, go_on, err));
    return true;
}

/* No token to add: empty texts. */
static void finish_at_once(search *s)
{
    for (int b = 0; b < s->K; b++) s->finished[b] = (beam){ .finished = true };
}

static void release(search *s, int64_t n)
{
    for (int64_t i = 0; i < n; i++) genet__arena_release(&s[i].arena);
}

/* Search i begins at row i K. */
static bool open_all(search *s, int64_t n, const search *like, int32_t *ids, int32_t *parent, genet_err *err)
{
    for (int64_t r = 0; r < genet__decoder_rows(like->d); r++) parent[r] = (int32_t)r;
    for (int64_t i = 0; i < n; i++) {
        s[i] = *like;
        s[i].row = (int)i * like->K;
        s[i].ids = ids + s[i].row;
        s[i].parent = parent + s[i].row;
        TRY(set_up(&s[i], err));
        if (!s->most) finish_at_once(&s[i]);
    }
    return true;
}

static bool search_all(search *s, int64_t n, const search *like, int32_t *ids, int32_t *parent, genet_piece_fn *piece, void *user,
                       genet_err *err)
{
    bool go_on = true;
    TRY(open_all(s, n, like, ids, parent, err));
    TRY(!s->most || look(s, n, ids, parent, err));
    for (int64_t i = 0; go_on && i < n; i++) TRY(emit_all(&s[i], i, piece, user, &go_on, err));
    return true;
}

bool genet__beam_search(decoder *d, const tokenizer *t, const model *m, const int32_t *prompt, int64_t n_prompt,
                        int64_t n_source, const generation_options *o, genet_piece_fn *piece, void *user, genet_err *err)
{
    arena a = {0};
    search like = { .d = d, .t = t, .o = o, .prompt = prompt, .n_prompt = n_prompt, .V = genet__decoder_vocab(d),
                    .K = (int)o->num_beams, .most = o->max_new_tokens };
    like.n_top = o->logprobs < like.V ? o->logprobs : like.V;
    like.end = genet__end_tokens(m, o);
    TRY(check(&like, err));
    int64_t rows = genet__decoder_rows(d);
    search *s = ARENA_ARRAY(&a, search, n_source);
    int32_t *ids = ARENA_ARRAY(&a, int32_t, rows), *parent = ARENA_ARRAY(&a, int32_t, rows);
    bool ok = s && ids && parent ? search_all(s, n_source, &like, ids, parent, piece, user, err) : genet__err_memory(err);
    if (s) release(s, n_source);
    genet__arena_release(&a);
    return ok;
}
