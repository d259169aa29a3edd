/* tokenizer_bpe.h - the tables of a BPE model, between tokenizer_bpe.c (which uses them) and tokenizer_bpe_file.c (which
 * fills them from tokenizer.json).  For these two only. */
#ifndef GENET_TEXT_TOKENIZER_BPE_H
#define GENET_TEXT_TOKENIZER_BPE_H
#include "text/tokenizer_model.h"
#include "text/tokenizer_train.h"
#include "text/vocabulary.h"

enum { BPE_AFFIX_MAX = 64 };        /* bytes of the prefix, and of the suffix */

typedef struct bpe_pair { int32_t left, right, rank, joined; } bpe_pair;     /* joined < 0: empty */

typedef struct bpe {
    vocabulary v;                   /* pieces as the file has them */
    vocabulary bytes;               /* where takes_bytes: those made of letters of the byte alphabet, as bytes */
    vocabulary *words;              /* the one of the two that pre-tokens are looked for in; a slot's mark: merging these
                                       bytes gives this id alone */
    bool       takes_bytes;
    bpe_pair  *pair;
    bpe_merge *merge;               /* by rank */
    int        n_merge;
    uint64_t   pair_mask;
    int        pair_shift;
    int32_t    byte[256];           /* ids of single bytes (characters below 128, unless takes_bytes); -1: none */
    int32_t    fallback[256];       /* ids of "<0x00>" ..., where byte_fallback holds; -1: none */
    char      *unk_token;           /* NULL: none */
    int32_t    unknown;             /* its id, or -1 */
    char      *prefix, *suffix;     /* of pieces that go on with a word, that end one; NULL: none */
    size_t     n_prefix, n_suffix;
    bool       byte_fallback, fuse_unk, ignore_merges, splits_at_mark;
    json_t    *dropout;             /* null or 0: as the file has it */
} bpe;

/* Room for n merges; then every merge, then index. */
bool genet__bpe_room(bpe *b, int n_merges, genet_err *err);
void genet__bpe_add_merge(bpe *b, int32_t left, int32_t right, int32_t joined);
/* Once pieces, merges and takes_bytes are settled. */
void genet__bpe_index(bpe *b);
void genet__bpe_free(void *m);

void *genet__bpe_load(const json_t *model, const char *where, genet_err *err);
json_t *genet__bpe_to_json(const void *m);
bool genet__bpe_settle(void *m, bool bytes, bool *taken, genet_err *err);
#endif
