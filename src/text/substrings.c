/* substrings.c - the repeated substrings of words, candidates for the pieces of a vocabulary.
 *
 * All places of all words are sorted by what begins there: a suffix array, but only as deep as the longest candidate,
 * so that three-way radix quicksort (Bentley and Sedgewick 1997, "Fast Algorithms for Sorting and Searching Strings")
 * is enough.  Neighbours in that order share a beginning; a stack of open beginnings over the array gives each repeated
 * substring once (the inner nodes of a suffix tree, as Abouelhoda et al. 2004 walk them).  Words that are frequent but
 * stand in no other word are no such node: they are added. */
#include <limits.h>
#include "base/alloc.h"
#include "base/err.h"
#include "text/learn.h"

enum { SMALL = 12 };            /* places fewer than this are sorted by insertion */

/* --- laying out -------------------------------------------------------------------------------------------------- */

static bool count_places(substrings *s, const word_count *w, genet_err *err)
{
    int64_t n = 0;
    for (int i = 0; i < w->n; i++) n += (int64_t)w->word[i].n + 1;
    if (n > INT_MAX)
        return genet__err_set(err, GENET_ERR_USAGE, "the distinct words of the training text are more than 2 GiB: too "
                              "many to learn a tokenizer from; learn it from less text");
    s->text = genet__alloc_array((size_t)n + 1, sizeof *s->text);
    s->word = genet__alloc_array((size_t)n + 1, sizeof *s->word);
    return (s->text && s->word) || genet__err_memory(err);
}

/* Bytes that are no UTF-8 end a word, as nothing begins or ends inside them. */
static void lay_out(substrings *s, const word_count *w)
{
    for (int i = 0; i < w->n; i++) {
        const counted_word *word = &w->word[i];
        for (size_t at = 0, length; at < word->n; at += length) {
            uint32_t c = 0;
            length = (size_t)genet__utf8_decode(word->at + at, word->n - at, &c);
            s->word[s->n_text] = i;
            s->text[s->n_text++] = length ? c + 1 : 0;
            length += !length;
        }
        s->word[s->n_text] = i;
        s->text[s->n_text++] = 0;
    }
}

/* --- sorting ----------------------------------------------------------------------------------------------------- */

typedef struct sorter { const uint32_t *text; int max; } sorter;

static bool before(const sorter *s, int32_t a, int32_t b, int depth)
{
    for (; depth < s->max; depth++) {
        uint32_t x = s->text[a + depth], y = s->text[b + depth];
        if (x != y) return x < y;
        if (!x) return false;
    }
    return false;
}

static void insert_all(const sorter *s, int32_t *at, int n, int depth)
{
    for (int i = 1; i < n; i++) {
        int32_t x = at[i];
        int k = i;
        for (; k > 0 && before(s, x, at[k - 1], depth); k--) at[k] = at[k - 1];
        at[k] = x;
    }
}

static uint32_t median(uint32_t a, uint32_t b, uint32_t c)
{
    return a < b ? (b < c ? b : a < c ? c : a) : (a < c ? a : b < c ? c : b);
}

static void swap(int32_t *a, int32_t *b)
{
    int32_t x = *a;
    *a = *b;
    *b = x;
}

/* Into smaller, equal and greater by the code point at depth: at[0 .. *low), .. *high), .. n). */
static uint32_t partition(const sorter *s, int32_t *at, int n, int depth, int *low, int *high)
{
#define KEY(i) s->text[at[i] + depth]
    uint32_t pivot = median(KEY(0), KEY(n / 2), KEY(n - 1));
    int l = 0, h = n;
    for (int i = 0; i < h;) {
        uint32_t x = KEY(i);
        if (x < pivot) swap(&at[l++], &at[i++]);
        else if (x > pivot) swap(&at[i], &at[--h]);
        else i++;
    }
#undef KEY
    *low = l;
    *high = h;
    return pivot;
}

/* at[0 .. n) agree up to depth.  Of the three parts the largest is gone on with, so recursion is log2(n) deep. */
static void sort(const sorter *s, int32_t *at, int n, int depth)
{
    while (n > SMALL && depth < s->max) {
        int low, high;
        uint32_t pivot = partition(s, at, n, depth, &low, &high);
        int size[3] = { low, pivot ? high - low : 0, n - high };      /* equal at their end: done */
        int32_t *part[3] = { at, at + low, at + high };
        int most = size[0] > size[1] ? 0 : 1;
        if (size[2] > size[most]) most = 2;
        for (int i = 0; i < 3; i++)
            if (i != most) sort(s, part[i], size[i], depth + (i == 1));
        at = part[most];
        n = size[most];
        depth += most == 1;
    }
    if (n > 1) insert_all(s, at, n, depth);
}

/* --- repeated beginnings ------------------------------------------------------------------------------------------ */

/* How many code points two places share, at most max. */
static int shared(const sorter *s, int32_t a, int32_t b)
{
    int n = 0;
    while (n < s->max && s->text[a + n] && s->text[a + n] == s->text[b + n]) n++;
    return n;
}

typedef struct opened { int depth; int64_t count; } opened;     /* count: of the places behind which it lies so far */

static bool keep(substrings *s, int64_t count, int32_t at, int n, int max)
{
    if (n < 2 || n >= max) return true;
    if (!GROW(s->of, s->n, s->cap)) return false;
    s->of[s->n++] = (substring){ count, at, n };
    return true;
}

/* A word that occurs again and again, but in no other word, is a repeated string too. */
static bool keep_word(substrings *s, int64_t count, int32_t at, int depth, int max)
{
    int n = 0;
    if (count < 2 || (at && s->text[at - 1])) return true;
    while (n < max && s->text[at + n]) n++;
    return n <= depth || keep(s, count, at, n, max);
}

/* Places in order; a beginning opens where it is first shared, and closes where it no longer is. */
static bool walk(substrings *s, const sorter *k, const word_count *w, const int32_t *at, int n)
{
    opened open[64] = { { 0, 0 } };
    int top = 0;
    for (int i = 0; i < n; i++) {
        int depth = i + 1 < n ? shared(k, at[i], at[i + 1]) : 0;
        int64_t count = w->word[s->word[at[i]]].count;          /* of this place, then of all that closes */
        if (depth > open[top].depth) open[++top] = (opened){ depth, 0 };
        open[top].count += count;
        if (!keep_word(s, count, at[i], open[top].depth, k->max)) return false;
        while (depth < open[top].depth) {
            opened closed = open[top--];
            if (!keep(s, closed.count, at[i], closed.depth, k->max)) return false;
            if (depth > open[top].depth) open[++top] = (opened){ depth, 0 };
            open[top].count += closed.count;
        }
    }
    return true;
}

bool genet__substrings_find(substrings *s, const word_count *w, int max_chars, genet_err *err)
{
    sorter k = { .max = max_chars + 1 < 63 ? max_chars + 1 : 63 };
    TRY(count_places(s, w, err));
    lay_out(s, w);
    k.text = s->text;
    int32_t *at = genet__alloc_array((size_t)s->n_text + 1, sizeof *at);
    int n = 0;
    for (int i = 0; at && i < s->n_text; i++)
        if (s->text[i]) at[n++] = i;
    if (at) sort(&k, at, n, 0);
    bool ok = at && walk(s, &k, w, at, n);
    genet__free(at);
    return ok || genet__err_memory(err);
}

void genet__substrings_release(substrings *s)
{
    genet__free(s->text);
    genet__free(s->word);
    genet__free(s->of);
    *s = (substrings){ 0 };
}
