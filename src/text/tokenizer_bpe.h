/* tokenizer_bpe.h - the tables of a byte-level BPE tokenizer, between tokenizer_bpe.c (which makes and uses
 * them) and tokenizer_bpe_file.c (which fills them from tokenizer.json).  For these two only. */
#ifndef GENET_TEXT_TOKENIZER_BPE_H
#define GENET_TEXT_TOKENIZER_BPE_H
#include "text/pattern.h"
#include "text/tokenizer_kind.h"
#include "text/tokenizer_train.h"

enum { BPE_PIECES_MAX = 16 << 20 };

/* Open addressing.  key: the bytes themselves up to eight, else their hash; n_bytes1: their number + 1, 0: empty;
 * whole: merging these bytes gives id alone. */
typedef struct bpe_word { uint64_t key; int32_t id; uint32_t n_bytes1 : 31, whole : 1; } bpe_word;
typedef struct bpe_pair { int32_t left, right, rank, joined; } bpe_pair;     /* joined < 0: empty */

typedef struct bpe {
    pattern   *pattern;
    bool       gpt2, add_prefix_space, ignore_merges;       /* gpt2: ByteLevel's own pattern */
    bpe_word  *word;
    bpe_pair  *pair;
    bpe_merge *merge;           /* by rank */
    int        n_merge, n_model;            /* n_model: ids below it stand in model.vocab, the others are added */
    char      *grown;           /* all pieces, where they are made one by one; else NULL */
    int        grown_cap;
    uint64_t   word_mask, pair_mask;
    int        word_shift, pair_shift;
    int32_t    byte[256];       /* ids of the single bytes; -1: none */
} bpe;

/* letter: of a byte; byte: of a character, -1: none; order: bytes by their letters. */
typedef struct bpe_alphabet { uint16_t letter[256]; int16_t byte[0x144]; uint8_t order[256]; } bpe_alphabet;
void genet__bpe_alphabet(bpe_alphabet *a);

/* Empty tables with room; t->table is there.  Then every piece, every merge, then mark. */
bool genet__bpe_index(tokenizer *t, int n_pieces, int n_merges, genet_err *err);
void genet__bpe_add_piece(tokenizer *t, int32_t id);
void genet__bpe_add_merge(tokenizer *t, int32_t left, int32_t right, int32_t joined);
void genet__bpe_mark_whole(tokenizer *t);
int32_t genet__bpe_find(const tokenizer *t, const char *s, size_t n);
void genet__bpe_release(tokenizer *t);

bool genet__bpe_load(tokenizer *t, const json_t *j, const char *where, genet_err *err);
json_t *genet__bpe_to_json(const tokenizer *t);
#endif
