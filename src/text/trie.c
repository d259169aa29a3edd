/* trie.c - building the double array: nodes in the order of sorted keys, depth first; the children of a node lie in
 * one block of 256 units, as XOR has it.  Blocks are tried from the oldest that is still open, of which there are
 * at most OPEN, so building is linear but for a constant; blocks that are nearly full are closed early.
 *
 * The first block is never used: its units are free, and a node without children has base 0, which leads there. */
#include "text/trie.h"
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"

enum { BLOCK = 256, OPEN = 16, FREE = 256, FULL = 8, TRIES = 64 };

typedef struct block { int32_t n_free, n_failed; uint64_t base_used[BLOCK / 64]; } block;

typedef struct builder {
    trie      t;
    block    *block;
    uint32_t  cap_units;
    int       n_block, cap_block, first_open;
    trie_key *key;
    genet_err *err;
} builder;

static uint64_t unit_of(uint32_t base, uint32_t label, uint32_t value1)
{
    return (uint64_t)base << 34 | (uint64_t)label << 25 | value1;
}

static bool add_block(builder *b)
{
    if (b->t.n_units >= 1u << 30) return genet__err_set(b->err, GENET_ERR_USAGE, "the vocabulary is too large");
    if (b->t.n_units + BLOCK > b->cap_units) {
        uint32_t cap = b->cap_units ? 2 * b->cap_units : 16 * BLOCK;
        uint64_t *unit = genet__realloc(b->t.unit, (size_t)cap * sizeof *unit);
        if (!unit) return genet__err_memory(b->err);
        b->t.unit = unit;
        b->cap_units = cap;
    }
    if (!GROW(b->block, b->n_block, b->cap_block)) return genet__err_memory(b->err);
    for (int i = 0; i < BLOCK; i++) b->t.unit[b->t.n_units + (uint32_t)i] = unit_of(0, FREE, 0);
    b->t.n_units += BLOCK;
    b->block[b->n_block++] = (block){ .n_free = BLOCK };
    return true;
}

static bool fits(const builder *b, uint32_t base, const unsigned char *label, int n)
{
    for (int i = 0; i < n; i++)
        if (genet__trie_label(b->t.unit[base ^ label[i]]) != FREE) return false;
    return true;
}

/* A base in the block for these labels; 0: there is none. */
static uint32_t base_in(const builder *b, int at, const unsigned char *label, int n)
{
    const block *k = &b->block[at];
    if (k->n_free < n) return 0;
    for (uint32_t low = 0; low < BLOCK; low++) {
        uint32_t base = (uint32_t)at * BLOCK + low;
        if (!(k->base_used[low / 64] >> (low % 64) & 1) && fits(b, base, label, n)) return base;
    }
    return 0;
}

/* A block that is nearly full, or that often had no place, is not looked at again once it is the oldest. */
static void close_blocks(builder *b)
{
    if (b->first_open < b->n_block - OPEN) b->first_open = b->n_block - OPEN;
    while (b->first_open < b->n_block &&
           (b->block[b->first_open].n_free < FULL || b->block[b->first_open].n_failed > TRIES))
        b->first_open++;
}

static bool find_base(builder *b, const unsigned char *label, int n, uint32_t *base)
{
    close_blocks(b);
    for (int i = b->first_open; i < b->n_block; i++) {
        if ((*base = base_in(b, i, label, n))) return true;
        b->block[i].n_failed++;
    }
    TRY(add_block(b));
    *base = base_in(b, b->n_block - 1, label, n);
    return true;
}

/* The labels that follow the first `depth` bytes of keys from .. to; those that are as long come first. */
static int labels_of(const builder *b, int from, int to, size_t depth, unsigned char label[BLOCK])
{
    int n = 0;
    for (int i = from; i < to; i++) {
        if (b->key[i].n == depth) continue;
        unsigned char c = (unsigned char)b->key[i].at[depth];
        if (!n || label[n - 1] != c) label[n++] = c;
    }
    return n;
}

/* Make node's children: the keys from .. to share their first `depth` bytes. */
typedef struct range { int from, to; uint32_t node; size_t depth; } range;

static bool place(builder *b, range r, range *child, int *n_child)
{
    unsigned char label[BLOCK];
    uint32_t base = 0, value1 = 0;
    while (r.from < r.to && b->key[r.from].n == r.depth) value1 = (uint32_t)b->key[r.from++].value + 1;
    int n = labels_of(b, r.from, r.to, r.depth, label);
    if (n) TRY(find_base(b, label, n, &base));
    b->t.unit[r.node] = unit_of(base, genet__trie_label(b->t.unit[r.node]), value1);
    *n_child = n;
    if (!n) return true;
    block *k = &b->block[base / BLOCK];
    k->base_used[base % BLOCK / 64] |= UINT64_C(1) << (base % 64);
    k->n_free -= n;
    for (int i = 0, at = r.from; i < n; i++) {
        int from = at;
        while (at < r.to && (unsigned char)b->key[at].at[r.depth] == label[i]) at++;
        b->t.unit[base ^ label[i]] = unit_of(0, label[i], 0);
        child[i] = (range){ from, at, base ^ label[i], r.depth + 1 };
    }
    return true;
}

/* Depth first, with a list in place of recursion. */
static bool build(builder *b, int n)
{
    range *open = NULL, child[BLOCK];
    int n_open = 0, cap = 0;
    bool ok = add_block(b) && add_block(b);
    if (ok) {
        b->first_open = 1;
        b->t.root = BLOCK;              /* its label is one that no step looks for */
        b->t.unit[BLOCK] = unit_of(0, FREE + 1, 0);
        b->block[1].n_free--;
    }
    for (range r = { 0, n, b->t.root, 0 }; ok; r = open[--n_open]) {
        int n_child = 0;
        ok = place(b, r, child, &n_child) &&
             (genet__grow(&open, &cap, n_open + n_child + 1, sizeof *open) || genet__err_memory(b->err));
        while (ok && n_child) open[n_open++] = child[--n_child];
        if (!n_open) break;
    }
    genet__free(open);
    return ok;
}

static int by_bytes(const void *a, const void *b)
{
    const trie_key *x = a, *y = b;
    size_t n = x->n < y->n ? x->n : y->n;
    int order = n ? memcmp(x->at, y->at, n) : 0;
    if (order) return order;
    if (x->n != y->n) return x->n < y->n ? -1 : 1;
    return (x->value > y->value) - (x->value < y->value);
}

bool genet__trie_make(trie *t, trie_key *key, int n, genet_err *err)
{
    builder b = { .key = key, .err = err };
    bool sorted = true;
    for (int i = 1; i < n && sorted; i++) sorted = by_bytes(&key[i - 1], &key[i]) <= 0;
    if (!sorted) qsort(key, (size_t)n, sizeof *key, by_bytes);
    bool ok = build(&b, n);
    genet__free(b.block);
    *t = b.t;
    if (!ok) genet__trie_release(t);
    return ok;
}

void genet__trie_release(trie *t)
{
    genet__free(t->unit);
    *t = (trie){ 0 };
}
