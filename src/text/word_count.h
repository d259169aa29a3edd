/* word_count.h - how often each distinct byte string occurs: for what learns a
 * vocabulary from text.  Memory grows with the distinct strings alone. */
#ifndef GENET_TEXT_WORD_COUNT_H
#define GENET_TEXT_WORD_COUNT_H
#include "base/arena.h"

typedef struct counted_word {
    const char *at;             /* in the arena, not terminated */
    size_t      n;
    int64_t     count;
} counted_word;

typedef struct word_count {     /* {0} is ready */
    counted_word *word;         /* in the order of first occurrence */
    int           n, cap;
    struct word_slot *slot;
    int64_t       n_slots;      /* a power of two */
    arena         arena;
} word_count;

/* One more of text's n bytes (any bytes; none too); false: no memory. */
bool genet__word_count_add(word_count *w, const char *text, size_t n);
void genet__word_count_release(word_count *w);
#endif
