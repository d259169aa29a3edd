/* conversation.h - a conversation with a model: messages, the tokens that its template makes of them, answers.
 *
 * The decoder keeps what it read, so that a turn reads only what is new.  When a conversation no longer fits the
 * model's context its oldest turns are left out of it (they stay among the messages); the messages at the front that
 * are pinned, such as the system's and examples, are never. */
#ifndef GENET_INFER_CONVERSATION_H
#define GENET_INFER_CONVERSATION_H
#include "infer/generate.h"
#include "text/chat.h"

typedef struct conversation {
    const chat_format *format;          /* these three outlive it */
    const model       *model;
    const tokenizer   *tokenizer;
    json_t  *messages;
    json_t  *more;                      /* variables of the template beside them; may be NULL */
    int64_t  pinned, dropped;           /* messages at the front that stay; those after them that are left out */
    int64_t  n_answers;
    int32_t  end;                       /* the token that ends an answer by the template; -1: none */
    str      stop;                      /* or the text */
} conversation;

/* more is taken over, also by a failure. */
bool genet__conversation_init(conversation *c, const chat_format *f, const model *m, const tokenizer *t, json_t *more,
                              genet_err *err);
void genet__conversation_release(conversation *c);
/* Append {"role": role, "content": n bytes of text}; what is not UTF-8 in it becomes U+FFFD. */
bool genet__conversation_add(conversation *c, const char *role, const char *text, size_t n, genet_err *err);
/* These messages (checked, copied by reference) in place of what there is. */
bool genet__conversation_set(conversation *c, const json_t *messages, const char *where, genet_err *err);
/* Messages to begin with: system (may be NULL), and of examples, a file of JSON lines {"prompt": ..., "completion": ...}
 * or {"messages": [...]}, each pair or all of its messages (may be NULL).  They are pinned. */
bool genet__conversation_begin(conversation *c, const char *system, const char *examples, genet_err *err);

typedef struct answer {
    int64_t n_prompt, kept, n_new;      /* tokens of all that was read for it; of them held already; written */
    const char *finish;                 /* "stop", "length"; "left": the caller had enough */
    bool    full;                       /* "length" because the context is full */
} answer;

/* Write the next message with d, a decoder of one row, and append it; what was written until the caller has had enough, too. */
bool genet__conversation_answer(conversation *c, decoder *d, const generation_options *o, genet_piece_fn *piece,
                                void *user, answer *out, genet_err *err);
/* The log-probability of each of n texts as the next message.  Nothing is appended. */
bool genet__conversation_weigh(conversation *c, decoder *d, const char *const *text, int n, double *logprob, genet_err *err);
#endif
