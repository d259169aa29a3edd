/* gguf_tokens.h - what the two directions of a GGUF file's tokenizer share: token types, and pre-tokenizers by name.
 * For gguf_tokens*.c only. */
#ifndef GENET_FORMAT_GGUF_TOKENS_H
#define GENET_FORMAT_GGUF_TOKENS_H
#include "format/gguf_model.h"

enum { TOKEN_NORMAL = 1, TOKEN_UNKNOWN, TOKEN_CONTROL, TOKEN_USER, TOKEN_UNUSED, TOKEN_BYTE };

/* How a byte-level tokenizer cuts text, as tokenizer.ggml.pre names it (llama.cpp, src/llama-vocab.cpp). */
typedef struct gguf_pre {
    const char *name;
    const char *split[4];       /* regular expressions that cut one after the other, until NULL */
    bool digits;                /* each digit alone, before the rest */
    bool gpt2;                  /* GPT-2's own pattern, as ByteLevel has it */
    bool whole;                 /* a word of the vocabulary needs no merges; and a text begins with bos */
} gguf_pre;

/* Ended by one without a name; of several with one meaning the first is written. */
extern const gguf_pre genet__gguf_pres[];
/* pre_tokenizer of tokenizer.json; NULL: no memory. */
json_t *genet__gguf_pre_json(const gguf_pre *p);
#endif
