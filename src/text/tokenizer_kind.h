/* tokenizer_kind.h - what stands behind the opaque tokenizer: the vocabulary,
 * which every kind has, and the row of functions that makes a kind.  For
 * tokenizer*.c only. */
#ifndef GENET_TEXT_TOKENIZER_KIND_H
#define GENET_TEXT_TOKENIZER_KIND_H
#include "base/arena.h"
#include "text/tokenizer.h"

typedef struct tokenizer_kind {
    const char *name;           /* "char" */
    const char *model_type;     /* model.type in tokenizer.json */
    /* Fill t from a tokenizer.json whose model.type is this kind's. */
    bool    (*load)(tokenizer *t, const json_t *j, const char *where, genet_err *err);
    /* A new tokenizer.json; NULL: no memory. */
    json_t *(*to_json)(const tokenizer *t);
    bool    (*encode)(const tokenizer *t, const char *text, size_t n, token_list *out, size_t *bad, genet_err *err);
    int32_t (*find)(const tokenizer *t, const char *piece, size_t n_bytes);
} tokenizer_kind;

struct tokenizer {
    const tokenizer_kind *kind;
    int       n;                /* ids */
    char     *bytes;            /* all pieces, one after the other */
    uint32_t *start;            /* piece i: bytes[start[i]] .. bytes[start[i + 1]) */
    void     *table;            /* the kind's own, in the arena */
    arena     arena;
};

extern const tokenizer_kind genet__tokenizer_char;
#endif
