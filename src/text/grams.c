/* grams.c - the tree of n-grams: one table of (parent, piece), open addressing, exact.  Clearing raises the epoch, so
 * that a short segment after a long one costs what a short one costs. */
#include "text/grams.h"
#include "base/alloc.h"

enum { FIRST_SLOTS = 1 << 10, MOST_SLOTS = 1 << 30 };

/* Multiplication by the golden ratio mixes well upwards: the high half is taken. */
static uint32_t hash_of(int32_t parent, uint32_t piece)
{
    uint64_t key = (uint64_t)(uint32_t)parent << 32 | piece;
    key *= 0x9e3779b97f4a7c15u;
    key ^= key >> 29;
    return (uint32_t)(key * 0xbf58476d1ce4e5b9u >> 32);
}

/* Where the gram stands, or the empty slot where it belongs. */
static struct gram_slot *find(const grams *g, int32_t parent, uint32_t piece)
{
    uint32_t mask = (uint32_t)g->n_slot - 1;
    for (uint32_t i = hash_of(parent, piece) & mask;; i = (i + 1) & mask) {
        struct gram_slot *s = &g->slot[i];
        if (s->epoch != g->epoch) return s;
        const gram *at = &g->at[s->gram];
        if (at->parent == parent && at->piece == piece) return s;
    }
}

/* Twice as many slots, at most half of them full. */
static bool rehash(grams *g)
{
    int n_slot = g->n_slot ? 2 * g->n_slot : FIRST_SLOTS;
    struct gram_slot *slot = n_slot > MOST_SLOTS ? NULL : genet__alloc_array((size_t)n_slot, sizeof *slot);
    if (!slot) return false;
    genet__free(g->slot);
    g->slot = slot;
    g->n_slot = n_slot;
    g->epoch = 1;
    for (int i = 1; i < g->n; i++) *find(g, g->at[i].parent, g->at[i].piece) = (struct gram_slot){ 1, i };
    return true;
}

/* Node 0 is no one's child. */
static bool room(grams *g)
{
    if (g->failed) return false;
    if (2 * (int64_t)(g->n + 1) > g->n_slot && !rehash(g)) return !(g->failed = true);
    if (!GROW(g->at, g->n, g->cap)) return !(g->failed = true);
    if (!g->n) g->at[g->n++] = (gram){ .parent = -1 };
    if (!GROW(g->at, g->n, g->cap)) return !(g->failed = true);
    return true;
}

int32_t genet__grams_child(grams *g, int32_t parent, uint32_t piece)
{
    if (!room(g)) return GRAM_ROOT;
    struct gram_slot *s = find(g, parent, piece);
    if (s->epoch == g->epoch) return s->gram;
    *s = (struct gram_slot){ g->epoch, g->n };
    g->at[g->n] = (gram){ .parent = parent, .piece = piece, .depth = g->at[parent].depth + 1 };
    return g->n++;
}

int32_t genet__grams_spell(grams *g, const uint32_t *piece, int64_t n)
{
    int32_t at = GRAM_ROOT;
    for (int64_t i = 0; i < n; i++) at = genet__grams_child(g, at, piece[i]);
    return at;
}

void genet__grams_count(grams *g, const uint32_t *piece, int64_t n, int max_order, int which)
{
    for (int64_t from = 0; from < n && !g->failed; from++) {
        int32_t at = GRAM_ROOT;
        for (int64_t i = from; i < n && i < from + max_order; i++) {
            at = genet__grams_child(g, at, piece[i]);
            if (g->failed) return;
            g->at[at].count[which]++;
        }
    }
}

void genet__grams_zero(grams *g, int which)
{
    for (int i = 0; i < g->n; i++) g->at[i].count[which] = 0;
}

void genet__grams_clear(grams *g)
{
    g->n = 0;
    if (++g->epoch) return;
    genet__free(g->slot);       /* once in four thousand million texts the epochs are used up */
    g->slot = NULL;
    g->n_slot = 0;
}

void genet__grams_release(grams *g)
{
    genet__free(g->at);
    genet__free(g->slot);
    *g = (grams){0};
}

void genet__grams_words(grams *words, const points *text, points *out)
{
    for (int64_t i = 0, end; i < text->n; i = end) {
        for (end = i; end < text->n && !genet__point_is_space(text->at[end]); end++) continue;
        if (end > i) genet__points_add(out, (uint32_t)genet__grams_spell(words, text->at + i, end - i));
        else end++;
    }
}
