/* token_pieces.h - the tokens of one text or two, as post-processors put them together. */
#ifndef GENET_TEXT_TOKEN_PIECES_H
#define GENET_TEXT_TOKEN_PIECES_H
#include "text/tokenizer_encoding.h"

typedef struct token_pieces {
    encoding    at[2];
    int         n;
    const char *text[2];        /* where offsets point */
    size_t      n_text[2];
    const tokenizer *tokenizer;
} token_pieces;

/* The white space at the beginning and the end of the token's string, in characters. */
void genet__token_spaces(const token_pieces *t, const encoded_token *x, int *leading, int *trailing);
bool genet__encoding_add(encoding *e, const encoded_token *x, int n, genet_err *err);
#endif
