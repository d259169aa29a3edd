/* bpe_train.c - learning byte-level BPE (Sennrich et al. 2016, arXiv 1508.07909,
 * algorithm 1), the same merges in the same order as Hugging Face's BpeTrainer.
 *
 * The text is read once and only its distinct pre-tokens ("words") are kept, with how often each
 * occurs.  They lie one after the other, a cell a byte; a token is known by the cells of its
 * first and its last byte.  Each cell where a token begins that has a right neighbour is in
 * exactly one list: that of the pair that begins there.  A merge walks its pair's list,
 * and moves the neighbours' cells to the lists of the pairs that come to be, which all hold the new token:
 * two arrays by the other token find them, no hashing.  So learning costs time by the pairs that merges touch,
 * whatever the length of words; counts of old pairs only fall, so a heap with
 * outdated counts finds the largest: what has changed goes back in. */
#include <limits.h>
#include "base/alloc.h"
#include "base/err.h"
#include "text/pattern.h"
#include "text/reader.h"
#include "text/tokenizer_train.h"
#include "text/word_count.h"

enum { N_SPECIAL = 1, N_BYTES = 256, SMALLEST = N_SPECIAL + N_BYTES, LARGEST = 1 << 24, TELL_EVERY = 64 };

static const char *const special[N_SPECIAL] = { "<|endoftext|>" };

/* --- counting words --------------------------------------------------------------- */

typedef struct counter { word_count *words; const pattern *pattern; void *scratch; genet_err *err; } counter;

static bool add_word(void *user, const char *text, size_t n, bool match)
{
    counter *c = user;
    (void)match;
    return genet__word_count_add(c->words, text, n) || genet__err_memory(c->err);
}

static bool add_words(void *user, const char *text, size_t n, genet_err *err)
{
    counter *c = user;
    return genet__pattern_split(c->pattern, text, n, add_word, c, &c->scratch, err);
}

static size_t cut(const void *t, const char *text, size_t n)
{
    return genet__tokenizer_cut(t, text, n);
}

/* The words of the training part: the end token's text is text like any other, as in Hugging Face's training.
 * t, which has no merges, knows where text may be cut. */
static bool count_words(word_count *words, text_source *s, int64_t n_chars, const train_watch *watch, genet_err *err)
{
    pattern *p = genet__pattern_gpt2(err);
    tokenizer *t = p ? genet__tokenizer_from_merges(special, N_SPECIAL, NULL, 0, err) : NULL;
    counter c = { words, p, NULL, err };
    bool ok = t && genet__reader_count(s, n_chars, cut, t, add_words, &c, watch, err);
    genet__pattern_scratch_release(c.scratch);
    genet__tokenizer_free(t);
    genet__pattern_free(p);
    return ok;
}

/* --- pairs -------------------------------------------------------------------------- */

enum { NONE = -1, BETWEEN = -1 };           /* no cell, no pair; the token between two words */

typedef struct cell {
    int32_t token;              /* where one begins or ends; BETWEEN */
    int32_t word;               /* its number, for the count */
    int32_t pair;               /* that begins here, or NONE; then the neighbours in its list */
    int32_t before, after;
} cell;

typedef struct pair {
    int64_t count;              /* occurrences in the text, not in the words */
    int32_t left, right;        /* tokens */
    int32_t first, last;        /* cells, ascending */
} pair;

typedef struct ranked { int64_t count; int32_t pair; } ranked;      /* count: as it was when it was last looked at */

typedef struct learner {
    const counted_word *word;
    cell      *cell;
    int32_t   *length;          /* of token i, in bytes */
    int32_t   *with_left, *with_right;      /* pair of token i and the new token; of the new token and token i */
    pair      *pair;
    ranked    *heap;            /* the largest first */
    bpe_merge *merge;
    int        n_cell, n_token, n_merge, n_pair, cap_pair, n_heap, cap_heap;
} learner;

static int32_t add_pair(learner *l, int32_t left, int32_t right)
{
    if (!GROW(l->pair, l->n_pair, l->cap_pair)) return NONE;
    l->pair[l->n_pair] = (pair){ .left = left, .right = right, .first = NONE, .last = NONE };
    return l->n_pair++;
}

/* Cell c begins pair p; cells come in ascending order. */
static void append(learner *l, int32_t p, int32_t c)
{
    pair *q = &l->pair[p];
    cell *at = &l->cell[c];
    at->pair = p;
    at->before = q->last;
    at->after = NONE;
    if (q->last == NONE) q->first = c;
    else l->cell[q->last].after = c;
    q->last = c;
    q->count += l->word[at->word].count;
}

static void take_out(learner *l, int32_t c)
{
    cell *at = &l->cell[c];
    pair *q = &l->pair[at->pair];
    if (at->before == NONE) q->first = at->after;
    else l->cell[at->before].after = at->after;
    if (at->after == NONE) q->last = at->before;
    else l->cell[at->after].before = at->before;
    at->pair = NONE;
    q->count -= l->word[at->word].count;
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

/* Is the byte its own character in the alphabet?  (GPT-2's bytes_to_unicode.)  The others' come behind U+00FF. */
static bool is_printable(int byte)
{
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
}

/* Ids of bytes: in the order of their characters. */
static void byte_tokens(int32_t token[N_BYTES])
{
    int32_t next = N_SPECIAL;
    for (int i = 0; i < N_BYTES; i++)
        if (is_printable(i)) token[i] = next++;
    for (int i = 0; i < N_BYTES; i++)
        if (!is_printable(i)) token[i] = next++;
}

/* Words of one byte have no pairs: they are left out. */
static bool count_cells(learner *l, int n_word, genet_err *err)
{
    int64_t n = 1;
    for (int i = 0; i < n_word; i++) {
        if (l->word[i].n < 2) continue;
        if (l->word[i].n > (size_t)(INT_MAX - n - 1))
            return genet__err_set(err, GENET_ERR_USAGE,
                                  "the distinct words of the training text are more than 2 GiB: too many to learn a "
                                  "tokenizer from; learn it from less text");
        n += (int64_t)l->word[i].n + 1;
    }
    l->n_cell = (int)n;
    return true;
}

static void lay_out(learner *l, int n_word)
{
    int32_t token[N_BYTES];
    byte_tokens(token);
    cell *to = l->cell;
    *to++ = (cell){ .token = BETWEEN, .pair = NONE };
    for (int i = 0; i < n_word; i++) {
        if (l->word[i].n < 2) continue;
        for (size_t k = 0; k < l->word[i].n; k++)
            *to++ = (cell){ .token = token[(unsigned char)l->word[i].at[k]], .word = i, .pair = NONE };
        *to++ = (cell){ .token = BETWEEN, .pair = NONE };
    }
}

/* Pairs of bytes: all that there are before the first merge. */
static bool first_pairs(learner *l)
{
    int32_t *of = genet__alloc_array(SMALLEST * SMALLEST, sizeof *of);      /* index + 1 */
    bool ok = of != NULL;
    for (int c = 0; ok && c + 1 < l->n_cell; c++) {
        int32_t left = l->cell[c].token, right = l->cell[c + 1].token;
        if (left == BETWEEN || right == BETWEEN) continue;
        int32_t *p = &of[left * SMALLEST + right];
        if (!*p) *p = add_pair(l, left, right) + 1;
        ok = *p > 0;
        if (ok) append(l, *p - 1, c);
    }
    for (int i = 0; ok && i < l->n_pair; i++) ok = push(l, i);
    genet__free(of);
    return ok;
}

static bool prepare(learner *l, const word_count *w, int vocab_size, genet_err *err)
{
    l->word = w->word;
    TRY(count_cells(l, w->n, err));
    /* Each merge makes tokens fewer. */
    size_t n = SMALLEST + (size_t)(vocab_size - SMALLEST < l->n_cell ? vocab_size - SMALLEST : l->n_cell);
    l->cell = genet__alloc_array((size_t)l->n_cell, sizeof *l->cell);
    l->length = genet__alloc_array(n, sizeof *l->length);
    l->with_left = genet__alloc_array(n, sizeof *l->with_left);
    l->with_right = genet__alloc_array(n, sizeof *l->with_right);
    l->merge = genet__alloc_array(n, sizeof *l->merge);
    if (!l->cell || !l->length || !l->with_left || !l->with_right || !l->merge) return genet__err_memory(err);
    for (size_t i = 0; i < n; i++) {
        l->length[i] = 1;
        l->with_left[i] = l->with_right[i] = NONE;
    }
    l->n_token = SMALLEST;
    lay_out(l, w->n);
    return first_pairs(l) || genet__err_memory(err);
}

static void learner_release(learner *l)
{
    genet__free(l->cell);
    genet__free(l->length);
    genet__free(l->with_left);
    genet__free(l->with_right);
    genet__free(l->pair);
    genet__free(l->heap);
    genet__free(l->merge);
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
static bool merge_at(learner *l, int32_t c, int32_t left, int32_t right, int32_t new_token)
{
    int32_t middle = c + l->length[left], end = middle + l->length[right];
    int32_t before = l->cell[c - 1].token, next = l->cell[end].token;
    take_out(l, c);
    if (next != BETWEEN) take_out(l, middle);
    l->cell[c].token = l->cell[end - 1].token = new_token;
    if (next != BETWEEN && !join(l, c, new_token, next, new_token)) return false;
    if (before == BETWEEN) return true;
    int32_t at = c - l->length[before];
    take_out(l, at);
    return join(l, at, before, new_token, new_token);
}

/* Every occurrence of pair p, from left to right. */
static bool merge_pair(learner *l, int32_t p)
{
    int32_t left = l->pair[p].left, right = l->pair[p].right, new_token = l->n_token++;
    int first_new = l->n_pair;
    l->merge[l->n_merge++] = (bpe_merge){ left, right };
    l->length[new_token] = l->length[left] + l->length[right];
    while (l->pair[p].first != NONE)
        if (!merge_at(l, l->pair[p].first, left, right, new_token)) return false;
    for (int i = first_new; i < l->n_pair; i++) {
        const pair *q = &l->pair[i];
        if (q->right == new_token) l->with_left[q->left] = NONE;
        else l->with_right[q->right] = NONE;
        if (!push(l, i)) return false;
    }
    return true;
}

static bool learn(learner *l, int vocab_size, const train_watch *watch, genet_err *err)
{
    for (int32_t p; l->n_token < vocab_size && (p = pop(l)) != NONE;) {
        if (l->n_merge % TELL_EVERY == 0)
            TRY(genet__train_tell(watch, "learning merges", (double)l->n_merge / (vocab_size - SMALLEST), err));
        if (!merge_pair(l, p)) return genet__err_memory(err);
    }
    return true;
}

tokenizer *genet__bpe_train(text_source *s, int64_t n_chars, int vocab_size, const train_watch *watch, genet_err *err)
{
    if (vocab_size < SMALLEST || vocab_size > LARGEST) {
        genet__err_set(err, GENET_ERR_USAGE,
                       "a byte-level BPE vocabulary of %d tokens cannot be learned: it has at least %d (%d bytes and "
                       "%s) and at most %d", vocab_size, SMALLEST, N_BYTES, special[0], LARGEST);
        return NULL;
    }
    word_count words = { 0 };
    learner l = { 0 };
    tokenizer *t = NULL;
    bool ok = count_words(&words, s, n_chars, watch, err) && prepare(&l, &words, vocab_size, err)
        && learn(&l, vocab_size, watch, err);
    if (ok) t = genet__tokenizer_from_merges(special, N_SPECIAL, l.merge, l.n_merge, err);
    learner_release(&l);
    genet__word_count_release(&words);
    return t;
}
