/* frame.h - a text, or two, as a model that answers about whole texts reads it: its tokens with the special ones around
 * them. The one place where these are put.
 *
 * A tokenizer.json with a post-processor says it all.  Else: an encoder reads [CLS] a [SEP], and of two texts [CLS] a [SEP] b [SEP]; where the vocabulary has <s> and </s> instead it is
 * <s> a </s> and <s> a </s> </s> b </s> (RoBERTa); with neither, the token that ends texts stands for all of them.  A decoder
 * reads a text as it is, and the end token between two. */
#ifndef GENET_TEXT_FRAME_H
#define GENET_TEXT_FRAME_H
#include "text/tokenizer.h"

typedef struct frame {
    int32_t begin, end;     /* -1: no such token */
    int     between;        /* how often end stands between two texts */
    bool    told;           /* by the tokenizer's post-processor: the others are for tokens that are put together one by one */
} frame;

/* encoder: of a model that sees the whole text. */
frame genet__frame_of(const tokenizer *t, bool encoder);
/* How many tokens it adds. */
int64_t genet__frame_tokens(const frame *f, bool pair);
/* Append a (and b, which may be NULL) to out, max tokens at most: the longer one loses its last tokens first.
 * *first: tokens of the first part with what ends it, segment 0.  *cut: tokens that were left out. */
bool genet__frame_text(const frame *f, const tokenizer *t, const char *a, const char *b, int64_t max, token_list *out, int *first,
                       int64_t *cut, genet_err *err);
/* The same of tokens. */
bool genet__frame_ids(const frame *f, const int32_t *a, int64_t n_a, const int32_t *b, int64_t n_b, token_list *out, int *first,
                      genet_err *err);
/* The tokens of a text (n bytes) without special ones, and where in it each stands: bytes begin .. end-1. */
typedef struct token_place_in_text { int64_t begin, end; } token_place_in_text;
bool genet__frame_places(const tokenizer *t, const char *text, size_t n, token_list *out, token_place_in_text **place, genet_err *err);
#endif
