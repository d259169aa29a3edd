/* complete.c - how a text in the making may go on: the rest of the word being typed, or the next word.
 *
 * What is asked.  A continuation is white space (or none) and then one run of word characters, or one of other
 * marks, up to the place where something else begins.  Its probability is that of all token sequences that spell it
 * and are followed by something that ends it, given that they spell what was typed.
 *
 * Token healing.  The tokens of a half-typed word are not those that its whole would have, so the context is
 * cut before the word and the space before it, and only tokens that spell what was typed may follow.  A tokenizer of single
 * characters needs none of that.
 *
 * Best-first search.  An open path is a token sequence whose word has not ended.  All rows of the decoder stand at
 * the same depth, so a step expands the likeliest paths among the children of the step before; when an earlier path is much
 * likelier, its depth is read again.  The search ends when no open path can enter the list any more, or none is
 * WORTH it, or a number of steps is taken that depends on the model's size: work is bounded, and no clock
 * decides.  What remains unexplored counts nowhere. */
#include <math.h>
#include <string.h>
#include "base/alloc.h"
#include "base/arena.h"
#include "base/err.h"
#include "infer/generate.h"
#include "text/space.h"

enum {
    MIN_STEPS = 3, MAX_STEPS = 24,      /* passes through the model, at least and at most: */
    WORK      = 500000000,      /* so many weights read in all */
    MAX_DEPTH = 20,             /* tokens after the context */
    MAX_TYPED = 64,             /* bytes taken back at most */
    MAX_TEXT  = MAX_TYPED + sizeof ((genet_completion *)0)->text,
    N_POOL    = 128,            /* open paths, and */
    N_RESULT  = 128             /* ended words that are remembered at once */
};
static const double WORTH = 1e-3;       /* a share of what spells the typed bytes that is worth a step */
static const double AHEAD = 4;          /* so much likelier must an earlier path be to be taken up again */
static const double GUESS = 0.1;        /* the share of a path that spells one typed byte more */

/* What a character is, and with which a token begins. */
typedef enum kind {
    NOTHING,        /* no character yet; of a token: it may not follow */
    SPACE, WORD, MARK,
    PART,           /* a part of a character */
    END             /* the token that ends a text */
} kind;

typedef struct path {
    double  p;                  /* of its tokens, after the context */
    double  worth;              /* p, times GUESS for each typed byte that it does not spell yet */
    int     row;                /* of the latest step whose child this is; -1: of an earlier one */
    int     order;              /* of making: decides between equals */
    int     depth, n;           /* tokens, bytes */
    int32_t id[MAX_DEPTH];
    char    text[MAX_TEXT];     /* all bytes after the context; with what was typed */
} path;

typedef struct search {
    decoder         *d;
    const tokenizer *t;
    int64_t          V, n_ids;          /* the model's vocabulary, the tokenizer's */
    token_list       context;
    int64_t          skipped;           /* tokens of the context that the window has no room for */
    const char      *typed;
    int              n_typed, from;     /* bytes; where in them the character begins that is not whole; else n_typed */
    int              max_depth, max_steps, wanted, steps, order;
    bool             gaps;              /* something stands between tokens */
    double           spelled;           /* probability of what spells the typed bytes, as far as explored */
    double           bound, least;      /* of the last one in the list; of the pool while that is full, else 0 */
    unsigned char   *begins;            /* (V) kinds */
    path            *pool, *row;        /* (N_POOL), (COMPLETE_ROWS) */
    genet_completion *result;           /* (N_RESULT): not yet divided by spelled */
    int              n_pool, n_row, n_result;
    arena            arena;
} search;

/* --- characters --------------------------------------------------------------------- */

/* Beyond ASCII everything is a letter but these. */
static bool is_mark(uint32_t c)
{
    static const struct { uint32_t from, to; } marks[] = {
        { 0x80, 0xa9 }, { 0xab, 0xb4 }, { 0xb6, 0xb9 }, { 0xbb, 0xbf }, { 0xd7, 0xd7 }, { 0xf7, 0xf7 }, { 0x37e, 0x37e },
        { 0x589, 0x58a }, { 0x5be, 0x5be }, { 0x60c, 0x60d }, { 0x61b, 0x61f }, { 0x6d4, 0x6d4 }, { 0x964, 0x965 },
        { 0x200b, 0x200b }, { 0x200e, 0x2018 }, { 0x201a, 0x206f }, { 0x20a0, 0x20cf }, { 0x2190, 0x2bff },
        { 0x2e00, 0x2e7f }, { 0x3000, 0x3004 }, { 0x3008, 0x3020 }, { 0x3030, 0x3030 }, { 0x30fb, 0x30fb },
        { 0xfe10, 0xfe1f }, { 0xfe30, 0xfe6f }, { 0xff01, 0xff0f }, { 0xff1a, 0xff20 }, { 0xff3b, 0xff40 },
        { 0xff5b, 0xff65 }, { 0xfffd, 0xfffd }, { 0x1f000, 0x1faff },
    };
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (c >= marks[i].from && c <= marks[i].to) return true;
    return false;
}

/* Words hold digits, low lines and apostrophes too. */
static kind kind_of(uint32_t c)
{
    if (c >= 0x80) return is_mark(c) ? MARK : WORD;
    bool letter = (c | 32) >= 'a' && (c | 32) <= 'z', digit = c >= '0' && c <= '9';
    return letter || digit || c == '_' || c == '\'' ? WORD : MARK;
}

/* The character at s, its bytes in *length.  PART: it is not whole; NOTHING: it is none. */
static kind character(const char *s, size_t n, size_t *length)
{
    uint32_t c;
    bool whole, open;
    *length = genet__utf8_length(s, n, &whole, &open);
    if (whole && genet__utf8_decode(s, n, &c)) return genet__space_is(c) ? SPACE : kind_of(c);
    *length = n;
    return open ? PART : NOTHING;
}

/* What a continuation's bytes amount to: END, and *end says where something else begins; NOTHING: no text; else it is
 * open and this is its last character. */
static kind continuation(const char *s, size_t n, size_t *end)
{
    kind before = SPACE;
    for (size_t at = 0, length; at < n; at += length) {
        kind now = character(s + at, n - at, &length);
        if (now == NOTHING || now == PART) return now;
        *end = at;
        if (before != SPACE && now != before) return END;
        before = now;
    }
    return before;
}

/* --- what was found ------------------------------------------------------------------ */

/* The probability of the last one in the list as it is; 0 while there is room. */
static double bound_of(const search *s)
{
    for (int i = 0; i < s->n_result; i++) {
        int above = 0, equal = 0;
        for (int k = 0; k < s->n_result; k++) {
            above += s->result[k].probability > s->result[i].probability;
            equal += s->result[k].probability == s->result[i].probability;
        }
        if (above < s->wanted && above + equal >= s->wanted) return s->result[i].probability;
    }
    return 0;
}

/* Different tokens may spell the same. */
static void add_result(search *s, const char *text, size_t n, double p)
{
    if (!n || n >= sizeof s->result->text || !(p > 0)) return;
    int least = 0;
    for (int i = 0; i < s->n_result; i++) {
        if (!strncmp(s->result[i].text, text, n) && !s->result[i].text[n]) {
            s->result[i].probability += p;
            return;
        }
        if (s->result[i].probability < s->result[least].probability) least = i;
    }
    if (s->n_result < N_RESULT) least = s->n_result++;
    else if (!(p > s->result[least].probability)) return;
    memset(&s->result[least], 0, sizeof *s->result);
    memcpy(s->result[least].text, text, n);
    s->result[least].probability = p;
}

/* The likelier; of equals the older. */
static bool before(const path *a, const path *b) { return a->worth != b->worth ? a->worth > b->worth : a->order < b->order; }

static void add_path(search *s, const path *h)
{
    int at = s->n_pool;
    if (s->n_pool < N_POOL) s->n_pool++;
    else {
        at = 0;
        for (int i = 1; i < N_POOL; i++)
            if (before(&s->pool[at], &s->pool[i])) at = i;
    }
    s->pool[at] = *h;
    if (s->n_pool < N_POOL) return;
    s->least = s->pool[0].worth;
    for (int i = 1; i < N_POOL; i++)
        if (s->pool[i].worth < s->least) s->least = s->pool[i].worth;
}

/* --- following a path by a token -------------------------------------------------------- */

/* What stands before id.  Before the first token it was typed already. */
static const char *gap_before(const search *s, const path *h, int32_t id)
{
    return s->gaps && h->depth ? genet__tokenizer_between(s->t, h->id[h->depth - 1], id) : "";
}

static bool append(path *h, const char *bytes, size_t n)
{
    if (h->n + n > MAX_TEXT) return false;
    memcpy(h->text + h->n, bytes, n);
    h->n += (int)n;
    return true;
}

/* h with id, which has probability p: an ended word, an open path, or neither. */
static void follow(search *s, const path *h, int32_t id, int row, double p)
{
    size_t n, end;
    const char *piece = genet__tokenizer_piece(s->t, id, &n), *gap = gap_before(s, h, id);
    size_t left = (size_t)(h->n < s->n_typed ? s->n_typed - h->n : 0);
    double worth = p;
    for (size_t spelled = strlen(gap) + n; left > spelled; left--) worth *= GUESS;
    if (!(worth > s->least) || h->depth == s->max_depth) return;
    path next = *h;
    next.p = p;
    next.worth = worth;
    next.row = row;
    next.order = s->order++;
    next.id[next.depth++] = id;
    if (!append(&next, gap, strlen(gap)) || !append(&next, piece, n)) return;
    kind now = next.n > s->from ? continuation(next.text + s->from, (size_t)(next.n - s->from), &end) : SPACE;
    if (now == END) add_result(s, next.text + s->n_typed, end + (size_t)(s->from - s->n_typed), p);
    else if (now != NOTHING && worth > s->bound) add_path(s, &next);
}

/* Does gap and piece of id agree with the n typed bytes that are left, as far as both go?  *whole: it spells them all. */
static bool spells(const search *s, const path *h, int32_t id, const char *left, size_t n, bool *whole)
{
    size_t n_piece, n_gap = 0;
    const char *piece = genet__tokenizer_piece(s->t, id, &n_piece);
    if (s->gaps) {
        const char *gap = gap_before(s, h, id);
        n_gap = strlen(gap);
        if (n_gap >= n) return *whole = !memcmp(gap, left, n);
        if (memcmp(gap, left, n_gap)) return false;
    }
    left += n_gap, n -= n_gap;
    if (!n_piece || piece[0] != left[0]) return false;
    *whole = n_piece >= n;
    return !memcmp(piece, left, *whole ? n : n_piece);
}

/* Of a path that does not spell all that was typed. */
static void expand_typed(search *s, const path *h, int row, const float *logits, double log_sum)
{
    bool whole;
    for (int32_t id = 0; id < s->n_ids; id++) {
        if (s->begins[id] == NOTHING || s->begins[id] == END) continue;
        if (!spells(s, h, id, s->typed + h->n, (size_t)(s->n_typed - h->n), &whole)) continue;
        double p = h->p * exp((double)logits[id] - log_sum);
        if (whole) s->spelled += p;
        follow(s, h, id, row, p);
    }
}

/* What id begins with after h; a gap is white space. */
static kind begins_with(const search *s, const path *h, int32_t id)
{
    kind begins = s->begins[id];
    return begins != END && *gap_before(s, h, id) ? SPACE : begins;
}

/* Of one that does: tokens that end the word are summed, others go on with it. */
static void expand_open(search *s, const path *h, int row, const float *logits, double log_sum)
{
    size_t end;
    double ended = 0;
    kind last = continuation(h->text + s->from, (size_t)(h->n - s->from), &end);
    bool may_end = last == WORD || last == MARK;
    for (int32_t id = 0; id < s->n_ids; id++) {
        kind next = begins_with(s, h, id);
        bool ends = may_end && next != last && next != PART && next != NOTHING;
        if (!ends && (next == NOTHING || next == END)) continue;
        double p = h->p * exp((double)logits[id] - log_sum);
        if (ends) ended += p;
        else if (p > s->bound && s->begins[id] != NOTHING) follow(s, h, id, row, p);
    }
    add_result(s, h->text + s->n_typed, (size_t)(h->n - s->n_typed), ended);
}

static void expand(search *s, const path *h, int row)
{
    const float *logits = genet__decoder_logits(s->d) + row * s->V;
    double log_sum = genet__log_sum_exp(logits, s->V);
    if (h->n < s->n_typed) expand_typed(s, h, row, logits, log_sum);
    else expand_open(s, h, row, logits, log_sum);
    s->bound = bound_of(s);
}

/* --- searching -------------------------------------------------------------------------- */

static bool begin(search *s, genet_err *err)
{
    return genet__decoder_begin(s->d, s->context.at + s->skipped, s->context.n - s->skipped, err);
}

/* The likeliest open path, of the latest step's children or not, of this depth (-1: any); NULL: none that is worth it. */
static path *likeliest(const search *s, bool child, int depth)
{
    path *best = NULL;
    for (int i = 0; i < s->n_pool; i++) {
        path *h = &s->pool[i];
        if ((h->row >= 0) != child || (depth >= 0 && h->depth != depth)) continue;
        if (!child && s->steps + h->depth > s->max_steps) continue;
        if (h->worth > s->bound && h->worth >= WORTH * s->spelled && (!best || before(h, best))) best = h;
    }
    return best;
}

/* Rows become the likeliest paths of their kind, which leave the pool. */
static void choose(search *s, bool child, int depth)
{
    path *h;
    for (s->n_row = 0; s->n_row < COMPLETE_ROWS && (h = likeliest(s, child, depth)); s->n_row++) {
        s->row[s->n_row] = *h;
        *h = s->pool[--s->n_pool];
    }
    if (s->n_row) s->least = 0;
    for (int i = 0; i < s->n_pool; i++) s->pool[i].row = -1;
}

/* Token number `at` of each row's path.  Rows that are not needed do as the first. */
static bool step(search *s, int at, bool child, genet_err *err)
{
    int32_t ids[COMPLETE_ROWS], parent[COMPLETE_ROWS];
    for (int b = 0; b < COMPLETE_ROWS; b++) {
        const path *h = &s->row[b < s->n_row ? b : 0];
        ids[b] = h->id[at];
        parent[b] = h->row;
    }
    s->steps++;
    return genet__decoder_step(s->d, ids, child ? parent : NULL, err);
}

/* One more depth for the children of the latest step, or an earlier depth again. */
static bool advance(search *s, bool child, int depth, genet_err *err)
{
    choose(s, child, depth);
    if (!child) TRY(begin(s, err));
    for (int at = child ? depth - 1 : 0; at < depth; at++) TRY(step(s, at, child, err));
    for (int b = 0; b < s->n_row; b++) expand(s, &s->row[b], b);
    return true;
}

static bool look(search *s, genet_err *err)
{
    TRY(begin(s, err));
    expand(s, &(path){ .p = 1 }, 0);
    while (s->steps < s->max_steps) {
        const path *child = likeliest(s, true, -1), *earlier = likeliest(s, false, -1);
        if (!child && !earlier) break;
        bool next = child && !(earlier && earlier->worth > AHEAD * child->worth);
        TRY(advance(s, next, next ? child->depth : earlier->depth, err));
    }
    return true;
}

/* --- context and typed bytes ------------------------------------------------------------ */

/* Where the character before `at` begins. */
static size_t back(const char *text, size_t at)
{
    size_t from = at - 1;
    while (from > 0 && at - from < 4 && ((unsigned char)text[from] & 0xc0) == 0x80) from--;
    return from;
}

/* Where the run at the end of text begins: of one kind, or, with `any`, of all that is no white space. */
static size_t run_begin(const char *text, size_t n, bool any)
{
    kind run = NOTHING;
    size_t at = n, length;
    while (at > 0 && n - at < MAX_TYPED - 8) {
        size_t from = back(text, at);
        kind now = character(text + from, at - from, &length);
        if (now == SPACE || now == NOTHING || (now == PART && at < n)) break;
        if (now != PART && run != NOTHING && now != run && !any) break;
        if (now != PART) run = now;
        at = from;
    }
    return at;
}

/* Single characters stand as they are; words are taken back to the white space before them; bytes with the one
 * space that belongs to the word. */
static size_t split(search *s, const char *text, size_t n)
{
    bool chars = !strcmp(genet__tokenizer_kind(s->t), "char"), words = genet__tokenizer_has_gaps(s->t);
    size_t at = chars ? n : run_begin(text, n, words), length;
    if (!chars && !words && at > 0 && text[at - 1] == ' ') at--;
    s->gaps = words;
    s->typed = text + at;
    s->n_typed = s->from = (int)(n - at);
    if (n > at) {
        size_t last = back(text, n);
        if (character(text + last, n - last, &length) == PART) s->from = (int)(last - at);
    }
    return at;
}

/* Before a text's beginning stands the end of another, or of a line. */
static bool add_start(search *s, const model *m, genet_err *err)
{
    int32_t start = genet__start_token(m, &(generation_options){0});
    if (start >= 0) {
        if (!GROW(s->context.at, s->context.n, s->context.cap)) return genet__err_memory(err);
        s->context.at[s->context.n++] = start;
        return true;
    }
    static const char *const starts[] = { "\n", " " };
    for (int i = 0; i < 2; i++)
        if (genet__tokenizer_encode(s->t, starts[i], 1, &s->context, NULL) && s->context.n) return true;
    return genet__err_set(err, GENET_ERR_USAGE, "the text is empty: there is nothing to continue");
}

/* Of a context beyond the window its beginning is left out, in large pieces, so that the rest stays what was read for the
 * keystroke before. */
static void fit(search *s)
{
    int64_t window = genet__decoder_window(s->d);
    s->max_depth = (int)(window / 2 < MAX_DEPTH ? window / 2 : MAX_DEPTH);
    int64_t room = window - s->max_depth, over = s->context.n - room, piece = room / 2 ? room / 2 : 1;
    s->skipped = over > 0 ? (over + piece - 1) / piece * piece : 0;
    if (s->skipped >= s->context.n) s->skipped = s->context.n - 1;
}

static bool set_up(search *s, const model *m, const char *text, genet_err *err)
{
    TRY(genet__tokenizer_encode(s->t, text, split(s, text, strlen(text)), &s->context, err));
    if (!s->context.n) TRY(add_start(s, m, err));
    fit(s);
    int64_t steps = WORK / (1 + genet__params_numel(m->params, PARAM_WEIGHT));
    s->max_steps = steps < MIN_STEPS ? MIN_STEPS : steps > MAX_STEPS ? MAX_STEPS : (int)steps;
    s->spelled = s->n_typed ? 0 : 1;
    s->pool = ARENA_ARRAY(&s->arena, path, N_POOL);
    s->row = ARENA_ARRAY(&s->arena, path, COMPLETE_ROWS);
    s->result = ARENA_ARRAY(&s->arena, genet_completion, N_RESULT);
    s->begins = ARENA_ARRAY(&s->arena, unsigned char, s->n_ids);
    if (!s->pool || !s->row || !s->result || !s->begins) return genet__err_memory(err);
    return true;
}

static void classify(search *s, const model *m)
{
    int32_t unknown = genet__tokenizer_unknown(s->t);
    end_tokens end = genet__end_tokens(m, &(generation_options){0});
    for (int32_t id = 0; id < s->n_ids; id++) {
        size_t n, length;
        const char *piece = genet__tokenizer_piece(s->t, id, &n);
        kind first = piece && n ? character(piece, n, &length) : NOTHING;
        if (first == NOTHING && n) first = PART;
        s->begins[id] = (unsigned char)(id == unknown || genet__tokenizer_is_special(s->t, id) ? NOTHING : first);
    }
    for (int i = 0; i < end.n; i++)
        if (end.id[i] < s->n_ids) s->begins[end.id[i]] = END;
}

/* --- the list ------------------------------------------------------------------------------ */

static bool listed_before(const genet_completion *a, const genet_completion *b)
{
    return a->probability != b->probability ? a->probability > b->probability : strcmp(a->text, b->text) < 0;
}

static int list(const search *s, genet_completion *out)
{
    int n = 0;
    for (int i = 0; i < s->n_result; i++) {
        genet_completion c = s->result[i];
        int at = n < s->wanted ? n++ : n;
        if (at == s->wanted && !listed_before(&c, &out[--at])) continue;
        for (; at > 0 && listed_before(&c, &out[at - 1]); at--) out[at] = out[at - 1];
        out[at] = c;
    }
    for (int i = 0; i < n; i++) out[i].probability /= s->spelled;
    return n;
}

bool genet__complete(decoder *d, const tokenizer *t, const model *m, const char *text, genet_completion *out, int *n,
                     genet_err *err)
{
    search s = { .d = d, .t = t, .V = genet__decoder_vocab(d), .wanted = *n };
    s.n_ids = genet__tokenizer_size(t) < s.V ? genet__tokenizer_size(t) : s.V;
    if (genet__decoder_window(d) < 2)
        return genet__err_set(err, GENET_ERR_USAGE, "a context of one token is too short to complete words");
    bool ok = set_up(&s, m, text, err);
    if (ok) classify(&s, m);
    ok = ok && look(&s, err);
    if (ok) *n = list(&s, out);
    genet__token_list_release(&s.context);
    genet__arena_release(&s.arena);
    return ok;
}
