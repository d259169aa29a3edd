/* chat.h - conversations as a model's folder wants them written: its chat template and the special tokens that the
 * template names.
 *
 * A conversation is an array of messages, {"role": "user", "content": "..."}, as transformers and OpenAI's API have
 * them. */
#ifndef GENET_TEXT_CHAT_H
#define GENET_TEXT_CHAT_H
#include "text/jinja.h"
#include "text/tokenizer.h"

/* Read-only once made. */
typedef struct chat_format {
    jinja  *jinja;
    char   *text;               /* the template */
    json_t *tokens;             /* {"bos_token": "<s>", ...} */
} chat_format;

/* which: NULL, the folder's own template: chat_template.jinja, or chat_template in tokenizer_config.json, of several the one
 * called "default"; else "chatml", a file, or the name of one of several. */
bool genet__chat_open(chat_format *f, const char *folder, const char *which, genet_err *err);
void genet__chat_release(chat_format *f);
/* Are these messages as a conversation has them?  where goes into the words. */
bool genet__chat_check(const json_t *messages, const char *where, genet_err *err);
/* Append the text of messages; prompt: and the beginning of an answer.  more: variables beside (tools, enable_thinking, ...;
 * may be NULL), which stand over ours. */
bool genet__chat_render(const chat_format *f, const json_t *messages, const json_t *more, bool prompt, str *out,
                        genet_err *err);
/* How an answer ends by the template: with the special token *id (else -1), or before the text that is appended to
 * stop, which may be none. */
bool genet__chat_end(const chat_format *f, const tokenizer *t, const json_t *more, int32_t *id, str *stop, genet_err *err);
#endif
