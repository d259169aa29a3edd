/* tokenizer_encoding.h - a text, or two, as a model reads them: tokens with the special ones that the tokenizer adds, cut to
 * a length, filled up to one, and where in the text each token stands. */
#ifndef GENET_TEXT_TOKENIZER_ENCODING_H
#define GENET_TEXT_TOKENIZER_ENCODING_H
#include "text/tokenizer.h"

typedef struct encoded_token {
    int32_t  id, type_id;
    int32_t  word;              /* the number of the pre-token in its text; -1: none */
    int8_t   sequence;          /* 0, 1: of which text; -1: of none */
    bool     special;           /* added by the tokenizer, or padding */
    bool     attention;         /* false: padding */
    uint32_t begin, end;        /* bytes of its text; 0, 0 where it stands for none of it */
    int32_t  leading, trailing; /* white space around its string, where that is text; -1: the vocabulary's string says */
} encoded_token;

/* {0} is ready.  overflow: what truncation took away, in windows of the same length. */
typedef struct encoding { encoded_token *at; int n, cap; struct encoding *overflow; int n_overflow; } encoding;

enum truncation_strategy { TRUNCATE_LONGEST_FIRST, TRUNCATE_ONLY_FIRST, TRUNCATE_ONLY_SECOND };

/* What tokenizer.json holds as "truncation" and "padding", and what a caller may ask for instead. */
typedef struct truncation { bool on, left; int64_t max_length, stride; int strategy; } truncation;
typedef struct padding {
    bool    on, left;
    int64_t fixed, multiple;    /* fixed -1: to the longest of a batch; multiple 0: none */
    int32_t id, type_id;
} padding;

typedef struct encode_options {
    const char *pair;           /* the second text; NULL: none */
    size_t      n_pair;
    bool        special;        /* add special tokens */
    bool        overflow;       /* keep what truncation takes away */
    truncation  truncate;
    padding     pad;
} encode_options;

/* *yes: is id what the tokenizer puts before every text (Llama's <s>)?  A prompt then begins with it. */
bool genet__tokenizer_begins_with(const tokenizer *t, int32_t id, bool *yes, genet_err *err);
/* Special tokens, truncation and padding as the tokenizer's file says. */
encode_options genet__encode_defaults(const tokenizer *t);
bool genet__tokenizer_encode_text(const tokenizer *t, const char *text, size_t n, const encode_options *o, encoding *out,
                                  genet_err *err);
/* Fill up to the longest of n, or what p says. */
bool genet__encodings_pad(encoding *e, int n, const padding *p, genet_err *err);
void genet__encoding_release(encoding *e);

/* Of tokenizer.json; j may be NULL or null. */
bool genet__truncation_read(const json_t *j, truncation *to, const char *where, genet_err *err);
bool genet__padding_read(const json_t *j, padding *to, const char *where, genet_err *err);
#endif
