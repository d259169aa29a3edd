/* learn.h - vocabularies learned from counted words: what bpe_train.c does for bytes, for the other models.
 *
 * Words are the pre-tokens of a text, UTF-8, with how often each occurs; the same words give the same vocabulary, in
 * whatever order they come. */
#ifndef GENET_TEXT_LEARN_H
#define GENET_TEXT_LEARN_H
#include "text/tokenizer_train.h"
#include "text/word_count.h"

typedef struct learned_piece { const char *at; size_t n; double score; } learned_piece;         /* a zero byte after it */
typedef struct learned {                /* {0} is ready */
    learned_piece *piece;               /* the id is the index */
    int    n, cap;
    arena  arena;                       /* their bytes */
} learned;

/* Append a copy of a piece; false: no memory. */
bool genet__learned_add(learned *l, const char *at, size_t n, double score);
void genet__learned_release(learned *l);
/* Words in the order of their bytes, so that none depends on the order they came in. */
void genet__learn_sort(word_count *w);
/* special[0 .. n) come first, then the alphabet and what was learned, vocab_size pieces in all, or fewer when the
 * text has no more.  w is sorted. */
typedef bool learn_fn(word_count *w, const char *const *special, int n_special, int vocab_size,
                      const train_watch *watch, learned *out, genet_err *err);
learn_fn genet__learn_unigram, genet__learn_wordpiece;

/* --- substrings.c ------------------------------------------------------------------------------------------------ */

/* A string of code points that occurs more than once, and cannot be made longer without losing an occurrence. */
typedef struct substring { int64_t count; int32_t at, n; } substring;      /* text[at .. at + n) */
typedef struct substrings {
    uint32_t  *text;            /* code points + 1, a word after the other, each ended by 0 */
    int32_t   *word;            /* of each place */
    int        n_text;
    substring *of;
    int        n, cap;
} substrings;

/* Those of 2 to max_chars code points; count: how often they occur in the text (not in the distinct words). */
bool genet__substrings_find(substrings *s, const word_count *w, int max_chars, genet_err *err);
void genet__substrings_release(substrings *s);
#endif
