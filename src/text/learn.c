/* learn.c - what learned vocabularies share: the list of pieces, and words in a fixed order. */
#include "text/learn.h"
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"

bool genet__learned_add(learned *l, const char *at, size_t n, double score)
{
    char *copy = genet__arena_alloc(&l->arena, n + 1);
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

void genet__learn_sort(word_count *w)
{
    if (w->n) qsort(w->word, (size_t)w->n, sizeof *w->word, by_bytes);
}
