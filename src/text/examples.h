/* examples.h - what a model is to learn to say, from JSON lines (names of fields as TRL's data sets have them):
 *
 *     {"text": ...}                                   all of it
 *     {"prompt": ..., "completion": ...}              the completion
 *     {"messages": [{"role": ..., "content": ...}]}   what the assistant says, as the folder's chat template writes it
 *     {"prompt": ..., "chosen": ..., "rejected": ...} of pairs: one answer rather than another
 *
 * prompt, completion, chosen and rejected are texts or arrays of messages.  A prompt's tokens are those that generation begins
 * with; what is learned is followed by the token that ends texts, or by what the template puts behind an answer. */
#ifndef GENET_TEXT_EXAMPLES_H
#define GENET_TEXT_EXAMPLES_H
#include "text/chat.h"

/* A sequence: said[i] tells that ids[i] is to be learned. */
typedef struct example { const int32_t *ids; const uint8_t *said; int n, n_said; int64_t line; } example;

/* How lines become tokens. */
typedef struct example_rules {
    const tokenizer *tokenizer;
    int32_t     begin, end;     /* the token before every text that is no conversation; that ends texts; -1: none */
    const char *folder;         /* where the chat template is */
    const char *template_;      /* as genet__chat_open's which */
    bool        pairs;          /* lines with chosen and rejected, each of which makes two sequences, in this order */
    int64_t     max;            /* tokens of a sequence: the rest of it is left out */
} example_rules;

typedef struct examples {
    example  *at;
    int64_t   n;                /* sequences; of pairs twice their number */
    int64_t   n_cut, n_dropped; /* lines that lost their end; that have nothing left to learn, and are not here */
    token_list ids;
    uint8_t  *said;             /* beside ids */
    int       n_said, cap_said, n_at, cap_at;
    chat_format chat;           /* opened when a line has messages */
} examples;

/* Append those of a file; e is {0} at first.  Any number of files, then genet__examples_settle, which sets ids and said. */
bool genet__examples_read(examples *e, const char *path, const example_rules *r, genet_err *err);
void genet__examples_settle(examples *e);
void genet__examples_release(examples *e);      /* also after a failure */
/* SHA-256 of all tokens and of which are learned. */
void genet__examples_hash(const examples *e, char hex[HASH_HEX]);
#endif
