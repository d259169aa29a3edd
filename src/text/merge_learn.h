/* merge_learn.h - learning merges (Sennrich et al. 2016, arXiv 1508.07909, algorithm 1), for bpe_train.c, whose words
 * are bytes, and wordpiece_train.c, whose words are characters. */
#ifndef GENET_TEXT_MERGE_LEARN_H
#define GENET_TEXT_MERGE_LEARN_H
#include "text/tokenizer_train.h"
#include "text/vocabulary.h"
#include "text/word_count.h"

enum { MERGE_BETWEEN = -1 };    /* the token between two words, before the first and after the last */

/* A place of the text.  A token is known by the cells of its first and its last place. */
typedef struct merge_cell {
    int32_t token;              /* where one begins or ends; MERGE_BETWEEN */
    int32_t length;             /* of it, in cells */
    int32_t word;               /* its number, for the count */
    int32_t pair;               /* that begins here, or -1; then the neighbours in its list */
    int32_t before, after;
} merge_cell;

typedef struct merges {         /* {0} is ready */
    vocabulary  names;          /* tokens by their bytes: those there are at first, then what merges make */
    size_t      n_prefix;       /* bytes that a token which goes on in a word begins with: left off when it is joined */
    merge_cell *cell;           /* distinct words of two tokens and more, MERGE_BETWEEN around each */
    int         n_cell;
    bpe_merge  *merge;          /* what was learned */
    int         n_merge, cap_merge;
} merges;

/* Room for the cells of words of n_tokens tokens in all, and for vocab_size names. */
bool genet__merges_init(merges *m, int64_t n_tokens, int64_t n_words, int vocab_size, genet_err *err);
/* The next cell: token of word number word. */
void genet__merges_put(merges *m, int32_t token, int32_t word);
/* Join the most frequent pair of neighbours, of equal ones that of the smallest ids, as the tokenizers library does,
 * until there are vocab_size names or no pairs.  A pair that spells a token there already is becomes that one. */
bool genet__merges_learn(merges *m, const counted_word *word, int vocab_size, const train_watch *watch, genet_err *err);
void genet__merges_release(merges *m);
#endif
