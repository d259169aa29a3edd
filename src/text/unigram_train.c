/* unigram_train.c - learning the pieces of a Unigram model and their scores (Kudo 2018, "Subword Regularization",
 * arXiv 1804.10959, section 3.2; Kudo and Richardson 2018, "SentencePiece").
 *
 * Many candidates are the beginning: all characters, and the repeated substrings of the distinct words.  Then, again and
 * again: two rounds of expectation and maximisation, over all segmentations of each word (forward and backward over
 * places), and the pieces whose loss would cost the text least are dropped, a quarter at a time, until
 * there are as many as wanted and a tenth.  In maximisation digamma stands for the logarithm, a sparse prior (Liang and
 * Klein 2007, "Structured Bayesian Nonparametric Models with Variational Inference"), and what is expected less than
 * half a time goes.  What is dropped last brings the number down to the wanted; all characters stay.
 *
 * Probabilities are multiplied as they are, not as logarithms; a power of two a place keeps long words from underflow. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "text/learn.h"
#include "text/unigram.h"

enum { PIECE_CHARS = 16, SEEDS = 1000000, ROUNDS = 2, TELL_EVERY = 4096 };
static const double shrink = 0.75, room = 1.1, least_expected = 0.5, unknown_penalty = 10, penalty_step = 1e-4;

typedef struct candidate {
    const char *at;
    size_t      n;
    double      score, expected;
    int32_t     rank;           /* how it came out of the last pruning: the first are dropped last */
    bool        is_char;
} candidate;

/* One way to take the places from begin to end. */
typedef struct edge { int32_t begin, end, id; } edge;
/* value * 2^power: the sum over all ways to (or from) a place. */
typedef struct scaled { double value; int power; } scaled;

typedef struct learner {
    const word_count  *words;
    const train_watch *watch;
    genet_err  *err;
    candidate  *piece;
    int         n, cap;
    arena       arena;          /* bytes of candidates */
    unigram_pieces model;       /* over piece, which is in the order of bytes; its unknown one is id n */
    double     *score, *chance; /* by id */
    edge       *edge;
    int         n_edge, cap_edge;
    scaled     *forward, *backward;         /* by place, and so is node */
    unigram_node *node;
    double      all;            /* occurrences of words */
    int         size, n_done, n_rounds;
} learner;

/* --- candidates --------------------------------------------------------------------------------------------------- */

/* The digamma function for x > 0: recurrence up to 7, then its asymptotic series about x - 1/2. */
static double digamma(double x)
{
    double sum = 0;
    for (; x < 7; x++) sum -= 1 / x;
    x -= 0.5;
    double y = 1 / (x * x);
    return sum + log(x) + y * (1.0 / 24 - y * (7.0 / 960 - y * (31.0 / 8064 - y * (127.0 / 30720))));
}

static bool add_candidate(learner *l, const uint32_t *text, int n, double weight)
{
    if (!GROW(l->piece, l->n, l->cap)) return false;
    char *at = genet__arena_alloc(&l->arena, 4 * (size_t)n);
    size_t length = 0;
    for (int i = 0; at && i < n; i++) length += (size_t)genet__utf8_encode(text[i] - 1, at + length);
    if (at) l->piece[l->n++] = (candidate){ .at = at, .n = length, .score = weight, .is_char = n == 1 };
    return at != NULL;
}

/* All characters, in the order of code points. */
static bool add_characters(learner *l, const substrings *s)
{
    double *count = genet__alloc_array(0x110000, sizeof *count);
    bool ok = count != NULL;
    for (int i = 0; ok && i < s->n_text; i++)
        if (s->text[i]) count[s->text[i] - 1] += (double)l->words->word[s->word[i]].count;
    for (uint32_t c = 0; ok && c < 0x110000; c++)
        if (count[c] > 0) ok = add_candidate(l, &(uint32_t){ c + 1 }, 1, count[c]);
    genet__free(count);
    return ok;
}

/* What covers most characters of the text first. */
static int by_cover(const void *a, const void *b)
{
    const substring *x = a, *y = b;
    double p = (double)x->count * x->n, q = (double)y->count * y->n;
    if (p != q) return p > q ? -1 : 1;
    return x->n != y->n ? y->n - x->n : (x->at > y->at) - (x->at < y->at);
}

static int by_bytes(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    int order = memcmp(x->at, y->at, x->n < y->n ? x->n : y->n);
    return order ? order : (x->n > y->n) - (x->n < y->n);
}

static bool find_candidates(learner *l)
{
    substrings s = { 0 };
    bool ok = genet__substrings_find(&s, l->words, PIECE_CHARS, l->err);
    if (ok) {
        if (s.n) qsort(s.of, (size_t)s.n, sizeof *s.of, by_cover);
        ok = add_characters(l, &s);
        for (int i = 0; ok && i < s.n && l->n < SEEDS; i++)
            ok = add_candidate(l, s.text + s.of[i].at, s.of[i].n, (double)s.of[i].count * s.of[i].n);
        if (!ok) genet__err_memory(l->err);
    }
    genet__substrings_release(&s);
    if (ok && l->n) qsort(l->piece, (size_t)l->n, sizeof *l->piece, by_bytes);
    return ok;
}

/* --- the model ---------------------------------------------------------------------------------------------------- */

/* The trie, scores and probabilities of the pieces that there are now. */
static bool index_pieces(learner *l)
{
    double least = INFINITY;
    trie_key *key = genet__alloc_array((size_t)l->n + 1, sizeof *key);
    if (!key) return genet__err_memory(l->err);
    for (int i = 0; i < l->n; i++) {
        key[i] = (trie_key){ l->piece[i].at, l->piece[i].n, i };
        l->score[i] = l->piece[i].score;
        l->chance[i] = exp(l->score[i]);
        if (l->score[i] < least) least = l->score[i];
    }
    if (!l->n) least = 0;
    l->model.unknown = l->n;
    l->model.unknown_score = l->score[l->n] = least - unknown_penalty;
    l->chance[l->n] = exp(l->model.unknown_score);
    genet__trie_release(&l->model.trie);
    bool ok = genet__trie_make(&l->model.trie, key, l->n, l->err);
    genet__free(key);
    return ok;
}

static bool prepare(learner *l)
{
    double sum = 0, left = log((double)l->n / (room * l->size)) / -log(shrink);
    size_t longest = 0;
    for (int i = 0; i < l->n; i++) sum += l->piece[i].score;
    for (int i = 0; i < l->n; i++) l->piece[i].score = log(l->piece[i].score) - log(sum);
    for (int i = 0; i < l->words->n; i++) {
        l->all += (double)l->words->word[i].count;
        if (l->words->word[i].n > longest) longest = l->words->word[i].n;
    }
    l->n_rounds = ROUNDS * (1 + (left > 0 ? (int)ceil(left) : 0));
    l->score = genet__alloc_array((size_t)l->n + 1, sizeof *l->score);
    l->chance = genet__alloc_array((size_t)l->n + 1, sizeof *l->chance);
    l->forward = genet__alloc_array(longest + 1, sizeof *l->forward);
    l->backward = genet__alloc_array(longest + 1, sizeof *l->backward);
    l->node = genet__alloc_array((longest > 4 * PIECE_CHARS ? longest : 4 * PIECE_CHARS) + 1, sizeof *l->node);
    l->model.score = l->score;
    if (!l->score || !l->chance || !l->forward || !l->backward || !l->node) return genet__err_memory(l->err);
    return index_pieces(l);
}

static void learner_release(learner *l)
{
    genet__free(l->piece);
    genet__arena_release(&l->arena);
    genet__trie_release(&l->model.trie);
    genet__free(l->score);
    genet__free(l->chance);
    genet__free(l->edge);
    genet__free(l->forward);
    genet__free(l->backward);
    genet__free(l->node);
}

/* part of the round that runs. */
static bool tell(learner *l, double part)
{
    double done = (l->n_done + part) / l->n_rounds;
    return genet__train_tell(l->watch, "learning pieces", done < 1 ? done : 1, l->err);
}

/* --- expectation --------------------------------------------------------------------------------------------------- */

static inline void add_scaled(scaled *to, double value, int power)
{
    if (to->value == 0) *to = (scaled){ value, power };
    else to->value += power == to->power ? value : ldexp(value, power - to->power);
}

/* Pieces are at most 16 characters of at least 2^-50 each: what a place is added to before this happens is in range. */
static inline void normalise(scaled *s)
{
    int power;
    if (s->value > 0x1p-200) return;
    s->value = frexp(s->value, &power);
    s->power += power;
}

static inline bool add_edge(learner *l, size_t begin, size_t end, int32_t id)
{
    if (l->n_edge == l->cap_edge && !GROW(l->edge, l->n_edge, l->cap_edge)) return genet__err_memory(l->err);
    l->edge[l->n_edge++] = (edge){ (int32_t)begin, (int32_t)end, id };
    add_scaled(&l->forward[end], l->forward[begin].value * l->chance[id], l->forward[begin].power);
    return true;
}

/* Every piece at every place of a word, in the order of where they begin, and the sums over all ways to each place. */
static bool go_forward(learner *l, const char *s, size_t n)
{
    const trie *t = &l->model.trie;
    l->n_edge = 0;
    memset(l->forward, 0, (n + 1) * sizeof *l->forward);
    l->forward[0].value = 1;
    for (size_t at = 0, length; at < n; at += length) {
        bool whole, open, single = false;
        uint32_t node = t->root;
        length = genet__utf8_length(s + at, n - at, &whole, &open);
        normalise(&l->forward[at]);
        for (size_t end = at; end < n && (node = genet__trie_step(t, node, (unsigned char)s[end])) != TRIE_NONE;) {
            int32_t id = genet__trie_value(t, node);
            if (++end, id < 0) continue;
            single |= end - at == length;
            TRY(add_edge(l, at, end, id));
        }
        if (!single) TRY(add_edge(l, at, at + length, l->n));
    }
    return true;
}

/* The sums over all ways from each place to the end, and how often each piece is expected: the share of all ways that
 * take an edge. */
static void go_backward(learner *l, size_t n, double count)
{
    scaled all = l->forward[n];
    double share = count / all.value;
    memset(l->backward, 0, (n + 1) * sizeof *l->backward);
    l->backward[n].value = 1;
    int32_t place = (int32_t)n;
    for (int i = l->n_edge; i-- > 0;) {
        edge e = l->edge[i];
        if (e.begin != place) normalise(&l->backward[place]), place = e.begin;
        scaled f = l->forward[e.begin], b = l->backward[e.end];
        double value = l->chance[e.id] * b.value, part = share * f.value * value;
        int power = f.power + b.power - all.power;
        add_scaled(&l->backward[e.begin], value, b.power);
        if (e.id < l->n) l->piece[e.id].expected += power ? ldexp(part, power) : part;
    }
}

static bool expect(learner *l)
{
    for (int i = 0; i < l->n; i++) l->piece[i].expected = 0;
    for (int i = 0; i < l->words->n; i++) {
        const counted_word *w = &l->words->word[i];
        if (i % TELL_EVERY == 0) TRY(tell(l, (double)i / l->words->n));
        if (!w->n) continue;
        TRY(go_forward(l, w->at, w->n));
        go_backward(l, w->n, (double)w->count);
    }
    return true;
}

/* --- maximisation and pruning --------------------------------------------------------------------------------------- */

static bool maximise(learner *l)
{
    double sum = 0;
    int n = 0;
    for (int i = 0; i < l->n; i++) {
        if (l->piece[i].expected < least_expected) continue;
        sum += l->piece[i].expected;
        l->piece[n++] = l->piece[i];
    }
    l->n = n;
    for (int i = 0; i < n; i++) l->piece[i].score = digamma(l->piece[i].expected) - digamma(sum);
    l->n_done++;
    return index_pieces(l);
}

/* How often each piece stands in the best segmentation of the text. */
static void count_best(learner *l, double *count)
{
    for (int i = 0; i < l->words->n; i++) {
        const counted_word *w = &l->words->word[i];
        if (!w->n || !genet__unigram_path(&l->model, w->at, w->n, -1, l->node)) continue;
        for (int32_t end = (int32_t)w->n; end > 0; end = l->node[end].begin)
            count[l->node[end].id] += (double)w->count;
    }
}

typedef struct verdict { double loss; int32_t id; bool keep, drop; } verdict;

/* The logarithm of the probability that piece id loses where the pieces next best take its place (Kudo and Richardson's
 * estimate: they take over its occurrences); sum: of all counts. */
static double loss_of(const learner *l, int32_t id, const double *count, double sum)
{
    double n_instead = 0, instead = 0;
    for (int32_t end = (int32_t)l->piece[id].n; end > 0; end = l->node[end].begin) n_instead++;
    for (int32_t end = (int32_t)l->piece[id].n; end > 0; end = l->node[end].begin)
        instead += log(count[l->node[end].id] + count[id]) - log(sum + count[id] * (n_instead - 1));
    return count[id] / l->all * (log(count[id]) - log(sum) - instead);
}

/* Characters stay; what the model itself would rather write with other pieces stays only where the text needs it. */
static verdict judge(learner *l, int32_t id, const double *count, double sum)
{
    const candidate *p = &l->piece[id];
    if (p->is_char) return (verdict){ .id = id, .keep = true };
    genet__unigram_path(&l->model, p->at, p->n, -1, l->node);
    bool alone = l->node[p->n].begin == 0;
    if (!alone || count[id] == 0) return (verdict){ .id = id, .keep = count[id] > 0, .drop = count[id] == 0 };
    genet__unigram_path(&l->model, p->at, p->n, id, l->node);
    return (verdict){ .id = id, .loss = loss_of(l, id, count, sum) };
}

/* What must stay, then by loss, the greatest first, then what goes. */
static int by_loss(const void *a, const void *b)
{
    const verdict *x = a, *y = b;
    if (x->keep != y->keep) return x->keep ? -1 : 1;
    if (x->drop != y->drop) return x->drop ? 1 : -1;
    if (x->loss != y->loss) return x->loss > y->loss ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static int target_of(const learner *l)
{
    int wanted = (int)(room * l->size), less = (int)(shrink * l->n);
    return less > wanted ? less : wanted;
}

static void drop_ranked(learner *l, const verdict *v)
{
    int n = 0, target = target_of(l);
    for (int i = 0; i < l->n; i++) l->piece[v[i].id].rank = v[i].drop || (i >= target && !v[i].keep) ? -1 : i;
    for (int i = 0; i < l->n; i++)
        if (l->piece[i].rank >= 0) l->piece[n++] = l->piece[i];
    l->n = n;
}

static bool prune(learner *l)
{
    double *count = genet__alloc_array((size_t)l->n + 1, sizeof *count), sum = 0;
    verdict *v = genet__alloc_array((size_t)l->n + 1, sizeof *v);
    bool ok = count && v;
    if (ok) {
        count_best(l, count);
        for (int i = 0; i <= l->n; i++) sum += count[i];
        for (int i = 0; i < l->n; i++) v[i] = judge(l, i, count, sum);
        qsort(v, (size_t)l->n, sizeof *v, by_loss);
        drop_ranked(l, v);
    }
    genet__free(count);
    genet__free(v);
    return ok ? index_pieces(l) : genet__err_memory(l->err);
}

static bool learn(learner *l)
{
    for (int before = INT_MAX;;) {
        for (int i = 0; i < ROUNDS; i++) TRY(expect(l) && maximise(l));
        if (l->n <= (int)(room * l->size) || l->n >= before) return true;
        before = l->n;
        TRY(prune(l));
    }
}

/* --- the vocabulary ------------------------------------------------------------------------------------------------- */

/* Characters first, then as pruning ranked them. */
static int by_rank(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->is_char != y->is_char) return x->is_char ? -1 : 1;
    return x->rank != y->rank ? (x->rank > y->rank) - (x->rank < y->rank) : by_bytes(a, b);
}

static int by_score(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return by_bytes(a, b);
}

/* The characters of the text, found before candidates were dropped, then the best-ranked others: n in all, if there are as
 * many; how many there are. */
static int choose(learner *l, const candidate *character, int n_char, int n, candidate *out)
{
    double least = l->model.unknown_score + unknown_penalty, penalty = 0;
    int n_out = 0;
    for (int i = 0; i < n_char; i++) {
        candidate c = character[i];
        int32_t id = genet__trie_find(&l->model.trie, c.at, c.n);
        c.score = id >= 0 ? l->score[id] : least + penalty;
        penalty += id >= 0 ? 0 : penalty_step;
        out[n_out++] = c;
    }
    if (l->n) qsort(l->piece, (size_t)l->n, sizeof *l->piece, by_rank);
    for (int i = 0; i < l->n && n_out < n; i++)
        if (!l->piece[i].is_char) out[n_out++] = l->piece[i];
    if (n_out) qsort(out, (size_t)n_out, sizeof *out, by_score);
    return n_out;
}

static bool write_out(learner *l, const candidate *character, int n_char, const char *const *special, int n_special,
                      learned *out)
{
    candidate *chosen = genet__alloc_array((size_t)l->size, sizeof *chosen);
    bool ok = chosen != NULL;
    int n = ok && l->model.trie.unit ? choose(l, character, n_char, l->size - n_special, chosen) : 0;
    for (int i = 0; ok && i < n_special; i++) ok = genet__learned_add(out, special[i], strlen(special[i]), 0);
    for (int i = 0; ok && i < n; i++) ok = genet__learned_add(out, chosen[i].at, chosen[i].n, chosen[i].score);
    genet__free(chosen);
    return ok || genet__err_memory(l->err);
}

/* A copy of the candidates that are characters. */
static candidate *characters(const learner *l, int *n)
{
    candidate *c = genet__alloc_array((size_t)l->n + 1, sizeof *c);
    *n = 0;
    for (int i = 0; c && i < l->n; i++)
        if (l->piece[i].is_char) c[(*n)++] = l->piece[i];
    return c;
}

bool genet__learn_unigram(word_count *w, const char *const *special, int n_special, int vocab_size,
                          const train_watch *watch, learned *out, genet_err *err)
{
    learner l = { .words = w, .watch = watch, .err = err, .size = vocab_size };
    int n_char = 0;
    candidate *character = NULL;
    bool ok = find_candidates(&l) && ((character = characters(&l, &n_char)) || genet__err_memory(err));
    if (ok && n_char + n_special > vocab_size)
        ok = genet__err_set(err, GENET_ERR_USAGE, "the text has %d different characters: a vocabulary of %d pieces with %d "
                            "special ones has no room for them; ask for at least %d", n_char, vocab_size, n_special,
                            n_char + n_special);
    ok = ok && (!l.n || (prepare(&l) && learn(&l))) && write_out(&l, character, n_char, special, n_special, out);
    genet__free(character);
    learner_release(&l);
    return ok;
}
