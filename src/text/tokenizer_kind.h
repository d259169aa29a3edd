/* tokenizer_kind.h - what stands behind the opaque tokenizer: the vocabulary
 * and the added tokens, which every kind has, and the row of functions that makes a kind.
 * For tokenizer*.c only. */
#ifndef GENET_TEXT_TOKENIZER_KIND_H
#define GENET_TEXT_TOKENIZER_KIND_H
#include "base/arena.h"
#include "text/token_text.h"
#include "text/tokenizer.h"

struct token_run;

typedef struct tokenizer_kind {
    const char *name;           /* "char" */
    const char *model_type;     /* model.type in tokenizer.json */
    /* Is it this kind's, of those with that model.type?  NULL: always. */
    bool    (*accepts)(const json_t *j);
    /* Fill t from such a tokenizer.json; added tokens are read already. */
    bool    (*load)(tokenizer *t, const json_t *j, const char *where, genet_err *err);
    /* A new tokenizer.json; NULL: no memory. */
    json_t *(*to_json)(const tokenizer *t);
    /* What text is before added tokens are looked for in it a second time; NULL: itself. */
    bool    (*normalize)(struct token_run *r, const token_text *text, token_text *out);
    /* text holds no added tokens; tokens go to the run, which is told where it went wrong (bad). */
    bool    (*encode)(struct token_run *r, const token_text *text);
    int32_t (*find)(const tokenizer *t, const char *piece, size_t n_bytes);
    /* The text of ids as one string; NULL: pieces, with what stands between them. */
    bool    (*decode)(const tokenizer *t, const int32_t *id, int64_t n, bool special, str *out, genet_err *err);
    /* As genet__tokenizer_cut, but for added tokens; NULL: n. */
    size_t  (*cut)(const tokenizer *t, const char *text, size_t n);
    /* As genet__tokenizer_token, but for added tokens; NULL: the piece. */
    const char *(*token)(const tokenizer *t, int32_t id, size_t *n_bytes);
    /* As genet__tokenizer_between; NULL: "". */
    const char *(*between)(const tokenizer *t, int32_t before, int32_t id);
    /* Whatever decides ids beside kind, pieces and added tokens (merges, patterns) goes into the hash; NULL: nothing. */
    void    (*hash)(const tokenizer *t, sha256 *s);
} tokenizer_kind;

/* An entry of tokenizer.json's added_tokens. */
typedef struct added_token {
    const char *content;
    size_t      n_bytes;
    int32_t     id;
    int         order;          /* its place in the file */
    bool        special, lstrip, rstrip, single_word, normalized;
    const char *normal;         /* the content as it stands in normalized text, where it is looked for there */
    size_t      n_normal;
} added_token;

struct tokenizer {
    const tokenizer_kind *kind;
    int       n;                /* ids */
    char     *bytes;            /* all pieces, one after the other */
    uint32_t *start;            /* piece i: bytes[start[i]] .. bytes[start[i + 1]) */
    added_token *added;         /* in the order of their ids; they are pieces too */
    int       n_added;
    struct added_index *index;  /* of added, for finding them in text; NULL where there are none */
    int32_t   unknown;          /* -1: none */
    const char *end;            /* what tokenizer_config.json says ends a text; NULL: nothing */
    json_t   *config;           /* tokenizer_config.json as it was read, to be written back; NULL: there was none */
    json_t   *truncation, *padding;         /* as the file has them; NULL: null */
    void     *table;            /* the kind's own, in the arena (or freed by release) */
    void    (*release)(tokenizer *t);       /* what the arena does not hold; may be NULL */
    arena     arena;
};

extern const tokenizer_kind genet__tokenizer_char, genet__tokenizer_word, genet__tokenizer_pipeline;

/* --- tokenizer_added.c -------------------------------------------------------- */

/* t->added from tokenizer.json's added_tokens. */
bool genet__added_read(tokenizer *t, const json_t *j, const char *where, genet_err *err);
/* Once t->added and the normalizers are complete. */
bool genet__added_index(tokenizer *t, genet_err *err);
json_t *genet__added_json(const tokenizer *t);          /* NULL: no memory */
const added_token *genet__added_find(const tokenizer *t, int32_t id);
bool genet__added_encode(struct token_run *r, const token_text *text);
size_t genet__added_cut(const tokenizer *t, const char *text, size_t n);
void genet__added_hash(const tokenizer *t, sha256 *s);
#endif
