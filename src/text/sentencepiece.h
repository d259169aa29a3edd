/* sentencepiece.h - reading SentencePiece's .model files (protocol buffers; Kudo and Richardson 2018, "SentencePiece"). */
#ifndef GENET_TEXT_SENTENCEPIECE_H
#define GENET_TEXT_SENTENCEPIECE_H
#include "base/json.h"

/* The same tokenizer as a tokenizer.json: what transformers' converter makes of the file, by what the file says of white
 * space (docs/tokenizers.md).  Types unigram and bpe; anything else, and what is damaged, is an error that says where in
 * the file, in bytes; where: its name.  NULL after an error. */
json_t *genet__sentencepiece_json(const unsigned char *bytes, size_t n, const char *where, genet_err *err);
#endif
