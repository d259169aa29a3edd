/* grams.h - runs of pieces and how often they occur: every n-gram is a node of a tree whose path from the root spells it,
 * and nodes are numbered, so that two n-grams are equal when their numbers are.  A word can be spelled the same way, one
 * code point after the other, and its number then be a piece of n-grams of words. */
#ifndef GENET_TEXT_GRAMS_H
#define GENET_TEXT_GRAMS_H
#include "text/points.h"

enum { GRAM_ROOT = 0, GRAM_COUNTS = 3 };
typedef struct gram { int32_t parent, depth; uint32_t piece; int32_t count[GRAM_COUNTS]; } gram;

typedef struct grams {
    gram    *at;                /* [0] is the root once there is a child; depth: pieces in it */
    int      n, cap;
    struct gram_slot { uint32_t epoch; int32_t gram; } *slot;   /* open addressing; another epoch: empty */
    int      n_slot;            /* a power of two */
    uint32_t epoch;
    bool     failed;            /* no memory: check once at the end */
} grams;                        /* {0} is ready */

/* The node that is parent's child by piece, made when there is none; GRAM_ROOT after a failure. */
int32_t genet__grams_child(grams *g, int32_t parent, uint32_t piece);
/* The node that these pieces spell. */
int32_t genet__grams_spell(grams *g, const uint32_t *piece, int64_t n);
/* Add one to count[which] of every n-gram of 1 .. max_order pieces. */
void    genet__grams_count(grams *g, const uint32_t *piece, int64_t n, int max_order, int which);
void    genet__grams_zero(grams *g, int which);
void    genet__grams_clear(grams *g);           /* no nodes any more; the memory stays */
void    genet__grams_release(grams *g);

/* The words of a text, between white space, as numbers of words (appended to out). */
void    genet__grams_words(grams *words, const points *text, points *out);
#endif
