/* trie.h - the pieces of a vocabulary as a double array (Aoe 1989, "An Efficient Digital Search Algorithm by Using a
 * Double-Array Structure"; XOR in place of the sum after Yata et al. 2007): the child of a node by byte c is the unit
 * at base ^ c, if that unit's label is c.  Every node's base is its own, so one load of eight bytes is one step.
 *
 * Read-only once made.  Keys are any bytes; each has a value, 0 .. TRIE_VALUE_MAX. */
#ifndef GENET_TEXT_TRIE_H
#define GENET_TEXT_TRIE_H
#include "genet/genet.h"

enum { TRIE_VALUE_MAX = (1 << 24) - 1, TRIE_NONE = 0 };

typedef struct trie { uint64_t *unit; uint32_t n_units, root; } trie;       /* {0} is ready for genet__trie_make */
typedef struct trie_key { const char *at; size_t n; int32_t value; } trie_key;

/* Sorts key; of equal ones the greatest value counts.  On the heap. */
bool genet__trie_make(trie *t, trie_key *key, int n, genet_err *err);
void genet__trie_release(trie *t);

/* unit: base (30 bits), label (9 bits, 256: free), value + 1 (25 bits). */
static inline uint32_t genet__trie_base(uint64_t unit) { return (uint32_t)(unit >> 34); }
static inline uint32_t genet__trie_label(uint64_t unit) { return (uint32_t)(unit >> 25) & 511; }

/* Of node's key, -1: none ends here. */
static inline int32_t genet__trie_value(const trie *t, uint32_t node)
{
    return (int32_t)(t->unit[node] & ((1 << 25) - 1)) - 1;
}

/* The node one byte further, TRIE_NONE: there is none. */
static inline uint32_t genet__trie_step(const trie *t, uint32_t node, unsigned char c)
{
    uint32_t child = genet__trie_base(t->unit[node]) ^ c;
    return genet__trie_label(t->unit[child]) == c ? child : TRIE_NONE;
}

static inline uint32_t genet__trie_walk(const trie *t, uint32_t node, const char *s, size_t n)
{
    for (size_t i = 0; i < n && node != TRIE_NONE; i++) node = genet__trie_step(t, node, (unsigned char)s[i]);
    return node;
}

/* The value of exactly these bytes, or -1. */
static inline int32_t genet__trie_find(const trie *t, const char *s, size_t n)
{
    uint32_t node = genet__trie_walk(t, t->root, s, n);
    return node == TRIE_NONE ? -1 : genet__trie_value(t, node);
}
#endif
