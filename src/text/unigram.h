/* unigram.h - the best segmentation of a text into pieces with scores, between the model (unigram.c), which
 * encodes with it, and its trainer (unigram_train.c), which prunes by it; and making a model.  For these and
 * sentencepiece.c only. */
#ifndef GENET_TEXT_UNIGRAM_H
#define GENET_TEXT_UNIGRAM_H
#include "text/tokenizer_model.h"
#include "text/trie.h"

/* Where the best path to a place in the text comes from. */
typedef struct unigram_node {
    double  score;              /* of the whole path */
    int32_t begin;              /* of its last piece; -1: no path ends here */
    int32_t id;
} unigram_node;

typedef struct unigram_pieces {
    trie          trie;         /* piece to id */
    const double *score;        /* by id, logarithms of probabilities */
    double        unknown_score;
    int32_t       unknown;      /* id of a character that is no piece; -1: such a character is an error */
} unigram_pieces;

/* Viterbi over s, n > 0 bytes: node has n + 1 entries.  False: a character is no piece and there is no unknown one.
 * without: a piece that may not stand for all of s, or -1. */
bool genet__unigram_path(const unigram_pieces *p, const char *s, size_t n, int32_t without, unigram_node *node);
/* Turn the path round: the first piece ends at the value, the one that begins at e ends at node[e].begin; its id is
 * node[end].id. */
int32_t genet__unigram_forward(unigram_node *node, size_t n);
#endif
