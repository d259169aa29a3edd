/* sentencepiece.h - reading SentencePiece's .model files (protocol buffers; Kudo and Richardson 2018, "SentencePiece"). */
#ifndef GENET_TEXT_SENTENCEPIECE_H
#define GENET_TEXT_SENTENCEPIECE_H
#include "base/json.h"

/* The same tokenizer as a tokenizer.json: what transformers' converter makes of the file, by what the file says of white
 * space (docs/tokenizers.md).  Types unigram and bpe; anything else, and what is damaged, is an error that says where in
 * the file, in bytes; where: its name.  NULL after an error. */
json_t *genet__sentencepiece_json(const unsigned char *bytes, size_t n, const char *where, genet_err *err);

/* --- sentencepiece_file.c ------------------------------------------------------------------------------------------- */

/* The name of such a file in the folder ("spiece.model"), NULL: there is none; and whether path ends as they do. */
const char *genet__sentencepiece_in(const char *folder);
bool genet__sentencepiece_is(const char *path);
/* The file as tokenizer.json, with what the class in the tokenizer_config.json beside it adds: T5's </s> and sentinels,
 * Llama's <s>.  NULL after an error. */
json_t *genet__sentencepiece_read(const char *path, genet_err *err);
#endif
