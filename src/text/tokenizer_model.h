/* tokenizer_model.h - what turns one pre-token into ids: a row of functions a model.
 *
 * The text has been normalized and split before, and added tokens found; a model sees the UTF-8 of one pre-token after the other and knows nothing of what stood around it.  It holds its own vocabulary: ids
 * and pieces as they stand in tokenizer.json's "model".  Once made it is read-only: any number of threads encode at once,
 * each with a list of its own.
 *
 * A row's functions get the model that its load (or a trainer) made, as void *. */
#ifndef GENET_TEXT_TOKENIZER_MODEL_H
#define GENET_TEXT_TOKENIZER_MODEL_H
#include "base/json.h"
#include "format/sha256.h"
#include "text/tokenizer.h"

/* Where tokens go: their ids, and, when wanted, the bytes of the pre-token that each stands for. */
typedef struct token_span { uint32_t begin, end; } token_span;
typedef struct token_sink {
    token_list  *ids;
    token_span  *span;          /* of each id in ids, from first on */
    int          cap_span;
    int          first;         /* ids that were in the list before */
    bool         spans;         /* are they wanted? */
} token_sink;

/* Append one token; false: no memory, and err says so. */
bool genet__token_add_slowly(token_sink *s, int32_t id, size_t begin, size_t end, genet_err *err);
static inline bool genet__token_add(token_sink *s, int32_t id, size_t begin, size_t end, genet_err *err)
{
    token_list *l = s->ids;
    if (s->spans || l->n == l->cap) return genet__token_add_slowly(s, id, begin, end, err);
    l->at[l->n++] = id;
    return true;
}

typedef struct token_model {
    const char *type;           /* model.type in tokenizer.json: "WordPiece" */
    const char *name;           /* what genet calls it: "wordpiece" */
    /* From tokenizer.json's "model" (model.type is this row's).  where: the file, for messages, which name the field by its path:
     * "FILE: model.vocab[12]: ...".  A field that is not known is an error that names it: genet__json_known().  NULL after
     * an error. */
    void   *(*load)(const json_t *model, const char *where, genet_err *err);
    /* The "model" object, "type" and all, as the tokenizers library writes it; NULL: no memory. */
    json_t *(*to_json)(const void *m);
    /* The tokens of one pre-token, n > 0 bytes of UTF-8, appended to out. n may be large: a whole text. */
    bool    (*encode)(const void *m, const char *s, size_t n, token_sink *out, genet_err *err);
    /* The id of a piece of the vocabulary, or -1. */
    int32_t (*find)(const void *m, const char *piece, size_t n);
    /* A piece (not terminated), or NULL: there is none with that id.  Ids may have holes. */
    const char *(*piece)(const void *m, int32_t id, size_t *n);
    /* The highest id + 1. */
    int     (*size)(const void *m);
    /* How many pieces there are: where the ids of added tokens begin in the tokenizers library. NULL: size. */
    int     (*count)(const void *m);
    /* The id that what is not known becomes, or -1. */
    int32_t (*unknown)(const void *m);
    /* Called once, right after load; NULL: nothing to do.  bytes: every pre-token will be letters of the byte alphabet (of
     * ByteLevel); where the model sets *taken it gets the bytes that they stand for instead.  False: no memory. */
    bool    (*settle)(void *m, bool bytes, bool *taken, genet_err *err);
    /* Would the tokens of a + b always be those of a, then those of b, where b begins with U+2581 ("▁") and a does not end
     * with it?  NULL: no.  Then long texts without a pre-tokenizer are cut there before they come. */
    bool    (*splits_at_mark)(const void *m);
    /* All that decides ids, pieces too. */
    void    (*hash)(const void *m, sha256 *s);
    void    (*free)(void *m);
} token_model;

/* A model's file adds its row here and to the table in tokenizer_pipeline.c. */
extern const token_model genet__model_bpe, genet__model_unigram, genet__model_wordlevel, genet__model_wordpiece;

/* Is every key of object among known (NULL at the end)?  Else an error: "WHERE: PATH.KEY is not known to this version". */
bool genet__json_known(const json_t *object, const char *const *known, const char *where, const char *path, genet_err *err);
#endif
