/* merge_learn.c - the same merges in the same order as Hugging Face's BpeTrainer.
 *
 * Words lie one after the other, a cell a byte or character; a token is known by the cells of its
 * first and its last place.  Each cell where a token begins that has a right neighbour is in
 * exactly one list: that of the pair that begins there.  A merge walks its pair's list,
 * and moves the neighbours' cells to the lists of the pairs that come to be, which all hold the new token:
 * two arrays by the other token find them, no hashing.  So learning costs time by the pairs that merges touch,
 * whatever the length of words; counts of old pairs only fall, so a heap with
 * outdated counts finds the largest: what has changed goes back in.
 *
 * Now and then two merges spell the same ("aa" "a" and "a" "aa"): then the older token stands for both, and its pairs
 * grow again. */
#include "text/merge_learn.h"
#include <limits.h>
#include <stdlib.h>
#include "base/alloc.h"
#include "base/err.h"

enum { NONE = -1, TELL_EVERY = 64 };

typedef struct pair {
    int64_t count;              /* occurrences in the text, not in the words */
    int32_t left, right;        /* tokens */
    int32_t first, last;        /* cells, ascending */
    bool    mixed;              /* no longer ascending */
} pair;

typedef struct ranked { int64_t count; int32_t pair; } ranked;      /* count: as it was when it was last looked at */

typedef struct learner {
    merges    *m;
    merge_cell *cell;
    const counted_word *word;
    int32_t   *with_left, *with_right;      /* pair of token i and the new token; of the new token and token i */
    pair      *pair;
    ranked    *heap;            /* the largest first */
    str        name;            /* of the new token */
    int        n_token, n_start, n_pair, cap_pair, n_heap, cap_heap;
} learner;

static int32_t add_pair(learner *l, int32_t left, int32_t right)
{
    if (!GROW(l->pair, l->n_pair, l->cap_pair)) return NONE;
    l->pair[l->n_pair] = (pair){ .left = left, .right = right, .first = NONE, .last = NONE };
    return l->n_pair++;
}

/* Cell c begins pair p; but for pairs that grow again, cells come in ascending order. */
static void append(learner *l, int32_t p, int32_t c)
{
    pair *q = &l->pair[p];
    merge_cell *at = &l->cell[c];
    at->pair = p;
    at->before = q->last;
    at->after = NONE;
    q->mixed |= c < q->last;
    if (q->last == NONE) q->first = c;
    else l->cell[q->last].after = c;
    q->last = c;
    q->count += l->word[at->word].count;
}

static void take_out(learner *l, int32_t c)
{
    merge_cell *at = &l->cell[c];
    pair *q = &l->pair[at->pair];
    if (at->before == NONE) q->first = at->after;
    else l->cell[at->before].after = at->after;
    if (at->after == NONE) q->last = at->before;
    else l->cell[at->after].before = at->before;
    at->pair = NONE;
    q->count -= l->word[at->word].count;
}

static int by_place(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Put p's cells in ascending order again: where a token stands beside itself, the left one is merged first. */
static bool put_in_order(learner *l, int32_t p)
{
    int n = 0, cap = 0;
    int32_t *at = NULL;
    for (int32_t c = l->pair[p].first; c != NONE; c = l->cell[c].after) {
        if (!GROW(at, n, cap)) {
            genet__free(at);
            return false;
        }
        at[n++] = c;
    }
    if (n) qsort(at, (size_t)n, sizeof *at, by_place);
    pair *q = &l->pair[p];
    *q = (pair){ .left = q->left, .right = q->right, .first = NONE, .last = NONE };
    for (int i = 0; i < n; i++) append(l, p, at[i]);
    genet__free(at);
    return true;
}

/* --- the heap ----------------------------------------------------------------------- */

/* The larger count first, then the smaller left token, then the smaller right one. */
static bool comes_before(const learner *l, ranked a, ranked b)
{
    if (a.count != b.count) return a.count > b.count;
    const pair *p = &l->pair[a.pair], *q = &l->pair[b.pair];
    return p->left != q->left ? p->left < q->left : p->right < q->right;
}

/* x goes to place i or below it. */
static void sink(learner *l, int i, ranked x)
{
    for (int64_t child; (child = 2 * (int64_t)i + 1) < l->n_heap; i = (int)child) {
        if (child + 1 < l->n_heap && comes_before(l, l->heap[child + 1], l->heap[child])) child++;
        if (!comes_before(l, l->heap[child], x)) break;
        l->heap[i] = l->heap[child];
    }
    l->heap[i] = x;
}

static bool push(learner *l, int32_t p)
{
    if (!l->pair[p].count) return true;
    if (!GROW(l->heap, l->n_heap, l->cap_heap)) return false;
    ranked x = { l->pair[p].count, p };
    int i = l->n_heap++;
    for (; i > 0 && comes_before(l, x, l->heap[(i - 1) / 2]); i = (i - 1) / 2) l->heap[i] = l->heap[(i - 1) / 2];
    l->heap[i] = x;
    return true;
}

/* The most frequent pair, out of the heap; NONE: there is none. */
static int32_t pop(learner *l)
{
    while (l->n_heap) {
        ranked top = l->heap[0];
        int64_t count = l->pair[top.pair].count;
        if (count && count != top.count) {
            sink(l, 0, (ranked){ count, top.pair });
            continue;
        }
        l->n_heap--;
        if (l->n_heap) sink(l, 0, l->heap[l->n_heap]);
        if (count) return top.pair;
    }
    return NONE;
}

/* --- laying out words --------------------------------------------------------------- */

bool genet__merges_init(merges *m, int64_t n_tokens, int64_t n_words, int vocab_size, genet_err *err)
{
    if (n_tokens > INT_MAX - n_words - 1)
        return genet__err_set(err, GENET_ERR_USAGE,
                              "the distinct words of the training text are more than 2 GiB: too many to learn a "
                              "tokenizer from; learn it from less text");
    m->cell = genet__alloc_array((size_t)(n_tokens + n_words + 1), sizeof *m->cell);
    if (!m->cell) return genet__err_memory(err);
    m->n_cell = 0;
    genet__merges_put(m, MERGE_BETWEEN, 0);
    return genet__vocabulary_init(&m->names, vocab_size, err);
}

void genet__merges_put(merges *m, int32_t token, int32_t word)
{
    m->cell[m->n_cell++] = (merge_cell){ .token = token, .length = 1, .word = word, .pair = NONE };
}

/* The cells that begin a pair, by their left tokens (a counting sort): at[0 .. *n). */
static int32_t *by_left(const learner *l, int *n)
{
    int32_t *at = genet__alloc_array((size_t)l->m->n_cell, sizeof *at);
    int32_t *next = genet__alloc_array((size_t)l->n_start + 1, sizeof *next);
#define BEGINS(c) (l->cell[c].token != MERGE_BETWEEN && l->cell[(c) + 1].token != MERGE_BETWEEN)
    for (int c = 0; at && next && c + 1 < l->m->n_cell; c++)
        if (BEGINS(c)) next[l->cell[c].token + 1]++;
    for (int i = 0; next && i < l->n_start; i++) next[i + 1] += next[i];
    *n = at && next ? next[l->n_start] : 0;
    for (int c = 0; at && next && c + 1 < l->m->n_cell; c++)
        if (BEGINS(c)) at[next[l->cell[c].token]++] = c;
#undef BEGINS
    bool ok = next != NULL;
    genet__free(next);
    if (ok) return at;
    genet__free(at);
    return NULL;
}

/* The pairs that there are before the first merge. */
static bool first_pairs(learner *l)
{
    int n, done = 0;
    int32_t *at = by_left(l, &n);
    bool ok = at != NULL;
    for (int i = 0; ok && i < n; i++) {
        int32_t left = l->cell[at[i]].token, right = l->cell[at[i] + 1].token;
        if (done < l->n_pair && l->pair[done].left != left)
            for (; done < l->n_pair; done++) l->with_left[l->pair[done].right] = NONE;
        int32_t *p = &l->with_left[right];
        if (*p == NONE) *p = add_pair(l, left, right);
        ok = *p != NONE;
        if (ok) append(l, *p, at[i]);
    }
    for (; done < l->n_pair; done++) l->with_left[l->pair[done].right] = NONE;
    for (int i = 0; ok && i < l->n_pair; i++) ok = push(l, i);
    genet__free(at);
    return ok;
}

static bool prepare(learner *l, int vocab_size)
{
    /* Each merge makes tokens in the text fewer. */
    int64_t n = l->n_start + (int64_t)l->m->n_cell;
    if (n > vocab_size) n = vocab_size > l->n_start ? vocab_size : l->n_start;
    l->with_left = genet__alloc_array((size_t)n, sizeof *l->with_left);
    l->with_right = genet__alloc_array((size_t)n, sizeof *l->with_right);
    if (!l->with_left || !l->with_right) return false;
    for (int64_t i = 0; i < n; i++) l->with_left[i] = l->with_right[i] = NONE;
    return first_pairs(l);
}

static void learner_release(learner *l)
{
    genet__free(l->with_left);
    genet__free(l->with_right);
    genet__free(l->pair);
    genet__free(l->heap);
    genet__str_release(&l->name);
}

/* --- merging ------------------------------------------------------------------------ */

/* Cell c now begins the pair (left, right), one of which is the new token. */
static bool join(learner *l, int32_t c, int32_t left, int32_t right, int32_t new_token)
{
    int32_t *p = right == new_token ? &l->with_left[left] : &l->with_right[right];
    if (*p == NONE) *p = add_pair(l, left, right);
    if (*p == NONE) return false;
    append(l, *p, c);
    return true;
}

/* left begins at cell c, right follows: make them one.  Cells inside a token are never
 * looked at again: no list has them, and neighbours see first and last cells only. */
static bool merge_at(learner *l, int32_t c, int32_t new_token)
{
    int32_t middle = c + l->cell[c].length, end = middle + l->cell[middle].length;
    int32_t before = l->cell[c - 1].token, next = l->cell[end].token;
    take_out(l, c);
    if (next != MERGE_BETWEEN) take_out(l, middle);
    l->cell[c].token = l->cell[end - 1].token = new_token;
    l->cell[c].length = l->cell[end - 1].length = end - c;
    if (next != MERGE_BETWEEN && !join(l, c, new_token, next, new_token)) return false;
    if (before == MERGE_BETWEEN) return true;
    int32_t at = c - l->cell[c - 1].length;
    take_out(l, at);
    return join(l, at, before, new_token, new_token);
}

/* The token that left and right spell: a new one, or one that is there already. */
static bool name_token(learner *l, int32_t left, int32_t right, int32_t *token, genet_err *err)
{
    size_t n, n_right;
    const char *a = genet__vocabulary_piece(&l->m->names, left, &n);
    const char *b = genet__vocabulary_piece(&l->m->names, right, &n_right);
    genet__str_clear(&l->name);
    genet__str_add_n(&l->name, a, n);
    genet__str_add_n(&l->name, b + l->m->n_prefix, n_right - l->m->n_prefix);
    if (l->name.failed) return genet__err_memory(err);
    *token = genet__vocabulary_find(&l->m->names, l->name.at, l->name.n);
    if (*token >= 0) return true;
    *token = l->n_token++;
    return genet__vocabulary_add(&l->m->names, l->name.at, l->name.n, *token, err);
}

/* Pairs of the token among the first n: they are found by the other token (set), or no longer. */
static void mark_pairs(learner *l, int32_t token, int n, bool set)
{
    for (int i = 0; i < n; i++) {
        const pair *q = &l->pair[i];
        if (q->right == token) l->with_left[q->left] = set ? i : NONE;
        else if (q->left == token) l->with_right[q->right] = set ? i : NONE;
    }
}

/* Every occurrence of pair p, from left to right. */
static bool merge_pair(learner *l, int32_t p, genet_err *err)
{
    int32_t left = l->pair[p].left, right = l->pair[p].right, token = 0;
    int first_new = l->n_pair, n_token = l->n_token;
    TRY(name_token(l, left, right, &token, err));
    bool old = token < n_token;
    if (!GROW(l->m->merge, l->m->n_merge, l->m->cap_merge)) return genet__err_memory(err);
    l->m->merge[l->m->n_merge++] = (bpe_merge){ left, right };
    if (old) mark_pairs(l, token, first_new, true);
    bool ok = !(l->pair[p].mixed && left == right) || put_in_order(l, p);
    while (ok && l->pair[p].first != NONE) ok = merge_at(l, l->pair[p].first, token);
    for (int i = old ? 0 : first_new; ok && i < l->n_pair; i++)
        if (l->pair[i].left == token || l->pair[i].right == token) ok = push(l, i);
    mark_pairs(l, token, old ? l->n_pair : 0, false);
    for (int i = first_new; i < l->n_pair; i++)
        l->with_left[l->pair[i].left] = l->with_right[l->pair[i].right] = NONE;
    return ok || genet__err_memory(err);
}

bool genet__merges_learn(merges *m, const counted_word *word, int vocab_size, const train_watch *watch, genet_err *err)
{
    learner l = { .m = m, .cell = m->cell, .word = word, .n_token = m->names.size, .n_start = m->names.size };
    bool ok = prepare(&l, vocab_size) || genet__err_memory(err);
    double all = vocab_size > l.n_start ? vocab_size - l.n_start : 1;
    for (int32_t p; ok && l.n_token < vocab_size && (p = pop(&l)) != NONE;) {
        if (m->n_merge % TELL_EVERY == 0)
            ok = genet__train_tell(watch, "learning merges", (l.n_token - l.n_start) / all, err);
        ok = ok && merge_pair(&l, p, err);
    }
    learner_release(&l);
    return ok;
}

void genet__merges_release(merges *m)
{
    genet__vocabulary_release(&m->names);
    genet__free(m->cell);
    genet__free(m->merge);
    *m = (merges){ 0 };
}
