/* tokenizer.h - text to what a model reads, and back: the tokenizer of a model's folder, as Hugging Face's tokenizers library
 * runs the same files.
 *
 * A tokenizer is read-only once it is open: any number of threads may use one at once. */
#ifndef GENET_TOKENIZER_H
#define GENET_TOKENIZER_H
#include "genet/genet.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct genet_tokenizer genet_tokenizer;

/* A folder (tokenizer.json; vocab.json and merges.txt; vocab.txt), or a tokenizer.json.  NULL after an error. */
GENET_API genet_tokenizer *genet_tokenizer_open(const char *path, genet_err *err);
GENET_API void             genet_tokenizer_free(genet_tokenizer *t);
/* How many ids there are: 0 .. size - 1. */
GENET_API int              genet_tokenizer_size(const genet_tokenizer *t);
/* The token as the vocabulary writes it ("##ing"), *n_bytes long and not terminated, or NULL: there is none with that id. */
GENET_API const char      *genet_tokenizer_token(const genet_tokenizer *t, int32_t id, size_t *n_bytes);
/* The id of a token written so, or -1. */
GENET_API int32_t          genet_tokenizer_find(const genet_tokenizer *t, const char *token, size_t n_bytes);

/* How a text is encoded.  {0}: by itself, with the special tokens, truncated and padded as the file says. */
typedef struct genet_encode_options {
    const char *pair;           /* a second text of n_pair bytes; NULL: none */
    size_t      n_pair;
    bool        plain;          /* no special tokens */
    bool        whole;          /* not truncated, not padded, whatever the file says */
    int64_t     max_length;     /* tokens at most, the special ones too, the longer text cut first; 0: as the file says */
    int64_t     pad_to;         /* tokens at least, filled up as the file's padding says (id 0 at the end without); 0: as it says */
} genet_encode_options;

typedef struct genet_encoded_token {
    int32_t id, type_id;
    int32_t word;               /* the number of the word (pre-token) in its text, -1: none */
    int     sequence;           /* 0, 1: of which text; -1: of none */
    bool    special;            /* added by the tokenizer */
    bool    attention;          /* false: padding */
    size_t  begin, end;         /* bytes of its text that it stands for; 0, 0: none */
} genet_encoded_token;

typedef struct genet_encoding { genet_encoded_token *at; size_t n; } genet_encoding;

/* *out is to be freed with genet_encoding_free, also after an error.  o may be NULL: {0}. */
GENET_API bool genet_tokenizer_encode(const genet_tokenizer *t, const char *text, size_t n_bytes,
                                      const genet_encode_options *o, genet_encoding *out, genet_err *err);
GENET_API void genet_encoding_free(genet_encoding *e);
/* The text of ids, terminated, *n_bytes long (may be NULL); free with free().  skip_special: special tokens are left out. */
GENET_API char *genet_tokenizer_decode(const genet_tokenizer *t, const int32_t *ids, size_t n_ids, bool skip_special,
                                       size_t *n_bytes, genet_err *err);

#ifdef __cplusplus
}
#endif
#endif
