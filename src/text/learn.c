/* learn.c - what learned vocabularies share: the list of pieces, words in a fixed order, and the simplest of
 * vocabularies, the most frequent words. */
#include "text/learn.h"
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"

bool genet__learned_add(learned *l, const char *at, size_t n, double score)
{
    char *copy = genet__arena_alloc(&l->arena, n ? n : 1);
    if (!copy || !GROW(l->piece, l->n, l->cap)) return false;
    if (n) memcpy(copy, at, n);
    l->piece[l->n++] = (learned_piece){ copy, n, score };
    return true;
}

void genet__learned_release(learned *l)
{
    genet__free(l->piece);
    genet__arena_release(&l->arena);
    *l = (learned){ 0 };
}

static int by_bytes(const void *a, const void *b)
{
    const counted_word *x = a, *y = b;
    size_t n = x->n < y->n ? x->n : y->n;
    int order = n ? memcmp(x->at, y->at, n) : 0;
    return order ? order : (x->n > y->n) - (x->n < y->n);
}

static int by_count(const void *a, const void *b)
{
    const counted_word *x = a, *y = b;
    return x->count != y->count ? (x->count > y->count ? -1 : 1) : by_bytes(a, b);
}

void genet__learn_sort(word_count *w)
{
    if (w->n) qsort(w->word, (size_t)w->n, sizeof *w->word, by_bytes);
}

/* As the WordLevel trainer of the tokenizers library: equal ones in the order of their bytes. */
bool genet__learn_words(word_count *w, const char *const *special, int n_special, int vocab_size,
                        const train_watch *watch, learned *out, genet_err *err)
{
    bool ok = true;
    (void)watch;
    if (w->n) qsort(w->word, (size_t)w->n, sizeof *w->word, by_count);
    for (int i = 0; ok && i < n_special; i++) ok = genet__learned_add(out, special[i], strlen(special[i]), 0);
    for (int i = 0; ok && i < w->n && out->n < vocab_size; i++) {
        bool is_special = false;
        for (int k = 0; k < n_special; k++)
            is_special |= w->word[i].n == strlen(special[k]) && !memcmp(w->word[i].at, special[k], w->word[i].n);
        ok = is_special || genet__learned_add(out, w->word[i].at, w->word[i].n, (double)w->word[i].count);
    }
    return ok || genet__err_memory(err);
}
