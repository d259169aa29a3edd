/* tokenizer_pipeline.h - a text on its way through the pipeline: what one call of encode keeps, and how its parts hand
 * text on.  For tokenizer*.c only.
 *
 *   added tokens found as they stand -> normalizers -> added tokens found in normalized text
 *   -> pre-tokenizers, each a stage that gives its pieces to the next -> model
 *
 * Nothing is collected between two stages: a pre-token reaches the model before the next one is looked for.  Stages that
 * only split hand on a window of the text; those that change it write a buffer of their own. */
#ifndef GENET_TEXT_TOKENIZER_PIPELINE_H
#define GENET_TEXT_TOKENIZER_PIPELINE_H
#include "text/tokenizer_kind.h"
#include "text/tokenizer_part.h"

typedef struct normal_char { uint32_t c; int32_t change, class, order; } normal_char;

/* What a run of encode knows of a token beside its id. */
typedef struct token_place {
    text_origin origin;
    int32_t     word;
    int32_t     leading, trailing;  /* characters of white space in the token's string, where that is text; -1: it is
                                       the vocabulary's */
} token_place;

struct token_run {
    const tokenizer *t;
    token_sink   sink;
    bool         origins;           /* offsets are wanted: place is filled */
    int          first;             /* tokens that the list held before */
    token_place *place;             /* of each token from there on */
    int          cap_place;
    int32_t      word;              /* the number of the pre-token */
    text_origin *origin;            /* of the bytes of the whole text */
    text_buffer  normal[2], joined; /* normalizers write into one after the other; what one of them needs beside */
    text_buffer *scratch;           /* one a stage */
    normal_char *cluster;           /* characters that may combine */
    int          cap_cluster;
    void        *match;             /* of PCRE2, for all patterns of this run */
    const char  *text, *bad;        /* the user's; where it went wrong, if that lies in it */
    size_t       n;
    genet_err   *err;
};

/* Hand a piece to a stage of the pre-tokenizer, the model behind the last; an empty one is dropped. */
bool genet__give(token_run *r, int stage, const token_text *piece);

/* What the pipeline kind keeps behind tokenizer.table. */
typedef struct pipeline {
    const token_model *row;
    void        *model;
    part        *normalizer, *pre_tokenizer, *post_processor, *decoder;
    const part **normalize, **stage, **process, **decode;       /* sequences laid flat */
    int          n_normalize, n_stage, n_process, n_decode;
    bool         takes_bytes;       /* the last stage's bytes go to the model as they are */
    bool         splits_at_mark;
    bool         unknown_is_text;   /* the library's string of an unknown token is what stood there (Unigram) */
    bool         gaps;              /* without a decoder, or WordPiece's: spaces between tokens are in no token */
    unsigned char *gap;             /* by id: is there such a space before it? */
} pipeline;

/* A text through all normalizers: *out is in itself or what lies in one of the run's buffers. */
bool genet__normalize(token_run *r, const pipeline *p, const token_text *in, token_text *out);
/* The tokens of a text; *bad: where in it it went wrong, and then the list is as it was. */
bool genet__run_encode(token_run *r, const char *text, size_t n, size_t *bad);
void genet__run_release(token_run *r);
/* White space at the beginning and at the end of s, in characters; the letter of the space's byte is some too. */
void genet__count_spaces(const char *s, size_t n, int *leading, int *trailing);
/* A token found by itself, for the text it stands for. */
bool genet__run_add(token_run *r, int32_t id, const token_text *piece);
#endif
